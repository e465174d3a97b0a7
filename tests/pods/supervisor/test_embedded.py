"""An embedded supervisor ends with its block, also where the block is left before it is up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from pods.supervisor import service
from pods.supervisor.embedded import open_supervisor
from supervisor_support import NOTHING, WAIT_SECONDS, left_in, with_rooms

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
