"""One pod as its supervisor remembers it, and what one event of the journal makes of that.

Owns the record: its fields, and which of them each kind of event changes. Must not know the other
pods: what an event of one does to another is `table`, the only caller of `reserved` and `changes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve, field, frozen

from pods.lifecycle import LIVING, Life
from pods_protocol.codec import from_json_lenient
from pods_protocol.events import Event
from pods_protocol.pod_messages import RunResult
from pods_protocol.supervisor_messages import StopPodResult
from pods_protocol.values import (
    Doors,
    Enforcement,
    ExitRecord,
    Limits,
    ParentExit,
    PodState,
    ProcessIdentity,
    RestartPolicy,
    Restarts,
    ScopeGrant,
    TurnSummary,
    UndeliveredMessage,
    WakeOn,
)

MAX_REMEMBERED_STOPS: Final = 32
"""Stops of one pod whose `message_id` is known again: far more than askers can have in doubt."""


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
    doors: Doors = field(factory=Doors)
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


def reserved(event: Event) -> PodRecord:
    """The record that a `pod_reserved` event begins."""
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
        doors=from_json_lenient(Doors, data.get("doors", {})),
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


def changes(event: Event, known: PodRecord) -> dict[str, Any]:
    """The fields that an event of this pod changes, as `evolve` takes them; often none."""
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
