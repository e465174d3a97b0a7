"""A pod as an ACP agent on two pipes: what an editor asks is asked of the pod, its turn streamed.

Owns the connection to the editor and the table of what it may ask. One pod is one conversation, so
every session is the pod itself; its directory, scope and tools are as it was spawned, whatever the
editor says of them. The pod lives on when the editor goes. Called by `acp`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias

import trio

from pods import __version__
from pods.agents.acp.peer import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    NOT_FOUND,
    AcpPeer,
    Answered,
    Asked,
    Closed,
    Refused,
    Told,
)
from pods.cli.acp_words import (
    STOP_REASONS,
    chosen,
    past,
    permission_of,
    text_of,
    updates_of,
    usage_of,
)
from pods.client.pod_handle import Pod
from pods_protocol.errors import PodsError
from pods_protocol.events import Event

PROTOCOL_VERSION: Final = 1

RECEIVE_BYTES: Final = 64 * 1024
"""One read: an editor says little at once."""

FAREWELL_SECONDS: Final = 1.0
"""What requests may still take once the editor has hung up, so that some can be piped in. A turn
goes on in its pod."""

Json: TypeAlias = dict[str, Any]
Serve: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Json]]


class _Refusal(Exception):
    """The editor's request gets an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class AcpFront:
    """One editor's connection.

    Args:
        pod: the pod.
        session: what its one session is called: the pod's id.
        reading, writing: the editor's pipes.
    """

    def __init__(
        self,
        pod: Pod,
        session: str,
        reading: trio.abc.ReceiveStream,
        writing: trio.abc.SendStream,
    ) -> None:
        self._pod = pod
        self._session = session
        self._reading = reading
        self._writing = writing
        self._peer = AcpPeer()
        self._to_send, self._written = trio.Event(), trio.Event()
        self._waiting: dict[int, trio.Event] = {}
        self._answers: dict[int, Answered | Refused] = {}
        self._prompting = False
        self._open = 0
        self._all_answered = trio.Event()
        self._serve: Final[Mapping[str, Serve]] = {
            "initialize": self._initialize,
            "session/new": self._new,
            "session/load": self._load,
            "session/prompt": self._prompt,
        }

    async def run(self) -> None:
        """Serve until the editor hangs up; what is under way in the pod goes on."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_all)
            while True:
                try:
                    data = bytes(await self._reading.receive_some(RECEIVE_BYTES))
                except trio.BrokenResourceError:
                    data = b""
                self._peer.receive_data(data)
                if self._take_events(nursery):
                    break
                self._to_send.set()  # what was refused unread
            with trio.move_on_after(FAREWELL_SECONDS):
                while self._open:
                    await self._all_answered.wait()
            nursery.cancel_scope.cancel()

    def _take_events(self, nursery: trio.Nursery) -> bool:
        """Begin what is asked; whether the editor has hung up."""
        while (event := self._peer.next_event()) is not None:
            match event:
                case Asked():
                    self._open += 1
                    nursery.start_soon(self._answer, event)
                case Answered() | Refused():
                    self._answers[event.request_id] = event
                    self._waiting.pop(event.request_id, trio.Event()).set()
                case Told("session/cancel", _):
                    nursery.start_soon(self._cancel)
                case Closed():
                    return True
                case _:  # what later versions may say, and lines that mean nothing
                    pass
        return False

    async def _answer(self, asked: Asked) -> None:
        try:
            await self._serve_one(asked)
        finally:
            self._open -= 1
            self._all_answered.set()
            self._all_answered = trio.Event()

    async def _serve_one(self, asked: Asked) -> None:
        serve = self._serve.get(asked.method)
        try:
            if serve is None:
                raise _Refusal(METHOD_NOT_FOUND, f"a pod has no {asked.method[:80]!r}")
            self._peer.answer(asked.request_id, await serve(asked.params))
        except _Refusal as refusal:
            self._peer.refuse(asked.request_id, refusal.code, str(refusal))
        except PodsError as error:
            self._peer.refuse(asked.request_id, INTERNAL_ERROR, error.message, {"code": error.CODE})
        await self._flush()

    # --- what an editor may ask ---

    async def _initialize(self, _: Mapping[str, Any]) -> Json:
        return {
            "protocolVersion": PROTOCOL_VERSION,
            "agentCapabilities": {
                "loadSession": True,
                "promptCapabilities": {"embeddedContext": True},
            },
            "agentInfo": {"name": "pods", "title": f"pod {self._pod.name}", "version": __version__},
            "authMethods": [],
        }

    async def _new(self, _: Mapping[str, Any]) -> Json:
        return {"sessionId": self._session}

    async def _load(self, params: Mapping[str, Any]) -> Json:
        self._check_session(params)
        since = 0
        while True:
            history = await self._pod.history(since)
            for update in past(history.entries):
                self._tell(update)
            await self._flush()
            if not history.entries:
                return {}
            since = history.next

    async def _prompt(self, params: Mapping[str, Any]) -> Json:
        self._check_session(params)
        text = text_of(params.get("prompt"))
        if not text:
            raise _Refusal(INVALID_PARAMS, "the prompt has no text")
        if self._prompting:
            raise _Refusal(INVALID_PARAMS, "a prompt is under way; cancel it, or wait")
        self._prompting = True
        try:
            return await self._take_turn(text)
        finally:
            self._prompting = False

    async def _cancel(self) -> None:
        if not self._prompting:
            return  # what runs in the pod is somebody else's
        try:
            await self._pod.cancel()
        except PodsError as error:
            sys.stderr.write(f"pods acp: {error.message}\n")

    # --- a turn ---

    async def _take_turn(self, text: str) -> Json:
        status = await self._pod.status()
        async with self._pod.events(since=status.last_seq) as events:
            turn = (await self._pod.send(text)).turn
            follower = _Follower()
            failure: PodsError | None = None
            async with trio.open_nursery() as questions:
                try:
                    async for event in events:
                        if event.turn == turn and await self._show(event, follower, questions):
                            break
                except PodsError as error:
                    failure = error  # raised below: what leaves a nursery comes in a group
                questions.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if follower.ended is None:
            raise _Refusal(INTERNAL_ERROR, f"pod {self._pod.name} ended before its turn did")
        return _end(follower.ended, follower.usage)

    async def _show(self, event: Event, follower: _Follower, questions: trio.Nursery) -> bool:
        """Tell the editor of an event of the turn; whether it was the last."""
        question_id = str(event.data.get("question_id"))
        if event.type == "turn_ended":
            follower.ended = event
            return True
        if event.type == "usage":
            follower.usage = usage_of(event.data) or follower.usage
        elif event.type == "question":
            scope = follower.asked[question_id] = trio.CancelScope()
            questions.start_soon(self._pass_on, event.data, scope)
        elif event.type == "answer" and question_id in follower.asked:
            follower.asked.pop(question_id).cancel()
        for update in updates_of(event):
            self._tell(update)
        await self._flush()
        return False

    async def _pass_on(self, question: Mapping[str, Any], scope: trio.CancelScope) -> None:
        """Ask the editor what the pod asks, until somebody has answered."""
        request = permission_of(question)
        question_id = str(question.get("question_id"))
        if request is None:
            self._tell(
                {
                    "sessionUpdate": "agent_message_chunk",
                    "content": {
                        "type": "text",
                        "text": f"\n{question.get('prompt')}\n(`pods answer {self._pod.name} "
                        f"{question_id} ANSWER` answers it)\n",
                    },
                }
            )
            await self._flush()
            return
        with scope:
            answer = await self._ask("session/request_permission", request)
            word = None if answer is None else chosen(answer)
            if word is None:
                return  # cancelled: the turn is, too; or the question's own deadline decides
            try:
                await self._pod.answer(question_id, word)
            except PodsError as error:  # somebody else was quicker, or it is no option
                sys.stderr.write(f"pods acp: {error.message}\n")

    async def _ask(self, method: str, params: Mapping[str, Any]) -> Json | None:
        """The editor's answer; None where it refuses."""
        request_id = self._peer.request(method, {"sessionId": self._session, **params})
        settled = self._waiting[request_id] = trio.Event()
        try:
            await self._flush()
            await settled.wait()
        finally:
            self._waiting.pop(request_id, None)
            self._peer.forget(request_id)
            outcome = self._answers.pop(request_id, None)
        return outcome.result if isinstance(outcome, Answered) else None

    # --- parts ---

    def _check_session(self, params: Mapping[str, Any]) -> None:
        if params.get("sessionId") != self._session:
            raise _Refusal(
                NOT_FOUND, f"this pod has one session, {self._session}; begin it by `session/new`"
            )

    def _tell(self, update: Json) -> None:
        self._peer.notify("session/update", {"sessionId": self._session, "update": update})

    async def _flush(self) -> None:
        """Wait until all that was said is written: an editor that is slow slows what follows."""
        self._to_send.set()
        await self._written.wait()

    async def _write_all(self) -> None:
        """Write, in a task that nothing but the end cancels: no line is cut in the middle."""
        while True:
            await self._to_send.wait()
            self._to_send = trio.Event()
            written, self._written = self._written, trio.Event()
            with suppress(trio.BrokenResourceError):  # the editor is gone; the other pipe says so
                await self._writing.send_all(self._peer.data_to_send())
            written.set()


class _Follower:
    """What is known of a turn that is followed."""

    def __init__(self) -> None:
        self.ended: Event | None = None
        self.usage: Json | None = None
        self.asked: dict[str, trio.CancelScope] = {}


def _end(event: Event, usage: Json | None) -> Json:
    reason, message = str(event.data.get("stop_reason")), str(event.data.get("message") or "")
    if reason not in STOP_REASONS:
        raise _Refusal(INTERNAL_ERROR, f"the turn ended: {reason}: {message}".rstrip(": "))
    return {"stopReason": reason, **({} if usage is None else {"usage": usage})}


async def serve(pod: Pod, session: str) -> None:
    """Serve the editor on this process's standard streams until it hangs up."""
    reading, writing = trio.lowlevel.FdStream(os.dup(0)), trio.lowlevel.FdStream(os.dup(1))
    os.dup2(2, 1)  # stray prints never meet the wire
    async with reading, writing:
        await AcpFront(pod, session, reading, writing).run()
