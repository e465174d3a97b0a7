"""A launcher that is killed while it tries what the kernel holds: its child has nothing to say."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from pods.keeper import probe
from pods.keeper.system import hear_of_parents_death, plain_fork, set_mask


def _said_by(act: Callable[[], object], said: Path, *, killed: bool = False) -> str:
    """What the child of a trial writes to its standard error; nobody reads its answer.

    Args:
        act: the trial.
        said: a path of the test's own.
        killed: the launcher is gone before the trial begins.
    """
    told, tells = os.pipe()
    launcher = plain_fork()
    if launcher == 0:
        # Blocked, so that the end of its parent is waited for and not missed.
        set_mask({signal.SIGUSR1}, signal.SIG_BLOCK)
        ready, writes_ready = os.pipe()
        parent, child = os.getpid(), plain_fork()
        if child == 0:
            hear_of_parents_death(signal.SIGUSR1)
            sys.stderr = said.open("w", buffering=1)
            reader, writer = os.pipe()
            os.close(reader)
            os.write(writes_ready, b"!")
            if killed:
                signal.sigwait({signal.SIGUSR1})
            probe.be_child(writer, parent, act)
        os.read(ready, 1)
        os.write(tells, str(child).encode())
        if killed:
            os.kill(parent, signal.SIGKILL)
        os.wait()
        os._exit(0)
    os.close(tells)
    with open(told, "rb") as file:
        child = int(file.read())  # to its end: all that held the other one have ended
    os.waitpid(launcher, 0)
    if killed:
        os.waitpid(child, 0)  # this process is a subreaper
    return said.read_text()


def _fail() -> object:
    raise ProcessLookupError("no such process")


def _answer() -> object:
    return {"held": {}}


def test_an_answer_that_nobody_reads_any_more_is_no_traceback(tmp_path: Path) -> None:
    assert _said_by(_answer, tmp_path / "said") == ""


def test_a_trial_that_fails_for_want_of_its_launcher_is_no_traceback(tmp_path: Path) -> None:
    assert _said_by(_fail, tmp_path / "said", killed=True) == ""


def test_a_trial_that_fails_by_a_bug_tells_of_it(tmp_path: Path) -> None:
    assert "ProcessLookupError: no such process" in _said_by(_fail, tmp_path / "said")
