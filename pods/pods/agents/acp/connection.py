"""An ACP agent's process and the connection to it, from its start to reaped.

Owns the program, its three pipes, and which requests wait for an answer. Knows no method: what the
agent asks and tells goes to the listener of the running turn. The process lives as long as its pod,
over all turns; `run` is its one task beside them. A line that is being written must not be cut in
the middle, so that task alone writes, and it is cancelled with the connection only.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

import trio

from pods.agents.acp.peer import (
    INTERNAL_ERROR,
    AcpPeer,
    Answered,
    Asked,
    Closed,
    Refused,
    Stray,
    Told,
)
from pods.agents.process import Process, open_program, signal_group
from pods.agents.text import shorten
from pods_protocol.errors import PodsError

RECEIVE_BYTES: Final = 256 * 1024
"""One read: an agent that streams says a dozen small things in it, which are journaled together."""

MAX_STDERR_KEPT: Final = 4 * 1024
"""The end of what the agent printed to its standard error: why it died is in there."""

MAX_STDERR_LOGGED: Final = 1024 * 1024
"""Of one process, into the pod's `stderr.log`; beyond it only the end is kept."""

MAX_UNSENT_BYTES: Final = 64 * 1024 * 1024
"""That wait for the agent to read them: one that asks on and on and reads no answer is not heard
until it does. Some whole files; less than it costs to have them asked for one after the other."""

MAX_REASON_BYTES: Final = 500
"""Of an agent's own words in an error of ours, which says what to do after them."""

EXIT_SECONDS: Final = 1.0
"""For an agent to end by itself once its input has ended."""

TERM_SECONDS: Final = 0.5
"""After SIGTERM; short, because the pod's whole end has a few seconds and its keeper kills what is
left. Both together stay below the time of an agent's `close` (2 s)."""

Json: TypeAlias = dict[str, Any]


class Listener(Protocol):
    """The running turn, as the connection sees it. Not async: nothing is read meanwhile."""

    def told(self, told: Told) -> None:
        """The agent says something."""
        ...

    def asked(self, asked: Asked) -> None:
        """The agent asks something; answer by `connection.answer` or `refuse`."""
        ...

    def pause(self) -> None:
        """All that has come is dealt with; more may come."""
        ...


class AgentGone(Exception):
    """The agent's process has ended, or its words cannot be understood any more."""


class RefusedByAgent(Exception):
    """The agent answered with an error.

    Attributes:
        code: JSON-RPC's or ACP's number.
        text: its words.
        data: what it said besides.
    """

    def __init__(self, code: int, text: str, data: Any) -> None:
        super().__init__(text)
        self.code = code
        self.text = shorten(text, MAX_REASON_BYTES)
        self.data = data


class Waiter:
    """Somebody who waits for the answer to a request."""

    def __init__(self, request_id: int) -> None:
        self.request_id = request_id
        self.settled = trio.Event()
        self.outcome: Answered | Refused | None = None

    async def wait(self) -> Json:
        """The answer.

        Raises:
            RefusedByAgent: the agent would not.
            AgentGone: it will not come any more.
        """
        await self.settled.wait()
        match self.outcome:
            case Answered(_, result):
                return result
            case Refused(_, code, message, data):
                raise RefusedByAgent(code, message, data)
            case None:
                raise AgentGone


