"""Which write scopes are warned of because of the user's home, and by whose home that is judged."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from pods.scope.confine import ABI_VARIABLE, OFF_VARIABLE, OwnPlaces, prepare, switches_from
from pods.scope.dotfiles import DOTFILES, home_warnings, homes
from pods.scope.landlock import abi_version
from pods_protocol.values import ScopeGrant, ScopeRule

HOME = "/home/u"


def warned(target: str, *, permission: str = "write", recursive: bool = True) -> str:
    rule = ScopeRule(
        target=target,
        permission="write" if permission == "write" else "read",
        recursive=recursive,
    )
    return "\n".join(home_warnings(ScopeGrant(allow=(rule,)), (HOME,)))


@pytest.mark.parametrize("name", DOTFILES)
def test_each_file_of_the_list_is_told_and_what_lies_below_it(name: str) -> None:
    assert f"{HOME}/{name}" in warned(f"{HOME}/{name}")
    assert f"{HOME}/{name}" in warned(f"{HOME}/{name}/deep/below", recursive=False)
    assert warned(f"{HOME}/{name}", permission="read") == ""
    assert warned(f"{HOME}/{name}-like") == ""


@pytest.mark.parametrize(
    "name",
    [
        ".zlogin", ".zlogout", ".bash_logout", ".bash_aliases", ".inputrc", ".vimrc", ".tmux.conf",
        ".config/pods", ".ssh", ".bashrc", ".local/bin", ".npmrc", ".claude",
    ],
)  # fmt: skip
def test_what_is_commonly_run_is_in_the_list(name: str) -> None:
    assert name in DOTFILES


def test_a_directory_that_holds_some_of_them_is_told_with_a_few() -> None:
    told = warned(f"{HOME}/.config")
    assert told.count(f"{HOME}/.config/") == 3
    assert " more: what runs" in told
    assert f"{HOME}/.config/fish" in warned(f"{HOME}/.config", recursive=False) + told
    assert warned(f"{HOME}/.local", recursive=False).count(f"{HOME}/.local/") == 2
    assert warned(f"{HOME}/go", recursive=True).endswith(
        "go/bin: what runs or lets in outside of the pod"
    )


def test_home_itself_and_what_is_above_it_are_told() -> None:
    assert "is the home directory" in warned(HOME)
    assert "is the home directory" in warned(HOME, recursive=False)
    assert f"holds the home directory {HOME}" in warned("/home")
    assert warned("/home", recursive=False) == ""


@pytest.mark.parametrize("target", [f"{HOME}/src", f"{HOME}/src/.config", "/srv", "/home/u2"])
def test_other_places_are_not_told(target: str) -> None:
    assert warned(target) == ""


def test_the_homes_are_the_launchers_and_the_one_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    link = tmp_path / "link"
    link.symlink_to(own)
    try:
        record = os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        pytest.skip("nobody knows this user")
    assert homes(switches_from({"HOME": str(link)})) == (str(own), record)
    assert homes({"HOME": record}) == homes({}) == homes({"HOME": "not/absolute"}) == (record,)
    assert homes({"HOME": "/"}) == (record,)


@pytest.mark.parametrize(
    "switches",
    [
        {OFF_VARIABLE: "1"},
        {ABI_VARIABLE: "0"},
        pytest.param(
            {}, marks=pytest.mark.skipif(not abi_version(), reason="this kernel has no Landlock")
        ),
    ],
    ids=["off", "no such version", "held"],
)
def test_the_record_warns_whatever_holds_the_pod_and_whatever_its_home_is_said_to_be(
    switches: dict[str, str], tmp_path: Path
) -> None:
    environ = {"PATH": os.defpath, "HOME": "/nonexistent"}
    for target, told in ((tmp_path, True), (tmp_path / ".ssh", True), (tmp_path / "src", False)):
        target.mkdir(exist_ok=True)
        grant = ScopeGrant(allow=(ScopeRule(target=str(target), permission="write"),))
        own_home = {**switches, "HOME": str(tmp_path)}
        with prepare(grant, OwnPlaces(), environ=environ, switches=own_home) as made:
            assert bool(made.enforcement.warnings) == told
