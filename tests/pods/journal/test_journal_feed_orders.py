"""Fan-out in every order in which appends, refusals and drains may come."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import pytest
import trio

from journal_support import FakeSink, settle, text
from pods.journal.feed import Feed
from pods.journal.store import Journal


@pytest.mark.parametrize("plan", [(False,), (True, False), (True, True, False), (False, True)])
@pytest.mark.parametrize("tail_bytes", [1, 10_000])
def test_an_append_at_any_step_of_the_pump_makes_no_gap_and_no_repeat(
    tmp_path: Path, plan: tuple[bool, ...], tail_bytes: int
) -> None:
    """One event, then a burst, put before every pair of scheduler steps of a whole replay.

    `plan` says of each gift whether the sink is full afterwards; the sink drains by itself a step
    later. Small batches make the replay long; a tail of one byte makes it go back to the file.
    """
    for number, (first, second) in enumerate(itertools.product(range(1, 13), repeat=2)):
        directory = tmp_path / f"{number}"
        with Journal.open(str(directory)) as journal:
            text(journal, 3)
            seqs = trio.run(_run_schedule, journal, plan, tail_bytes, first, second)
            assert seqs == list(range(1, journal.last_seq + 1)), (first, second)


async def _run_schedule(
    journal: Journal, plan: tuple[bool, ...], tail_bytes: int, first: int, second: int
) -> list[int]:
    class Planned(FakeSink):
        answers = iter(plan)

        def try_send(self, data: bytes) -> bool:
            self.full = next(self.answers, False)
            return super().try_send(data)

        async def drained(self) -> None:
            await trio.lowlevel.checkpoint()
            self.drain()
            await super().drained()

    class AppendAtSteps(trio.abc.Instrument):
        steps = 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            if task is pump_task[0]:
                self.steps += 1
                if self.steps == first:
                    text(journal)
                if self.steps == second:
                    text(journal, 3)

    async def pump() -> None:
        pump_task.append(trio.lowlevel.current_task())
        await trio.lowlevel.checkpoint()
        await feed.pump(sink, since=0)

    pump_task: list[trio.lowlevel.Task] = [trio.lowlevel.current_task()]
    del pump_task[0]
    feed = Feed(journal, batch_bytes=1, tail_bytes=tail_bytes)
    sink = Planned()
    instrument = AppendAtSteps()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(instrument)
        text(journal)
        await trio.testing.wait_all_tasks_blocked()
        text(journal)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(instrument)
        nursery.cancel_scope.cancel()
    return sink.seqs


def test_every_order_of_appends_refusals_and_drains_makes_no_gap_and_no_repeat(
    tmp_path: Path,
) -> None:
    """All words of four letters: append one, append three, be full from now on, drain."""
    for number, word in enumerate(itertools.product("abfd", repeat=4)):
        with Journal.open(str(tmp_path / f"{number}")) as journal:
            text(journal, 2)
            filtered, everything = trio.run(_run_word, journal, "".join(word))
            assert everything == list(range(2, journal.last_seq + 1)), word
            assert filtered == everything, word


async def _run_word(journal: Journal, word: str) -> tuple[list[int], list[int]]:
    feed = Feed(journal, batch_bytes=150, tail_bytes=400)
    sinks = [FakeSink(), FakeSink()]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(feed.pump, sinks[0], since=1, kinds=frozenset({"text"})))
        nursery.start_soon(partial(feed.pump, sinks[1], since=1))
        for letter in word:
            if letter == "a":
                text(journal)
            elif letter == "b":
                text(journal, 3)
            else:
                for sink in sinks:
                    if letter == "f":
                        sink.full = True
                    else:
                        sink.drain()
                await trio.testing.wait_all_tasks_blocked()
        for sink in sinks:
            await settle(sink, journal)
        nursery.cancel_scope.cancel()
    return sinks[0].seqs, sinks[1].seqs
