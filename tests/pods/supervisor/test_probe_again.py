"""A trial of what the kernel holds, whose launcher is killed at it: the next one makes it."""

from __future__ import annotations

import os
import signal

import pytest
import trio
import trio.testing

from pods_protocol.errors import NotConnected, StartFailed
from pods_protocol.values import Enforcement, ScopeGrant
from supervisor_support import NOTHING, WAIT_SECONDS, left_in, supervisor_and_client


async def test_the_next_launcher_makes_a_trial_that_the_last_one_was_killed_at(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, _):
        with trio.fail_after(WAIT_SECONDS):
            held: list[Enforcement] = []

            async def probe() -> None:
                held.append(await supervisor.launcher.probe(ScopeGrant(), None))

            undisturbed = await supervisor.launcher.probe(ScopeGrant(), None)
            first = supervisor.launcher.pid
            assert first is not None
            os.kill(first, signal.SIGSTOP)  # so that the request waits in its socket
            async with trio.open_nursery() as nursery:
                nursery.start_soon(probe)
                await trio.testing.wait_all_tasks_blocked()
                os.kill(first, signal.SIGKILL)
            assert held == [undisturbed]
            assert supervisor.launcher.pid != first
    assert left_in(pods_environ) == NOTHING


async def test_a_trial_that_two_launchers_are_killed_at_is_a_failed_start(
    pods_environ: dict[str, str],
) -> None:
    asked = 0

    class Killed:
        """Stands in for the connection to a launcher that is killed at whatever it is asked."""

        async def request(self, *_: object, **__: object) -> None:
            nonlocal asked
            asked += 1
            raise NotConnected("cannot go on with the launcher: the connection ended")

    async def ensure() -> Killed:
        return Killed()

    async with supervisor_and_client(pods_environ) as (supervisor, _):
        with pytest.MonkeyPatch.context() as patched, trio.fail_after(WAIT_SECONDS):
            patched.setattr(supervisor.launcher, "ensure", ensure)
            with pytest.raises(
                StartFailed, match="the launcher was killed at it, twice"
            ) as refused:
                await supervisor.launcher.probe(ScopeGrant(), None)
            assert refused.value.data["step"] == "probe"
    assert asked == 2
