"""What the tests of the command line share: who runs it, and what the fake world answers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from client_support import HangUp, Json, Peer, World, always, capacity, event


class Cli(Protocol):
    """Runs the command; gives its exit code, standard output and standard error."""

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Run `pods` with these words."""
        ...


def turn(world: World, *events: Json, started: bool = True) -> None:
    """Let the fake pod answer `run` and send these events to the subscriber."""
    world.pod.answers["run"] = always(
        {
            "message_id": "m1",
            "state": "started" if started else "queued",
            "turn": 1 if started else None,
            "position": None if started else 1,
        }
    )
    world.pod.answers["subscribe"] = always({"last_seq": 4})

    def play(peer: Peer, _params: Json) -> None:
        for one in events:
            peer.event(one)

    world.pod.answers["after subscribe"] = play


GOOD_TURN = (
    event(5, "turn_started", message_id="m1"),
    event(6, "text_delta", text="hello "),
    event(7, "text_delta", text="world"),
    event(8, "turn_ended", stop_reason="end_turn", exit_status=0),
)
BAD_TURN = (
    event(5, "turn_started", message_id="m1"),
    event(6, "turn_ended", stop_reason="error", exit_status=2, message="make failed"),
)
STOPPED = event(19, "stopped", turn=None, reason="stopped", message="bye")


def listed(fake: World, *pods: Json) -> Json:
    """Answer `list` with these pods."""
    answer = {"pods": list(pods), "capacity": capacity()}
    fake.supervisor.answers["list"] = always(answer)
    return answer


def paged(fake: World, *pages: Json) -> None:
    """Answer `read` with these pages, one after the other."""
    left = list(pages)
    fake.supervisor.answers["read"] = lambda _peer, _params: left.pop(0)
    fake.supervisor.answers["advance"] = always({})


def follow_events(fake: World, *events: Json, then: Callable[[], None] | None = None) -> None:
    """Send the subscriber these events, then hang up as a pod does that ends, or call `then`."""
    fake.pod.answers["subscribe"] = always({"last_seq": 0})

    def play(peer: Peer, _params: Json) -> None:
        for one in events:
            peer.event(one)
        if then is None:
            raise HangUp
        then()

    fake.pod.answers["after subscribe"] = play
    fake.supervisor.answers["wait"] = always({"ready": [], "pending": [], "timed_out": False})
