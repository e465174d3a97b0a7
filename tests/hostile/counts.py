"""What supervisor and launcher hold, counted from outside; and the line through many counts.

Owns the reading of /proc and of the directories, and what counts as flat. Used by `cycles`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from pods.paths import SupervisorPlaces

LAUNCHER: Final = "pods-launcher"
SPARE: Final = "pods-spare"
EXPECTED: Final = ("launcher", "spare", "spare", "supervisor")
"""Every process where no pod is: the spare is a keeper and a pod."""

MAX_BYTES_A_CYCLE: Final = 100.0
"""A megabyte in 10,000 cycles: less than what allocators move to and fro, and far less than the
smallest thing that would be kept of each pod."""

SETTLING: Final = 1 / 3
"""Part of the samples at the beginning in which caches and bounded memories fill up."""


@frozen(kw_only=True)
class Counts:
    """One look, while no pod is there.

    Attributes:
        descriptors, rss, pss: per process, `supervisor` and `launcher`; sizes in bytes.
        processes: what lives in the namespace besides this process, by kind, sorted.
        zombies: processes that nobody has waited for.
        runtime, state: what lies below each directory, besides locks, logs and journals.
        leases: of the registry.
    """

    cycles: int
    descriptors: dict[str, int]
    rss: dict[str, int]
    pss: dict[str, int]
    processes: tuple[str, ...]
    zombies: int
    runtime: tuple[str, ...]
    state: tuple[str, ...]
    leases: int

    def settled(self) -> bool:
        """Whether nothing but what is always there is there."""
        return self.processes == EXPECTED and not self.zombies and not self.leases

    def held(self) -> dict[str, object]:
        """All that must be the same after any number of cycles."""
        return {
            "descriptors": self.descriptors,
            "processes": self.processes,
            "zombies": self.zombies,
            "runtime": self.runtime,
            "state": self.state,
            "leases": self.leases,
        }


def others() -> dict[int, tuple[str, str]]:
    """The processes of this namespace besides this one: pid -> name, letter of its state."""
    found: dict[int, tuple[str, str]] = {}
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        # One that has ended meanwhile is not there any more when it is read.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
            if pid != os.getpid():
                found[pid] = name.partition("(")[2], rest.split()[0]
    return found


def count(cycles: int, places: SupervisorPlaces, supervisor: int) -> Counts:
    """Look at everything once.

    Args:
        cycles: how many there were.
        places: the supervisor's.
        supervisor: its pid; this process must be the first of its PID namespace.
    """
    zombies = 0
    kinds: list[str] = []
    pids = {"supervisor": supervisor}
    for pid, (name, state) in others().items():
        if state in "ZX":
            zombies += 1
        elif pid == supervisor:
            kinds.append("supervisor")
        elif name == LAUNCHER:
            kinds.append("launcher")
            pids["launcher"] = pid
        else:
            kinds.append("spare" if name == SPARE else f"{name} {pid}")
    registry = Path(places.places.registry)
    leases = len(json.loads(registry.read_text())["leases"]) if registry.exists() else 0
    return Counts(
        cycles=cycles,
        descriptors={who: len(os.listdir(f"/proc/{pid}/fd")) for who, pid in pids.items()},
        rss={who: _memory(pid, "Rss:") for who, pid in pids.items()},
        pss={who: _memory(pid, "Pss:") for who, pid in pids.items()},
        processes=tuple(sorted(kinds)),
        zombies=zombies,
        runtime=below(places.places.runtime),
        state=below(places.places.state),
        leases=leases,
    )


def _memory(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {field} in smaps_rollup")


def below(root: str) -> tuple[str, ...]:
    """What lies below a directory.

    Relative paths; journals, the audit's too, are cut into segments and may have any number; locks
    stay.
    """
    return tuple(
        sorted(
            os.path.relpath(f"{directory}/{name}", root)
            for directory, places, files in os.walk(root)  # a spare's own may go meanwhile
            for name in (*places, *files)
            if not name.endswith(".lock")
            and os.path.basename(directory) not in ("journal", "audit")
        )
    )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line that lies nearest to the points; nothing where there are not two."""
    if len(points) < 2:
        return 0.0
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0


def after_settling(samples: Sequence[Counts]) -> Sequence[Counts]:
    """The samples that count for memory."""
    return samples[int(len(samples) * SETTLING) :]


def differences(samples: Sequence[Counts]) -> list[str]:
    """What is not as it was in the first sample, or is there and should not be."""
    first = samples[0].held()
    wrong: list[str] = []
    for sample in samples:
        if not sample.settled():
            wrong.append(
                f"after {sample.cycles}: {sample.processes}, {sample.zombies} zombies, "
                f"{sample.leases} leases"
            )
        for what, now in sample.held().items():
            if now != first[what]:
                wrong.append(f"after {sample.cycles}: {what}: {first[what]} -> {now}")
    return wrong
