"""`pods run` ends its pod, whatever comes while it does."""

from __future__ import annotations

import signal
import threading

import pytest

from cli_support import Cli
from client_support import HangUp, Json, Peer, World, always, pod_info, spawned, stop_result
from pods.cli import run, spawn
from pods_protocol.errors import UnknownPod

UNKNOWN = UnknownPod("cannot find pod 'x'", pod="x", known=[])


class Turn:
    """In the place of the wait for the turn: it is over, or an ending comes in it."""

    def __init__(self, ending: signal.Signals | None = None) -> None:
        self.ending = ending

    def __call__(self, *_given: object, **_named: object) -> int:
        if self.ending is not None:
            signal.pthread_kill(threading.get_ident(), self.ending)
        return 0


@pytest.fixture(autouse=True)
def spawns(fake: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.supervisor.answers["spawn"] = always(spawned(fake, pod=pod_info("rx")))
    fake.supervisor.answers["stop"] = always(stop_result())
    fake.supervisor.answers["remove"] = always({})
    monkeypatch.setattr(spawn, "wait_for_turn", Turn())


@pytest.mark.parametrize("first", [None, signal.SIGHUP])
@pytest.mark.parametrize("method", ["stop", "remove"])
def test_an_ending_while_the_pod_is_stopped_does_not_leave_it(
    fake: World,
    pods: Cli,
    monkeypatch: pytest.MonkeyPatch,
    first: signal.Signals | None,
    method: str,
) -> None:
    before = {number: signal.getsignal(number) for number in run.ENDINGS}

    def ending(_peer: Peer, _params: Json) -> Json:
        for number in run.ENDINGS:
            # To this thread, so that each is noted here and now: another that takes one may run
            # after the command has put back the handlers, and SIGHUP would end these tests.
            signal.pthread_kill(threading.get_ident(), number)
        return stop_result() if method == "stop" else {}

    fake.supervisor.answers[method] = ending
    monkeypatch.setattr(spawn, "wait_for_turn", Turn(first))
    code, _, err = pods("run", "x", "--name", "rx")
    if first is None:
        assert (code, err) == (0, "")
    else:
        assert (code, "interrupted; rx is stopped" in err) == (130, True)
    assert len(fake.supervisor.params_of("stop")) == len(fake.supervisor.params_of("remove")) == 1
    assert {number: signal.getsignal(number) for number in run.ENDINGS} == before


def test_a_stop_that_fails_is_not_said_to_have_worked(
    fake: World, pods: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.supervisor.answers["stop"] = always(UNKNOWN)
    monkeypatch.setattr(spawn, "wait_for_turn", Turn(signal.SIGINT))
    code, _, err = pods("run", "x", "--name", "rx")
    assert (code, "is stopped" in err) == (UNKNOWN.EXIT_CODE, False)


@pytest.mark.parametrize("again", ["stop", "remove"])
def test_a_pod_that_was_gone_as_the_supervisor_died_is_gone(
    fake: World, pods: Cli, again: str
) -> None:
    def died(_peer: Peer, _params: Json) -> Json:
        fake.supervisor.answers[again] = always(UNKNOWN)
        raise HangUp

    fake.supervisor.answers["remove"] = died
    assert pods("run", "x", "--name", "rx") == (0, "", "")
