"""All pods that a supervisor knows, as a fold over its journal.

Owns what an event of one pod does to the others: names, parents, what children used and were told
of; and the questions about all pods. What an event does to its own pod is `record`. Called by
`pods.supervisor`, through `pods.journal`'s store, and by `pods doctor` for what is on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from attrs import evolve

from pods.lifecycle import Life
from pods.records.events import (
    POD_ENDED,
    POD_REMOVED,
    POD_RESERVED,
    POD_RESTORING,
    POD_SPAWNED,
    SPAWN_FAILED,
)
from pods.records.record import PodRecord, changes, reserved
from pods_protocol.events import Event


class PodTable:
    """Every pod that a supervisor knows: the fold of its journal.

    Two things beside the journal change it, and neither outlives the process: `set_life` moves a
    pod between two lives that the journal does not tell apart.
    """

    MEANING: ClassVar[int] = 2
    DERIVED: ClassVar[frozenset[str]] = frozenset({"_living", "_living_of"})
    FORMERLY: ClassVar[Mapping[str, Mapping[str, str]]] = {}

    # All that is remembered, with its type: snapshots are made and read by these lines.
    _pods: dict[str, PodRecord]
    _names: dict[str, str]
    _journaled_lives: dict[str, Life]

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._pods = {}
        self._names = {}
        self._journaled_lives = {}
        # The ids of the living, oldest first, and the pods that they were found in: every spawn
        # asks for them several times, beside thousands of pods that have ended.
        self._living = dict[str, None]()
        self._living_of = self._pods
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
        self._put(evolve(self._pods[pod_id], life=life))

    def forget_unjournaled(self) -> None:
        """Go back to what the journal tells of each life.

        For a new process: the one before it may have made its snapshot in the middle of a move.
        """
        for pod_id, life in self._journaled_lives.items():
            self._put(evolve(self._pods[pod_id], life=life))
        self._journaled_lives.clear()

    def _put(self, record: PodRecord) -> None:
        """Keep the newest record of a pod, new or known."""
        living = self._ids_of_living()
        self._pods[record.id] = record
        if not record.living:
            living.pop(record.id, None)
        elif record.id not in living:
            if record.id == next(reversed(self._pods)):
                living[record.id] = None
            else:
                self._living_of = {}  # it lives again, in its old place: to be found anew

    def _ids_of_living(self) -> dict[str, None]:
        if self._living_of is not self._pods:  # nor where another took a snapshot's place
            self._living = {record.id: None for record in self._pods.values() if record.living}
            self._living_of = self._pods
        return self._living

    def apply(self, event: Event) -> None:
        """Take one event of the supervisor's journal; kinds of other versions change nothing."""
        data = event.data
        pod_id = data.get("id")
        if not isinstance(pod_id, str):
            return
        if event.type == POD_RESERVED:
            record = reserved(event)
            self._put(record)
            if record.replaces is None or record.replaces not in self._pods:
                self._names[record.name] = pod_id
            return
        known = self._pods.get(pod_id)
        if known is None:
            return
        if event.type in (SPAWN_FAILED, POD_REMOVED):
            self._forget(known)
            return
        changed = changes(event, known)
        if changed:
            self._put(evolve(known, **changed))
        if "life" in changed:
            self._journaled_lives.pop(pod_id, None)
        if event.type in (POD_ENDED, POD_RESTORING):
            self._note_told(data.get("told", {}))
        if event.type == POD_ENDED:
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
        self._ids_of_living().pop(record.id, None)
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

    def living_below(self, pod_id: str | None) -> list[PodRecord]:
        """Those of its children that run or are about to."""
        return [record for record in self.living() if record.parent_id == pod_id]

    def living_children(self) -> dict[str | None, int]:
        """How many living children every parent has."""
        counts: dict[str | None, int] = {}
        for record in self.living():
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
        """Every pod that runs or is about to, oldest first."""
        return [self._pods[pod_id] for pod_id in self._ids_of_living()]

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
