"""Between two phases: whether everything has become right again, and still works.

Owns what "healed" means while processes live: who is listed and alive, who holds which lease, what
parents have been told, what `inspect` and `doctor` say, and that a pod takes a message. Used by
`rounds`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import steps
import trio
import verdict
import verdict_lives
from actors import Actors
from journals import read_journal
from world import World

from pods_protocol.errors import PodsError
from pods_protocol.supervisor_messages import (
    Doctor,
    InspectPod,
    ListPods,
    ResumePod,
    WaitPods,
)
from pods_protocol.values import PodInfo

HEALED_SECONDS: Final = 20.0
"""After the last fault everything must be right within this: what a full disk refused is tried
again after ever longer pauses."""

LOOK_SECONDS: Final = 0.05
"""Between two looks at what nobody announces."""


NO_HARM: Final = frozenset({"launcher_unreachable"})
"""Problems that a healed world may have: the next spawn starts a launcher after a killed one."""

SLOW_SECONDS: Final = 3.0
"""Healing that takes longer is told of: it is right in the end, and somebody has waited."""


async def in_time(
    look: Callable[[], Awaitable[list[str]]], seconds: float, slow: Callable[[str], None]
) -> list[str]:
    """Look until nothing is wrong, or the time is over; returns what is.

    Args:
        look: what is wrong now.
        seconds: how long it may be.
        slow: told where it was wrong for long, and what was.
    """
    began = trio.current_time()
    before: list[str] = []
    while True:
        wrong = await look()
        took = trio.current_time() - began
        if not wrong or took > seconds:
            if not wrong and took > SLOW_SECONDS:
                slow(f"right after {took:.1f} s; before: {before[:3]}")
            return wrong
        before = wrong
        await trio.sleep(LOOK_SECONDS)


class Health:
    """Looks at a world after its faults.

    Args:
        world: which.
        actors: its clients.
    """

    def __init__(self, world: World, actors: Actors) -> None:
        self._world = world
        self._actors = actors
        self._ledger = actors.ledger
        self._asked = 0
        self.slow: list[str] = []
        """What became right late."""

    async def wrong(self) -> list[str]:
        """Look until everything is right, or it has had its time; returns what is wrong."""
        try:
            await self._actors.ensure()
        except PodsError as error:
            return [f"no supervisor comes up after the faults: {error.message}"]
        return await in_time(self._look, HEALED_SECONDS, self.slow.append) or await self._works()

    async def _look(self) -> list[str]:
        """What is not as it should be between two phases."""
        ask = self._actors.ask
        self._world.wake_all()  # whom a fault stopped in the moment in which it was disarmed
        try:
            rows = (await ask(ListPods())).pods
            for row in rows:
                if row.state == "paused":
                    await ask(ResumePod(pod=row.name))
            living = _living(rows)
            if living:
                wait = WaitPods(
                    pods=tuple(living.values()), until="idle", timeout_seconds=HEALED_SECONDS
                )
                answer = await ask(wait, seconds=HEALED_SECONDS + 2)
                if answer.timed_out:
                    late = [f"{one.pod} ({one.state})" for one in answer.pending]
                    return [f"not idle after {HEALED_SECONDS:g} s: {', '.join(late)}"]
            rows = (await ask(ListPods())).pods
            never = {
                row.id: [one.message_id for one in (await ask(InspectPod(pod=row.id))).undelivered]
                for row in rows
                if row.state in verdict_lives.ENDED
            }
        except (PodsError, OSError) as error:
            return [f"the supervisor does not answer: {error}"]
        living = _living(rows)
        self._note_ends({row.id for row in rows} - living.keys(), living.keys())
        wrong = verdict_lives.judge_leases(self._world.leases(), living)
        wrong += self._judge_processes(living)
        listed = {row.id for row in rows}
        self._note_removals(listed)
        wrong += [f"pod {name} is not listed" for one, name in self._ledger.names.items()
                  if one not in listed and one not in self._ledger.removals]  # fmt: skip
        wrong += [f"pod {self._ledger.names.get(one, one)} was removed and is listed"
                  for one in listed & self._ledger.removed]  # fmt: skip
        wrong += [f"the directory of {self._ledger.names.get(one, one)}, which is no pod, is left"
                  for one in self._world.pods_on_disk() - listed]  # fmt: skip
        # Who was removed was told what he was told.
        journals = {one: tape.events for one, tape in self._ledger.tapes.items()}
        there = self._world.pods_on_disk()
        for row in rows:
            if row.id in self._ledger.removals and row.id not in there:
                continue  # its removal could not be written down, and can be asked for again
            tape = read_journal(row.journal)
            journals[row.id] = tape.events
            found: list[str] = []
            if row.state in verdict_lives.ENDED or row.state == "idle":
                found += tape.torn
                found += verdict.judge_turns(tape.events, ended=row.state in verdict_lives.ENDED)
            if row.id in never:
                found += verdict_lives.judge_undelivered(tape.events, never[row.id])
            wrong += [f"{row.name}: {one}" for one in found]
        above = {row.id: row.parent_id for row in rows}
        followed = [one for one in above if _has_living_ancestor(one, above, living)]
        if self._ledger.removals - self._ledger.tapes.keys():
            followed = []  # nobody has read what they were told
        return wrong + verdict.judge_children(journals, followed)

    def _note_removals(self, listed: set[str]) -> None:
        """Pods that were pruned after all: they ended just before, and nobody has read them."""
        for one in self._ledger.names.keys() - listed:
            self._ledger.end(one)
        if self._ledger.prunes:
            own = read_journal(f"{self._world.places.state}/journal").events
            self._ledger.removals |= {
                event["data"]["id"] for event in own if event["type"] == "pod_removed"
            } - self._ledger.tapes.keys()

    def _note_ends(self, over: set[str], living: Any) -> None:
        for one in living:
            self._ledger.begin(one)
        for one in over:
            self._ledger.begin(one)
            self._ledger.end(one)  # whatever was asked for before has been done

    def _judge_processes(self, living: Mapping[str, str]) -> list[str]:
        """A living pod has one keeper and one process, and nobody else has any."""
        kinds: dict[str, dict[str, int]] = {"keeper": {}, "pod": {}}
        wrong: list[str] = []
        for pid, what in self._world.processes().items():
            for kind, found in kinds.items():
                if what.startswith(f"pods-{kind}: "):
                    pod_id = self._world.pod_of(pid) or "?"
                    found[pod_id] = found.get(pod_id, 0) + 1
                    if pod_id not in living:
                        name = self._ledger.names.get(pod_id, pod_id)
                        wrong.append(f"process {pid} ({what[:20]}) of {name} lives on")
        for kind, found in kinds.items():
            for one, name in living.items():
                if found.get(one, 0) != 1:
                    wrong.append(f"pod {name} has {found.get(one, 0)} processes of kind {kind}")
        return wrong

    async def _ask_doctor(self) -> list[str]:
        mended = (await self._actors.ask(Doctor(fix=True))).problems
        found = (await self._actors.ask(Doctor())).problems
        return [
            f"the doctor finds {one.code}: {one.message}; before that {mended}; leases: "
            f"{sorted(self._world.leases(void=True).values(), key=str)}"
            for one in found
            if one.code not in NO_HARM
        ]

    async def _works(self) -> list[str]:
        """The doctor finds nothing, and every living root takes a message and is done with it."""
        wrong: list[str] = []
        names = [name for name in self._actors.living() if name.startswith("p")]
        try:
            # What a full disk refused of an end is tried again twice a second.
            wrong += await in_time(self._ask_doctor, SLOW_SECONDS, self.slow.append)
            for name in names:
                self._asked += 1
                message_id = f"healed-{self._asked}"
                await self._actors.send(steps.Send(name, message_id, "queue", texts=1, stray=False))
                pod_id = self._actors.id_of(name) or ""
                if not self._ledger.submission(pod_id, message_id).answers:
                    wrong.append(f"{name} takes no message after the faults")
                await self._actors.perform(steps.Look(name, page=20, itself=False))
            if names:
                wait = WaitPods(pods=tuple(names), until="idle", timeout_seconds=HEALED_SECONDS)
                if (await self._actors.ask(wait, seconds=HEALED_SECONDS + 2)).timed_out:
                    wrong.append("a message after the faults is never done with")
        except (PodsError, OSError) as error:
            wrong.append(f"the supervisor does not answer: {error}")
        return wrong


def _living(rows: tuple[PodInfo, ...]) -> dict[str, str]:
    return {row.id: row.name for row in rows if row.state not in verdict_lives.ENDED}


def _has_living_ancestor(
    pod_id: str, above: Mapping[str, str | None], living: Mapping[str, str]
) -> bool:
    parent = above.get(pod_id)
    while parent is not None:
        if parent in living:
            return True
        parent = above.get(parent)
    return False
