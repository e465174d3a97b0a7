"""The story of a supervisor's pods, told to a table event by event."""

from __future__ import annotations

from typing import Any

import orjson

from pods.folds import memory, restore
from pods.records.events import (
    POD_ENDED,
    POD_RESERVED,
    POD_SPAWNED,
    ended_data,
    reserved_data,
    spawned_data,
)
from pods.records.table import PodTable
from pods_protocol.events import Event
from pods_protocol.pod_messages import RunResult
from pods_protocol.supervisor_messages import SpawnPod
from pods_protocol.values import (
    ExitRecord,
    ProcessIdentity,
    ScopeGrant,
    TurnSummary,
)

KEEPER = ProcessIdentity(pid=7, start_ticks=8, boot_id="b")


class Story:
    """A table fed with events, as a supervisor would write them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.table = PodTable()

    def tell(self, kind: str, **data: Any) -> None:
        seq = len(self.events) + 1
        event = Event(seq=seq, time=1000.0 + seq, turn=None, type=kind, data=data)
        self.events.append(event)
        self.table.apply(event)
        # Whatever the story: a snapshot of it is all that another process needs.
        again = PodTable()
        remembered = orjson.loads(orjson.dumps(memory(self.table), option=orjson.OPT_NON_STR_KEYS))
        assert restore(again, remembered) == []
        assert memory(again) == memory(self.table)
        assert list(again) == list(self.table)

    def reserve(self, pod_id: str, parent: str | None = None, **given: Any) -> None:
        replaces = given.pop("replaces", None)
        name = given.pop("name", f"name-{pod_id}")
        request = SpawnPod(name=name, env={"KEY": "secret"}, **given)
        data = reserved_data(
            request,
            pod_id=pod_id,
            parent_id=parent,
            grant=ScopeGrant(),
            cwd="/",
            on_parent_exit="stop",
            replaces=replaces,
        )
        self.tell(POD_RESERVED, **data)

    def run(self, pod_id: str, parent: str | None = None, **given: Any) -> None:
        self.reserve(pod_id, parent, **given)
        record = self.table.get(pod_id)
        assert record is not None
        message = RunResult(message_id="m", state="started", turn=1)
        self.tell(POD_SPAWNED, **spawned_data(record, keeper=KEEPER, pid=9, message=message))

    def end(self, pod_id: str, last_turn: TurnSummary | None = None) -> None:
        record = self.table.get(pod_id)
        assert record is not None
        data = ended_data(
            record,
            state="stopped",
            reason="",
            exit_record=ExitRecord(status=0, reason="exited"),
            last_turn=last_turn,
        )
        self.tell(POD_ENDED, **data)

    def names(self) -> list[str]:
        return [record.id for record in self.table]
