"""Following a turn to its end, and reading a journal page by page.

Owns the loops that several verbs share: the pages of a `read`, the events of one turn, what to do
when the pod dies under a reader. Used by `send`, `spawn`, `read`, `logs`, `attach`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from pods.client.open import NoSupervisor, open_plain
from pods.client.plain import Json, PlainClient
from pods_protocol.errors import NotConnected, PodEnded, TimedOut, UnknownPod

BURIAL_SECONDS: Final = 10.0
"""How long a supervisor may take to notice that a pod is gone whose connection broke."""


def open_for(pod: str, supervisor: str | None) -> PlainClient:
    """A connection to the supervisor, for a verb that names a pod.

    Raises:
        UnknownPod: no supervisor runs, and none has left anything to look at.
        PodsError: as `open_plain`.
    """
    try:
        return open_plain(supervisor)
    except NoSupervisor as error:
        raise UnknownPod(
            f"cannot find the pod {pod!r}: no supervisor runs here, and no journal of a pod is "
            f"kept; `pods spawn {pod}` starts both",
            pod=pod,
            known=[],
        ) from error


def open_pod(client: PlainClient, pod: str) -> PlainClient:
    """A connection straight to the pod.

    Raises:
        UnknownPod, AmbiguousPod, PodEnded: the supervisor's answer.
        NotConnected: it has just gone.
    """
    way = client.call("connect", {"pod": pod})
    return _greet(way)


def reopen_pod(client: PlainClient, name: str, hung_up: PlainClient | None) -> PlainClient | None:
    """A connection to the process that comes after the one that hung up; None where none does.

    Where none was reached so far, to whichever runs.
    """
    gone = None if hung_up is None else hung_up.hello.get("pid")
    while True:
        try:
            way = client.call("connect", {"pod": name, "gone": gone}, timeout=2 * BURIAL_SECONDS)
        except (PodEnded, UnknownPod):
            return None
        except NotConnected as error:
            if error.data.get("restart_due") is None:
                return None  # it is gone, and its supervisor does not know it yet
            continue
        found = way.get("pid")
        if (hung_up is not None or gone is not None) and found in (None, gone):
            return None  # no other has come
        try:
            return _greet(way)
        except NotConnected:
            gone = found  # it has gone in between
            if gone is None:
                return None


def _greet(way: Json) -> PlainClient:
    # By the supervisor's name for us: the pod tells it to who asks whom a message is from.
    return PlainClient(way["socket"], way["token"], client=way.get("known_as") or "pods")


def pages(
    client: PlainClient,
    pod: str,
    *,
    since: int | None,
    reader: str | None = None,
    kinds: Sequence[str] = (),
) -> Iterator[Json]:
    """The answers to `read`, one after the other, until nothing more is there.

    With `since` None the caller advances the reader's cursor after each page, which is where the
    next one goes on.
    """
    while True:
        page = client.call(
            "read", {"pod": pod, "since": since, "reader": reader, "kinds": list(kinds)}
        )
        yield page
        if not page["truncated"]:
            return
        if since is not None:
            since = int(page["next"])


def follow_turn(
    client: PlainClient,
    pod: PlainClient | None,
    name: str,
    message: Json,
    *,
    since: int,
    show: Callable[[Json], None],
    timeout: float | None,
    pods: str = "pods",
) -> Json | None:
    """Follow one message to the end of its turn.

    Args:
        client: the supervisor's connection, for what a dead pod left.
        pod: the pod's connection; its subscription is used up here. None where it has not been
            reached yet: it may have died since it took the message.
        name: the pod's.
        message: the answer to `run`.
        since: a cursor from before the message.
        show: called with each event of the turn.
        timeout: seconds for all of it; None is for ever.
        pods: how a hint begins.

    Returns:
        The `turn_ended` event, or the `message_withdrawn` that tells why there is no turn; None
        where the pod's journal has neither.

    Raises:
        TimedOut: the pod goes on, only the wait is over.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    turn: int | None = message.get("turn")
    events = _events(client, pod, name, since, deadline, timeout, pods)
    for event in events:
        kind, data = event["type"], event["data"]
        if turn is None:
            if kind == "turn_started" and data["message_id"] == message["message_id"]:
                turn = event["turn"]
            elif kind == "message_withdrawn" and data["message_id"] == message["message_id"]:
                return event
        elif event["turn"] == turn:
            show(event)
            if kind == "turn_ended":
                return event
    return None


def _events(
    client: PlainClient,
    pod: PlainClient | None,
    name: str,
    since: int,
    deadline: float | None,
    timeout: float | None,
    pods: str,
) -> Iterator[Json]:
    try:
        yield from live_events(client, pod, name, since, deadline)
    except TimedOut as error:
        raise TimedOut(
            f"cannot wait for {name} any longer: its turn takes more than {timeout:g} s; the pod "
            f"goes on, `{pods} logs -f {name}` follows it",
            timeout_seconds=timeout,
        ) from error


def live_events(
    client: PlainClient,
    pod: PlainClient | None,
    name: str,
    since: int,
    deadline: float | None = None,
) -> Iterator[Json]:
    """Events as they come, also of the pod's later processes; at its end what its journal has more.

    With None for `pod` the supervisor is asked for the way to it first.

    Raises:
        TimedOut: the deadline, on the monotonic clock, has passed.
    """
    with contextlib.ExitStack() as stack:
        following = pod
        if following is None:
            following = reopen_pod(client, name, None)
            if following is not None:
                stack.enter_context(following)
        while following is not None:
            with contextlib.suppress(NotConnected):  # as a hang-up between two events
                following.subscribe(since)
                for event in following.events(timeout=_left(deadline)):
                    since = event["seq"]
                    yield event
            following = reopen_pod(client, name, following)
            if following is not None:
                stack.enter_context(following)
    yield from journal_after_end(client, name, since)


def journal_after_end(client: PlainClient, name: str, since: int) -> Iterator[Json]:
    """What the journal has after `since`, once the supervisor knows that the pod is gone."""
    client.call(
        "wait",
        {"pods": [name], "mode": "all", "until": "ended", "timeout_seconds": BURIAL_SECONDS},
        timeout=2 * BURIAL_SECONDS,
    )
    for page in pages(client, name, since=since):
        yield from page["events"]


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.001, deadline - time.monotonic())
