"""One pod's life as a table, and all pods' lives as a fold over the supervisor's journal.

Owns what may happen to a pod and what then has to be done, as data: `handle` takes a life and a
trigger and gives the next life and the commands that bring it about. Owns also what a supervisor
remembers: `PodTable` is nothing but the fold of its journal's events. Knows no process, socket,
clock or file; ids and times come in with the events. `pods.supervisor` performs the commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, ClassVar, Final

from attrs import evolve, field, frozen

from pods_protocol.codec import from_json_lenient, to_json
from pods_protocol.events import Event
from pods_protocol.pod_messages import RunResult
from pods_protocol.supervisor_messages import SpawnPod, StopPodResult
from pods_protocol.values import (
    Enforcement,
    ExitRecord,
    Limits,
    ParentExit,
    PodState,
    ProcessIdentity,
    RestartPolicy,
    Restarts,
    ScopeGrant,
    StopStep,
    TurnSummary,
    UndeliveredMessage,
    WakeOn,
)


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

LIVING: Final = frozenset(set(Life) - {Life.ENDED, Life.REMOVED, Life.FAILED})
"""Lives that take up room under the caps."""


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


POD_RESERVED: Final = "pod_reserved"
POD_SPAWNED: Final = "pod_spawned"
SPAWN_FAILED: Final = "spawn_failed"
POD_CRASHED: Final = "pod_crashed"
POD_RESTORING: Final = "pod_restoring"
POD_RESTARTED: Final = "pod_restarted"
POD_PAUSED: Final = "pod_paused"
POD_RESUMED: Final = "pod_resumed"
POD_STOPPING: Final = "pod_stopping"
POD_ENDED: Final = "pod_ended"
POD_REMOVED: Final = "pod_removed"
POD_REPARENTED: Final = "pod_reparented"
CURSOR_ADVANCED: Final = "cursor_advanced"
STOP_ASKED: Final = "stop_asked"

MAX_REMEMBERED_STOPS: Final = 32
"""Stops of one pod whose `message_id` is known again: far more than askers can have in doubt."""

LIFECYCLE_KINDS: Final = frozenset(
    {POD_SPAWNED, POD_CRASHED, POD_RESTARTED, POD_ENDED, POD_REMOVED}
)
"""Kinds of the supervisor's journal that subscribers get, live and replayed."""


@frozen(kw_only=True)
class StopAsked:
    """A stop that its asker gave an id, so that it can ask again without a second effect.

    Attributes:
        asked_by: the asker's pod; None is the owner.
        message_id: its own for it.
        previous_state: of the pod, before.
        descendants: names of the pods that go with it, parents first.
        time: when it was asked.
        answer: what it came to; None while it is under way.
    """

    asked_by: str | None
    message_id: str
    previous_state: PodState
    descendants: tuple[str, ...]
    time: float
    answer: StopPodResult | None = None


