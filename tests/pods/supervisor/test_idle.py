"""With nothing to do, every process of ours sleeps without a deadline: no timer wakes any of them.

Asked of the kernel: the call in which each thread sleeps, and the timeout that it was given. That
is evidence of the next hour, without waiting for any of it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from pods_protocol.values import Limits
from supervisor_support import NOTHING, WAIT_SECONDS, client_of, daemon, left_in, wait_text
from supervisor_support import wait_process_ended as ended

pytestmark = pytest.mark.slow

EPOLL_WAITS = {"x86_64": {232, 281}, "aarch64": {22}}
"""The numbers of `epoll_wait` and `epoll_pwait`, by machine."""

POLLS = {"x86_64": 7, "aarch64": 73}
"""Of `poll`, in which keepers and launchers wait, and of `ppoll`, which is `poll` on aarch64."""

FUTEX = {"x86_64": 202, "aarch64": 98}

NO_DEADLINE_MS = 24 * 60 * 60 * 1000
"""What trio gives the kernel when no task has a deadline; everything else says -1."""


def _sleeps_in(thread: Path) -> tuple[int, int] | None:
    """The number of the call in which a thread sleeps and its timeout; None: it runs."""
    words = (thread / "syscall").read_text().split()
    if words[0] in ("running", "-1"):
        return None
    number, third, fourth = int(words[0]), int(words[3], 16), int(words[4], 16)
    if number == POLLS["aarch64"]:  # no pointer to a time is for ever
        return number, -1 if third == 0 else third
    timeout = (third if number in POLLS.values() else fourth) & 0xFFFFFFFF
    return number, timeout - (1 << 32) if timeout >> 31 else timeout


def what_wakes(pid: int) -> str | None:
    """What will wake a process though nobody asks it anything; None: nothing will."""
    machine = os.uname().machine
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            call = _sleeps_in(thread)
        except (FileNotFoundError, ProcessLookupError):
            continue  # a spare one that ended as it was looked at
        if call is None:
            return f"{thread.name} runs"
        number, timeout = call
        if int(thread.name) == pid:
            if number not in EPOLL_WAITS[machine] | {POLLS[machine]}:
                return f"the main thread sleeps in call {number}"
            if timeout not in (-1, NO_DEADLINE_MS):
                return f"a deadline in {timeout} ms"
        # Spare threads of trio wait for work, ten seconds at most, and then end: once each.
        elif number != FUTEX[machine]:
            return f"thread {thread.name} sleeps in call {number}"
    return None


@pytest.mark.skipif(os.uname().machine not in FUTEX, reason="numbers of calls differ by machine")
async def test_nothing_wakes_idle_processes(pods_environ: dict[str, str]) -> None:
    with daemon(pods_environ) as process:
        async with client_of(pods_environ) as client:
            with trio.fail_after(WAIT_SECONDS):
                await client.spawn("new", agent="echo")
                await client.spawn("used", agent="shell", prompt="echo done")
                await wait_text(client, "used", "done")
                await client.wait("used")
                limits = Limits(turn_seconds=60, memory_bytes=2**30, processes=50)
                await client.spawn("limited", prompt="echo done", limits=limits)
                await wait_text(client, "limited", "done")
                await client.wait("limited")
                launcher = (await client.doctor()).supervisor.launcher_pid
                idle = {"supervisor": process.pid, "launcher": launcher}
                for name in ("new", "used", "limited"):
                    seen = await client.inspect(name)
                    idle |= {f"pod {name}": seen.pod.pid, f"keeper of {name}": seen.keeper_pid}
            for what, pid in idle.items():
                assert pid is not None, what
                with trio.move_on_after(WAIT_SECONDS) as patience:
                    # What was just done may leave a deadline that passes once.
                    while what_wakes(pid) is not None:  # noqa: ASYNC110 - /proc tells nobody
                        await trio.sleep(0.01)
                assert not patience.cancelled_caught, f"{what} is woken: {what_wakes(pid)}"
            with trio.fail_after(WAIT_SECONDS):
                await client.shutdown(stop_pods=True)
        assert await ended(process) == 0
    assert left_in(pods_environ) == NOTHING
