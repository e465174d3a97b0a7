"""A living pod: its socket, its journal, its turns.

Owns the order of everything: a stimulus comes in, the machine decides, the events are written, the
asker is answered, subscribers are told, the commands are performed. Persist, then answer, then act.
The requests that change something are plain functions, and `settle` follows their answer at once,
so that nothing can come between those. `requests` has the methods of the socket, `host` is what the
agent sees. `main` makes it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from pods.agents.base import Agent
from pods.journal.store import Journal
from pods.pod.actor import RunningTurn
from pods.pod.host import PodHost
from pods.pod.requests import PodRequests
from pods.pod.stimuli import (
    CancelTurn,
    Command,
    EndPod,
    GiveAnswer,
    HoldTurn,
    LimitReached,
    Opened,
    Shutdown,
    StartTurn,
    Stimulus,
)
from pods.pod.turns import TurnMachine
from pods_protocol.errors import PodsError, StorageFailed
from pods_protocol.process_messages import PodSpec

if TYPE_CHECKING:
    from pods.pod.limit_keeper import LimitKeeper
    from pods.pod.turn_marks import TurnMarks

STORAGE_RETRY_SECONDS: Final = 0.5
"""While the disk refuses the end of a turn, it is tried again after this; nothing else can be done
for the turn, and the pod goes on answering."""

FAREWELL_SECONDS: Final = 1.0
"""At the end, time for answers and last events to reach those who read them."""

CLOSE_SECONDS: Final = 2.0
"""At the end, time for the agent's `close`: short of the grace of a stop (5 s)."""


def _limit_keeper(
    spec: PodSpec, cross: Callable[[LimitReached], None], is_idle: Callable[[], bool]
) -> LimitKeeper | None:
    """What sees to the limits that need a timer or a count; most pods have none of these."""
    limits = spec.limits
    if (limits.idle_seconds, limits.memory_bytes, limits.processes) == (None,) * 3 and (
        spec.wall_until is None
    ):
        return None
    from pods.pod.limit_keeper import LimitKeeper  # the image of most pods has it

    return LimitKeeper(
        limits, wall_until=spec.wall_until, cross=cross, is_idle=is_idle, cgroup=spec.cgroup
    )


def _turn_marks(tells: socket.socket) -> TurnMarks:
    from pods.pod.turn_marks import TurnMarks  # as above

    return TurnMarks(tells)


