"""A trio loop in a thread of its own, and the way in for everybody else.

Owns the thread, the hand-over of calls and results, and what Ctrl-C means: the call that was
interrupted is cancelled and awaited before KeyboardInterrupt goes on. Used by `sync` alone.
"""

from __future__ import annotations

import atexit
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Generic, TypeVar

import trio

from pods.client.waiting import wait_readable
from pods_protocol.errors import ClientClosed

T = TypeVar("T")
Held = TypeVar("Held")

AT_EXIT_SECONDS: Final = 5.0
"""What a client that nobody closed may hold up the end of the interpreter: its connections are cut
in milliseconds."""


class Portal(Generic[Held]):
    """Holds one async context manager open on a loop in a thread, for its whole life.

    Args:
        make: makes the context manager; called on the loop.
        name: of the thread.
    """

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[Held]], name: str) -> None:
        self._make = make
        self._opened: Future[Held] = Future()
        self._failure: BaseException | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._stop = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def open(self) -> Held:
        """Start the thread and enter the context manager.

        Raises:
            BaseException: what entering it raised; the thread has ended then.
        """
        # Ctrl-C may come before anybody holds what is to be closed, or in the middle of closing it;
        # a loop that still runs in a daemon thread while the interpreter goes can crash it.
        atexit.register(self._end)
        self._thread.start()
        try:
            return _result(self._opened)
        except BaseException:
            # Either it failed, or this thread was interrupted while it was being opened.
            self._running.wait()
            self._soon(self._scope.cancel)
            self._join()
            raise

    def call(self, function: Callable[..., Awaitable[T]], *args: Any, **named: Any) -> T:
        """Run an async function on the loop and wait for what it returns; from any thread.

        Raises:
            ClientClosed: the portal was closed before or meanwhile.
            BaseException: what the function raised.
        """
        answer: Future[T] = Future()
        scope = trio.CancelScope()
        begun = False

        async def run() -> None:
            with scope:
                try:
                    answer.set_result(await function(*args, **named))
                except trio.Cancelled:
                    raise
                except BaseException as error:
                    answer.set_exception(error)

        async def run_and_answer() -> None:
            try:
                await run()
            finally:
                if not answer.done():
                    answer.set_exception(_closed())

        def begin() -> None:
            nonlocal begun
            begun = True
            if self._nursery is None:
                answer.set_exception(_closed())
            else:
                self._nursery.start_soon(run_and_answer)

        def give_up() -> None:
            scope.cancel()
            if not begun:  # nor will it be: what is asked of the loop is done in order
                answer.set_exception(_closed())

        try:
            if not self._soon(begin):
                raise _closed()
            return _result(answer)
        except BaseException:
            # Where it is not done this thread was interrupted, and not the call.
            if not answer.done() and self._soon(give_up):
                answer.exception()
            raise

    def close(self) -> None:
        """Leave the context manager and end the thread; again is nothing.

        Raises:
            BaseException: what leaving it raised.
        """
        self._soon(self._stop.set)
        self._join()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _join(self) -> None:
        self._thread.join()
        atexit.unregister(self._end)

    def _end(self) -> None:
        if self._thread.is_alive():
            self._running.wait(AT_EXIT_SECONDS)
            self._soon(self._scope.cancel)
            self._thread.join(AT_EXIT_SECONDS)

    def _soon(self, function: Callable[[], object]) -> bool:
        """Run a plain function on the loop; False where the loop has ended."""
        if self._token is None:
            return False
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            return False
        return True

    def _run(self) -> None:
        try:
            trio.run(self._hold)
        except BaseException as error:
            self._failure = error
        finally:
            self._running.set()
            if not self._opened.done():
                failure, self._failure = self._failure, None
                self._opened.set_exception(failure or _closed())

    async def _hold(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._running.set()
        with self._scope:
            async with self._make() as held:
                try:
                    async with trio.open_nursery() as nursery:
                        self._nursery = nursery
                        self._opened.set_result(held)
                        await self._stop.wait()
                        nursery.cancel_scope.cancel()
                finally:
                    self._nursery = None


def _result(future: Future[T]) -> T:
    """What comes of it; Ctrl-C is heard meanwhile, whenever it comes.

    A lock, which is what a future is waited for with, hears nothing of one that comes in the moment
    before the wait (`waiting`).
    """
    if threading.current_thread() is not threading.main_thread():
        return future.result()
    try:
        ours, theirs = socket.socketpair()
    except OSError:  # there is no descriptor left
        return future.result()
    with ours:
        future.add_done_callback(lambda _: theirs.close())
        wait_readable(ours, None)
    return future.result()


def _closed() -> ClientClosed:
    return ClientClosed("cannot ask: this client was closed; connect again")
