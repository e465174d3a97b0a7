"""Waits that end for what is read, for the time, and for any signal, also the one just before."""

from __future__ import annotations

import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Self

import pytest

from pods.client.waiting import wait_readable
from process_support import wait_for
from supervisor_support import WAIT_SECONDS


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture(autouse=True)
def no_trace() -> Iterator[None]:
    yield
    assert signal.set_wakeup_fd(-1) == -1


def test_what_can_be_read_ends_it_and_so_do_the_peers_end_and_the_time(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    assert not wait_readable(ours, 0.01)
    theirs.send(b"x")
    assert wait_readable(ours, None)
    ours.recv(1)
    theirs.close()
    assert wait_readable(ours, None)


class LastMoment:
    """A signal in the last moment before the system call of a wait, which it does not interrupt.

    It comes to another thread while this one is in that call. So the interpreter has noted it, and
    runs the handler here once the call is over.

    Args:
        theirs: the other end of what is waited for: it says something where no handler runs.
        handle: what the handler does.

    Attributes:
        in_time: whether the handler ran while the call lasted.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, theirs: socket.socket, handle: Callable[[], object]
    ) -> None:
        self.in_time: bool | None = None
        self._heard = threading.Event()
        self._theirs = theirs
        self._handle = handle
        self._waits_in = f"/proc/self/task/{threading.get_native_id()}/wchan"
        self._thread = threading.Thread(target=self._tell)
        monkeypatch.setattr(select, "poll", partial(_Poll, select.poll(), self._thread.start))

    def _tell(self) -> None:
        wait_for(lambda: "poll" in Path(self._waits_in).read_text(), "it does not wait")
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        self.in_time = self._heard.wait(WAIT_SECONDS)
        if not self.in_time:
            self._theirs.send(b"x")

    def __enter__(self) -> Self:
        def hear(*_: object) -> None:
            self._heard.set()
            self._handle()

        self._before = signal.signal(signal.SIGUSR1, hear)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        signal.signal(signal.SIGUSR1, self._before)


class _Poll:
    """A poll before whose first call something happens."""

    def __init__(self, real: select.poll, first: Callable[[], None]) -> None:
        self.register = real.register
        self._real = real
        self._first: Callable[[], None] | None = first

    def poll(self, patience: float | None) -> list[tuple[int, int]]:
        if self._first is not None:
            first, self._first = self._first, None
            first()
        return self._real.poll(patience)


def test_a_signal_that_interrupts_no_call_is_heard_all_the_same(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair

    def interrupt() -> None:
        raise KeyboardInterrupt

    with LastMoment(monkeypatch, theirs, interrupt) as told, pytest.raises(KeyboardInterrupt):
        wait_readable(ours, None)
    assert told.in_time


def test_one_whose_handler_raises_nothing_ends_no_wait(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair
    with LastMoment(monkeypatch, theirs, lambda: theirs.send(b"x")) as told:
        assert wait_readable(ours, WAIT_SECONDS)
    assert told.in_time


def test_another_thread_and_whoever_hears_of_signals_already_keep_what_they_have(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(wait_readable(ours, None)))
    thread.start()
    thread.join(WAIT_SECONDS)
    assert seen == [True]
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno())
        try:
            assert wait_readable(ours, None)
        finally:
            assert signal.set_wakeup_fd(-1) == writer.fileno()
