"""Who a process is, and whether it lives; with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import psutil
import pytest

from pods.scope import identity
from pods.scope.identity import boot_id, identify, is_alive, is_pid_free, memory_bytes


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill it and leave the zombie."""
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def test_a_running_process_is_itself(sleeper: subprocess.Popen[bytes]) -> None:
    found = identify(sleeper.pid)
    assert found.pid == sleeper.pid
    assert found.boot_id == Path(identity.BOOT_ID_PATH).read_text().strip()
    assert (
        abs(found.start_ticks / 100 + psutil.boot_time() - psutil.Process(found.pid).create_time())
        < 2
    )
    assert is_alive(found)
    assert not is_pid_free(found.pid)


def test_a_stopped_process_lives(sleeper: subprocess.Popen[bytes]) -> None:
    found = identify(sleeper.pid)
    sleeper.send_signal(signal.SIGSTOP)
    os.waitpid(sleeper.pid, os.WUNTRACED)
    assert is_alive(found)


def test_fault_16_a_zombie_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    found = identify(sleeper.pid)
    end(sleeper)
    os.kill(sleeper.pid, 0)  # what the origins took for life
    assert not is_alive(found)
    with pytest.raises(ProcessLookupError):
        identify(sleeper.pid)


def test_fault_16_a_reused_pid_is_another_process(sleeper: subprocess.Popen[bytes]) -> None:
    found = identify(sleeper.pid)
    assert not is_alive(attrs.evolve(found, start_ticks=found.start_ticks - 1))


def test_fault_16_no_process_survives_a_reboot(sleeper: subprocess.Popen[bytes]) -> None:
    assert not is_alive(attrs.evolve(identify(sleeper.pid), boot_id="the boot before"))


def test_a_process_that_is_gone_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    found = identify(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert not is_alive(found)
    assert is_pid_free(found.pid)
    assert memory_bytes(found.pid) is None
    with pytest.raises(ProcessLookupError):
        identify(found.pid)


def test_a_name_with_brackets_and_spaces_fools_nobody(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "60"]) as process:
        try:
            found = identify(process.pid)
            expected = psutil.Process(process.pid).create_time() - psutil.boot_time()
            assert abs(found.start_ticks / 100 - expected) < 2
            assert is_alive(found)
        finally:
            process.kill()


def test_a_process_lives_while_any_of_its_threads_does() -> None:
    code = (
        "import ctypes, sys, threading\n"
        "threading.Thread(target=sys.stdin.read).start()\n"
        "print('ready', flush=True)\n"
        # The first thread ends alone, by the bare system call.
        "ctypes.CDLL(None).syscall(60, 0)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            found = identify(process.pid)
            while b") Z " not in Path(f"/proc/{process.pid}/stat").read_bytes():
                os.sched_yield()
            assert is_alive(found)
        finally:
            process.kill()


def test_somebody_elses_process_is_for_the_thorough_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
    assert not is_pid_free(1)


def test_memory_is_what_is_resident() -> None:
    _check_own_memory()


def _check_own_memory() -> None:
    # Of this process, which has started: two looks at one that is just starting see it grow.
    size = memory_bytes(os.getpid())
    assert size is not None
    assert abs(size - psutil.Process().memory_info().rss) < 4 * 1024 * 1024


@pytest.fixture
def without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system where psutil is all there is."""

    def read_proc(path: str) -> None:
        return None

    monkeypatch.setattr(identity, "_read_proc", read_proc)
    monkeypatch.setattr(identity, "_has_proc", lambda: False)


@pytest.mark.usefixtures("without_proc")
def test_without_proc_psutil_tells(sleeper: subprocess.Popen[bytes]) -> None:
    found = identify(sleeper.pid)
    assert is_alive(found)
    _check_own_memory()
    end(sleeper)
    assert not is_alive(found)
    sleeper.wait()
    assert not is_alive(found)
    assert memory_bytes(found.pid) is None


def test_without_a_boot_id_the_time_of_the_boot_serves(tmp_path: Path) -> None:
    assert boot_id(str(tmp_path / "none")) == f"boot-{int(psutil.boot_time())}"


def test_a_boot_id_is_read_from_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("abc\n")
    assert boot_id(str(tmp_path / "id")) == "abc"


def test_a_process_that_ends_while_it_is_looked_at_is_gone(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(descriptor: int, size: int) -> bytes:
        raise ProcessLookupError

    found = identify(sleeper.pid)
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read)
        assert not is_alive(found)
