"""One round of a campaign: start, work under faults, heal, judge, stop, judge again.

Owns the order of these and what "healed" means. Used by `campaign`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import trio
import verdict
from actors import Actors
from attrs import define, field
from fault_board import Slot
from journals import read_journal, read_marks
from ledger import Ledger
from plan import Phase, Plan
from world import World

from pods_protocol.errors import PodsError
from pods_protocol.supervisor_messages import ListPods, ResumePod, ShutdownSupervisor, WaitPods

HEALED_SECONDS: Final = 20.0
"""After the last fault everything must be right within this: what a full disk refused is tried
again after ever longer pauses."""

GONE_SECONDS: Final = 75.0
"""After the last stop. A launcher whose supervisor was killed while it came up, and that no other
has met, ends by itself after a minute."""

LOOK_SECONDS: Final = 0.05
"""Between two looks at what nobody announces."""

ROUND_SECONDS: Final = 240.0
"""A round takes some four; one that is not over then hangs."""

ENDED: Final = ("stopped", "failed", "lost")


@define
class Outcome:
    """What came of a round."""

    seed: int
    fired: list[Slot] = field(factory=list[Slot])
    wrong: list[str] = field(factory=list[str])
    census: dict[tuple[str, str], int] = field(factory=dict[tuple[str, str], int])
    events: int = 0
    messages: int = 0
    pods: int = 0
    seconds: float = 0.0
    log: str = ""


class Round:
    """One plan in one world."""

    def __init__(self, plan: Plan, world: World) -> None:
        self.plan = plan
        self.world = world
        self.ledger = Ledger()
        self.actors = Actors(world, self.ledger)
        self.outcome = Outcome(plan.seed)

    async def run(self) -> Outcome:
        """Perform it; the outcome says what was wrong."""
        began = time.monotonic()
        wrong = self.outcome.wrong
        try:
            with trio.fail_after(ROUND_SECONDS):
                async with trio.open_nursery() as nursery:
                    self.actors.followers = nursery
                    for number, phase in enumerate(self.plan.phases, 1):
                        await self._phase(phase)
                        wrong += [f"phase {number}: {one}" for one in await self._healed()]
                        if wrong:
                            break
                    wrong += [f"at the end: {one}" for one in await self._farewell()]
                    nursery.cancel_scope.cancel()
                wrong += self._judge_journals()
        except trio.TooSlowError:
            wrong.append(f"the round hangs: it was not over in {ROUND_SECONDS:g} s")
        wrong += self.ledger.complaints
        self.outcome.census = self.world.board.census()
        self.outcome.seconds = time.monotonic() - began
        self.outcome.log = self.world.log()
        return self.outcome

    # Under faults -------------------------------------------------------------------------------

    async def _phase(self, phase: Phase) -> None:
        self.world.board.arm(list(phase.faults))

        async def script(number: int) -> None:
            for step in phase.scripts[number]:
                await self.actors.perform(step)

        async with trio.open_nursery() as medics:
            medics.start_soon(self._wake_the_stopped)
            async with trio.open_nursery() as scripts:
                for number in range(len(phase.scripts)):
                    scripts.start_soon(script, number)
            medics.cancel_scope.cancel()
        self._heal()

    async def _wake_the_stopped(self) -> None:
        """Let go on, after a while, whom a fault has stopped."""
        woken: set[tuple[int, float]] = set()
        while True:
            for slot in self.world.board.fired():
                key = (slot.pid, slot.at)
                late = slot.at + 0.05 + (slot.part % 400) / 1000
                if slot.action == "stop" and key not in woken and time.monotonic() > late:
                    woken.add(key)
                    with suppress(ProcessLookupError):
                        os.kill(slot.pid, signal.SIGCONT)
            await trio.sleep(LOOK_SECONDS)

    def _heal(self) -> None:
        self.outcome.fired += self.world.board.disarm()
        self.world.empty_disk()
        self.world.wake_all()

    # Healed -------------------------------------------------------------------------------------

    async def _healed(self) -> list[str]:
        """Look until everything is right, or it has had its time; returns what is wrong."""
        try:
            await self.actors.ensure()
        except PodsError as error:
            return [f"no supervisor comes up after the faults: {error.message}"]
        return await self._in_time(self._look)

    async def _in_time(self, look: Callable[[], Any], seconds: float = HEALED_SECONDS) -> list[str]:
        deadline = trio.current_time() + seconds
        while True:
            wrong: list[str] = await look()
            if not wrong or trio.current_time() > deadline:
                return wrong
            await trio.sleep(LOOK_SECONDS)

    async def _look(self) -> list[str]:
        """What is not as it should be between two phases."""
        try:
            rows = (await self.actors.ask(ListPods())).pods
            living = {row.id: row.name for row in rows if row.state not in ENDED}
            for row in rows:
                if row.state == "paused":
                    await self.actors.ask(ResumePod(pod=row.name))
            names = tuple(living.values())
            if names:
                wait = WaitPods(pods=names, until="idle", timeout_seconds=HEALED_SECONDS)
                answer = await self.actors.ask(wait, seconds=HEALED_SECONDS + 2)
                if answer.timed_out:
                    late = [f"{one.pod} ({one.state})" for one in answer.pending]
                    return [f"not idle after {HEALED_SECONDS:g} s: {', '.join(late)}"]
            rows = (await self.actors.ask(ListPods())).pods
        except (PodsError, OSError) as error:
            return [f"the supervisor does not answer: {error}"]
        living = {row.id: row.name for row in rows if row.state not in ENDED}
        self.actors.ended |= {row.id for row in rows} - living.keys()
        wrong = verdict.judge_leases(self.world.leases(), living)
        wrong += self._judge_processes(living)
        listed = {row.id for row in rows}
        wrong += [f"pod {name} is not listed" for one, name in self.ledger.names.items()
                  if one not in listed]  # fmt: skip
        journals: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            events, torn = read_journal(row.journal)
            journals[row.id] = events
            if row.state in ENDED or row.state == "idle":
                wrong += torn
                wrong += [f"{row.name}: {one}" for one in verdict.judge_turns(
                    events, ended=row.state in ENDED)]  # fmt: skip
        above = {row.id: row.parent_id for row in rows}
        followed = [one for one in above if _has_living_ancestor(one, above, living)]
        return wrong + verdict.judge_children(journals, followed)

    def _judge_processes(self, living: dict[str, str]) -> list[str]:
        """A living pod has one keeper and one process, and nobody else has any."""
        kinds: dict[str, dict[str, int]] = {"keeper": {}, "pod": {}}
        wrong: list[str] = []
        for pid, what in self.world.processes().items():
            for kind, found in kinds.items():
                if what.startswith(f"pods-{kind}: "):
                    pod_id = self.world.pod_of(pid) or "?"
                    found[pod_id] = found.get(pod_id, 0) + 1
                    if pod_id not in living:
                        name = self.ledger.names.get(pod_id, pod_id)
                        wrong.append(f"process {pid} ({what[:20]}) of {name} lives on")
        for kind, found in kinds.items():
            for one, name in living.items():
                if found.get(one, 0) != 1:
                    wrong.append(f"pod {name} has {found.get(one, 0)} processes of kind {kind}")
        return wrong

    # The end ------------------------------------------------------------------------------------

    async def _farewell(self) -> list[str]:
        """Stop everything under the last faults, then once more without, and look what is left."""
        stop = ShutdownSupervisor(stop_pods=True, grace_seconds=0.5)
        self.world.board.arm(list(self.plan.farewell))
        done = False
        async with trio.open_nursery() as medics:
            medics.start_soon(self._wake_the_stopped)
            with suppress(PodsError, OSError):
                await self.actors.ask(stop, seconds=10.0)
                done = not self.plan.farewell
            medics.cancel_scope.cancel()
        self._heal()

        async def stop_again() -> list[str]:
            try:
                await self.actors.ask(stop, seconds=20.0)
            except (PodsError, OSError) as error:  # one that is leaving is not there to be asked
                return [f"the last stop failed: {error}"]
            return []

        wrong = [] if done else await self._in_time(stop_again)

        async def look() -> list[str]:
            left = [f"{pid} {what} is left" for pid, what in self.world.processes().items()]
            left += [f"{path} is left" for path in self.world.left_in_runtime()]
            return left + [f"the lease of {one} is left" for one in self.world.leases()]

        return wrong + await self._in_time(look, GONE_SECONDS)

    def _judge_journals(self) -> list[str]:
        """Everything that was promised, against what lies on the disk when nothing lives."""
        ledger = self.ledger
        own, wrong = read_journal(f"{self.world.places.state}/journal")
        wrong += [f"supervisor: {one}" for one in verdict.judge_lives(own, ledger)]
        wrong += [f"supervisor: pod {one} is still said to live"
                  for one in verdict.open_lives(own)]  # fmt: skip
        journals: dict[str, list[dict[str, Any]]] = {}
        root = f"{self.world.places.places.state}/pods"
        there = set(os.listdir(root)) if os.path.isdir(root) else set[str]()
        told = {one for ids in ledger.spawned.values() for one in ids}
        wrong += [f"the journal of {ledger.names[one]} is gone" for one in told - there]
        for pod_id in sorted(there):
            events, torn = read_journal(f"{root}/{pod_id}/journal")
            journals[pod_id] = events
            self.outcome.events += len(events)
            found = torn + verdict.holes(events) + verdict.judge_turns(events, ended=True)
            found += verdict.judge_seen(events, ledger.seen.get(pod_id, ()))
            if pod_id in ledger.directories:
                marks = read_marks(ledger.directories[pod_id], ledger.names[pod_id])
                found += verdict.judge_marks(events, marks)
            for (owner, message_id), sent in ledger.submissions.items():
                if owner == pod_id:
                    found += verdict.judge_submission(events, sent)
                    if (owner, message_id) in ledger.withdrawn and not any(
                        event["type"] == "message_withdrawn"
                        and event["data"]["message_id"] == message_id
                        for event in events
                    ):
                        found.append(f"the withdrawal of {message_id} was answered and is lost")
            name = ledger.names.get(pod_id, pod_id)
            wrong += [f"{name}: {one}" for one in found]
        wrong += verdict.judge_children(journals, ())
        wrong += [
            f"message {sent.message_id} was answered by {owner}, whose journal is gone"
            for (owner, _), sent in ledger.submissions.items()
            if sent.answers and owner not in there
        ]
        self.outcome.pods = len(there)
        self.outcome.messages = sum(bool(one.answers) for one in ledger.submissions.values())
        return wrong


def _has_living_ancestor(
    pod_id: str, above: Mapping[str, str | None], living: Mapping[str, str]
) -> bool:
    parent = above.get(pod_id)
    while parent is not None:
        if parent in living:
            return True
        parent = above.get(parent)
    return False
