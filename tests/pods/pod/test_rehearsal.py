"""The rehearsal of a pod's start: it goes through, and leaves nothing, also where it cannot."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

import pytest
import trio

from pods.pod import main, rehearsal
from pods.pod.rehearsal import rehearse
from pods_protocol.errors import StartFailed, StorageFailed

FORBIDDEN = ("/nowhere/state", "/nowhere/runtime")


def test_a_rehearsal_leaves_nothing_and_starts_nothing(short_dir: str) -> None:
    before = set(os.listdir("/proc/self/fd"))
    threads = set(threading.enumerate())  # trio keeps those of earlier tests for a while
    handler = signal.getsignal(signal.SIGTERM)
    rehearse(f"{short_dir}/rehearsal", forbidden=FORBIDDEN)
    assert os.listdir(short_dir) == []
    assert set(os.listdir("/proc/self/fd")) == before
    assert set(threading.enumerate()) <= threads
    assert signal.getsignal(signal.SIGTERM) is handler
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_rehearsal_without_a_place_says_so(short_dir: str) -> None:
    with pytest.raises(FileNotFoundError):
        rehearse(f"{short_dir}/missing/rehearsal", forbidden=FORBIDDEN)


def test_a_life_that_does_not_answer_is_given_up(
    short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def live(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(rehearsal, "live", live)
    monkeypatch.setattr(rehearsal, "REHEARSAL_SECONDS", 0.01)
    with pytest.raises(StartFailed, match=r"cannot rehearse a pod's start: it takes over 0\.01 s"):
        rehearse(f"{short_dir}/rehearsal", forbidden=FORBIDDEN)
    assert os.listdir(short_dir) == []


def test_a_life_that_ends_by_itself_is_no_rehearsal(
    short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def live(_spec: object, listener: object, _tells: object) -> None:
        listener.close()  # type: ignore[attr-defined]  # whoever waits there is cut off

    monkeypatch.setattr(rehearsal, "live", live)
    with pytest.raises(StartFailed, match="it ended"):
        rehearse(f"{short_dir}/rehearsal", forbidden=FORBIDDEN)
    assert os.listdir(short_dir) == []


def test_what_a_life_is_refused_by_comes_out_as_it_is(
    short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StorageFailed("the disk is full")

    monkeypatch.setattr("pods.pod.main.Journal.open", refuse)
    with pytest.raises(StorageFailed, match="the disk is full"):
        rehearse(f"{short_dir}/rehearsal", forbidden=FORBIDDEN)


def test_a_sigterm_that_comes_meanwhile_is_for_who_rehearses_and_finds_nothing_left(
    short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, list[str]]] = []

    async def live(*arguments: object) -> int:
        # To this thread: a launcher has no other, and here others would take it.
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        return await main.live(*arguments)  # type: ignore[arg-type]  # handed on as they came

    def hear(number: int, _: FrameType | None) -> None:
        heard.append((number, os.listdir(short_dir)))  # a launcher would be over here

    monkeypatch.setattr(rehearsal, "live", live)
    before = signal.signal(signal.SIGTERM, hear)
    try:
        rehearse(f"{short_dir}/rehearsal", forbidden=FORBIDDEN)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [(signal.SIGTERM, [])]
