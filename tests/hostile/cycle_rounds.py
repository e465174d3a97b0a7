"""The cycles themselves, in the PID namespace that `cycles` has made; and the judgement of them.

Owns the supervisor of the run, who does which cycle when, and when to look.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Final

import trio
from counts import (
    MAX_BYTES_A_CYCLE,
    Counts,
    after_settling,
    below,
    count,
    differences,
    others,
    slope,
)
from endings import ENDINGS, Ground

from pods.client import aio
from pods.paths import SupervisorPlaces
from pods.supervisor.records import read_token
from supervisor_support import daemon, places_of, wait_process_ended

SAMPLES: Final = 20
ENOUGH_FOR_MEMORY: Final = 1000
"""Cycles below which the noise of a sample is more than what a leak would make."""

CYCLE_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.2
"""Between two looks at what has not settled yet: nobody announces it."""


class Rounds:
    """One run.

    Args:
        places: the supervisor's.
        supervisor: its pid.
        directory: the run's own.
        width: how many cycles at once.
        seed: of everything that is left to chance.
    """

    def __init__(
        self, places: SupervisorPlaces, supervisor: int, directory: str, width: int, seed: int
    ) -> None:
        self.places = places
        self._supervisor = supervisor
        self._directory = directory
        self._width = width
        self._seed = seed
        token = read_token(places.owner_token)
        assert token is not None
        self.token = token
        self.done: Counter[str] = Counter()
        self.samples: list[Counts] = []

    async def run(self, cycles: int) -> None:
        """All cycles, with a look after each part of them."""
        numbers = iter(range(cycles))
        part = max(len(ENDINGS), -(-cycles // SAMPLES))
        while batch := list(islice(numbers, part)):
            left = iter(batch)
            async with trio.open_nursery() as nursery:
                for _ in range(self._width):
                    nursery.start_soon(self._work, left)
            await self._clear_late()
            sample = await self._settled(batch[-1] + 1)
            self.samples.append(sample)
            print(
                f"{sample.cycles:6} cycles  descriptors {sample.descriptors}  rss {sample.rss}  "
                f"pss {sample.pss}  {len(sample.processes)} processes  {sample.zombies} zombies  "
                f"{len(sample.runtime)} + {len(sample.state)} files  {sample.leases} leases",
                flush=True,
            )

    async def _work(self, numbers: Iterator[int]) -> None:
        kinds = list(ENDINGS)
        for number in numbers:
            kind = kinds[number % len(kinds)]
            write = f"{self._directory}/w{number}"
            os.mkdir(write)
            try:
                with trio.fail_after(CYCLE_SECONDS):
                    await self._cycle(number, kind, write)
            except Exception as error:
                raise RuntimeError(f"cycle {number} ({kind}) went wrong") from error
            self.done[kind] += 1

    async def _cycle(self, number: int, kind: str, write: str) -> None:
        async with aio.connect_socket(self.places.socket, self.token) as client:
            await ENDINGS[kind](
                Ground(
                    socket=self.places.socket,
                    token=self.token,
                    client=client,
                    name=f"c{number}",
                    write=write,
                    chance=random.Random(self._seed + number),
                )
            )

    async def _clear_late(self) -> None:
        """Stop what a client that went away asked for and nobody had heard yet when it looked."""
        async with aio.connect_socket(self.places.socket, self.token) as client:
            for row in (await client.list()).pods:
                await client.stop(row.name, grace_seconds=1.0)
                await client.remove(row.name)

    async def _settled(self, cycles: int) -> Counts:
        """The counts once nothing moves and all is as it was before; else as it is after a while.

        Connections that were closed here are closed there a moment later.
        """
        deadline = trio.current_time() + SETTLE_SECONDS
        before: Counts | None = None
        while True:
            sample = count(cycles, self.places, self._supervisor)
            wanted = self.samples[0] if self.samples else before
            calm = wanted is not None and wanted.held() == sample.held()
            if (sample.settled() and calm) or trio.current_time() > deadline:
                return sample
            before = sample
            await trio.sleep(LOOK_SECONDS)


def judge_memory(samples: list[Counts]) -> list[str]:
    """Print the slopes; what is wrong with them where the run is long enough to tell."""
    last = samples[-1]
    wrong: list[str] = []
    for kind in ("rss", "pss"):
        for who in last.rss:
            points = [
                (float(one.cycles), float(getattr(one, kind)[who]))
                for one in after_settling(samples)
            ]
            grown = slope(points)
            print(f"{who:<10} {kind}: {grown:+.1f} bytes a cycle, {points[-1][1] / 1e6:.2f} MB")
            if last.cycles >= ENOUGH_FOR_MEMORY and grown > MAX_BYTES_A_CYCLE:
                wrong.append(f"{kind} of the {who} grows by {grown:.0f} bytes a cycle")
    return wrong


async def _shut_down(rounds: Rounds, supervisor: subprocess.Popen[bytes]) -> list[str]:
    """End the supervisor; what is there after it and should not be."""
    async with aio.connect_socket(rounds.places.socket, rounds.token) as client:
        await client.shutdown(stop_pods=True)
    await wait_process_ended(supervisor)
    left = [f"after the end: process {pid} {what}" for pid, what in others().items()]
    return left + [f"after the end: {path}" for path in below(rounds.places.places.runtime)]


def main(directory: str, cycles: int, width: int, seed: int) -> int:
    assert os.getpid() == 1, "this belongs in a PID namespace of its own"
    environ = {
        **os.environ,
        "PODS_RUNTIME_DIR": f"{directory}/r",
        "PODS_STATE_DIR": f"{directory}/s",
        "PODS_EXTRA_READ": os.path.dirname(os.path.abspath(__file__)),
    }
    begun = time.monotonic()
    with daemon(environ, idle_exit_seconds=3600.0) as supervisor:
        rounds = Rounds(places_of(environ, "test"), supervisor.pid, directory, width, seed)
        trio.run(rounds.run, cycles)
        left = trio.run(_shut_down, rounds, supervisor)
    for kind, number in rounds.done.items():
        print(f"{number:6}  {kind}")
    wrong = differences(rounds.samples) + judge_memory(rounds.samples) + left
    for one in wrong:
        print(f"LEAK: {one}")
    print(f"{cycles} cycles, {len(wrong)} leaks, {time.monotonic() - begun:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
