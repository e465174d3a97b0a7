"""One round of a campaign: start, work under faults, heal, judge, stop, judge again, bury.

Owns the order of these. What "healed" means is `health`'s, what the journals must keep `verdict`'s.
Used by `campaign`.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Any, Final

import trio
import verdict
import verdict_lives
from actors import Actors
from attrs import define, field
from fault_board import Slot
from health import HEALED_SECONDS, LOOK_SECONDS, Health, in_time
from journals import read_journal, read_marks
from ledger import Ledger, Tape
from points import ERRORS
from steps import Phase, Plan
from world import World

from pods_protocol.errors import PodsError
from pods_protocol.supervisor_messages import (
    ListPods,
    PrunePods,
    RemovePod,
    ShutdownSupervisor,
)

GONE_SECONDS: Final = 75.0
"""After the last stop. A launcher whose supervisor was killed while it came up, and that no other
has met, ends by itself after a minute."""

ROUND_SECONDS: Final = 240.0
"""A round takes some four; one that is not over then hangs."""


@define
class Outcome:
    """What came of a round.

    Attributes:
        messages: that were accepted while faults were armed.
        armed, fired: the faults.
        slow: what became right late.
    """

    seed: int
    armed: list[Slot] = field(factory=list[Slot])
    fired: list[Slot] = field(factory=list[Slot])
    wrong: list[str] = field(factory=list[str])
    census: dict[tuple[str, str], int] = field(factory=dict[tuple[str, str], int])
    events: int = 0
    messages: int = 0
    pods: int = 0
    seconds: float = 0.0
    slow: list[str] = field(factory=list[str])
    log: str = ""


class Round:
    """One plan in one world."""

    def __init__(self, plan: Plan, world: World) -> None:
        self.plan = plan
        self.world = world
        self.ledger = Ledger()
        self.actors = Actors(world, self.ledger)
        self.health = Health(world, self.actors)
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
                        wrong += [f"phase {number}: {one}" for one in await self._phase(phase)]
                        if wrong:
                            break
                    wrong += [f"at the end: {one}" for one in await self._farewell()]
                    nursery.cancel_scope.cancel()
                wrong += self._judge_journals()
                if not wrong:
                    wrong += [f"buried: {one}" for one in await self._bury()]
        except trio.TooSlowError:
            wrong.append(f"the round hangs: it was not over in {ROUND_SECONDS:g} s")
        wrong += self.ledger.complaints
        self.outcome.census = self.world.board.census()
        if not self.outcome.messages:
            wrong.append("the round is vacuous: no message was accepted while it lasted")
        self.outcome.seconds = time.monotonic() - began
        self.outcome.slow = self.health.slow
        self.outcome.log = self.world.log()
        return self.outcome

    # Under faults -------------------------------------------------------------------------------

    async def _phase(self, phase: Phase) -> list[str]:
        """Work and be hurt, heal, and look; returns what is wrong."""
        roots = [one for one in phase.roots if not self._lives(one.name[:2])]
        if phase.calm:
            for root in roots:
                if not await self.actors.spawn(root):
                    return [f"{root.name} cannot be spawned where nothing goes wrong"]
        before = self._accepted()
        self._arm(phase.faults)

        async def script(number: int) -> None:
            if not phase.calm and number < len(roots):
                await self.actors.spawn(roots[number])
            for step in phase.scripts[number]:
                await self.actors.perform(step)

        async with trio.open_nursery() as medics:
            medics.start_soon(self._wake_the_stopped)
            async with trio.open_nursery() as scripts:
                for number in range(len(phase.scripts)):
                    scripts.start_soon(script, number)
            medics.cancel_scope.cancel()
        self._heal()
        self.outcome.messages += self._accepted() - before
        return await self.health.wrong()

    def _lives(self, place: str) -> bool:
        return any(name.startswith(place) for name in self.actors.living())

    def _accepted(self) -> int:
        return sum(bool(one.answers) for one in self.ledger.submissions.values())

    def _arm(self, faults: tuple[Slot, ...]) -> None:
        self.outcome.armed += faults
        self.world.board.arm(self.actors.aimed(faults))

    async def _wake_the_stopped(self) -> None:
        """Let go on, after a while, whom a fault has stopped."""
        woken: set[tuple[int, float]] = set()
        while True:
            for slot in self.world.board.fired():
                key = (slot.pid, slot.at)
                late = slot.at + 0.05 + (slot.part % 400) / 1000
                stopped = slot.action.startswith("stop")
                if stopped and key not in woken and time.monotonic() > late:
                    woken.add(key)
                    with suppress(ProcessLookupError):
                        os.kill(slot.pid, signal.SIGCONT)
            await trio.sleep(LOOK_SECONDS)

    def _heal(self) -> None:
        self.outcome.fired += self.world.board.disarm()
        self.world.empty_disk()
        self.world.wake_all()

    # The end ------------------------------------------------------------------------------------

    async def _farewell(self) -> list[str]:
        """Stop everything under the last faults, then once more without, and look what is left."""
        stop = ShutdownSupervisor(stop_pods=True, grace_seconds=0.5)
        self._arm(self.plan.farewell)
        done = False
        async with trio.open_nursery() as medics:
            medics.start_soon(self._wake_the_stopped)
            with suppress(PodsError, OSError):
                await self.actors.ask(stop, seconds=10.0)
                done = not self.plan.farewell
            medics.cancel_scope.cancel()
        self._heal()
        return await self._gone(done=done)

    async def _gone(self, *, done: bool = False) -> list[str]:
        """Stop what there is, unless that is done; what is left after it."""

        async def stop_again() -> list[str]:
            self.world.wake_all()  # whom a fault stopped in the moment in which it was disarmed
            try:
                stop = ShutdownSupervisor(stop_pods=True, grace_seconds=0.5)
                await self.actors.ask(stop, seconds=20.0)
            except (PodsError, OSError) as error:  # one that is leaving is not there to be asked
                return [f"the last stop failed: {error}"]
            return []

        wrong = [] if done else await in_time(stop_again, HEALED_SECONDS, self.health.slow.append)

        async def look() -> list[str]:
            left = [f"{pid} {what} is left" for pid, what in self.world.processes().items()]
            left += [f"{path} is left" for path in self.world.left_in_runtime()]
            return left + [f"the lease of {one} is left" for one in self.world.leases()]

        return wrong + await in_time(look, GONE_SECONDS, self.health.slow.append)

    async def _bury(self) -> list[str]:
        """Forget everything that has ended: no directory of a pod is left then."""
        try:
            prune = PrunePods(older_than_seconds=0.0, force=True)
            uncertain = (await self.actors.ask(prune, seconds=20.0)).uncertain
            for name in uncertain:
                await self.actors.ask(RemovePod(pod=name), seconds=6.0)
            rows = (await self.actors.ask(ListPods())).pods
        except (PodsError, OSError) as error:
            return [f"what has ended cannot be forgotten: {error}"]
        wrong = [f"{row.name} is listed" for row in rows]
        wrong += [f"the directory of {self.ledger.names.get(one, one)} is left"
                  for one in self.world.pods_on_disk()]  # fmt: skip
        return wrong + await self._gone()

    # What the journals keep ---------------------------------------------------------------------

    def _judge_journals(self) -> list[str]:
        """Everything that was promised, against what lies on the disk when nothing lives."""
        ledger = self.ledger
        own = read_journal(f"{self.world.places.state}/journal")
        lives = own.torn + verdict_lives.judge_lives(own.events, ledger)
        lives += verdict_lives.judge_restarts(own.events, ledger.restores)
        wrong = [f"supervisor: {one}" for one in lives]
        wrong += [f"supervisor: pod {one} is still said to live"
                  for one in verdict_lives.open_lives(own.events)]  # fmt: skip
        there = self.world.pods_on_disk()
        told = {one for ids in ledger.spawned.values() for one in ids}
        wrong += [f"the journal of {ledger.names[one]} is gone"
                  for one in told - there - ledger.removals]  # fmt: skip
        wrong += [f"the directory of {ledger.names.get(one, one)}, which was removed, is left"
                  for one in there & ledger.removed]  # fmt: skip
        root = f"{self.world.places.places.state}/pods"
        tapes = {one: tape for one, tape in ledger.tapes.items() if one not in there}
        tapes |= {one: read_journal(f"{root}/{one}/journal") for one in there}
        journals: dict[str, list[dict[str, Any]]] = {}
        for pod_id, tape in sorted(tapes.items()):
            journals[pod_id] = tape.events
            self.outcome.events += len(tape.events)
            name = ledger.names.get(pod_id, pod_id)
            wrong += [f"{name}: {one}" for one in self._judge_pod(pod_id, tape)]
        wrong += verdict.judge_children(journals, ())
        wrong += [
            f"message {sent.message_id} was answered by {owner}, whose journal is gone"
            for (owner, _), sent in ledger.submissions.items()
            if sent.answers and owner not in tapes and owner not in ledger.removals
        ]
        self.outcome.pods = len(tapes)
        return wrong

    def _disk_failed(self) -> bool:
        return self.plan.small_disk or any(
            slot.action in ERRORS and slot.role.startswith("pod:") for slot in self.outcome.fired
        )

    def _judge_pod(self, pod_id: str, tape: Tape) -> list[str]:
        ledger, events = self.ledger, tape.events
        restores = ledger.restores.get(pod_id, 0)
        found = tape.torn + verdict.holes(events) + verdict.judge_turns(events, ended=True)
        found += verdict_lives.judge_second_lives(events, restores)
        found += verdict.judge_seen(tape, ledger.seen.get(pod_id, ()))
        if not self._disk_failed():  # a reader of files may see what its writer then takes back
            for page in ledger.pages.get(pod_id, ()):
                found += verdict.judge_seen(tape, page.events)
        answered = {one: said for (pod, one), said in ledger.answered.items() if pod == pod_id}
        found += verdict.judge_answers(events, answered)
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
        return found
