"""The limits of pods as numbers: what may be asked, what a parent has left, who sees to each.

Owns the rule that a child never has more than its parent has left. Pure. Three of the limits are
shared: what a pod takes of `memory_bytes`, `processes` and `turns`, and what its living children
hold of them, comes out of what it was given, so that ten children cannot each take the whole. The
others are ceilings: each child may have as much as its parent. Used by `plan`, `restore` and
`inspect`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal

import attrs
from attrs import frozen

from pods.keeper.backstop import data_ceiling
from pods.keeper.limit_clocks import (
    GRACE_SECONDS,
    LEFT_LOOK_SECONDS,
    STRUCK_SECONDS,
    TURN_LOOK_SECONDS,
)
from pods.pod.cgroup_rules import task_ceiling
from pods_protocol.bounds import MAX_COUNTED_PROCESSES
from pods_protocol.errors import CapacityReached, InvalidParams
from pods_protocol.values import HeldLimit, LimitName, Limits

LIMIT_NAMES: Final[tuple[LimitName, ...]] = tuple(
    one.name  # type: ignore[misc]  # attrs gives names as plain strings; a test compares the two
    for one in attrs.fields(Limits)
)

LOWEST: Final[Mapping[LimitName, float]] = {
    "memory_bytes": 16 * 1024 * 1024,  # below it no interpreter starts
    "output_bytes": 1024,  # a sentence, and the words around it
}
"""The lowest value where it is not simply above 0: below it nothing would work at all."""

HIGHEST: Final[Mapping[LimitName, float]] = {"processes": MAX_COUNTED_PROCESSES - 1}
"""The highest value where there is one: nobody would ever count more."""

SHARED: Final[frozenset[LimitName]] = frozenset({"memory_bytes", "processes", "turns"})
"""What the children of a pod share."""


@frozen(kw_only=True)
class Used:
    """What of its limits a pod has used up, or lent.

    Attributes:
        seconds: since it was spawned.
        turns: its own so far, and those of its children that have ended.
        memory_bytes, processes: its own now, as they are counted for its limits.
        lent: the limits of its living children.
    """

    seconds: float
    turns: int
    memory_bytes: int = 0
    processes: int = 0
    lent: tuple[Limits, ...] = ()


def check_limits(limits: Limits) -> None:
    """Make sure that each value can be a limit.

    Raises:
        InvalidParams: it cannot; `path` names it.
    """
    for name in LIMIT_NAMES:
        value: float | None = getattr(limits, name)
        if value is None:
            continue
        lowest = LOWEST.get(name, 0)
        highest: float = HIGHEST[name] if name in HIGHEST else 2**53 - 1
        good = math.isfinite(value) and value > 0 and lowest <= value <= highest
        if not good:
            bound = f"at least {_number(lowest)}" if lowest else "above 0"
            if name in HIGHEST:
                bound += f" and at most {_number(highest)}"
            raise InvalidParams(
                f"cannot limit {name} to {_number(value)}: it must be {bound}; give another, "
                "or leave it out for no limit",
                path=f"limits.{name}",
            )


def _number(value: float) -> str:
    """In full where it is whole: `16777216`, not `1.67772e+07`, which nobody can give."""
    return f"{value:.0f}" if value % 1 == 0 and abs(value) <= 2**53 else f"{value:g}"


def left_of(limits: Limits, used: Used) -> Limits:
    """What a pod with these limits may still give to one child; None where it has no limit."""
    left: dict[str, float | int | None] = {}
    for name in LIMIT_NAMES:
        value = getattr(limits, name)
        if value is not None:
            if name == "wall_seconds":
                value = max(0.0, value - used.seconds)
            if name in SHARED:
                lent = sum(getattr(one, name) or 0 for one in used.lent)
                value = max(0, value - getattr(used, name) - lent)
        left[name] = value
    return Limits(**left)  # type: ignore[arg-type]  # whole numbers stay whole above


def attenuate(name: str, asked: Limits, parent: str, limits: Limits, used: Used) -> Limits:
    """The limits of a child: what it asks for, else what is left, and never more than that.

    Of what children share, a child that asks for nothing gets half of what is left, so that there
    is something for the next one.

    Args:
        name: of the child, for the error.
        asked: its own limits.
        parent: its parent's name.
        limits: the parent's.
        used: of those.

    Raises:
        CapacityReached: it asks for more than is left, or nothing is left; `data` has `limit_name`,
            `limit`, `in_use`, `asked` and `left`.
    """
    left = left_of(limits, used)
    given: dict[str, float | int | None] = {}
    for limit_name in LIMIT_NAMES:
        has, wants = getattr(left, limit_name), getattr(asked, limit_name)
        if has is None:
            given[limit_name] = wants
            continue
        if wants is None:
            wants = math.ceil(has / 2) if limit_name in SHARED else has
        lowest = LOWEST.get(limit_name, 0)
        if wants > has or wants <= 0 or wants < lowest:
            raise _too_much(name, parent, limit_name, limits, asked, has)
        given[limit_name] = wants
    return Limits(**given)  # type: ignore[arg-type]  # whole numbers stay whole above


def check_share(
    name: str, held: Limits, turns_had: int, parent: str, limits: Limits, used: Used
) -> None:
    """Make sure that a pod which is restored fits into what is left of what children share.

    Its other limits are ceilings, and its time is counted from its first spawn.

    Args:
        name: of the pod, for the error.
        held: its limits.
        turns_had: how many of its turns its parent has counted: they are used already.
        parent: its parent's name.
        limits: the parent's.
        used: of those.

    Raises:
        CapacityReached: it does not; `data` as of `attenuate`.
    """
    left = left_of(limits, used)
    for limit_name in LIMIT_NAMES:
        has, needs = getattr(left, limit_name), getattr(held, limit_name)
        if limit_name not in SHARED or has is None or needs is None:
            continue
        needs -= turns_had if limit_name == "turns" else 0
        if needs > has:
            limit = getattr(limits, limit_name)
            raise CapacityReached(
                f"cannot restore pod {name} with {needs} of {limit_name}: its parent {parent} has "
                f"{has} left of {limit}; do not retry: stop a child that holds some, or finish the "
                "work yourself",
                limit_name=limit_name,
                limit=limit,
                in_use=limit - has,
                asked=needs,
                left=has,
            )


def _too_much(
    name: str, parent: str, limit_name: LimitName, limits: Limits, asked: Limits, left: float
) -> CapacityReached:
    limit, wants = getattr(limits, limit_name), getattr(asked, limit_name)
    enough = left > 0 and left >= LOWEST.get(limit_name, 0)
    advice = (
        f"ask for at most {left:.17g}"
        if enough
        else "do not retry: stop a child that holds some, or finish the work yourself"
        if limit_name in SHARED
        else "do not retry: finish the work yourself"
    )
    wish = "a share" if wants is None else f"{wants:.17g}"
    return CapacityReached(
        f"cannot spawn pod {name} with {wish} of {limit_name}: its parent {parent} has "
        f"{left:.17g} left of {limit:.17g}; {advice}",
        limit_name=limit_name,
        limit=limit,
        in_use=limit - left,
        asked=wants,
        left=left,
    )


_OR_KEEPER: Final[Mapping[LimitName, str]] = {
    name: f"where it has not after {seconds:g} s more, its keeper ends the pod"
    for name, seconds in GRACE_SECONDS.items()
}

_COUNTED: Final = (
    f"polled: counted by the pod ten times a second while a turn runs, and by its keeper (each "
    f"{TURN_LOOK_SECONDS:g} s), which alone counts what a turn left running (each "
    f"{LEFT_LOOK_SECONDS:g} s) and ends the pod where it stays over the limit"
)

_KEPT: Final = frozenset({*GRACE_SECONDS, "memory_bytes", "processes"})
"""What the keeper sees to where the pod does not."""

_HOW: Final[Mapping[LimitName, str]] = {
    "wall_seconds": f"a timer of the pod, which ends it; {_OR_KEEPER['wall_seconds']}",
    "turn_seconds": f"a timer of the pod, which ends the turn; {_OR_KEEPER['turn_seconds']}",
    "idle_seconds": f"a timer of the pod, which ends it; {_OR_KEEPER['idle_seconds']}",
    "memory_bytes": f"{_COUNTED}; memory of no file, of all its processes; what grows faster is "
    "found late",
    "processes": f"{_COUNTED}; what forks faster is found late (RLIMIT_NPROC counts all processes "
    "of the user)",
    "open_files": "rlimit: RLIMIT_NOFILE of each process",
    "output_bytes": "counted by the pod as its agent speaks; the turn ends",
    "turns": "counted by the pod, which takes no further message",
}


_STRUCK: Final = (
    "the kernel tells the pod, which ends the turn, or itself where none runs; where it has not "
    f"after {STRUCK_SECONDS:g} s, its keeper ends it"
)


def _in_cgroup(name: LimitName, value: float, cgroup: str) -> str:
    """How a limit is kept by a pod's own cgroup; empty where it is not."""
    if name == "memory_bytes":
        return (
            f"cgroup: memory.high of {cgroup}, of all its processes, with what lies in /dev/shm or "
            f"the like; {_STRUCK}. At memory.max, an eighth beyond, the kernel kills the largest"
        )
    if name == "processes":
        return (
            f"cgroup: those in {cgroup} are {_COUNTED.removeprefix('polled: ')}; what forks faster "
            f"is stopped by pids.max at {task_ceiling(int(value))} threads: {_STRUCK}"
        )
    return ""