class AcpConnection:
    """One process of an agent.

    Args:
        argv: the program and its arguments.
        cwd: where it runs.
        env: its whole environment.

    Attributes:
        listener: gets what the agent says; None between turns, when it is passed over.
        ended: set once the process is reaped.
        cost_usd: what the agent said that all turns of this process cost.
        strays: lines on its output that meant nothing, since the listener was last set.
    """

    def __init__(self, argv: Sequence[str], *, cwd: str, env: Mapping[str, str]) -> None:
        self._argv = list(argv)
        self._cwd = cwd
        self._env = env
        self._peer = AcpPeer()
        self._process: Process | None = None
        self._waiters: dict[int, Waiter] = {}
        self._to_send, self._taken = trio.Event(), trio.Event()
        self._deaf = False
        self._broken = ""
        self._hang_up = trio.CancelScope()
        self._stderr = bytearray()
        self._logged = 0
        self._gone = False
        self.listener: Listener | None = None
        self.ended = trio.Event()
        self.cost_usd = 0.0
        self.strays: list[str] = []

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process is not None and not self._gone

    @property
    def last_words(self) -> str:
        """The end of its standard error."""
        return self._stderr.decode("utf-8", "replace").strip()

    def describe_end(self) -> str:
        """How it ended, as far as is known, with its last words."""
        status = None if self._process is None else self._process.returncode
        how = "it hung up"
        if status is not None:
            how = f"exit status {status}"
            if status < 0:
                with contextlib.suppress(ValueError):
                    how = f"ended by {signal.Signals(-status).name}"
        if self._broken:
            how = f"{how} ({self._broken})"
        words = self.last_words
        return f"{how}; its last words: {words}" if words else how

    # --- what a turn does ---

    def begin(self, method: str, params: Mapping[str, Any]) -> Waiter:
        """Ask, and wait later.

        Raises:
            AgentGone: it has ended.
        """
        if not self.alive:
            raise AgentGone
        waiter = Waiter(self._peer.request(method, params))
        self._waiters[waiter.request_id] = waiter
        self._to_send.set()
        return waiter

    async def request(self, method: str, params: Mapping[str, Any]) -> Json:
        """Ask and wait.

        Raises:
            RefusedByAgent, AgentGone: see `Waiter.wait`.
        """
        waiter = self.begin(method, params)
        try:
            return await waiter.wait()
        finally:
            if not waiter.settled.is_set():
                self._waiters.pop(waiter.request_id, None)
                self._peer.forget(waiter.request_id)

    def tell(self, method: str, params: Mapping[str, Any]) -> None:
        """Say something that has no answer; nothing where the agent is gone."""
        self._peer.notify(method, params)
        self._to_send.set()

    def answer(self, asked: Asked, result: Mapping[str, Any]) -> None:
        """Answer a request of the agent's."""
        self._peer.answer(asked.request_id, result)
        self._to_send.set()

    def refuse(self, asked: Asked, code: int, message: str) -> None:
        """Answer a request of the agent's with an error."""
        self._peer.refuse(asked.request_id, code, message)
        self._to_send.set()

    # --- its life ---

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start it and serve the connection until it ends; at the end its group is killed.

        Raises:
            StartFailed: it could not be started.
        """
        process = await open_program(self._argv, self._cwd, self._env, True, None)
        self._process = process
        try:
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_all, process)
                nursery.start_soon(self._read_stderr, process)
                await self._read_all(process)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._end(process)

    async def close(self) -> None:
        """End it politely: its input ends, then SIGTERM, then SIGKILL; it is reaped on return."""
        self._hang_up.cancel()
        await self.ended.wait()

    def kill(self) -> None:
        """End it at once; `run` reaps it."""
        if self._process is not None and not self.ended.is_set():
            signal_group(self._process.pid, signal.SIGKILL)

    async def _end(self, process: Process) -> None:
        self._let_go()
        if process.stdin is not None:
            await process.stdin.aclose()
        for number, seconds in ((0, EXIT_SECONDS), (signal.SIGTERM, TERM_SECONDS)):
            if process.returncode is None:
                if number:
                    signal_group(process.pid, number)
                with trio.move_on_after(seconds):
                    await process.wait()
        # Whoever is left in its group: launchers of agents leave their children behind.
        signal_group(process.pid, signal.SIGKILL)
        await process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                await stream.aclose()
        self.ended.set()

    def _let_go(self) -> None:
        """Nobody will be answered any more."""
        self._gone = True
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters.values():
            waiter.settled.set()

    async def _write_all(self, process: Process) -> None:
        assert process.stdin is not None, "asked for a pipe"
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                await self._to_send.wait()
                self._to_send = trio.Event()
                data = self._peer.data_to_send()
                self._taken.set()
                await process.stdin.send_all(data)
        # It has closed its input, and may say on: nothing is kept for it.
        self._deaf = True
        self._taken.set()

    async def _read_all(self, process: Process) -> None:
        assert process.stdout is not None, "asked for a pipe"
        with self._hang_up:
            while True:
                if self._deaf:
                    self._peer.data_to_send()
                elif self._peer.unsent > MAX_UNSENT_BYTES:
                    self._taken = trio.Event()
                    await self._taken.wait()
                    continue
                try:
                    data = bytes(await process.stdout.receive_some(RECEIVE_BYTES))
                except trio.BrokenResourceError:
                    data = b""
                self._peer.receive_data(data)
                if self._deal():
                    return
                if self._peer.unsent:
                    self._to_send.set()  # also what was refused unread

    def _deal(self) -> bool:
        """Hand on what has come; whether it was the last."""
        listener = self.listener
        while (event := self._peer.next_event()) is not None:
            try:
                match event:
                    case Answered() | Refused():
                        # Before the waiter goes on, so that what was said first is journaled first.
                        self._pause(listener)
                        waiter = self._waiters.pop(event.request_id)
                        waiter.outcome = event
                        waiter.settled.set()
                    case Told():
                        if listener is not None:
                            listener.told(event)
                    case Asked():
                        if listener is None:
                            self.refuse(event, INTERNAL_ERROR, "no turn runs")
                        else:
                            listener.asked(event)
                    case Stray(text):
                        self.strays.append(text)
                        del self.strays[1:]
                    case Closed(reason):
                        self._broken = reason
                        self._pause(listener)
                        return True
            except RecursionError:
                # More brackets than Python shows; what else it says is still to be heard.
                self.strays[:] = self.strays[:1] or ["what is nested too deeply"]
            except PodsError:
                # The turn has ended, or the disk refuses, which ends it: there is nobody to tell.
                listener = None
        self._pause(listener)
        return False

    @staticmethod
    def _pause(listener: Listener | None) -> None:
        if listener is not None:
            with contextlib.suppress(PodsError):
                listener.pause()

    async def _read_stderr(self, process: Process) -> None:
        assert process.stderr is not None, "asked for a pipe"
        with contextlib.suppress(trio.BrokenResourceError):
            while data := bytes(await process.stderr.receive_some(RECEIVE_BYTES)):
                self._stderr += data
                del self._stderr[:-MAX_STDERR_KEPT]
                if self._logged <= MAX_STDERR_LOGGED:
                    self._logged += len(data)
                    sys.stderr.write(data.decode("utf-8", "replace"))
                    sys.stderr.flush()
