"""What a pod's socket answers: who is connected, what each method does, how callers are held off.

Owns the connections that have said hello, and the handlers. What changes the pod goes through
`take`, which persists it and gives the reply; what only looks reads the fold. `server` makes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, cast

import trio

from pods.brakes import Brake
from pods.journal.feed import Feed
from pods.journal.store import Journal
from pods.pod import answers
from pods.pod.stimuli import (
    Answered,
    Cancel,
    ChildTold,
    Hold,
    Notify,
    Run,
    Shutdown,
    Stimulus,
    Withdraw,
)
from pods.rpc.server import Handler, Session
from pods_protocol import pod_messages as messages
from pods_protocol.errors import Busy, InvalidRequest, NotAuthorized, PodsError
from pods_protocol.process_messages import PodSpec

Take = Callable[[Stimulus], Any]
"""Persists what follows from a stimulus and gives the reply to it; raises the error that is one."""


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


class PodRequests:
    """The requests of one pod.

    Args:
        spec: what the pod is.
        journal: its own, open.
        take: decides about what asks for a change.
        can_pause: its agent can hold a turn.
        log: takes lines for the pod's `stderr.log`.

    Attributes:
        handlers: wire name -> what answers it.
    """

    def __init__(
        self,
        spec: PodSpec,
        journal: Journal,
        take: Take,
        *,
        can_pause: bool,
        log: Callable[[str], None],
    ) -> None:
        self._spec = spec
        self._journal = journal
        self._fold = journal.fold
        self._feed = Feed(journal)
        self._take = take
        self._can_pause = can_pause
        self._log = log
        self._brake: Brake | None = None
        self._sessions: set[Session] = set()
        self._answering = 0
        self._all_answered = trio.Event()
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

    async def all_delivered(self) -> None:
        """Wait until what was asked is answered and all that was said has left."""
        if self._answering:
            await self._all_answered.wait()
        for session in tuple(self._sessions):
            await session.drained()

    def greet(self, session: Session, name: str, *, is_supervisor: bool = False) -> None:
        """Take a connection whose token is right; `name` is what it calls itself."""
        session.caller = _Caller(name, is_supervisor=is_supervisor)
        self._sessions.add(session)

    def forget(self, session: Session) -> None:
        """Its connection has ended."""
        self._sessions.discard(session)

    def _check_loop(self, sender: str, text: str, message_id: str | None) -> None:
        """Refuse what one sender says again and again. Of a pod that people talk to, nothing is."""
        if self._spec.parent is None or (
            message_id is not None and self._fold.message(message_id) is not None
        ):
            return
        if self._brake is None:
            self._brake = Brake(self._spec.settings.max_same_messages)
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
                self._spec.settings.longest_wait_seconds,
            )

    async def _wait(self, _: Session, message: messages.WaitFor) -> messages.WaitForResult:
        with self._under_way():
            longest = self._spec.settings.longest_wait_seconds
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


_EMPTY: Final = messages.Empty()
