"""A living pod: its socket, its journal, its turns.

Owns the order of everything: a stimulus comes in, the machine decides, the events are written, the
asker is answered, subscribers are told, the commands are performed. Persist, then answer, then act.
The requests that change something are plain functions, and `settle` follows their answer at once,
so that nothing can come between those. `main` makes it; agents see it as their `Host`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
import trio

from pods.agents.base import Agent
from pods.agents.scope import scope_environment
from pods.brakes import Brake
from pods.journal.feed import Feed
from pods.journal.store import Journal
from pods.paths import LENT_NAME
from pods.pod import answers
from pods.pod.actor import RunningTurn, Waiter, may_write
from pods.pod.beside import run_beside
from pods.pod.children import OwnClient, token_file
from pods.pod.stimuli import (
    Answered,
    Asked,
    Cancel,
    CancelTurn,
    ChildTold,
    Command,
    EndPod,
    GiveAnswer,
    Hold,
    HoldTurn,
    LimitReached,
    Notify,
    Opened,
    QuestionClosed,
    Run,
    Shutdown,
    StartTurn,
    Stimulus,
    Withdraw,
)
from pods.pod.turns import TurnMachine
from pods.rpc.server import Handler, Session
from pods_protocol import pod_messages as messages
from pods_protocol.errors import (
    Busy,
    InvalidRequest,
    NotAuthorized,
    PodsError,
    StorageFailed,
    TimedOut,
)
from pods_protocol.process_messages import PodSpec
from pods_protocol.values import Doors, ScopeGrant

if TYPE_CHECKING:
    from pods.agents.briefing import Place
    from pods.agents.turn import Beside
    from pods.client.aio import PodsClient
    from pods.pod.limit_keeper import LimitKeeper
    from pods.scope.lending import Lending
    from pods_tools import Toolset

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
    from pods.pod.limit_keeper import LimitKeeper  # imported by the pods that have some

    return LimitKeeper(limits, wall_until=spec.wall_until, cross=cross, is_idle=is_idle)


class _Caller:
    """What is known of one connection.

    Attributes:
        name: what it calls itself.
        is_supervisor: it said hello with the supervisor's own token.
        subscribed: it has its one subscription.
    """

    def __init__(self, name: str, *, is_supervisor: bool) -> None:
        self.name = name
        self.is_supervisor = is_supervisor
        self.subscribed = False


class PodServer:
    """One pod.

    Args:
        spec: what it is.
        journal: open; the caller closes it.
        agent: what answers turns.
        log: takes lines for the pod's `stderr.log`.
    """

    def __init__(
        self, spec: PodSpec, journal: Journal, agent: Agent, log: Callable[[str], None]
    ) -> None:
        self.spec = spec
        self._journal = journal
        self._fold = journal.fold
        self._feed = Feed(journal)
        self._agent = agent
        self._log = log
        self._can_pause = bool(getattr(agent, "can_pause", False))
        self._machine = TurnMachine(
            self._fold,
            new_id=_new_message_id,
            max_queue_length=spec.settings.max_queue_length,
            can_hold=self._can_pause,
            max_turns=spec.limits.turns,
        )
        self._brake: Brake | None = None
        self._limits = _limit_keeper(spec, self._cross, lambda: self._machine.state == "idle")
        self._running: RunningTurn | None = None
        self._owed: tuple[Command, ...] = ()
        self._turns: trio.Nursery | None = None
        self._own: trio.Nursery | None = None
        self._own_client: OwnClient | None = None
        self._sessions: set[Session] = set()
        self._answering = 0
        self._all_answered = trio.Event()
        self._ended = trio.Event()
        self.handlers: Mapping[str, Handler] = {
            "run": self._run,
            "notify": self._notify,
            "cancel": self._cancel,
            "withdraw": self._withdraw,
            "answer": self._answer,
            "pause": self._pause,
            "resume": self._resume,
            "shutdown": self._shutdown,
            "child_event": self._child_event,
            "status": self._status,
            "history": self._history,
            "ping": self._ping,
            "subscribe": self._subscribe,
            "read": self._read,
            "wait": self._wait,
        }

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
            self._own = own
            self._own_client = OwnClient(self.spec, own, self._log)
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as turns:
                    self._turns = turns  # before anybody can ask: the first `run` needs it
                    self._perform(commands)
                    if self._limits is not None:
                        connections.start_soon(self._limits.keep_time)
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
            if self._answering:
                await self._all_answered.wait()
            for session in tuple(self._sessions):
                await session.drained()

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
                case EndPod():
                    self._ended.set()

    async def _run_turn(self, running: RunningTurn) -> None:
        if self._limits is None:
            finished = await running.run(self._agent, self)
        else:
            finished = await self._limits.attend(running, partial(running.run, self._agent, self))
        self._running = None
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

    def _cross(self, reached: LimitReached) -> None:
        """A limit ends the pod. On a disk that refuses to hear of it, it ends all the same."""
        try:
            self._apply(reached)
        except StorageFailed as error:
            self._log(f"the pod ends, over its limit of {reached.limit}: {error.message}")
            if self._running is not None:
                self._running.cross(reached.limit, reached.message)
            self._ended.set()

    # Handlers ------------------------------------------------------------------------------------

    def greet(self, session: Session, name: str, *, is_supervisor: bool = False) -> None:
        """Take a connection whose token is right; `name` is what it calls itself."""
        session.caller = _Caller(name, is_supervisor=is_supervisor)
        self._sessions.add(session)

    def forget(self, session: Session) -> None:
        """Its connection has ended."""
        self._sessions.discard(session)

    def _check_loop(self, sender: str, text: str, message_id: str | None) -> None:
        """Refuse what one sender says again and again. Of a pod that people talk to, nothing is."""
        if self.spec.parent is None or (
            message_id is not None and self._fold.message(message_id) is not None
        ):
            return
        if self._brake is None:
            self._brake = Brake(self.spec.settings.max_same_messages)
        wait = self._brake.take((sender, hash(text)), trio.current_time())
        if wait:
            raise Busy(
                f"cannot take the message: {sender or 'its sender'} has sent the same words "
                f"{self._brake.most} times within {self._brake.seconds:g} s; do not send them "
                f"again: read what the pod said, or say something else; they are taken again in "
                f"{wait:.0f} s",
                limit_name="same_messages_per_minute",
                limit=self._brake.most,
                retry_after_seconds=round(wait, 1),
            )

    def _run(self, session: Session, message: messages.Run) -> messages.RunResult:
        sender = message.sender or session.caller.name
        self._check_loop(sender, message.input, message.message_id)
        run = Run(message.input, message.if_busy, message.message_id, sender)
        return cast("messages.RunResult", self._take(run))

    def _notify(self, session: Session, message: messages.Notify) -> messages.NotifyResult:
        sender = message.sender or session.caller.name
        self._check_loop(sender, message.message, message.message_id)
        notify = Notify(message.message, message.wake, message.message_id, sender)
        return answers.noted(cast("messages.RunResult", self._take(notify)))

    def _cancel(self, _: Session, __: messages.Cancel) -> messages.CancelResult:
        return messages.CancelResult(turn=self._take(Cancel()))

    def _withdraw(self, _: Session, message: messages.Withdraw) -> messages.Empty:
        self._take(Withdraw(message.message_id))
        return _EMPTY

    def _answer(self, _: Session, message: messages.AnswerQuestion) -> messages.Empty:
        self._take(Answered(message.question_id, message.answer))
        return _EMPTY

    def _pause(self, session: Session, message: messages.Pause) -> messages.Empty:
        if message.whole and not session.caller.is_supervisor:
            raise NotAuthorized(
                "cannot pause the whole pod: only its supervisor stops all its processes; "
                "ask that (`pods pause`)"
            )
        self._take(Hold("pause", whole=message.whole))
        if message.whole:
            # A stopped process answers nobody: who would ask comes back through the supervisor,
            # which says so. Subscribers have nothing to ask.
            for other in tuple(self._sessions):
                if other is not session and not other.following and not other.in_flight:
                    other.close()
        return _EMPTY

    def _resume(self, _: Session, __: messages.Resume) -> messages.Empty:
        self._take(Hold("resume"))
        return _EMPTY

    def _shutdown(self, _: Session, message: messages.Shutdown) -> messages.Empty:
        self._take(Shutdown(message.mode))
        return _EMPTY

    def _child_event(self, session: Session, message: messages.TellOfChild) -> messages.ToldOfChild:
        if not cast("_Caller", session.caller).is_supervisor:
            raise NotAuthorized(
                "cannot take this event of a child: only the supervisor tells of children; send a "
                "message instead"
            )
        told = ChildTold(message.id, message.seq, answers.child_event(message), message.wake)
        return messages.ToldOfChild(cursor=self._take(told))

    def _status(self, _: Session, __: messages.GetStatus) -> object:
        return answers.status(self._fold, can_pause=self._can_pause)

    def _history(self, _: Session, message: messages.GetHistory) -> object:
        return answers.history(self._fold, message)

    def _ping(self, _: Session, __: messages.Ping) -> messages.Empty:
        return _EMPTY

    def _subscribe(self, session: Session, message: messages.Subscribe) -> messages.SubscribeResult:
        answers.check_range("since", message.since, 0, None)
        caller = cast("_Caller", session.caller)
        if caller.subscribed:
            raise InvalidRequest(
                "cannot subscribe: this connection already is; open another one for a second "
                "subscription"
            )
        caller.subscribed = True
        session.follow(self._pump, session, message.since, frozenset(message.kinds))
        return messages.SubscribeResult(last_seq=self._journal.last_seq)

    async def _pump(self, session: Session, since: int, kinds: frozenset[str]) -> None:
        try:
            await self._feed.pump(session, since=since, kinds=kinds)
        except PodsError as error:
            # There is no request left to answer: the end of the connection tells.
            self._log(f"a subscription ended: {error.message}")
            session.close()

    async def _read(self, _: Session, message: messages.ReadEvents) -> messages.ReadEventsResult:
        with self._under_way():
            return await answers.read(
                self._journal.directory,
                self._fold,
                self._feed.wait_beyond,
                message,
                self.spec.settings.longest_wait_seconds,
            )

    async def _wait(self, _: Session, message: messages.WaitFor) -> messages.WaitForResult:
        with self._under_way():
            longest = self.spec.settings.longest_wait_seconds
            return await answers.wait(self._fold, self._feed.wait_beyond, message, longest)

    @contextlib.contextmanager
    def _under_way(self) -> Generator[None]:
        self._answering += 1
        try:
            yield
        finally:
            self._answering -= 1
            if not self._answering:
                self._all_answered.set()
                self._all_answered = trio.Event()

    # Host of the agent ---------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The pod's name."""
        return self.spec.name

    @property
    def cwd(self) -> str:
        """Its working directory."""
        return self.spec.cwd

    @property
    def grant(self) -> ScopeGrant:
        """What it may touch."""
        return self.spec.grant

    @property
    def doors(self) -> Doors:
        """What it may use besides files."""
        return self.spec.doors

    def lending(self) -> Lending | None:
        """What it has lent of that at the moment, by the supervisor's word."""
        path = f"{self.spec.state_directory}/{LENT_NAME}"
        if not os.path.exists(path):
            return None
        from pods.scope.lending import read_lending  # most pods lend nothing

        return read_lending(path)

    def place(self) -> Place:
        """Where it is, for what a model is told."""
        from pods.pod.place import place_of  # most pods ask no model

        return place_of(self.spec)

    @property
    def options(self) -> Mapping[str, Any]:
        """What it was spawned with for its agent."""
        return self.spec.options

    @property
    def artifacts_directory(self) -> str:
        """Beside the journal, so that results live as long as it."""
        return f"{self.spec.state_directory}/artifacts"

    def emit(self, turn: int, kind: str, data: dict[str, Any]) -> None:
        """Journal an event of the running turn.

        Raises:
            InvalidRequest: the turn has ended.
            StorageFailed: the disk refuses; the turn will end as an error.
            TooLarge, InvalidParams: the event cannot be one.
        """
        running = self._check_running(turn)
        if self.spec.limits.output_bytes is not None and not may_write(
            running, data, self.spec.limits.output_bytes
        ):
            return
        try:
            self._journal.append(kind, data, turn=turn)
        except StorageFailed as error:
            running.storage_failed(error)
            raise

    async def checkpoint(self, turn: int) -> None:
        """Let others run; while the turn is held, wait until it is let go on."""
        running = self._running
        held = None if running is None or running.number != turn else running.held
        if held is None:
            await trio.lowlevel.checkpoint()
        else:
            await held.wait()

    async def ask(
        self,
        turn: int,
        prompt: str,
        options: tuple[str, ...],
        default: str | None,
        timeout_seconds: float | None,
    ) -> str:
        """Put a question of the running turn and wait.

        Raises:
            TimedOut: nobody answered in time, and there is no default.
            Busy: too many are open.
            StorageFailed: the disk refuses.
        """
        running = self._check_running(turn)
        deadline = None if timeout_seconds is None else time.time() + timeout_seconds
        waiter = Waiter()
        clock = trio.CancelScope()
        question_id = cast("str", self._apply(Asked(turn, prompt, options, default, deadline)))
        running.waiters[question_id] = waiter
        try:
            running.start_clock(clock, timeout_seconds)
            with clock:
                await waiter.settled.wait()
            if not waiter.settled.is_set():
                self._apply(QuestionClosed(question_id, "default"))
        finally:
            if not waiter.settled.is_set():
                with contextlib.suppress(StorageFailed):  # the end of the turn closes it
                    self._apply(QuestionClosed(question_id, "cancelled"))
            del running.waiters[question_id]
            running.forget_clock(clock)
        if waiter.answer is None:
            raise TimedOut(
                f"cannot go on: nobody answered in {timeout_seconds:g} s; give the question a "
                "default, or more time",
                timeout_seconds=timeout_seconds,
            )
        return waiter.answer

    def history(self, since: int, limit: int) -> Sequence[messages.HistoryEntry]:
        """The conversation so far."""
        return self._fold.history(since, limit)

    def environment(self) -> dict[str, str]:
        """What the agent's programs get: the pod's own, its scope, its way home if it has one."""
        spec = self.spec
        environ = dict(os.environ)
        environ["PODS_NAME"] = spec.name
        environ.update(scope_environment(spec.grant, spec.doors))
        if spec.call_back:
            environ["PODS_SOCKET"] = spec.supervisor_socket
            environ["PODS_TOKEN_FILE"] = token_file(spec)
        return environ

    async def beside(self, run: Beside) -> None:
        """Start a task of the agent that ends with the pod, at the latest.

        Raises:
            Exception: what it raised before it had begun.
        """
        assert self._own is not None, "agents run while the pod lives"
        await self._own.start(run_beside, run, self._log)

    async def client(self) -> PodsClient:
        """The pod's own client of its supervisor."""
        assert self._own_client is not None, "agents run while the pod lives"
        return await self._own_client.get()

    def toolset(self) -> Toolset:
        """The pod's own tools for parents."""
        assert self._own_client is not None, "agents run while the pod lives"
        return self._own_client.toolset()

    def _check_running(self, turn: int) -> RunningTurn:
        running = self._running
        if running is None or running.number != turn:
            raise InvalidRequest(
                f"cannot add to turn {turn}: it has ended; end the tasks of a turn with it"
            )
        return running


_EMPTY: Final = messages.Empty()


def _new_message_id() -> str:
    return secrets.token_hex(8)