@frozen(kw_only=True)
class PodRecord:
    """What a supervisor remembers of one pod. No secrets: of `env` the names alone.

    Attributes:
        parent_id: who answers for it now; changes when a parent ends before it.
        asked_by: who asked for it, for ever; the scope of its `message_id`.
        session: the owner's session that it or the pod above it was asked for in; empty: none.
        message: the fate of the first message.
        enforcement: what the kernel held it to when it came up.
        restart: whether it is started again when it dies.
        restarts: what became of that.
        began: when its newest process came up.
        replaces: the ended pod whose name it takes over once it runs.
        state: how it ended; None while it lives. `last_turn`: as its journal had it then.
        reason: a sentence about the end, where there is one.
        undelivered: what its agent never got, as its journal had it when it ended.
        stops: who asked to stop it under which id, the oldest first.
        wake_on: which of its events start a turn of the pod that asked for it.
        turns_below: how many turns its children had that have ended: they shared its `turns`.
        turns_counted: how many of its own and of those its parent was charged for already.
        told: seq up to which pods that answered for it and have ended were told of it.
        cursors: reader -> how far it has read.
    """

    id: str
    name: str
    life: Life
    parent_id: str | None
    asked_by: str | None
    agent: str
    options: dict[str, Any]
    cwd: str
    env_names: tuple[str, ...]
    limits: Limits
    grant: ScopeGrant
    description: str
    on_parent_exit: ParentExit
    python: str | None
    call_back: bool
    message_id: str | None
    replaces: str | None
    created: float
    require_enforcement: bool = False
    session: str = ""
    restart: RestartPolicy = field(factory=RestartPolicy)
    restarts: Restarts = field(factory=Restarts)
    began: float | None = None
    keeper: ProcessIdentity | None = None
    pid: int | None = None
    message: RunResult | None = None
    enforcement: Enforcement | None = None
    ended: float | None = None
    state: PodState | None = None
    reason: str = ""
    exit: ExitRecord | None = None
    last_turn: TurnSummary | None = None
    undelivered: tuple[UndeliveredMessage, ...] = ()
    stops: tuple[StopAsked, ...] = ()
    wake_on: WakeOn = "none"
    turns_below: int = 0
    turns_counted: int = 0
    told: int = 0
    cursors: Mapping[str, int] = field(factory=dict[str, int])

    def stop_asked(self, asked_by: str | None, message_id: str) -> StopAsked | None:
        """The stop that this asker gave this id, if it did."""
        for stop in self.stops:
            if (stop.asked_by, stop.message_id) == (asked_by, message_id):
                return stop
        return None

    @property
    def living(self) -> bool:
        """Whether it takes up room: it runs, or is about to."""
        return self.life in LIVING


def reserved_data(
    request: SpawnPod,
    *,
    pod_id: str,
    parent_id: str | None,
    grant: ScopeGrant,
    cwd: str,
    on_parent_exit: ParentExit,
    replaces: str | None,
    limits: Limits | None = None,
    session: str = "",
) -> dict[str, Any]:
    """The data of a `pod_reserved` event: all of the request that is no secret.

    `limits`: as given to it; None is as asked for.
    """
    return {
        "id": pod_id,
        "name": request.name,
        "parent_id": parent_id,
        "agent": request.agent,
        "options": request.options,
        "cwd": cwd,
        "env_names": sorted(request.env),
        "limits": to_json(request.limits if limits is None else limits),
        "grant": to_json(grant),
        "description": request.description,
        "on_parent_exit": on_parent_exit,
        "wake_on": request.wake_on,
        "python": request.python,
        "call_back": request.call_back,
        "message_id": request.message_id,
        "replaces": replaces,
        "session": session,
        "require_enforcement": request.require_enforcement,
        "restart": to_json(request.restart),
    }


def spawned_data(
    record: PodRecord,
    *,
    keeper: ProcessIdentity,
    pid: int,
    message: RunResult | None,
    enforcement: Enforcement | None = None,
) -> dict[str, Any]:
    """The data of a `pod_spawned` or a `pod_restarted` event."""
    return {
        "id": record.id,
        "pod": record.name,
        "keeper": to_json(keeper),
        "pid": pid,
        "message": None if message is None else to_json(message),
        "enforcement": None if enforcement is None else to_json(enforcement),
    }


def crashed_data(
    record: PodRecord, *, attempt: int, due: float, reason: str, exit_record: ExitRecord
) -> dict[str, Any]:
    """The data of a `pod_crashed` event: it died, and `attempt` to start it again is at `due`."""
    return {
        "id": record.id,
        "pod": record.name,
        "attempt": attempt,
        "due": due,
        "reason": reason,
        "exit": to_json(exit_record),
    }


def restoring_data(record: PodRecord, *, reason: str) -> dict[str, Any]:
    """The data of a `pod_restoring` event."""
    return {"id": record.id, "pod": record.name, "reason": reason}


