"""What a dead pod left goes on forking, or comes again and again: its lease waits for the end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Final, cast

import pytest
import trio
import trio.testing
from attrs import define, field

from pods.paths import Places, places_from
from pods.scope.identity import identify, is_alive
from pods.supervisor import hunt
from pods.supervisor.core import Supervisor
from pods.supervisor.hunt import Caught, end_strays
from pods_protocol.values import ProcessIdentity
from supervisor_support import WAIT_SECONDS

POD: Final = "0123456789ab"

FORKING: Final = """
import os, sys, time
end = time.monotonic() + 60
idle = int(sys.argv[1])
while time.monotonic() < end:
    if os.fork():
        if not idle:
            os._exit(0)
        idle -= 1
        os.write(1, b"!")
        time.sleep(60)
        os._exit(0)
    os.write(1, b".")
"""
"""A chain: each process forks the next and ends, but the first few, which stay."""


@define
class Script:
    """A supervisor as far as the hunt asks one, and looks that find what the test says.

    Attributes:
        finds: how many of the looks to come find something.
        looks: when there was one, by trio's clock.
        logged: what the supervisor was told.
    """

    places: Places
    finds: float = 0
    looks: list[float] = field(factory=list[float])
    logged: list[str] = field(factory=list[str])

    @property
    def supervisor(self) -> Supervisor:
        """One with these places and this log, and nothing else."""
        holder = SimpleNamespace(places=self.places)
        return cast("Supervisor", SimpleNamespace(places=holder, log=self.logged.append))

    async def look(self, *_: object) -> Caught:
        """Stand in for a look: what it sees has ended before it could be stopped."""
        self.looks.append(trio.current_time())
        self.finds -= 1
        return Caught(seen=int(self.finds >= 0))


@pytest.fixture
def script(pods_environ: dict[str, str]) -> Script:
    return Script(places_from(pods_environ, os.geteuid()))


@contextmanager
def forking(places: Places, idle: int) -> Generator[int]:
    """A chain of `POD`; yields a pipe that has an end once nothing of it lives any more."""
    read, write = os.pipe()
    environ = {"PODS_ID": POD, "PODS_STATE_DIR": places.state}
    command = [sys.executable, "-I", "-S", "-c", FORKING, str(idle)]
    with subprocess.Popen(command, env=environ, stdout=write, start_new_session=True) as first:
        os.close(write)
        try:
            os.read(read, 1)  # it forks
            yield read
        finally:
            first.kill()
            os.close(read)  # what is left of it dies of its next dot


@contextmanager
def sleeping(places: Places, pod_id: str) -> Generator[ProcessIdentity]:
    """A process that carries an id, and does nothing."""
    environ = {"PODS_ID": pod_id, "PODS_STATE_DIR": places.state}
    with subprocess.Popen(["/bin/sleep", "1000"], env=environ) as process:
        try:
            yield identify(process.pid)
        finally:
            process.kill()


async def wait_end(pipe: int) -> None:
    """Read a pipe until nobody holds its other end."""
    while await trio.to_thread.run_sync(os.read, pipe, 65536, abandon_on_cancel=True):
        pass


@pytest.mark.parametrize("idle", [0, 20])
async def test_what_keeps_forking_is_ended_with_all_that_it_forked(
    script: Script, idle: int
) -> None:
    with trio.fail_after(WAIT_SECONDS), forking(script.places, idle) as pipe:
        assert await end_strays(script.supervisor, POD) > 0
        await wait_end(pipe)


async def test_processes_of_another_pod_are_left_alone(script: Script) -> None:
    with trio.fail_after(WAIT_SECONDS), sleeping(script.places, "ba9876543210") as other:
        assert await end_strays(script.supervisor, POD) == 0
        assert is_alive(other)
    assert script.logged == []


async def test_one_look_that_finds_nothing_is_no_proof(
    script: Script, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    seen = iter([1, 0, 1, *[0] * (hunt.EMPTY_LOOKS - 1), 1])

    async def look(*_: object) -> Caught:
        script.looks.append(trio.current_time())
        return Caught(seen=next(seen, 0))

    monkeypatch.setattr(hunt, "end_round", look)
    assert await end_strays(script.supervisor, POD) == 0
    assert len(script.looks) == 3 + hunt.EMPTY_LOOKS - 1 + 1 + hunt.EMPTY_LOOKS


async def test_what_comes_again_and_again_is_looked_for_rarely_and_told_of_once(
    script: Script, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(hunt, "end_round", script.look)
    script.finds = float("inf")
    with trio.move_on_after(3600.0) as hour:
        await end_strays(script.supervisor, POD)
    assert hour.cancelled_caught, "its lease is kept"
    assert len(script.looks) < hunt.MAX_ROUNDS + 1 + 3600.0 / hunt.RARE_SECONDS
    (said,) = script.logged
    assert f"PODS_ID={POD}" in said
    script.finds = 1
    began = trio.current_time()
    await end_strays(script.supervisor, POD)
    assert trio.current_time() - began < 1.0, "once it is over, so is the hunt"