class PodServer:
    """One pod.

    Args:
        spec: what it is.
        journal: open; the caller closes it.
        agent: what answers turns.
        log: takes lines for the pod's `stderr.log`.
        tells: where it tells its keeper of its turns, if that is to know.

    Attributes:
        spec: as given.
        requests: what its socket answers.
    """

    def __init__(
        self,
        spec: PodSpec,
        journal: Journal,
        agent: Agent,
        log: Callable[[str], None],
        tells: socket.socket | None = None,
    ) -> None:
        self.spec = spec
        self._journal = journal
        self._agent = agent
        self._log = log
        can_pause = bool(getattr(agent, "can_pause", False))
        self._machine = TurnMachine(
            journal.fold,
            new_id=_new_message_id,
            max_queue_length=spec.settings.max_queue_length,
            can_hold=can_pause,
            max_turns=spec.limits.turns,
        )
        self._limits = _limit_keeper(spec, self._cross, lambda: self._machine.state == "idle")
        self._marks = None if tells is None else _turn_marks(tells)
        self._running: RunningTurn | None = None
        self._owed: tuple[Command, ...] = ()
        self._turns: trio.Nursery | None = None
        self._ended = trio.Event()
        self.requests = PodRequests(spec, journal, self._take, can_pause=can_pause, log=log)
        self._host = PodHost(spec, journal, self._apply, lambda: self._running, log)

    # Life ----------------------------------------------------------------------------------------

    def take_over(self) -> tuple[Command, ...]:
        """Write that this process goes on with the journal; first of all, before anybody asks.

        Returns:
            What to perform once the pod lives.

        Raises:
            StorageFailed: the disk refuses.
        """
        decision = self._machine.decide(
            Opened(self.spec.agent, self.spec.name, os.getpid(), self.spec.revival)
        )
        self._journal.append_many(decision.events, durable=decision.durable)
        self._machine.opened()
        return decision.commands

    async def live(
        self,
        serve: Callable[[trio.Nursery], Awaitable[None]],
        commands: Sequence[Command] = (),
    ) -> None:
        """Serve until the pod has ended.

        The nesting is the order of the end: turns first, then answers, then connections, then the
        connection to the supervisor.

        Args:
            serve: starts what accepts connections in the nursery it is given.
            commands: from `take_over`.
        """
        async with trio.open_nursery() as own:
            self._host.settle_in(own)
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as turns:
                    self._turns = turns  # before anybody can ask: the first `run` needs it
                    self._perform(commands)
                    if self._marks is not None and self._running is None:
                        self._marks.no_turn()
                    if self._limits is not None:
                        connections.start_soon(self._limits.keep_time)
                        connections.start_soon(self._limits.heed_group)
                    await serve(connections)
                    await self._ended.wait()
                await self._close_agent()
                await self._farewell()
                connections.cancel_scope.cancel()
            own.cancel_scope.cancel()

    def shut_down_now(self) -> None:
        """What SIGTERM asks for."""
        with contextlib.suppress(StorageFailed):  # then its sender's next step ends the pod
            self._apply(Shutdown("now"))

    async def _close_agent(self) -> None:
        close = getattr(self._agent, "close", None)
        if close is None:
            return
        try:
            with trio.move_on_after(CLOSE_SECONDS):
                await close()
        except Exception as error:
            self._log(f"the agent's close raised {error!r}")

    async def _farewell(self) -> None:
        with trio.move_on_after(FAREWELL_SECONDS):
            await self.requests.all_delivered()

    # Deciding ------------------------------------------------------------------------------------

    def _apply(self, stimulus: Stimulus) -> Any:
        """Persist and act: for what no request waits for."""
        try:
            return self._take(stimulus)
        finally:
            self.settle()

    def _take(self, stimulus: Stimulus) -> Any:
        """Persist; the reply is for the asker, and `settle` does the rest once it is on its way."""
        decision = self._machine.decide(stimulus)
        if decision.events:
            self._journal.append_many(decision.events, durable=decision.durable, tell=False)
        self._owed = decision.commands
        reply = decision.reply
        if isinstance(reply, PodsError):
            raise reply
        return reply

    def settle(self) -> None:
        """Tell subscribers and perform commands: what a request leaves for after its answer."""
        self._journal.tell()
        if self._owed:
            commands, self._owed = self._owed, ()
            self._perform(commands)

    def _perform(self, commands: Sequence[Command]) -> None:
        running = self._running
        for command in commands:
            match command:
                case StartTurn():
                    assert self._turns is not None, "commands are performed while the pod lives"
                    self._running = RunningTurn(
                        command, turn_seconds=self.spec.limits.turn_seconds, log=self._log
                    )
                    self._turns.start_soon(self._run_turn, self._running)
                    if self._marks is not None:
                        self._marks.turn_begins()
                case CancelTurn(_, reason, limit, message):
                    if running is not None and limit is not None:
                        running.cross(limit, message)
                    elif running is not None:
                        running.cancel(reason)
                case GiveAnswer(question_id, answer):
                    if running is not None and question_id in running.waiters:
                        running.waiters[question_id].settle(answer)
                case HoldTurn(held):
                    if running is not None:
                        running.hold(held=held)
                    if self._marks is not None:
                        self._marks.hold(held=held)
                case EndPod():
                    self._ended.set()

    async def _run_turn(self, running: RunningTurn) -> None:
        if self._limits is None:
            finished = await running.run(self._agent, self._host)
        else:
            finished = await self._limits.attend(
                running, partial(running.run, self._agent, self._host)
            )
        self._running = None
        if self._marks is not None:
            self._marks.turn_over()  # a disk that refuses its end is no fault of the turn
        while True:
            try:
                self._apply(finished)
            except StorageFailed as error:
                self._log(f"turn {finished.turn} has ended and cannot be written: {error.message}")
                if finished.stop_reason == "end_turn":
                    # The disk may have lost more than this line: not a success.
                    finished = attrs.evolve(finished, stop_reason="error", message=error.message)
                await trio.sleep(STORAGE_RETRY_SECONDS)
            else:
                break
        if self._limits is not None:
            self._limits.after_turn(idle=self._running is None)
        if self._marks is not None and self._running is None:
            self._marks.no_turn()

    def _cross(self, reached: LimitReached) -> None:
        """A limit ends the pod. On a disk that refuses to hear of it, it ends all the same."""
        try:
            self._apply(reached)
        except StorageFailed as error:
            self._log(f"the pod ends, over its limit of {reached.limit}: {error.message}")
            if self._running is not None:
                self._running.cross(reached.limit, reached.message)
            self._ended.set()


def _new_message_id() -> str:
    return secrets.token_hex(8)
