"""The clients of a round: perform the steps of a plan and write down what they were told.

Owns what each step asks and what of the answer is a promise. Judges nothing but what cannot be
judged later. Used by `rounds`.
"""

from __future__ import annotations

import json
import os
import signal
from typing import Any, Final, assert_never

import steps
import trio
import verdict
import verdict_lives
from clients import REQUEST_SECONDS, Clients
from journals import read_journal
from ledger import Ledger, Page
from world import World

from pods_protocol import pod_messages, supervisor_messages
from pods_protocol.codec import to_json
from pods_protocol.errors import NotConnected, PodsError, TimedOut
from pods_protocol.pod_messages import ReadEvents, ReadEventsResult, Request
from pods_protocol.supervisor_messages import (
    PausePod,
    ReadOutput,
    ReadOutputResult,
    ResumePod,
    SpawnPod,
    StopPod,
)
from pods_protocol.values import RestartPolicy, ScopeRule

WAIT_SECONDS: Final = 0.3
"""Of a wait, and for a question to come."""

SLACK_SECONDS: Final = 2.0
"""What ended this short a time before the list is left: a supervisor may begin to prune late."""

MOST_PAGES: Final = 40
"""Of one reading: a pod that says more while it is read is read on another time."""


class Actors(Clients):
    """The clients at work.

    Args:
        world: where.
        ledger: takes what they are told.
    """

    def __init__(self, world: World, ledger: Ledger) -> None:
        super().__init__(world, ledger)
        self._graves = trio.Lock()
        """Nobody is started again while somebody reads the last of him and has him removed."""

    async def perform(self, step: steps.Step) -> None:
        """Do one step of a script; whatever comes back is either noted or of no consequence."""
        match step:
            case steps.Spawn():
                await self.spawn(step)
            case steps.Send():
                await self.send(step)
            case steps.Notify(name, message_id, wake):
                note = pod_messages.Notify(
                    message=_order(message_id), wake=wake, message_id=message_id
                )
                await self._submit(self._sent_to(name, message_id), note, message_id)
            case steps.Withdraw(message_id):
                await self._withdraw(message_id)
            case steps.Answer(name, answer):
                await self._answer(name, answer)
            case steps.Cancel(name):
                await self._tell(self.meant(name), pod_messages.Cancel())
            case steps.Stop(name, mode):
                await self._stop(self.meant(name), mode)
            case steps.Restore(name):
                await self._restore(self.meant(name, self.dead()))
            case steps.Remove(name):
                await self._remove(self.meant(name, self.dead()))
            case steps.Prune():
                await self._prune()
            case steps.Doctor():
                await self.insist(lambda: self.ask(supervisor_messages.Doctor(fix=True)))
            case steps.Hold(name, pause):
                pod = self.meant(name)
                if pause:
                    await self.insist(lambda: self.ask(PausePod(pod=pod)))
                else:
                    await self.insist(lambda: self.ask(ResumePod(pod=pod)))
            case steps.Kill(role):
                self._kill(role)
            case steps.Reboot():
                async with self._starting:  # nobody starts a supervisor on a machine that is off
                    await trio.to_thread.run_sync(self.world.reboot)
            case steps.Fill():
                await trio.to_thread.run_sync(self.world.fill_disk)
            case steps.Wait():
                await self._wait(step)
            case steps.Look():
                await self._look(step)
            case _:
                assert_never(step)

    # Lives --------------------------------------------------------------------------------------

    async def spawn(self, step: steps.Spawn) -> bool:
        """Start a pod; whether a client was told that it runs."""
        parent_id = None
        directory = f"{self.world.work}/{step.name}"
        if step.parent is not None:
            parent_id = self.id_of(self.meant(step.parent))
            if parent_id is None:
                return False  # there is nobody to ask for it
            directory = f"{self.ledger.directories[parent_id]}/{step.name}"
        elif step.ground is not None and (owner := self.id_of(self.meant(step.ground))):
            directory = self.ledger.directories[owner]
        os.makedirs(directory, exist_ok=True)
        request = SpawnPod(
            name=step.name,
            agent="campaign_agent:Worker",
            allow=(ScopeRule(target=directory, permission="write"),),
            cwd=directory,
            on_parent_exit="keep" if step.keep else "stop",
            wake_on=step.wake_on,
            restart=RestartPolicy()
            if step.restart is None
            else RestartPolicy(when="on-failure", limit=step.restart),
            message_id=step.message_id,
        )
        answer = await self.insist(lambda: self.ask(request, parent=parent_id, seconds=8.0))
        if answer is None:
            return False
        pod_id = answer.pod.id
        self.ledger.spawned.setdefault(step.message_id, []).append(pod_id)
        self.ledger.names[pod_id] = step.name
        self.ledger.directories[pod_id] = directory
        self.follow(pod_id, answer.socket, answer.token)
        return True

    async def _stop(self, name: str, mode: Any) -> None:
        request = StopPod(pod=name, mode=mode, grace_seconds=0.5)
        answer = await self.insist(lambda: self.ask(request, seconds=6.0))
        pod_id = self.id_of(name)
        if answer is not None and pod_id is not None:
            if answer.state not in verdict_lives.ENDED:
                self.ledger.complaints.append(f"a stop of {name} was answered {answer.state}")
            self.ledger.end(pod_id)

    async def _restore(self, name: str) -> None:
        pod_id = self.id_of(name)
        if pod_id is None:
            return

        async def act() -> supervisor_messages.SpawnPodResult:
            self.ledger.restores[pod_id] = self.ledger.restores.get(pod_id, 0) + 1
            restore = supervisor_messages.RestorePod(pod=name)
            return await self.ask(restore, seconds=8.0)

        async with self._graves:
            answer = await self.insist(act)
            if answer is not None:
                self.ledger.begin(pod_id)
                self.follow(pod_id, answer.socket, answer.token)

    async def _remove(self, name: str) -> None:
        pod_id = self.id_of(name)
        if pod_id is None:
            return
        async with self._graves:
            if not self.ledger.is_surely_over(pod_id):
                return  # its journal may go on before it is removed
            self.bury(pod_id)
            answer = await self.insist(
                lambda: self.ask(supervisor_messages.RemovePod(pod=name), seconds=6.0)
            )
            if answer is not None:
                self.ledger.removed.add(answer.id)

    async def _prune(self) -> None:
        async def act() -> supervisor_messages.PrunePodsResult:
            self.ledger.prunes += 1
            began = trio.current_time()
            rows = (await self.ask(supervisor_messages.ListPods())).pods
            for row in rows:
                if row.state in verdict_lives.ENDED:
                    self.bury(row.id)
            # Nobody has read what ends from here on, so that is too young.
            prune = supervisor_messages.PrunePods(
                older_than_seconds=trio.current_time() - began + SLACK_SECONDS, force=True
            )
            return await self.ask(prune, seconds=6.0)

        async with self._graves:
            answer = await self.insist(act)
        for name in () if answer is None else answer.removed:
            pod_id = self.id_of(name)
            if pod_id is not None:
                self.ledger.removed.add(pod_id)

    def bury(self, pod_id: str) -> None:
        """Read what is going to be removed."""
        directory = f"{self.world.places.places.state}/pods/{pod_id}/journal"
        if os.path.isdir(directory):
            self.ledger.tapes[pod_id] = read_journal(directory)
        self.ledger.removals.add(pod_id)

    def _kill(self, role: str) -> None:
        kind, _, name = role.partition(":")
        if name:
            pod_id = self.id_of(self.meant(name))
            there = self.world.pid_of(f"pods-{kind}: ")
            pids = [pid for pid in there if self.world.pod_of(pid) == pod_id]
        elif kind == "launcher":
            pids = self.world.pid_of("pods-launcher: ")
        else:
            pids = self.world.pid_of("pods.supervisor")
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    # Messages -----------------------------------------------------------------------------------

    def _sent_to(self, name: str, message_id: str) -> str:
        """Whom a message is for: the same pod each time."""
        return self.ledger.sent_to.setdefault(message_id, self.meant(name))

    async def _tell(self, name: str, message: Request[Any]) -> None:
        async def act() -> None:
            async with self.pod(name) as (_, rpc):
                await rpc.request(message, timeout_seconds=REQUEST_SECONDS)

        await self.insist(act)

    async def send(self, step: steps.Send) -> None:
        """Give a pod a message."""
        message = pod_messages.Run(
            input=_order(step.message_id, step.texts, stray=step.stray, ask=step.ask),
            if_busy=step.if_busy,
            message_id=step.message_id,
        )
        await self._submit(self._sent_to(step.name, step.message_id), message, step.message_id)

    async def _submit(
        self, name: str, message: pod_messages.Run | pod_messages.Notify, message_id: str
    ) -> None:
        asked: list[str] = []

        async def act() -> None:
            async with self.pod(name) as (pod_id, rpc):
                asked.append(pod_id)
                sent = self.ledger.submission(pod_id, message_id)
                try:
                    if isinstance(message, pod_messages.Run):
                        answer = await rpc.request(message, timeout_seconds=REQUEST_SECONDS)
                        sent.answers.append((answer.state, answer.turn, answer.position))
                    else:
                        noted = await rpc.request(message, timeout_seconds=REQUEST_SECONDS)
                        sent.answers.append((noted.state, noted.turn, None))
                except (NotConnected, TimedOut):
                    raise
                except PodsError as error:
                    sent.refused.append(error.CODE)
                    raise

        def doubt() -> None:
            if asked:
                self.ledger.submission(asked[-1], message_id).doubtful = True

        await self.insist(act, doubt)

    async def _withdraw(self, message_id: str) -> None:
        name = self.ledger.sent_to.get(message_id)
        if name is None:
            return

        async def act() -> None:
            async with self.pod(name) as (pod_id, rpc):
                await rpc.request(
                    pod_messages.Withdraw(message_id=message_id), timeout_seconds=REQUEST_SECONDS
                )
                self.ledger.withdrawn.add((pod_id, message_id))

        await self.insist(act)

    async def _answer(self, name: str, answer: str) -> None:
        async def act() -> None:
            rows = (await self.ask(supervisor_messages.ListPods())).pods
            waiting = sorted(row.name for row in rows if row.state == "waiting")
            async with self.pod(self.meant(name, waiting or None)) as (pod_id, rpc):
                await rpc.request(
                    pod_messages.WaitFor(until="question", timeout_seconds=WAIT_SECONDS),
                    timeout_seconds=REQUEST_SECONDS,
                )
                status = await rpc.request(
                    pod_messages.GetStatus(), timeout_seconds=REQUEST_SECONDS
                )
                for question in status.questions[:1]:
                    await rpc.request(
                        pod_messages.AnswerQuestion(
                            question_id=question.question_id, answer=answer
                        ),
                        timeout_seconds=REQUEST_SECONDS,
                    )
                    self.ledger.answered[pod_id, question.question_id] = answer

        await self.insist(act)

    # Looks --------------------------------------------------------------------------------------

    async def _wait(self, step: steps.Wait) -> None:
        # One that has ended is a good one to wait for: its end must not be missed.
        name = self.meant(step.name, [*self.living(), *self.dead()])
        pod_id = self.id_of(name)
        if pod_id is None:
            return
        over = self.ledger.is_surely_over(pod_id)
        wait = supervisor_messages.WaitPods(
            pods=(name,), until=step.until, timeout_seconds=WAIT_SECONDS
        )
        answer = await self.insist(lambda: self.ask(wait))
        if answer is None:
            return
        self.ledger.complaints += [
            f"{name}: {one}"
            for one in verdict_lives.judge_wait(
                step.until,
                [one.state for one in answer.ready],
                [one.state for one in answer.pending],
                timed_out=answer.timed_out,
                over=over and self.ledger.is_surely_over(pod_id),
            )
        ]
        if any(one.state in verdict_lives.ENDED for one in answer.ready) and (
            not self.ledger.restores.get(pod_id)
        ):
            self.ledger.end(pod_id)

    async def _look(self, step: steps.Look) -> None:
        await self.insist(lambda: self.ask(supervisor_messages.ListPods()))
        name = self.meant(step.name) if step.itself else self.meant(
            step.name, [*self.living(), *self.dead()]
        )  # fmt: skip

        async def read_all() -> None:
            if not step.itself:
                await self._read(name, step.page)
                return
            async with self.pod(name) as (pod_id, rpc):
                await self._read(name, step.page, pod_id, rpc)

        await self.insist(read_all)

    async def _read(self, name: str, page: int, pod_id: str = "", rpc: Any = None) -> None:
        since = 0
        for _ in range(MOST_PAGES):
            result: ReadOutputResult | ReadEventsResult
            if rpc is None:
                result = await self.ask(ReadOutput(pod=name, since=since, limit=page))
                pod_id = result.id
            else:
                result = await rpc.request(
                    ReadEvents(since=since, limit=page), timeout_seconds=REQUEST_SECONDS
                )
            if pod_id in self.ledger.removals:
                return  # it may have nothing any more
            got = Page(since, [to_json(one) for one in result.events], result.next,
                       result.truncated)  # fmt: skip
            self.ledger.pages.setdefault(pod_id, []).append(got)
            self.ledger.complaints += [f"{name}: {one}" for one in verdict.judge_page(got)]
            since = result.next
            if not result.truncated:
                return


def _order(message_id: str, texts: int = 1, *, stray: bool = False, ask: bool = False) -> str:
    order = {"id": message_id, "texts": texts, "seconds": 0.005, "stray": stray, "ask": ask}
    return json.dumps(order)
