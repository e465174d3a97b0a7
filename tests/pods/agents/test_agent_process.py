"""Real programs: what they write, how they end, what is left of them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

import pytest
import trio

from pod_support import WAIT_SECONDS
from pods.agents import process as process_module
from pods.agents.process import ProcessEnd, TextOutput, run_process
from pods.agents.text import Coalescer
from pods_protocol.errors import StartFailed


class Collected:
    """Takes pieces of text, and tells when the first has come."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, str]] = []
        self.begun = trio.Event()
        self.output = TextOutput(Coalescer(self._take))

    def _take(self, stream: str, text: str) -> None:
        self.pieces.append((stream, text))
        self.begun.set()

    def text(self, stream: str = "stdout") -> str:
        return "".join(text for name, text in self.pieces if name == stream)


async def sh(line: str, collected: Collected, *, stdin: bytes | None = None) -> ProcessEnd:
    with trio.fail_after(WAIT_SECONDS):
        return await run_process(
            ["/bin/sh", "-c", line], collected.output, cwd="/tmp", env=dict(os.environ), stdin=stdin
        )


def is_gone(pid: int) -> bool:
    """Whether the process has ended; an orphan of a test is ours to reap."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def until_gone(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with trio.fail_after(WAIT_SECONDS):
            await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
    assert is_gone(pid)


async def test_both_streams_and_the_status_come_through() -> None:
    got = Collected()
    end = await sh("echo out; echo err >&2; exit 7", got)
    assert (end.status, end.describe()) == (7, "exit status 7")
    assert (got.text(), got.text("stderr")) == ("out\n", "err\n")


async def test_output_without_a_newline_is_output() -> None:
    got = Collected()
    end = await sh("printf 'no newline'", got)
    assert (end.status, end.describe(), got.text()) == (0, "", "no newline")


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orphans of a test are zombies until its end, and a group of zombies is not empty."""
    monkeypatch.setattr(process_module, "CANCEL_GRACE_SECONDS", 0.2)


@pytest.mark.usefixtures("short_grace")
async def test_output_comes_while_the_program_runs() -> None:
    got = Collected()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sh, "echo first; sleep 60", got)
        with trio.fail_after(WAIT_SECONDS):
            await got.begun.wait()
        nursery.cancel_scope.cancel()
    assert got.text() == "first\n"


async def test_many_small_writes_become_few_events() -> None:
    got = Collected()
    await sh("i=0; while [ $i -lt 500 ]; do echo $i; i=$((i+1)); done", got)
    assert got.text().split() == [str(number) for number in range(500)]
    assert len(got.pieces) < 50


async def test_binary_output_is_text_that_anybody_can_store() -> None:
    got = Collected()
    await sh(r"printf 'a\000b\377\303'", got)
    assert got.text() == "a\0b\ufffd\ufffd"
    got.text().encode()


async def test_five_megabytes_come_whole_and_in_bounded_pieces() -> None:
    got = Collected()
    await sh(f"{sys.executable} -c \"print('0123456789' * 500_000, end='')\"", got)
    assert len(got.text()) == 5_000_000
    assert max(len(text) for _, text in got.pieces) <= 16 * 1024


async def test_the_program_reads_its_input_and_then_the_end() -> None:
    got = Collected()
    await sh("cat; echo end", got, stdin=b"x" * 300_000)
    assert got.text() == "x" * 300_000 + "end\n"


async def test_a_program_that_does_not_read_its_input_is_no_error() -> None:
    assert (await sh("exec true", Collected(), stdin=b"x" * 300_000)).status == 0


async def test_without_input_there_is_nothing_to_read() -> None:
    got = Collected()
    await sh("cat; echo end", got)
    assert got.text() == "end\n"


async def test_a_program_that_a_signal_ended_says_so() -> None:
    assert (await sh("kill -TERM $$", Collected())).describe() == "ended by SIGTERM"
    assert ProcessEnd(-70, False).describe() == "ended by signal 70"


async def test_a_process_that_holds_the_pipe_does_not_hold_the_turn() -> None:
    got = Collected()
    end = await sh("sleep 60 & echo $!", got)
    assert end.left_open
    pid = int(got.text())
    assert not is_gone(pid), "what a program leaves running goes on"
    os.kill(pid, signal.SIGKILL)
    await until_gone(pid)


@pytest.mark.usefixtures("short_grace")
async def test_a_cancelled_program_ends_with_all_that_it_started() -> None:
    got = Collected()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sh, "sleep 60 & echo $! $$; sleep 60", got)
        with trio.fail_after(WAIT_SECONDS):
            await got.begun.wait()
        nursery.cancel_scope.cancel()
    for pid in map(int, got.text().split()):
        await until_gone(pid)


@pytest.mark.usefixtures("short_grace")
async def test_a_program_that_ignores_sigterm_is_killed() -> None:
    got = Collected()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sh, "trap '' TERM; echo $$; while :; do sleep 0.05; done", got)
        with trio.fail_after(WAIT_SECONDS):
            await got.begun.wait()
        nursery.cancel_scope.cancel()
    await until_gone(int(got.text()))


async def test_a_program_has_time_to_tidy_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "CANCEL_GRACE_SECONDS", WAIT_SECONDS)
    got = Collected()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            sh, "trap 'echo tidied; exit' TERM; echo ready; while :; do sleep 0.01; done", got
        )
        with trio.fail_after(WAIT_SECONDS):
            await got.begun.wait()
        nursery.cancel_scope.cancel()
    assert got.text() == "ready\ntidied\n", "its last words count too"


@pytest.mark.parametrize(
    ("argv", "cwd", "words"),
    [
        (["/no/such/program"], "/tmp", "No such file"),
        (["/bin/true"], "/no/such/directory", "the working directory /no/such/directory"),
        (["/etc/passwd"], "/tmp", "Permission denied"),
        (["/bin/echo", "x" * 200_000], "/tmp", "longer than the kernel takes"),
        (["/bin/echo", "a\0b"], "/tmp", "null byte"),
    ],
)
async def test_what_cannot_be_started_says_why(argv: list[str], cwd: str, words: str) -> None:
    with pytest.raises(StartFailed, match=words):
        await run_process(argv, Collected().output, cwd=cwd, env={})


async def test_an_output_that_fails_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "CANCEL_GRACE_SECONDS", 0.2)

    pids: list[int] = []

    def refuse(_: str, text: str) -> None:
        if text.strip():
            pids.append(int(text))
        raise OSError("no space left")

    output = TextOutput(Coalescer(refuse, max_bytes=16))
    with pytest.raises(OSError, match="no space"), trio.fail_after(WAIT_SECONDS):
        await run_process(
            ["/bin/sh", "-c", "printf '%15d\\n' $$; exec sleep 60"],
            output,
            cwd="/tmp",
            env=dict(os.environ),
        )
    await until_gone(pids[0])
