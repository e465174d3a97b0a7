"""The edge of `pods mcp`: the host's two pipes, one thread a call.

Owns the descriptors, the threads and the order of the end. Decides nothing of MCP (`pods_tools.mcp`
does) nor of the tools (`mcp_relay`). While it runs, descriptor 1 is standard error and descriptor 0
is empty, so that whatever prints or reads without being asked never meets the wire.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from pods.cli.mcp_relay import Relay, RunningCall
from pods_tools.mcp import CallTool, CancelCall, Closed, McpServer, RequestId

if TYPE_CHECKING:
    from types import FrameType

    from pods_tools.result import ToolResult

CHUNK: Final = 256 * 1024
"""Bytes taken by one read."""

FAREWELL_SECONDS: Final = 5.0
"""What calls may still take once the host has hung up, so that a few requests can be piped in. A
host that is in a hurry sends a signal, and that is heard at once."""

PROGRESS_SECONDS: Final = 10.0
"""Between two words on a call whose client asked for them; it waits a minute for the first."""

ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


CALL_END_SECONDS: Final = 1.0
"""For a call that was hung up to notice; one that just starts a supervisor does not."""


class _Call(NamedTuple):
    name: str
    running: RunningCall
    thread: threading.Thread
    began: float
    wants_progress: bool


class Bridge:
    """One host's connection, to its end.

    Args:
        server: the protocol.
        relay: the tools.
        reading: descriptor of the host's bytes.
        writing: descriptor for ours.
    """

    def __init__(self, server: McpServer, relay: Relay, reading: int, writing: int) -> None:
        self._server = server
        self._relay = relay
        self._reading = reading
        self._writing = writing
        self._calls: dict[RequestId, _Call] = {}
        self._done: deque[tuple[RequestId, RunningCall, ToolResult | None]] = deque()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._told = 0.0  # when progress was last spoken of
        self._ending = False

    def run(self) -> bool:
        """Serve until the host hangs up or a signal says to end; calls do not outlive it.

        Returns:
            Whether all that was sent could be written.
        """
        before = [(number, signal.signal(number, self._on_signal)) for number in ENDING_SIGNALS]
        try:
            self._serve()
            return True
        except BrokenPipeError:  # the host is gone; there is nobody to tell
            return False
        finally:
            for call in self._calls.values():
                call.running.cancel()
            for call in self._calls.values():
                call.thread.join(CALL_END_SECONDS)
            for _, _, result in self._done:
                if result is not None:
                    self._relay.unshown(result)
            for number, handler in before:
                signal.signal(number, handler)

    def _serve(self) -> None:
        deadline: float | None = None
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while not self._ending and (deadline is None or self._calls):
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            for descriptor, _ in poll.poll(self._patience(left)):
                if descriptor == self._woken:
                    os.read(self._woken, CHUNK)
                elif deadline is None:
                    self._server.receive_data(os.read(self._reading, CHUNK))
            self._finish()
            if deadline is None and self._take_events():
                poll.unregister(self._reading)
                deadline = time.monotonic() + FAREWELL_SECONDS
            self._tell_progress()
            self._flush()

    def _take_events(self) -> bool:
        """Do what the host asks; whether it has hung up."""
        while (event := self._server.next_event()) is not None:
            match event:
                case CallTool():
                    self._begin(event)
                case CancelCall():
                    self._calls.pop(event.request_id).running.cancel()
                case Closed():
                    return True
        return False

    def _begin(self, event: CallTool) -> None:
        running = RunningCall()
        # Never the last to keep the process: one that starts a supervisor cannot be hung up.
        thread = threading.Thread(target=self._work, args=(event, running), daemon=True)
        began = time.monotonic()
        self._calls[event.request_id] = _Call(
            event.name, running, thread, began, event.wants_progress
        )
        thread.start()

    def _work(self, event: CallTool, running: RunningCall) -> None:
        result: ToolResult | None = None
        try:
            result = self._relay.call(event.name, event.arguments, running)
        except Exception:
            import traceback

            traceback.print_exc()  # to standard error, which hosts keep
        self._done.append((event.request_id, running, result))
        self._wake_up()

    def _finish(self) -> None:
        while self._done:
            request_id, running, result = self._done.popleft()
            call = self._calls.get(request_id)
            if call is None or call.running is not running:
                # Cancelled; its id may be another call's by now.
                if result is not None:
                    self._relay.unshown(result)
                continue
            del self._calls[request_id]
            if result is None:
                text = (
                    f"{call.name} failed: pods itself has a fault, which its standard error tells. "
                    "Do not repeat the same call; `ListPods {}` shows what there is."
                )
                self._server.send_result(request_id, text, {"code": "internal"}, is_error=True)
            else:
                self._server.send_result(
                    request_id, result.text, result.data, is_error=result.is_error
                )

    def _patience(self, left: float | None) -> float | None:
        """Milliseconds until something has to be done unasked; None where nothing has."""
        if any(call.wants_progress for call in self._calls.values()):
            due = max(0.0, self._told + PROGRESS_SECONDS - time.monotonic())
            left = due if left is None else min(left, due)
        return None if left is None else left * 1000 + 1

    def _tell_progress(self) -> None:
        now = time.monotonic()
        if now < self._told + PROGRESS_SECONDS:
            return
        self._told = now
        for request_id, call in self._calls.items():
            if call.wants_progress:
                seconds = round(now - call.began, 1)
                self._server.send_progress(
                    request_id, seconds, f"{call.name} is under way for {seconds:g} s"
                )

    def _flush(self) -> None:
        data = memoryview(self._server.data_to_send())
        while data:
            try:
                data = data[os.write(self._writing, data) :]
            except BlockingIOError:  # the host made the pipe so; it is its own, too
                select.select((), (self._writing,), ())

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._ending = True
        self._wake_up()

    def _wake_up(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is awake
            os.write(self._wake, b"!")


def take_standard_streams() -> tuple[int, int]:
    """The host's two pipes, on numbers that nobody else uses."""
    sys.stdout.flush()
    reading, writing = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return reading, writing
