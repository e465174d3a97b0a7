"""The points at which a campaign hurts processes, and what can happen there.

Owns one literal table: kind of process -> point -> how far its calls are worth counting. A point is
the call and the module of ours that makes it (`injected/sitecustomize.py`). `campaign.py --census`
prints what a round without faults calls, to find what is missing here; a test holds the table to
it. Pure. Used by `plan`.
"""

from __future__ import annotations

from typing import Final

POINTS: Final[dict[str, dict[str, int]]] = {
    "supervisor": {
        "write@journal.store": 12,
        "fdatasync@journal.store": 8,
        "ftruncate@journal.store": 1,
        "write@scope.storage": 8,
        "fsync@scope.storage": 8,
        "link@scope.storage": 8,
        "rename@scope.storage": 12,
        "rename@rpc.unix": 1,
        "write@supervisor.records": 4,
        "mkdir@supervisor.bring_up": 6,
        "unlink@supervisor.acts": 6,
        "rmdir@supervisor.acts": 6,
        "unlink@supervisor.service": 2,
        "send@rpc.stream": 24,
    },
    "launcher": {
        "fork@launcher.loop": 2,
        "fork@launcher.spares": 5,
        "sendmsg@keeper.handover": 6,
        "mkdir@rpc.unix": 8,
        "mkdir@journal.store": 1,
        "send@keeper.rpc_loop": 10,
        "write@launcher.main": 1,
    },
    "keeper": {
        "fork@keeper.main": 1,
        "fork@keeper.spare": 1,
        "sendmsg@keeper.handover": 1,
        "rename@rpc.unix": 1,
        "unlink@keeper.main": 2,
    },
    "pod": {
        "write@journal.store": 30,
        "fdatasync@journal.store": 14,
        "ftruncate@journal.store": 1,
        "mkdir@keeper.confined": 1,
        "unlink@keeper.pod_start": 1,
        "send@pod.main": 2,
        "send@rpc.stream": 30,
    },
}
"""Kind of process -> point -> the call at which it happens is drawn from 1 to this."""

ACTIONS: Final[dict[str, tuple[str, ...]]] = {
    "write": ("kill_before", "kill_after", "torn", "short", "enospc", "stop"),
    "fsync": ("kill_before", "kill_after", "enospc", "eio", "stop"),
    "fdatasync": ("kill_before", "kill_after", "enospc", "eio", "stop"),
    "ftruncate": ("kill_before", "kill_after", "eio"),
    "rename": ("kill_before", "kill_after", "enospc", "stop"),
    "link": ("kill_before", "kill_after", "enospc"),
    "unlink": ("kill_before", "kill_after", "stop"),
    "rmdir": ("kill_before", "kill_after"),
    "mkdir": ("kill_before", "kill_after", "enospc"),
    "fork": ("kill_before", "kill_after", "eagain", "stop"),
    "sendmsg": ("kill_before", "kill_after", "stop"),
    "send": ("kill_before", "kill_after", "torn", "cut", "stop"),
}
"""What can happen to a call."""

ERRORS: Final = frozenset({"enospc", "eio", "eagain"})
"""These may go on for some calls: a disk is not full once."""
