"""The points at which a campaign hurts processes, and what can happen there.

Owns two literal tables: kind of process -> point -> how far its calls are worth counting and what
makes them come; and the points that are left alone, each with its reason. A point is the call and
the module of ours that makes it (`injected/sitecustomize.py`). `campaign.py --census` prints what a
round without faults calls; `test_points.py` runs it and holds both tables to it, and a campaign's
report names what is in neither. Pure. Used by `plan`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

Need: TypeAlias = Literal[
    "always",
    "spawn",
    "start",
    "launcher",
    "end",
    "child",
    "crash",
    "orphan",
    "rotate",
    "trim",
    "doctor",
    "leave",
]
"""What a phase must hold for a point to come: a spawn, a supervisor's or a launcher's start, a
pod's end, a pod with a parent, a pod that is started again, a keeper without its launcher, journals
that are full soon, and kept in part, a look at the kernel, a supervisor that ends by itself."""

DISK: Final = ("kill_before", "kill_after", "enospc", "eio", "stop", "stop_after")
ENDS: Final = ("kill_before", "kill_after", "stop", "stop_after")

ACTIONS: Final[dict[str, tuple[str, ...]]] = {
    "create": ("kill_before", "kill_after", "enospc", "stop", "stop_after"),
    "write": ("kill_before", "kill_after", "torn", "short", "enospc", "stop", "stop_after"),
    "fsync": DISK,
    "fdatasync": DISK,
    "ftruncate": ("kill_before", "kill_after", "eio", "stop_after"),
    "rename": ("kill_before", "kill_after", "enospc", "stop", "stop_after"),
    "replace": ("kill_before", "kill_after", "enospc", "stop", "stop_after"),
    "link": ("kill_before", "kill_after", "enospc", "stop_after"),
    "unlink": ENDS,
    "rmdir": ENDS,
    "mkdir": ("kill_before", "kill_after", "enospc", "stop_after"),
    "fork": ("kill_before", "kill_after", "eagain", "stop", "stop_after"),
    "sendmsg": ("kill_before", "kill_after", "torn", "stop", "stop_after"),
    "send": ("kill_before", "kill_after", "torn", "cut", "stop", "stop_after"),
}
"""What can happen to a call, before and after it is made."""

ERRORS: Final = frozenset({"enospc", "eio", "eagain"})
"""These may go on for some calls: a disk is not full once."""


class Point(NamedTuple):
    """One place of one kind of process.

    Attributes:
        reach: the call at which it happens is drawn from 1 to this.
        need: what makes it come.
        actions: what can happen there; None is what `ACTIONS` has for the call.
    """

    reach: int
    need: Need = "always"
    actions: tuple[str, ...] | None = None


POINTS: Final[dict[str, dict[str, Point]]] = {
    "supervisor": {
        "create@journal.keeping": Point(1, "rotate"),
        "create@journal.opening": Point(1, "start"),
        "create@journal.snapshots": Point(1, "rotate"),
        "create@journal.store": Point(3, "end"),
        "create@rpc.unix": Point(1, "start"),
        "create@scope.lending": Point(1, "child"),
        "create@scope.storage": Point(6, "spawn"),
        "create@supervisor.head_start": Point(1, "start"),
        "create@supervisor.launcher_process": Point(1, "launcher"),
        "create@supervisor.log": Point(1, "crash"),
        "create@supervisor.records": Point(6, "spawn"),
        "create@supervisor.service": Point(1, "start"),
        "fdatasync@journal.keeping": Point(1, "rotate"),
        "fdatasync@journal.segments": Point(2, "rotate"),
        "fdatasync@journal.snapshots": Point(1, "rotate"),
        "fdatasync@journal.open_segment": Point(8),
        "fsync@scope.storage": Point(6, "spawn"),
        "ftruncate@journal.open_segment": Point(3, "end"),
        "link@scope.storage": Point(6, "spawn"),
        "mkdir@supervisor.bring_up": Point(6, "spawn"),
        "rename@journal.snapshots": Point(1, "rotate"),
        "rename@rpc.unix": Point(1, "start"),
        "rename@supervisor.leftovers": Point(1, "start"),
        "rename@supervisor.removal": Point(1, "end"),
        "rename@scope.storage": Point(8, "spawn"),
        "replace@scope.lending": Point(1, "child"),
        "rmdir@supervisor.removal": Point(2, "end"),
        "rmdir@supervisor.service": Point(1, "leave"),
        "send@rpc.stream": Point(24),
        "unlink@journal.keeping": Point(1, "trim"),
        "unlink@scope.lending": Point(1, "child"),
        "unlink@supervisor.bring_up": Point(4, "crash"),
        "unlink@supervisor.launcher_link": Point(1, "leave"),
        "unlink@supervisor.removal": Point(4, "end"),
        "unlink@supervisor.service": Point(2, "start"),
        "write@journal.snapshots": Point(1, "rotate"),
        "write@journal.open_segment": Point(12),
        "write@rpc.unix": Point(1, "start"),
        "write@scope.lending": Point(1, "child"),
        "write@scope.storage": Point(6, "spawn"),
        "write@supervisor.daemon": Point(1, "start"),
        "write@supervisor.log": Point(1, "crash"),
        "write@supervisor.records": Point(4, "spawn"),
    },
    "launcher": {
        "create@launcher.main": Point(1, "launcher"),
        "fork@keeper.probe": Point(2, "doctor"),
        "fork@launcher.loop": Point(2, "spawn"),
        "fork@launcher.spares": Point(3, "spawn"),
        "mkdir@journal.store": Point(1, "launcher"),
        "mkdir@rpc.unix": Point(4, "spawn"),
        "rmdir@keeper.spare": Point(1, "end"),
        "send@keeper.rpc_loop": Point(6, "spawn"),
        "sendmsg@keeper.handover": Point(2, "spawn"),
        "unlink@launcher.main": Point(1, "launcher"),
        "unlink@launcher.prepare": Point(1, "crash"),
        "write@keeper.handover": Point(2, "spawn", ("kill_before", "kill_after", "torn",
                                                    "enospc", "stop_after")),
        "write@launcher.main": Point(1, "launcher"),
    },
    "keeper": {
        "create@keeper.main": Point(1, "spawn", ENDS),  # `stderr.log`, by which a campaign tells

        "create@rpc.unix": Point(1, "end"),
        "fork@keeper.domain": Point(1, "orphan"),
        "fork@keeper.main": Point(1, "spawn"),
        "fork@keeper.spare": Point(1, "spawn"),
        "rename@rpc.unix": Point(1, "end"),
        "send@keeper.rpc_loop": Point(2, "end"),
        "sendmsg@keeper.handover": Point(1, "spawn"),
        "unlink@keeper.last_word": Point(2, "end"),
        "write@rpc.unix": Point(1, "end"),
    },
    "pod": {
        "create@journal.keeping": Point(1, "rotate"),
        "create@journal.opening": Point(1, "spawn"),
        "create@journal.snapshots": Point(1, "rotate"),
        "create@journal.store": Point(1, "spawn"),
        "create@keeper.confined": Point(1, "spawn"),
        "create@pod.actor": Point(2, "always", ENDS),
        "fdatasync@journal.keeping": Point(1, "rotate"),
        "fdatasync@journal.segments": Point(2, "rotate"),
        "fdatasync@journal.snapshots": Point(1, "rotate"),
        "fdatasync@journal.open_segment": Point(10),
        "ftruncate@journal.open_segment": Point(1, "end"),
        "mkdir@journal.store": Point(1, "spawn"),
        "mkdir@keeper.confined": Point(1, "spawn"),
        "rename@journal.snapshots": Point(1, "rotate"),
        "send@pod.main": Point(1, "end"),
        "send@rpc.stream": Point(24),
        "unlink@journal.keeping": Point(1, "trim"),
        "unlink@keeper.confined": Point(1, "spawn"),
        "unlink@keeper.pod_start": Point(1, "spawn"),
        "write@journal.snapshots": Point(1, "rotate"),
        "write@journal.open_segment": Point(24),
        "write@keeper.confined": Point(1, "spawn"),
        "write@pod.actor": Point(2, "always", ENDS),
    },
}  # fmt: skip
"""Kind of process -> point."""

LEFT_ALONE: Final[dict[tuple[str, str], str]] = {
    **{
        ("launcher", f"{call}@{module}"): "the launcher's rehearsal, before it has any client"
        for call, module in (
            ("create", "journal.opening"), ("create", "journal.store"),
            ("write", "journal.store"), ("ftruncate", "journal.store"),
            ("write", "journal.open_segment"), ("ftruncate", "journal.open_segment"),
            ("mkdir", "pod.rehearsal"), ("rmdir", "pod.rehearsal"), ("unlink", "pod.rehearsal"),
            ("send", "pod.rehearsal"), ("send", "rpc.stream"),
        )
    },
    **{
        ("pod", f"{call}@{module}"): "a spare's rehearsal: what dies there is no pod yet, and"
        " forks, handovers and the first writes of a pod hurt it soon after"
        for call, module in (
            ("mkdir", "pod.rehearsal"), ("rmdir", "pod.rehearsal"), ("unlink", "pod.rehearsal"),
            ("send", "pod.rehearsal"), ("write", "keeper.handover"),
        )
    },
    ("keeper", "write@keeper.handover"): "as above",
    ("keeper", "rmdir@keeper.spare"): "as above: its directory, once the pod is there",
    ("keeper", "unlink@keeper.spare"): "as above",
    ("launcher", "unlink@keeper.spare"): "as above",
    **{
        (kind, f"{call}@journal.store"): "the lock's number, which a message names and nothing else"
        for kind in ("supervisor", "pod")
        for call in ("write", "ftruncate")
    },
    ("supervisor", "send@supervisor.daemon"): "trio waking its own loop",
    ("pod", "send@agents.held"): "one byte to a thread of its own",
    ("pod", "create@keeper.main"): "its `stderr.log`; refused, it has none",
    ("supervisor", "create@scope.locking"): "empty files that stay",
    ("supervisor", "mkdir@scope.locking"): "makes what is there already",
    ("supervisor", "mkdir@scope.storage"): "makes what is there already",
    ("supervisor", "mkdir@rpc.unix"): "makes what is there already",
    ("supervisor", "mkdir@journal.store"): "makes what is there already",
    ("supervisor", "rmdir@supervisor.head_start"): "takes back what a refused start had begun;"
    " errors of the calls before it bring it about",
    ("supervisor", "unlink@supervisor.head_start"): "as above",
    **{
        (kind, f"unlink@{module}"): "takes back a file aside after the disk refused it; errors of"
        " the calls before it bring it about, and nothing follows from it"
        for kind, module in (
            ("supervisor", "rpc.unix"), ("keeper", "rpc.unix"), ("launcher", "rpc.unix"),
            ("supervisor", "scope.storage"),
            ("supervisor", "journal.snapshots"), ("pod", "journal.snapshots"),
        )
    },
}  # fmt: skip
"""Points that are met and not hurt -> why."""

SELDOM: Final[dict[tuple[str, str], str]] = {
    ("supervisor", "create@supervisor.log"): "only what goes wrong is logged",
    ("supervisor", "write@supervisor.log"): "as above",
    ("supervisor", "create@supervisor.service"): "only where its head start did not get that far",
    ("supervisor", "rename@supervisor.leftovers"): "only after one that died as it ended a pod",
    ("keeper", "fork@keeper.domain"): "only where a launcher was killed and its pods live on",
    ("pod", "unlink@journal.keeping"): "only with retention, in a pod that says much",
    ("launcher", "fork@launcher.loop"): "only where two spawns come together",
    ("launcher", "unlink@launcher.prepare"): "only where a killed pod left its sockets",
}
"""Points that a few rounds without faults may not meet -> why."""


def unknown(met: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """What was met and is in neither table."""
    return sorted(
        one for one in met if one[1] not in POINTS.get(one[0], ()) and one not in LEFT_ALONE
    )


def unmet(met: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """What is in the table and was not met, though rounds without faults should meet it."""
    there = set(met)
    return sorted(
        (kind, point)
        for kind, points in POINTS.items()
        for point in points
        if (kind, point) not in there and (kind, point) not in SELDOM
    )