def _polled_beside(name: LimitName, value: float, cgroup: str) -> str:
    """How a limit is kept where the keeper cannot listen to the group; empty where it need not."""
    if name == "memory_bytes":
        return (
            f"polled: counted by its keeper, which cannot listen to {cgroup} (each "
            f"{TURN_LOOK_SECONDS:g} s while a turn runs, each {LEFT_LOOK_SECONDS:g} s what a turn "
            "left running), and ends the pod where it stays over the limit; memory of no file, of "
            "all its processes. At memory.max, an eighth beyond, the kernel kills the largest"
        )
    if name == "processes":
        return (
            f"{_COUNTED}; it cannot listen to {cgroup}, where what forks faster is stopped by "
            f"pids.max at {task_ceiling(int(value))} threads"
        )
    return ""


def held_limits(limits: Limits, cgroup: str = "", *, polled: bool = False) -> tuple[HeldLimit, ...]:
    """Every limit that is set, and who sees to it.

    Args:
        limits: of the pod.
        cgroup: the group of its own that it is in; empty where there is none.
        polled: its keeper cannot listen to that.
    """
    grouped = _polled_beside if polled else _in_cgroup
    found: list[HeldLimit] = []
    for name in LIMIT_NAMES:
        value = getattr(limits, name)
        if value is None:
            continue
        how = (grouped(name, value, cgroup) if cgroup else "") or _HOW[name]
        if name == "memory_bytes":
            how += f"; RLIMIT_DATA keeps each process below {data_ceiling(value)} reserved bytes"
        by: Literal["kernel", "keeper", "pod"] = "keeper" if name in _KEPT else "pod"
        if name == "open_files" or (cgroup and name == "memory_bytes" and not polled):
            by = "kernel"
        found.append(HeldLimit(name=name, value=value, by=by, how=how))
    return tuple(found)
