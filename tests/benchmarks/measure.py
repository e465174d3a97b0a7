"""Medians, interleaved rounds and a table: what every benchmark here shares."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypedDict

from pods.supervisor.__main__ import NEW_OBJECTS


class Row(TypedDict):
    """One line of the report; times are seconds, sizes bytes, as `unit` says."""

    what: str
    ours: float
    anchor: float
    anchor_name: str
    unit: str
    ratio: float
    target: str
    met: bool


def row(
    what: str,
    ours: float,
    anchor: float,
    anchor_name: str,
    *,
    unit: str = "s",
    at_most: float | None = None,
    at_least: float | None = None,
) -> Row:
    """A row whose ratio is ours over the anchor, judged against one bound."""
    ratio = ours / anchor if anchor else float("inf")
    if at_most is not None:
        met, target = ratio <= at_most, f"<= {at_most:g} x"
    elif at_least is not None:
        met, target = ratio >= at_least, f">= {at_least:g} x"
    else:
        met, target = True, "-"
    return Row(
        what=what,
        ours=ours,
        anchor=anchor,
        anchor_name=anchor_name,
        unit=unit,
        ratio=ratio,
        target=target,
        met=met,
    )


def shown(value: float, unit: str) -> str:
    """A value with a unit that a person reads."""
    if unit == "s":
        return f"{value * 1e6:.0f} us" if value < 1e-3 else f"{value * 1e3:.2f} ms"
    if unit == "B":
        return f"{value / 1e6:.2f} MB"
    return f"{value:,.0f} {unit}"


def print_table(rows: Sequence[Row]) -> None:
    """Print the rows aligned."""
    lines = [("what", "ours", "anchor", "", "ratio", "target", "")]
    lines += [
        (
            each["what"],
            shown(each["ours"], each["unit"]),
            shown(each["anchor"], each["unit"]),
            each["anchor_name"],
            f"{each['ratio']:.2f}",
            each["target"],
            "met" if each["met"] else "MISSED",
        )
        for each in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(7)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


async def interleaved(
    cases: dict[str, Callable[[], Awaitable[float]]], rounds: int
) -> dict[str, float]:
    """Run every case once a round, in turn; the median of what each returned."""
    seen: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            gc.collect()
            seen[name].append(await case())
    return {name: statistics.median(values) for name, values in seen.items()}


def freeze_imports() -> None:
    """Keep the collector off what was imported, and let it wait, as a supervisor's daemon does.

    An embedded supervisor shares its program's collector, whose full passes are as long as that
    program is large: that is the benchmark's size and not ours.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)


def cpu_seconds(pid: int) -> float:
    """What the main thread of a process has run on a processor so far, in seconds.

    What else the machine does moves this far less than the time on the wall.
    """
    with open(f"/proc/{pid}/schedstat") as schedule:
        return int(schedule.read().split()[0]) / 1e9


async def cpu_timed(
    pids: Sequence[int], repeat: int, action: Callable[[], Awaitable[object]]
) -> float:
    """Processor seconds of these processes together for one action, over `repeat` of them."""
    before = sum(map(cpu_seconds, pids))
    for _ in range(repeat):
        await action()
    return (sum(map(cpu_seconds, pids)) - before) / repeat


async def timed(repeat: int, action: Callable[[], Awaitable[object]]) -> float:
    """The median of `repeat` timings of one action, in seconds."""
    seen: list[float] = []
    for _ in range(repeat):
        start = time.perf_counter()
        await action()
        seen.append(time.perf_counter() - start)
    return statistics.median(seen)
