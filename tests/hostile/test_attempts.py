"""Every escape that a pod may try, tried by a real pod at each level, row by row.

The rows are in `hostile_attempts` and its parts; the table in `pods/README.md` is written from
them. Levels that this kernel is past are had by a switch of the launcher.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from directories import short_directory
from hostile_attempts import ATTEMPTS, COLUMNS, table
from hostile_ground import OK, PRECIOUS, SIGNALS, TRUNCATION, Attempt
from hostile_ipc import shared
from pods.keeper.confined import read_enforcement
from pods.scope.confine import ABI_VARIABLE, OFF_VARIABLE
from pods.scope.landlock import abi_version
from pods_protocol.values import Enforcement, ScopeGrant, ScopeRule
from process_support import ask_pod, ended, running_launcher
from supervisor_support import daemon

ROOT = Path(__file__).parents[2]
FAREWELL_SECONDS = 20.0

LEVELS = [
    pytest.param(abi, marks=pytest.mark.skipif(abi_version() < abi, reason=f"needs Landlock {abi}"))
    for abi in COLUMNS.values()
]


class Tried(NamedTuple):
    """The version of Landlock, what holds the pod, the answers, and the ground afterwards."""

    abi: int
    record: Enforcement | None
    answers: dict[str, str]
    directory: Path


@pytest.fixture(scope="module", params=LEVELS)
def tried(request: pytest.FixtureRequest) -> Iterator[Tried]:
    with short_directory() as directory:
        yield _try(Path(directory), request.param)


def _try(directory: Path, abi: int) -> Tried:
    for place in ("write", "read", "outside"):
        (directory / place).mkdir()
        for attempt in ATTEMPTS:
            (directory / place / attempt.name).write_text(PRECIOUS)
    (directory / "s").mkdir(0o700)
    environ = {
        **os.environ,
        "PODS_RUNTIME_DIR": f"{directory}/r",
        "PODS_STATE_DIR": f"{directory}/s",
        OFF_VARIABLE: "" if abi else "1",
        # What is newest here is tried as such: nothing is switched.
        ABI_VARIABLE: str(abi) if 0 < abi < SIGNALS else "",
        "PYTHONPATH": os.pathsep.join(
            str(ROOT / room) for room in ("pods", "protocol", "tools", "tests/support")
        ),
    }
    abstract = f"pods-test-{secrets.token_hex(8)}"
    with ExitStack() as stack:
        launcher = stack.enter_context(running_launcher(environ))
        client = stack.enter_context(launcher.connect())
        supervisor = stack.enter_context(_supervisor(environ))
        keys = stack.enter_context(shared())
        bystander = stack.enter_context(
            subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)
        )
        stack.callback(bystander.kill)
        for address in (f"{directory}/listening", "\0" + abstract):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.bind(address)
            sock.listen(len(ATTEMPTS))
        sibling = launcher.spec("serve")
        launcher.launch(client, sibling)
        ground = {
            "write": f"{directory}/write",
            "read": f"{directory}/read",
            "outside": f"{directory}/outside",
            "bystander": bystander.pid,
            "launcher": launcher.pid,
            "supervisor": supervisor,
            "sibling": ask_pod(sibling)["pid"],
            "listener": f"{directory}/listening",
            "abstract": abstract,
        }
        grant = ScopeGrant(
            allow=(
                ScopeRule(target=f"{directory}/write", permission="write"),
                ScopeRule(target=f"{directory}/read", permission="read"),
            )
        )
        spec = launcher.spec(
            "attempts",
            grant=grant,
            enforce="available",
            options={"ground": ground, "shared": keys._asdict(), "abi": abi},
        )
        launcher.launch(client, spec)
        ended(client, spec)
        said = Path(spec.state_directory, "journal", "answers")
        assert said.exists(), Path(spec.state_directory, "stderr.log").read_text()
        record = read_enforcement(spec.state_directory)
        return Tried(abi, record, json.loads(said.read_text()), directory)


@contextmanager
def _supervisor(environ: dict[str, str]) -> Generator[int]:
    """The pid of a real one, beside the launcher whose pod is hostile."""
    with daemon(environ, "beside") as process:
        yield process.pid
        process.terminate()
        process.wait(FAREWELL_SECONDS)


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.what)
def test_an_attempt_is_answered_as_promised(tried: Tried, attempt: Attempt) -> None:
    promised = attempt.promised(tried.abi)
    if not promised:
        pytest.skip("not tried at this level: it would do harm, or depends on the machine")
    assert tried.answers[attempt.name] in promised
    if tried.abi and promised != OK:
        for place in ("read", "outside"):
            assert (tried.directory / place / attempt.name).read_text() == PRECIOUS


def test_the_record_says_what_is_held_and_what_is_not(tried: Tried) -> None:
    record = tried.record
    assert record is not None
    if not tried.abi:
        assert (record.backend, record.abi) == ("none", 0)
        assert (record.files, record.signals, record.syscalls) == ("none", "none", "none")
        assert (record.kill, record.rules) == ("subreaper_loop", ())
        assert OFF_VARIABLE in record.reason
        return
    assert (record.backend, record.syscalls) == ("landlock", "seccomp")
    assert all(rule.exact for rule in record.rules)
    if tried.abi >= SIGNALS:
        assert record.abi == abi_version()
        held = (record.files, record.signals, record.kill)
        assert held == ("kernel", "kernel", "landlock_domain")
        assert record.reason == ""
        return
    assert record.abi == tried.abi
    assert (record.signals, record.kill) == ("none", "subreaper_loop")
    assert any("can be signalled" in gap for gap in record.gaps)
    assert "cannot refuse signals" in record.reason
    emptied = tried.abi < TRUNCATION
    assert record.files == ("partial" if emptied else "kernel")
    assert any("can be emptied" in gap for gap in record.gaps) == emptied
    assert ("cannot refuse emptying" in record.reason) == emptied


def test_the_table_of_the_readme_is_what_was_tried() -> None:
    readme = (ROOT / "pods/README.md").read_text()
    assert table() in readme, "run: python tests/hostile/write_table.py"
