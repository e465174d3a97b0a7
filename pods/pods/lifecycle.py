"""One pod's life as a table: what may happen to it, and what then has to be done.

Owns the lives, the triggers and the commands, as data: `handle` takes a life and a trigger and
gives the next life and the commands that bring it about. Must not know what is on record of a pod
(`pods.records`), nor processes, sockets, clocks or files. `pods.supervisor` performs the commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Life(Enum):
    """Where a pod is in its life."""

    RESERVED = "reserved"
    """Its name and id are taken; nothing of it exists."""
    LAUNCHING = "launching"
    """It holds its lease; its processes may exist."""
    RUNNING = "running"
    """It has answered, and has accepted its first message where it got one."""
    RESTARTING = "restarting"
    """It died unasked and is being started again; it keeps its lease and its directories."""
    RESTORING = "restoring"
    """It had ended, and somebody wants it back; not back, it is ended as before."""
    PAUSED = "paused"
    """All its processes are stopped (SIGSTOP). A pod whose agent holds its turn by itself is
    `RUNNING`: it lives, and its own journal says that it is paused."""
    STOPPING = "stopping"
    """It was asked to end."""
    ENDED = "ended"
    """Its process tree is proven gone; its record and journal stay."""
    REMOVED = "removed"
    """Nothing of it is left."""
    FAILED = "failed"
    """It never came to run; nothing of it is left."""


class Trigger(Enum):
    """What can happen to a pod."""

    LEASE_TAKEN = "lease_taken"
    ACCEPTED = "accepted"
    SPAWN_FAILED = "spawn_failed"
    CRASHED = "crashed"
    """Its tree is gone, nobody asked for it, and its policy wants it back."""
    RESTORE_ASKED = "restore_asked"
    PAUSE_ASKED = "pause_asked"
    RESUME_ASKED = "resume_asked"
    STOP_ASKED = "stop_asked"
    TREE_GONE = "tree_gone"
    REMOVE_ASKED = "remove_asked"


class Command(Enum):
    """What the supervisor has to do then; they are performed in the order of the table."""

    KILL_TREE = "kill_tree"
    CLIMB_LADDER = "climb_ladder"
    END_TURN = "end_turn"
    FREEZE_TREE = "freeze_tree"
    THAW_TREE = "thaw_tree"
    END_JOURNAL = "end_journal"
    RELEASE_LEASE = "release_lease"
    REMOVE_RUNTIME = "remove_runtime"
    REMOVE_STATE = "remove_state"
    SETTLE_CHILDREN = "settle_children"
    RECORD_SPAWNED = "record_spawned"
    RECORD_FAILED = "record_failed"
    RECORD_CRASHED = "record_crashed"
    RECORD_RESTORING = "record_restoring"
    RECORD_RESTARTED = "record_restarted"
    RECORD_PAUSED = "record_paused"
    RECORD_RESUMED = "record_resumed"
    RECORD_STOPPING = "record_stopping"
    RECORD_ENDED = "record_ended"
    RECORD_REMOVED = "record_removed"


_ROLL_BACK: Final = (
    Command.KILL_TREE,
    Command.RELEASE_LEASE,
    Command.REMOVE_RUNTIME,
    Command.REMOVE_STATE,
    Command.RECORD_FAILED,
)
_BURY: Final = (
    Command.END_JOURNAL,
    Command.RELEASE_LEASE,
    Command.RECORD_ENDED,
    Command.REMOVE_RUNTIME,
    Command.SETTLE_CHILDREN,
)
_ENDED_AGAIN: Final = (
    Command.KILL_TREE,
    Command.END_JOURNAL,
    Command.RELEASE_LEASE,
    Command.RECORD_ENDED,
    Command.REMOVE_RUNTIME,
)

TRANSITIONS: Final[Mapping[Life, Mapping[Trigger, tuple[Life, tuple[Command, ...]]]]] = {
    Life.RESERVED: {
        Trigger.LEASE_TAKEN: (Life.LAUNCHING, ()),
        Trigger.SPAWN_FAILED: (Life.FAILED, _ROLL_BACK),
    },
    Life.LAUNCHING: {
        Trigger.ACCEPTED: (Life.RUNNING, (Command.RECORD_SPAWNED,)),
        Trigger.SPAWN_FAILED: (Life.FAILED, _ROLL_BACK),
    },
    Life.RUNNING: {
        Trigger.PAUSE_ASKED: (Life.PAUSED, (Command.RECORD_PAUSED, Command.FREEZE_TREE)),
        Trigger.STOP_ASKED: (Life.STOPPING, (Command.RECORD_STOPPING, Command.CLIMB_LADDER)),
        Trigger.CRASHED: (Life.RESTARTING, (Command.RECORD_CRASHED, Command.END_TURN)),
        Trigger.TREE_GONE: (Life.ENDED, _BURY),
    },
    Life.PAUSED: {
        # Recorded last: who dies in between leaves a pod that is paused by its record, and the next
        # supervisor makes that true again.
        Trigger.RESUME_ASKED: (Life.RUNNING, (Command.THAW_TREE, Command.RECORD_RESUMED)),
        Trigger.STOP_ASKED: (Life.STOPPING, (Command.RECORD_STOPPING, Command.CLIMB_LADDER)),
        Trigger.CRASHED: (Life.RESTARTING, (Command.RECORD_CRASHED, Command.END_TURN)),
        Trigger.TREE_GONE: (Life.ENDED, _BURY),
    },
    Life.RESTARTING: {
        Trigger.LEASE_TAKEN: (Life.RESTARTING, ()),
        Trigger.ACCEPTED: (Life.RUNNING, (Command.RECORD_RESTARTED,)),
        Trigger.CRASHED: (Life.RESTARTING, (Command.RECORD_CRASHED, Command.END_TURN)),
        Trigger.STOP_ASKED: (Life.STOPPING, (Command.RECORD_STOPPING, Command.CLIMB_LADDER)),
        Trigger.TREE_GONE: (Life.ENDED, _BURY),
    },
    Life.RESTORING: {
        Trigger.LEASE_TAKEN: (Life.RESTORING, ()),
        Trigger.ACCEPTED: (Life.RUNNING, (Command.RECORD_RESTARTED,)),
        Trigger.SPAWN_FAILED: (Life.ENDED, _ENDED_AGAIN),
    },
    Life.STOPPING: {
        Trigger.STOP_ASKED: (Life.STOPPING, ()),
        Trigger.TREE_GONE: (Life.ENDED, _BURY),
    },
    Life.ENDED: {
        Trigger.STOP_ASKED: (Life.ENDED, ()),
        Trigger.RESTORE_ASKED: (Life.RESTORING, (Command.RECORD_RESTORING,)),
        Trigger.REMOVE_ASKED: (
            Life.REMOVED,
            (Command.REMOVE_STATE, Command.RECORD_REMOVED),
        ),
    },
    Life.REMOVED: {},
    Life.FAILED: {},
}
"""The one table of legal moves. What is not in it is a bug of ours."""

LIVING: Final = tuple(set(Life) - {Life.ENDED, Life.REMOVED, Life.FAILED})
"""Lives that take up room under the caps. Looked through for every row at every spawn: by identity,
where a set would call for the hash of an enum, a function of Python."""

STARTING: Final = frozenset({Life.RESERVED, Life.LAUNCHING, Life.RESTORING})
"""Lives that no stop ends: whoever starts the pod takes it back, asked by a stop or not."""


class IllegalMove(Exception):
    """A trigger that the table does not have for this life: a bug of ours, never of a client."""


def handle(life: Life, trigger: Trigger) -> tuple[Life, tuple[Command, ...]]:
    """What `trigger` makes of a pod in `life`, and what has to be done.

    Raises:
        IllegalMove: it cannot happen to such a pod.
    """
    try:
        return TRANSITIONS[life][trigger]
    except KeyError:
        raise IllegalMove(f"a {life.value} pod cannot get {trigger.value}") from None
