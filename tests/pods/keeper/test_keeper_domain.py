"""The interlock of the signal domain, and that one call ends the pod and nobody else.

Whatever may call `kill(-1)` runs in a PID namespace of its own: a fault there ends that namespace.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from confined import in_child
from pods.keeper.domain import SignalDomain
from pods.scope.confine import OFF_VARIABLE
from pods.scope.landlock import abi_version

UNSHARE = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
CAN_UNSHARE = shutil.which("unshare") is not None and (
    subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
)
pytestmark = [
    pytest.mark.skipif(abi_version() < 6, reason="needs Landlock 6"),
    pytest.mark.skipif(not CAN_UNSHARE, reason="needs a PID namespace for what kills all it can"),
]


def in_namespace(script: str, *arguments: str) -> str:
    """What a script of this directory prints, run as the child of a namespace's first process."""
    path = os.path.join(os.path.dirname(__file__), script)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-P", path, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_nobody_can_make_a_domain_by_hand() -> None:
    with pytest.raises(TypeError, match="entered"):
        SignalDomain(object(), owner=os.getpid(), outsider=os.getppid())


def test_there_is_no_domain_where_landlock_is_switched_off() -> None:
    def act() -> Any:
        domain = SignalDomain.enter(os.getppid(), switches={OFF_VARIABLE: "1"}, files_follow=True)
        os.kill(os.getppid(), 0)
        return domain is None

    assert in_child(act)


def test_an_outsider_that_cannot_be_asked_makes_no_domain() -> None:
    # What does not live cannot answer; what is not ours answers EPERM without any domain.
    def act() -> Any:
        gone = os.fork()
        if gone == 0:
            os._exit(0)
        os.waitpid(gone, 0)
        return SignalDomain.enter(gone, switches={}, files_follow=False) is None

    assert in_child(act)


def test_the_interlock_and_one_kill_for_all() -> None:
    lines = in_namespace("domain_rounds.py").splitlines()
    assert lines == [
        "entered",
        "a fork may not use it",
        "bystander lives",
        "children end: 5 of 5",
        "without the outsider another proves it",
        "where nobody does it is not used",
    ]


@pytest.mark.parametrize("arguments", [(), ("stopped",), ("stopped", "late")])
def test_what_a_killed_keeper_leaves_is_ended_though_its_launcher_was_killed_before(
    arguments: tuple[str, ...],
) -> None:
    lines = in_namespace("guard_rounds.py", *arguments).splitlines()
    assert lines == ["guarded", "the guard lives: True", "left: True"]
