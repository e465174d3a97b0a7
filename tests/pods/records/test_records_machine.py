"""Any lives of any pods in any order: the supervisor's table against a plain model of it.

The events are what the table of lives commands, so that fold and lives cannot drift apart; the
model knows names, parents and lives as dictionaries. After each step the table is also what a
supervisor reads that starts anew: from all events, or from a snapshot and the events after it.
"""

from __future__ import annotations

from typing import Any

import attrs
import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from effort import examples
from pods.folds import memory, restore
from pods.lifecycle import LIVING, TRANSITIONS, Command, Life, handle
from pods.records import events as kinds
from pods.records.record import PodRecord
from pods.records.table import PodTable
from pods_protocol.events import Event
from pods_protocol.supervisor_messages import SpawnPod
from pods_protocol.values import ExitRecord, ProcessIdentity, ScopeGrant, TurnSummary

CHOICE = st.integers(0, 99)
KEEPER = ProcessIdentity(pid=7, start_ticks=8, boot_id="b")
EXIT = ExitRecord(status=1, reason="exited")
WRITTEN = {
    Command.RECORD_SPAWNED: kinds.POD_SPAWNED,
    Command.RECORD_FAILED: kinds.SPAWN_FAILED,
    Command.RECORD_CRASHED: kinds.POD_CRASHED,
    Command.RECORD_RESTORING: kinds.POD_RESTORING,
    Command.RECORD_RESTARTED: kinds.POD_RESTARTED,
    Command.RECORD_PAUSED: kinds.POD_PAUSED,
    Command.RECORD_RESUMED: kinds.POD_RESUMED,
    Command.RECORD_STOPPING: kinds.POD_STOPPING,
    Command.RECORD_ENDED: kinds.POD_ENDED,
    Command.RECORD_REMOVED: kinds.POD_REMOVED,
}


@attrs.define
class Known:
    """What the model knows of a pod.

    Attributes:
        written: its life by the journal; `life` may be ahead of that.
        turns, below, counted: its own, its ended children's, and those charged to its parent.
    """

    name: str
    parent: str | None
    asked_by: str | None
    message_id: str
    life: Life = Life.RESERVED
    written: Life = Life.RESERVED
    total: int = 0
    turns: int = 0
    below: int = 0
    counted: int = 0
    told: int = 0
    cursors: dict[str, int] = attrs.field(factory=dict[str, int])


