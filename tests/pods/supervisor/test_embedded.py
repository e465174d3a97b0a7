"""An embedded supervisor ends with its block, also where the block is left before it is up."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import trio

from pods.supervisor import service
from pods.supervisor.authority import Caller
from pods.supervisor.core import Supervisor
from pods.supervisor.embedded import open_supervisor
from pods.supervisor.list import list_pods
from pods_protocol.errors import StartFailed
from supervisor_support import BUSY, NOTHING, WAIT_SECONDS, left_in, wait_text, with_rooms

MOST_STEPS = 200
"""Far more than a start has; a start that never succeeds must fail the test, not hang it."""


class ActAtServiceStep(trio.abc.Instrument):
    """Does something before the n-th step of the task that the current one has started."""

    def __init__(self, step: int, act: Callable[[], object]) -> None:
        self.task = trio.lowlevel.current_task()
        self.left = step
        self.act = act

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count, and act when the count is down."""
        nursery = task.parent_nursery
        if self.left and nursery is not None and nursery.parent_task is self.task:
            self.left -= 1
            if not self.left:
                self.act()


async def _cancelled_at(environ: dict[str, str], step: int) -> bool:
    """Whether that step of its coming up was there to be cancelled at."""
    with trio.CancelScope() as scope:
        instrument = ActAtServiceStep(step, scope.cancel)
        trio.lowlevel.add_instrument(instrument)
        try:
            async with open_supervisor(environ=environ):
                if instrument.left:
                    instrument.left = 0
                    return False
                await trio.lowlevel.checkpoint()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    assert scope.cancelled_caught, f"the cancellation at step {step} went unheard"
    return True


async def test_a_supervisor_that_is_given_up_at_once_ends(pods_environ: dict[str, str]) -> None:
    with trio.fail_after(WAIT_SECONDS):
        assert await _cancelled_at(with_rooms(pods_environ), 1)
    assert left_in(pods_environ) == NOTHING


@pytest.mark.slow
async def test_a_supervisor_that_is_given_up_at_any_checkpoint_ends(
    pods_environ: dict[str, str],
) -> None:
    environ = with_rooms(pods_environ)
    for step in range(1, MOST_STEPS):
        with trio.fail_after(WAIT_SECONDS):
            cancelled = await _cancelled_at(environ, step)
        assert left_in(pods_environ) == NOTHING, step
        if not cancelled:
            break
    else:
        raise AssertionError("no supervisor came up")
    assert step > 5, "coming up waits more often than that"


async def test_a_start_that_is_given_up_and_fails_is_given_up(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LIFE_LOCK_SECONDS", 0.05)
    environ = with_rooms(pods_environ)
    with trio.fail_after(WAIT_SECONDS):
        async with open_supervisor("mine", environ=environ):
            with trio.CancelScope() as scope:
                scope.cancel()
                async with open_supervisor("mine", environ=environ):
                    raise AssertionError
            assert scope.cancelled_caught
    assert left_in(pods_environ) == NOTHING


def test_ctrl_c_in_a_task_of_the_supervisor_ends_the_program_and_its_pods(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers: list[object] = []

    def interrupted(supervisor: Supervisor, caller: Caller, request: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return list_pods(supervisor, caller, request)

    async def program() -> None:
        handlers.append(signal.getsignal(signal.SIGINT))
        try:
            with trio.fail_after(WAIT_SECONDS):
                async with open_supervisor(environ=with_rooms(pods_environ)) as client:
                    await client.spawn("one", prompt=BUSY)
                    await client.list()
                    await trio.sleep_forever()
        finally:
            handlers.append(signal.getsignal(signal.SIGINT))

    monkeypatch.setitem(service.HANDLERS, "list", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trio.run(program)
    assert left_in(pods_environ) == NOTHING
    assert handlers[0] == handlers[1], "the program's own handler is there again"


async def test_ctrl_c_in_the_programs_own_task_is_raised_there(
    pods_environ: dict[str, str],
) -> None:
    with trio.fail_after(WAIT_SECONDS):
        async with open_supervisor(environ=with_rooms(pods_environ)):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    assert left_in(pods_environ) == NOTHING


async def test_a_handler_that_was_set_meanwhile_stays(pods_environ: dict[str, str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        with trio.fail_after(WAIT_SECONDS):
            async with open_supervisor(environ=with_rooms(pods_environ)):
                signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


async def test_an_embedded_supervisor_stops_everything_and_lets_the_bodys_error_out(
    pods_environ: dict[str, str],
) -> None:
    environ = with_rooms(pods_environ)
    for _ in range(2):
        with trio.fail_after(WAIT_SECONDS), pytest.raises(ZeroDivisionError):
            await _fail_inside(environ)
        assert left_in(pods_environ) == NOTHING
        assert os.listdir(f"{pods_environ['PODS_STATE_DIR']}/pods") == []
        assert os.listdir(f"{pods_environ['PODS_STATE_DIR']}/supervisors") == []


async def _fail_inside(environ: dict[str, str]) -> None:
    async with open_supervisor(environ=environ) as client:
        await client.spawn("one", prompt=BUSY)
        await wait_text(client, "one", "up")
        raise ZeroDivisionError


async def test_a_cancelled_body_still_has_its_pods_stopped(pods_environ: dict[str, str]) -> None:
    with trio.fail_after(WAIT_SECONDS):
        with trio.CancelScope() as scope:
            async with open_supervisor(environ=with_rooms(pods_environ)) as client:
                await client.spawn("one", prompt=BUSY)
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
    assert left_in(pods_environ) == NOTHING


async def test_a_second_supervisor_of_the_name_is_refused(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LIFE_LOCK_SECONDS", 0.05)
    environ = with_rooms(pods_environ)
    with trio.fail_after(WAIT_SECONDS):
        async with open_supervisor("mine", environ=environ):
            with pytest.raises(StartFailed, match="another one lives"):
                async with open_supervisor("mine", environ=environ):
                    raise AssertionError