def ended_data(
    record: PodRecord,
    *,
    state: PodState,
    reason: str,
    exit_record: ExitRecord,
    last_turn: TurnSummary | None,
    undelivered: Sequence[UndeliveredMessage] = (),
    step: StopStep = "already_ended",
    told: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The data of a `pod_ended` event; `step` is which step of a stop worked.

    `told` is child's id -> how far the pod has been told of it: who is above it is told the rest.
    """
    return {
        "id": record.id,
        "pod": record.name,
        "state": state,
        "reason": reason,
        "exit": to_json(exit_record),
        "last_turn": None if last_turn is None else to_json(last_turn),
        "undelivered": [to_json(one) for one in undelivered],
        "step": step,
        "told": dict(told or {}),
    }


def stop_asked_data(
    record: PodRecord,
    *,
    asked_by: str | None,
    message_id: str,
    previous_state: PodState,
    descendants: Sequence[str],
) -> dict[str, Any]:
    """The data of a `stop_asked` event."""
    return {
        "id": record.id,
        "pod": record.name,
        "asked_by": asked_by,
        "message_id": message_id,
        "previous_state": previous_state,
        "descendants": list(descendants),
    }


class PodTable:
    """Every pod that a supervisor knows: the fold of its journal.

    Two things beside the journal change it, and neither outlives the process: `set_life` moves a
    pod between two lives that the journal does not tell apart.
    """

    MEANING: ClassVar[int] = 2
    DERIVED: ClassVar[frozenset[str]] = frozenset()

    # All that is remembered, with its type: snapshots are made and read by these lines.
    _pods: dict[str, PodRecord]
    _names: dict[str, str]
    _journaled_lives: dict[str, Life]

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._pods = {}
        self._names = {}
        self._journaled_lives = {}
        for event in events:
            self.apply(event)

    def __len__(self) -> int:
        return len(self._pods)

    def __iter__(self) -> Iterator[PodRecord]:
        """Every record, oldest first."""
        return iter(self._pods.values())

    def get(self, pod_id: str) -> PodRecord | None:
        """The pod of that id, if it is known."""
        return self._pods.get(pod_id)

    def named(self, name: str) -> PodRecord | None:
        """The pod that has the name now: of a pod and its replacement, the one that runs."""
        pod_id = self._names.get(name)
        return None if pod_id is None else self._pods[pod_id]

    def set_life(self, pod_id: str, life: Life) -> None:
        """Note a move that the journal does not tell (`launching`)."""
        self._journaled_lives.setdefault(pod_id, self._pods[pod_id].life)
        self._pods[pod_id] = evolve(self._pods[pod_id], life=life)

    def forget_unjournaled(self) -> None:
        """Go back to what the journal tells of each life.

        For a new process: the one before it may have made its snapshot in the middle of a move.
        """
        for pod_id, life in self._journaled_lives.items():
            self._pods[pod_id] = evolve(self._pods[pod_id], life=life)
        self._journaled_lives.clear()

    def apply(self, event: Event) -> None:
        """Take one event of the supervisor's journal; kinds of other versions change nothing."""
        data = event.data
        pod_id = data.get("id")
        if not isinstance(pod_id, str):
            return
        if event.type == POD_RESERVED:
            record = _reserved(event)
            self._pods[pod_id] = record
            if record.replaces is None or record.replaces not in self._pods:
                self._names[record.name] = pod_id
            return
        known = self._pods.get(pod_id)
        if known is None:
            return
        if event.type in (SPAWN_FAILED, POD_REMOVED):
            self._forget(known)
            return
        changes = _changes(event, known)
        if changes:
            self._pods[pod_id] = evolve(known, **changes)
        if "life" in changes:
            self._journaled_lives.pop(pod_id, None)
        if event.type == POD_ENDED:
            self._note_told(data.get("told", {}))
            self._note_turns(self._pods[pod_id])
        if event.type == POD_SPAWNED:
            self._names[known.name] = pod_id

    def _note_turns(self, ended: PodRecord) -> None:
        """What a child used of the turns that it shared stays used, also when it is forgotten.

        One that is restored and ends again is counted for what came in between.
        """
        used = ended.turns_below + (0 if ended.last_turn is None else ended.last_turn.turn)
        self._pods[ended.id] = evolve(ended, turns_counted=used)
        parent = None if ended.parent_id is None else self._pods.get(ended.parent_id)
        if parent is not None:
            below = parent.turns_below + max(0, used - ended.turns_counted)
            self._pods[parent.id] = evolve(parent, turns_below=below)

    def _note_told(self, told: Mapping[str, int]) -> None:
        for pod_id, seq in told.items():
            child = self._pods.get(pod_id)
            if child is not None and seq > child.told:
                self._pods[pod_id] = evolve(child, told=seq)

    def _forget(self, record: PodRecord) -> None:
        del self._pods[record.id]
        self._journaled_lives.pop(record.id, None)
        if self._names.get(record.name) == record.id:
            del self._names[record.name]
        for other in list(self._pods.values()):
            if other.parent_id == record.id:
                self._pods[other.id] = evolve(other, parent_id=record.parent_id)

    def children(self, pod_id: str | None) -> list[PodRecord]:
        """The pods whose parent it is; of None, the pods that people asked for."""
        return [record for record in self._pods.values() if record.parent_id == pod_id]

    def living_children(self) -> dict[str | None, int]:
        """How many living children every parent has."""
        counts: dict[str | None, int] = {}
        for record in self._pods.values():
            if record.living:
                counts[record.parent_id] = counts.get(record.parent_id, 0) + 1
        return counts

    def descendants(self, pod_id: str | None) -> list[PodRecord]:
        """Every pod below it, parents before children; of None, every pod."""
        below: dict[str | None, list[PodRecord]] = {}
        for record in self._pods.values():
            below.setdefault(record.parent_id, []).append(record)
        found: list[PodRecord] = []
        waiting = list(reversed(below.get(pod_id, [])))
        while waiting:
            record = waiting.pop()
            found.append(record)
            waiting.extend(reversed(below.get(record.id, [])))
        return found

    def ancestors(self, pod_id: str) -> list[str]:
        """The ids above it, nearest first."""
        found: list[str] = []
        record = self._pods.get(pod_id)
        while record is not None and record.parent_id is not None:
            found.append(record.parent_id)
            record = self._pods.get(record.parent_id)
        return found

    def depth(self, pod_id: str | None) -> int:
        """1 for a person's pod, 2 for its children; 0 for the person."""
        return 0 if pod_id is None else 1 + len(self.ancestors(pod_id))

    def living(self) -> list[PodRecord]:
        """Every pod that runs or is about to."""
        return [record for record in self._pods.values() if record.living]

    def spawned_by_message(self, asked_by: str | None, message_id: str) -> PodRecord | None:
        """The pod that this asker's `message_id` made, if it did."""
        for record in self._pods.values():
            if record.message_id == message_id and record.asked_by == asked_by:
                return record
        return None

    def cursor(self, pod_id: str, reader: str) -> int:
        """How far `reader` has read this pod."""
        record = self._pods.get(pod_id)
        return 0 if record is None else record.cursors.get(reader, 0)


def _reserved(event: Event) -> PodRecord:
    data = event.data
    return PodRecord(
        id=data["id"],
        name=data["name"],
        life=Life.RESERVED,
        parent_id=data["parent_id"],
        asked_by=data["parent_id"],
        agent=data["agent"],
        options=data["options"],
        cwd=data["cwd"],
        env_names=tuple(data["env_names"]),
        limits=from_json_lenient(Limits, data["limits"]),
        grant=from_json_lenient(ScopeGrant, data["grant"]),
        description=data["description"],
        on_parent_exit=data["on_parent_exit"],
        wake_on=data.get("wake_on", "none"),
        python=data["python"],
        call_back=data["call_back"],
        message_id=data["message_id"],
        replaces=data["replaces"],
        created=event.time,
        require_enforcement=data.get("require_enforcement", False),
        session=data.get("session", ""),
        restart=from_json_lenient(RestartPolicy, data.get("restart", {})),
    )


def _enforcement(data: Any) -> Enforcement | None:
    return None if data is None else from_json_lenient(Enforcement, data)


def _stop_asked(event: Event, known: PodRecord) -> StopAsked:
    data = event.data
    state = data["previous_state"]
    asked = StopAsked(
        asked_by=data["asked_by"],
        message_id=data["message_id"],
        previous_state=state,
        descendants=tuple(data["descendants"]),
        time=event.time,
    )
    if known.life is not Life.ENDED:
        return asked
    answer = StopPodResult(
        pod=known.name,
        previous_state=state,
        state=state,
        step="already_ended",
        stopped_descendants=(),
        released=(),
        seconds=0.0,
    )
    return evolve(asked, answer=answer)


def _settled(stop: StopAsked, ended: Event, known: PodRecord) -> StopAsked:
    """The stop with what it came to, once its pod has ended."""
    if stop.answer is not None:
        return stop
    answer = StopPodResult(
        pod=known.name,
        previous_state=stop.previous_state,
        state=ended.data["state"],
        step=ended.data.get("step", "kill"),
        stopped_descendants=tuple(reversed(stop.descendants)),
        released=known.grant.allow,
        seconds=max(0.0, ended.time - stop.time),
    )
    return evolve(stop, answer=answer)


_NOT_ENDED: Final[Mapping[str, Any]] = {"ended": None, "state": None, "reason": "", "exit": None}
"""What a pod that runs again has of its earlier end; its `last_turn` is its journal's to say."""


def _changes(event: Event, known: PodRecord) -> dict[str, Any]:
    data = event.data
    match event.type:
        case "pod_spawned":
            message = data["message"]
            return {
                "life": Life.RUNNING,
                "keeper": from_json_lenient(ProcessIdentity, data["keeper"]),
                "pid": data["pid"],
                "began": event.time,
                "enforcement": _enforcement(data.get("enforcement")),
                "message": None if message is None else from_json_lenient(RunResult, message),
                "replaces": None,
            }
        case "pod_restarted":
            again = known.restarts
            return {
                "life": Life.RUNNING,
                "keeper": from_json_lenient(ProcessIdentity, data["keeper"]),
                "pid": data["pid"],
                "began": event.time,
                "enforcement": _enforcement(data.get("enforcement")),
                "restarts": evolve(again, total=again.total + 1, due=None),
                **_NOT_ENDED,
            }
        case "pod_crashed":
            return {
                "life": Life.RESTARTING,
                "exit": from_json_lenient(ExitRecord, data["exit"]),
                "restarts": evolve(
                    known.restarts,
                    attempt=data["attempt"],
                    due=data["due"],
                    reason=data["reason"],
                ),
            }
        case "pod_restoring":
            again = evolve(known.restarts, attempt=0, due=None, reason=data["reason"])
            return {"life": Life.RESTORING, "restarts": again}
        case "pod_paused":
            return {"life": Life.PAUSED}
        case "pod_resumed":
            return {"life": Life.RUNNING}
        case "pod_stopping":
            return {"life": Life.STOPPING}
        case "pod_ended":
            last = data["last_turn"]
            return {
                "life": Life.ENDED,
                "ended": event.time,
                "restarts": evolve(known.restarts, due=None),
                "state": data["state"],
                "reason": data["reason"],
                "exit": from_json_lenient(ExitRecord, data["exit"]),
                "last_turn": None if last is None else from_json_lenient(TurnSummary, last),
                "undelivered": tuple(
                    from_json_lenient(UndeliveredMessage, one)
                    for one in data.get("undelivered", ())
                ),
                "stops": tuple(_settled(stop, event, known) for stop in known.stops),
            }
        case "stop_asked":
            return {"stops": (*known.stops, _stop_asked(event, known))[-MAX_REMEMBERED_STOPS:]}
        case "pod_reparented":
            return {"parent_id": data["parent_id"]}
        case "cursor_advanced":
            reader, seq = data["reader"], data["seq"]
            if seq <= known.cursors.get(reader, 0):
                return {}
            return {"cursors": {**known.cursors, reader: seq}}
        case _:
            return {}
