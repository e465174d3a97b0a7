"""Every escape that a pod may try, tried by a real pod at each level, row by row.

The rows are in `hostile_attempts`; the table in `pods/README.md` is written from them.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostile_attempts import ATTEMPTS, PRECIOUS, Attempt, table
from pods.scope.confine import OFF_VARIABLE
from pods.scope.landlock import abi_version
from pods_protocol.process_messages import GetKeeperStatus
from pods_protocol.values import ScopeGrant, ScopeRule
from process_support import ended, running_launcher

ROOT = Path(__file__).parents[2]

LEVELS = [
    pytest.param(
        "held",
        marks=pytest.mark.skipif(abi_version() < 6, reason="needs Landlock 6"),
    ),
    "open",
]


@pytest.fixture(scope="module", params=LEVELS)
def tried(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, str], Path]]:
    """The level, what each attempt was answered, and the ground afterwards."""
    level: str = request.param
    directory = Path("/tmp", f"pt-{secrets.token_hex(4)}")
    directory.mkdir(0o700)
    try:
        yield level, _try(directory, held=level == "held"), directory
    finally:
        shutil.rmtree(directory)


def _try(directory: Path, *, held: bool) -> dict[str, str]:
    for place in ("write", "read", "outside"):
        (directory / place).mkdir()
        for attempt in ATTEMPTS:
            (directory / place / attempt.name).write_text(PRECIOUS)
    environ = {
        **os.environ,
        "PODS_RUNTIME_DIR": f"{directory}/r",
        "PODS_STATE_DIR": f"{directory}/s",
        OFF_VARIABLE: "" if held else "1",
        "PYTHONPATH": os.pathsep.join(
            str(ROOT / room) for room in ("pods", "protocol", "tools", "tests/support")
        ),
    }
    abstract = f"pods-test-{secrets.token_hex(8)}"
    with (
        running_launcher(environ) as launcher,
        launcher.connect() as client,
        socket.socket(socket.AF_UNIX) as listening,
        socket.socket(socket.AF_UNIX) as nameless,
        subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL) as bystander,
    ):
        try:
            listening.bind(f"{directory}/listening")
            nameless.bind("\0" + abstract)
            for sock in (listening, nameless):
                sock.listen(len(ATTEMPTS))
            grant = ScopeGrant(
                allow=(
                    ScopeRule(target=f"{directory}/write", permission="write"),
                    ScopeRule(target=f"{directory}/read", permission="read"),
                )
            )
            ground = {
                "write": f"{directory}/write",
                "read": f"{directory}/read",
                "outside": f"{directory}/outside",
                "bystander": bystander.pid,
                "launcher": launcher.pid,
                "listener": f"{directory}/listening",
                "abstract": abstract,
            }
            spec = launcher.spec(
                "attempts",
                grant=grant,
                enforce="available",
                options={"ground": ground, "held": held},
            )
            launcher.launch(client, spec)
            with launcher.connect_keeper(spec) as keeper:
                record = keeper.ask(GetKeeperStatus()).enforcement
                assert record is None or record.backend == ("landlock" if held else "none")
                ended(client, spec)
            answers: dict[str, str] = json.loads(
                Path(spec.state_directory, "journal", "answers").read_text()
            )
            return answers
        finally:
            bystander.kill()


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.what)
def test_an_attempt_is_answered_as_promised(
    tried: tuple[str, dict[str, str], Path], attempt: Attempt
) -> None:
    level, answers, directory = tried
    promised = attempt.held if level == "held" else attempt.open
    if not promised:
        pytest.skip("not tried at this level: it would do harm, or depends on the machine")
    assert answers[attempt.name] in promised
    if level == "held" and attempt.held != ("ok",):
        for place in ("read", "outside"):
            assert (directory / place / attempt.name).read_text() == PRECIOUS


def test_the_table_of_the_readme_is_what_was_tried() -> None:
    readme = (ROOT / "pods/README.md").read_text()
    assert table() in readme, "run: python tests/hostile/write_table.py"