class Records(RuleBasedStateMachine):
    """A supervisor's journal as a list, and what follows from it."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.table = PodTable()
        self.known: dict[str, Known] = {}
        self.names: dict[str, str] = {}
        self.snapshot: tuple[int, bytes] = (0, orjson.dumps(memory(PodTable())))
        self.count = 0

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        seq = len(self.events) + 1
        event = Event(seq=seq, time=1000.0 + seq, turn=None, type=kind, data=data)
        self.events.append(event)
        self.table.apply(event)

    def one(self, choice: int) -> str | None:
        ids = list(self.known)
        return ids[choice % len(ids)] if ids else None

    def record(self, pod_id: str) -> PodRecord:
        record = self.table.get(pod_id)
        assert record is not None
        return record

    # What a supervisor writes -------------------------------------------------------------------

    @rule(name=st.sampled_from("abc"), above=CHOICE, of_a_person=st.booleans())
    def reserve(self, name: str, above: int, of_a_person: bool) -> None:
        owner = self.names.get(name)
        if owner is not None and self.known[owner].life is not Life.ENDED:
            return  # names are unique
        living = [one for one, pod in self.known.items() if pod.life in LIVING]
        parent = None if of_a_person or not living else living[above % len(living)]
        self.count += 1
        pod_id, message_id = f"pod{self.count}", f"m{self.count}"
        data = kinds.reserved_data(
            SpawnPod(name=name, message_id=message_id),
            pod_id=pod_id, parent_id=parent, grant=ScopeGrant(), cwd="/", on_parent_exit="keep",
            replaces=owner,
        )  # fmt: skip
        self.tell(kinds.POD_RESERVED, data)
        self.known[pod_id] = Known(name, parent, parent, message_id)
        if owner is None:
            self.names[name] = pod_id

    @rule(choice=CHOICE, what=CHOICE, turns=st.integers(0, 3), told=CHOICE)
    def move(self, choice: int, what: int, turns: int, told: int) -> None:
        """Something happens to a pod, by the one table of lives."""
        pod_id = self.one(choice)
        if pod_id is None:
            return
        pod = self.known[pod_id]
        triggers = list(TRANSITIONS[pod.life])
        trigger = triggers[what % len(triggers)]
        life, commands = handle(pod.life, trigger)
        written = [WRITTEN[one] for one in commands if one in WRITTEN]
        if not written:
            self.table.set_life(pod_id, life)
            pod.life = life
            return
        (kind,) = written
        self.tell(kind, self.data_of(kind, pod_id, turns, told))
        if kind in (kinds.SPAWN_FAILED, kinds.POD_REMOVED):
            self.forget(pod_id)
            return
        pod.life = pod.written = life
        if kind == kinds.POD_SPAWNED:
            self.names[pod.name] = pod_id
        elif kind == kinds.POD_RESTARTED:
            pod.total += 1
        elif kind == kinds.POD_ENDED:
            self.charge(pod, turns)
        if Command.SETTLE_CHILDREN in commands:
            self.hand_on(pod_id, pod)

    def data_of(self, kind: str, pod_id: str, turns: int, told: int) -> dict[str, Any]:
        record = self.record(pod_id)
        if kind in (kinds.POD_SPAWNED, kinds.POD_RESTARTED):
            return kinds.spawned_data(record, keeper=KEEPER, pid=9, message=None)
        if kind == kinds.POD_CRASHED:
            return kinds.crashed_data(record, attempt=1, due=0.0, reason="", exit_record=EXIT)
        if kind == kinds.POD_RESTORING:
            child = self.one(told)
            assert child is not None
            self.known[child].told = max(self.known[child].told, told)
            return kinds.restoring_data(record, reason="wanted", told={child: told})
        if kind != kinds.POD_ENDED:
            return {"id": pod_id, "pod": record.name}
        child = self.one(told)
        assert child is not None
        self.known[child].told = max(self.known[child].told, told)
        last = TurnSummary(turn=self.known[pod_id].turns + turns, stop_reason="end_turn")
        return kinds.ended_data(
            record, state="failed", reason="", exit_record=EXIT, last_turn=last, told={child: told}
        )

    def charge(self, pod: Known, turns: int) -> None:
        """The parent pays for what its child used since it last ended."""
        pod.turns += turns
        used = pod.turns + pod.below
        if pod.parent is not None:
            self.known[pod.parent].below += used - pod.counted
        pod.counted = used

    def hand_on(self, pod_id: str, pod: Known) -> None:
        for child, other in self.known.items():
            if other.parent == pod_id and other.life in LIVING:
                name = {"id": child, "pod": other.name, "parent_id": pod.parent}
                self.tell(kinds.POD_REPARENTED, name)
                other.parent = pod.parent

    def forget(self, pod_id: str) -> None:
        gone = self.known.pop(pod_id)
        if self.names.get(gone.name) == pod_id:
            del self.names[gone.name]
        for other in self.known.values():
            if other.parent == pod_id:
                other.parent = gone.parent

    @rule(choice=CHOICE, reader=st.sampled_from(["owner", "x"]), seq=st.integers(1, 9))
    def advance(self, choice: int, reader: str, seq: int) -> None:
        pod_id = self.one(choice)
        if pod_id is not None:
            self.tell(kinds.CURSOR_ADVANCED, {"id": pod_id, "reader": reader, "seq": seq})
            cursors = self.known[pod_id].cursors
            cursors[reader] = max(seq, cursors.get(reader, 0))

    @rule(kind=st.sampled_from(sorted(WRITTEN.values())))
    def hear_of_nobody(self, kind: str) -> None:
        """Of a pod that is forgotten, and kinds of another version."""
        self.tell(kind, {"id": "nobody"})
        self.tell("of another version", {"id": "nobody", "kind": kind})

    @rule()
    def write_a_snapshot(self) -> None:
        self.snapshot = (len(self.events), orjson.dumps(memory(self.table)))

    @rule(from_snapshot=st.booleans())
    def start_another_supervisor(self, from_snapshot: bool) -> None:
        self.table = self.read_anew(from_snapshot=from_snapshot)
        for pod in self.known.values():
            pod.life = pod.written

    def read_anew(self, *, from_snapshot: bool) -> PodTable:
        table = PodTable()
        since, remembered = self.snapshot if from_snapshot else (0, b"")
        if remembered:
            assert not restore(table, orjson.loads(remembered))
        for event in self.events[since:]:
            table.apply(event)
        table.forget_unjournaled()
        return table

    # What must hold -----------------------------------------------------------------------------

    @invariant()
    def it_knows_each_pod_as_it_is(self) -> None:
        assert {record.id for record in self.table} == self.known.keys()
        for pod_id, pod in self.known.items():
            record = self.record(pod_id)
            assert (record.name, record.parent_id, record.life) == (pod.name, pod.parent, pod.life)
            assert record.living == (pod.life in LIVING)
            assert (record.state is not None) == (pod.written in (Life.ENDED, Life.RESTORING))
            assert record.restarts.total == pod.total
            assert (record.turns_below, record.turns_counted) == (pod.below, pod.counted)
            assert (record.told, record.cursors) == (pod.told, pod.cursors)
            assert self.table.spawned_by_message(pod.asked_by, pod.message_id) is record

    @invariant()
    def it_finds_them_by_name(self) -> None:
        for name in "abc":
            named = self.table.named(name)
            assert (None if named is None else named.id) == self.names.get(name)

    @invariant()
    def it_knows_who_is_above_and_below(self) -> None:
        above: dict[str, list[str]] = {}
        for pod_id in self.known:
            above[pod_id], at = [], self.known[pod_id].parent
            while at is not None:
                above[pod_id].append(at)
                at = self.known[at].parent
            assert self.table.ancestors(pod_id) == above[pod_id]
            assert self.table.depth(pod_id) == 1 + len(above[pod_id])
        for top in (None, *self.known):
            children = [one for one, pod in self.known.items() if pod.parent == top]
            assert [record.id for record in self.table.children(top)] == children
            below = [record.id for record in self.table.descendants(top)]
            wanted = {one for one in self.known if top is None or top in above[one]}
            assert len(below) == len(wanted)
            assert set(below) == wanted
            assert all(below.index(one) > below.index(up) for one in below
                       for up in above[one] if up in below), "parents come first"  # fmt: skip
            living = [one for one in children if self.known[one].life in LIVING]
            assert [record.id for record in self.table.living_below(top)] == living
            assert self.table.living_children().get(top, 0) == len(living)

    @invariant()
    def it_knows_who_lives_oldest_first(self) -> None:
        assert self.table.living() == [record for record in self.table if record.living]

    @invariant()
    def whoever_reads_the_journal_knows_the_same(self) -> None:
        anew, shorter = (self.read_anew(from_snapshot=one) for one in (False, True))
        assert list(anew) == list(shorter)
        assert memory(anew) == memory(shorter)
        for record in self.table:
            there = anew.get(record.id)
            assert there == attrs.evolve(record, life=self.known[record.id].written)


TestRecords = Records.TestCase
TestRecords.settings = settings(max_examples=examples(40), stateful_step_count=25, deadline=None)
