"""A process held to a grant: what it can do, and a record that says neither more nor less."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from confined import in_child, outcome
from pods.scope.baseline import baseline
from pods.scope.confine import (
    ABI_VARIABLE,
    OFF_VARIABLE,
    OwnPlaces,
    missing,
    prepare,
    shortfall,
    spoken_abi,
    summarise,
)
from pods.scope.grants import TargetChanged
from pods.scope.landlock import abi_version
from pods_protocol.values import Permission, ScopeGrant, ScopeRule

pytestmark = pytest.mark.skipif(abi_version() < 6, reason="needs Landlock 6")


def rule(path: Path, permission: Permission, *, recursive: bool = True) -> ScopeRule:
    return ScopeRule(target=str(path), permission=permission, recursive=recursive)


def confined(
    grant: ScopeGrant, act: Callable[[], Any], *, own: OwnPlaces | None = None
) -> tuple[Any, Any]:
    """What `act` returns under the grant, and the rules of the record as (got, exact)."""

    def child() -> Any:
        with prepare(grant, own or OwnPlaces(), environ=os.environ, switches={}) as confinement:
            record = confinement.enter()
        return [act(), [(item.got, item.exact) for item in record.rules]]

    told, rules = in_child(child)
    return told, rules


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "w" / "sub").mkdir(parents=True)
    (tmp_path / "r" / "sub").mkdir(parents=True)
    for name in ("w/file", "w/sub/file", "r/file", "r/sub/file", "outside"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_read_reads_and_write_writes_the_whole_tree_and_nothing_else(tree: Path) -> None:
    def act() -> list[str]:
        return [
            outcome((tree / "w/sub/file").read_text),
            outcome(lambda: (tree / "w/sub/new").write_text("x")),
            outcome(lambda: (tree / "w/sub/file").rename(tree / "w/moved")),
            outcome(lambda: (tree / "w/deep").mkdir()),
            outcome((tree / "w/deep").rmdir),
            outcome((tree / "r/sub/file").read_text),
            outcome(lambda: (tree / "r/file").write_text("x")),
            outcome(lambda: (tree / "r/new").write_text("x")),
            outcome((tree / "r/file").unlink),
            outcome((tree / "outside").read_text),
            outcome(lambda: os.listdir(tree)),
            outcome(lambda: os.truncate(tree / "outside", 0)),
        ]

    grant = ScopeGrant(allow=(rule(tree / "w", "write"), rule(tree / "r", "read")))
    told, rules = confined(grant, act)
    assert told[:6] == ["ok"] * 6
    assert told[6:] == ["EACCES"] * 6
    assert [exact for _, exact in rules] == [True, True]


def test_direct_entries_are_exact_where_there_is_no_directory(tree: Path) -> None:
    (tree / "w/sub/file").unlink()
    (tree / "w/sub").rmdir()

    def act() -> list[str]:
        return [
            outcome(lambda: (tree / "w/new").write_text("x")),
            outcome(lambda: (tree / "w/new").rename(tree / "w/file")),
            outcome(lambda: os.listdir(tree / "w")),
            outcome(lambda: (tree / "w/dir").mkdir()),
        ]

    told, rules = confined(ScopeGrant(allow=(rule(tree / "w", "write", recursive=False),)), act)
    assert told == ["ok", "ok", "ok", "EACCES"]
    assert rules[0][1] is True


@pytest.mark.parametrize("permission", ["read", "write"])
def test_direct_entries_beside_directories_are_the_files_of_now_and_said_so(
    tree: Path, permission: Permission
) -> None:
    (tree / "w/link").symlink_to(tree / "outside")

    def act() -> list[str]:
        return [
            outcome((tree / "w/file").read_text),
            outcome(lambda: os.listdir(tree / "w")),
            outcome(lambda: (tree / "w/file").write_text("x")),
            outcome((tree / "w/sub/file").read_text),
            outcome(lambda: (tree / "w/new").write_text("x")),
            outcome((tree / "w/sub/file").unlink),
            outcome((tree / "w/link").read_text),
        ]

    grant = ScopeGrant(allow=(rule(tree / "w", permission, recursive=False),))
    told, rules = confined(grant, act)
    writes = "ok" if permission == "write" else "EACCES"
    assert told == ["ok", "ok", writes, "EACCES", "EACCES", "EACCES", "EACCES"]
    got, exact = rules[0]
    assert not exact
    assert "the 1 files that are in" in got


def test_a_rule_on_a_file_is_that_file_in_place(tree: Path) -> None:
    def act() -> list[str]:
        return [
            outcome(lambda: (tree / "w/file").write_text("x")),
            outcome((tree / "w/file").unlink),
            outcome((tree / "w/sub/file").read_text),
        ]

    told, rules = confined(ScopeGrant(allow=(rule(tree / "w/file", "write"),)), act)
    assert told == ["ok", "EACCES", "EACCES"]
    assert rules == [["write in place", True]]


def test_a_deny_over_all_of_a_rule_holds_and_one_inside_is_reported(tree: Path) -> None:
    def act() -> list[str]:
        return [
            outcome((tree / "r/file").read_text),
            outcome((tree / "w/file").read_text),
            outcome(lambda: (tree / "w/file").write_text("x")),
        ]

    grant = ScopeGrant(
        allow=(rule(tree / "w", "write"), rule(tree / "r", "read")),
        deny=(rule(tree / "w", "write"), rule(tree / "r", "read")),
    )
    told, rules = confined(grant, act)
    assert told == ["EACCES", "ok", "EACCES"]
    assert [exact for _, exact in rules] == [True, True]

    grant = ScopeGrant(allow=(rule(tree / "w", "write"),), deny=(rule(tree / "w/sub", "write"),))
    told, rules = confined(grant, lambda: outcome(lambda: (tree / "w/sub/file").write_text("x")))
    assert told == "ok"
    assert not rules[0][1]
    assert "no deny inside" in rules[0][0]


def test_a_target_that_became_a_symlink_after_the_check_stops_the_start(tree: Path) -> None:
    grant = ScopeGrant(allow=(rule(tree / "w", "write"),))
    (tree / "w").rename(tree / "elsewhere")
    (tree / "w").symlink_to(tree / "r")
    with pytest.raises(TargetChanged, match="leads to"):
        prepare(grant, OwnPlaces(), environ=os.environ, switches={})
    (tree / "w").unlink()
    with pytest.raises(TargetChanged, match="cannot be opened"):
        prepare(grant, OwnPlaces(), environ=os.environ, switches={})


def test_nothing_stays_open(tree: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    grant = ScopeGrant(allow=(rule(tree / "w", "write", recursive=False),))
    with prepare(grant, OwnPlaces(write=(str(tree),)), environ=os.environ, switches={}):
        pass
    with pytest.raises(TargetChanged):
        prepare(
            ScopeGrant(allow=(rule(tree / "w", "write"), rule(tree / "no", "read"))),
            OwnPlaces(),
            environ=os.environ,
            switches={},
        )
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_switched_off_it_holds_nothing_and_says_so(tree: Path) -> None:
    def act() -> Any:
        switches = {OFF_VARIABLE: "1"}
        with prepare(ScopeGrant(), OwnPlaces(), environ=os.environ, switches=switches) as made:
            record = made.enter()
        (tree / "outside").write_text("x")
        return [record.backend, record.files, record.syscalls, record.reason, shortfall(record)]

    backend, files, syscalls, reason, short = in_child(act)
    assert (backend, files, syscalls) == ("none", "none", "none")
    assert OFF_VARIABLE in reason
    assert short == reason


def test_what_the_kernel_leaves_open_is_a_shortfall_and_in_the_summary(tree: Path) -> None:
    grant = ScopeGrant(allow=(rule(tree / "w", "write"),))
    with prepare(grant, OwnPlaces(), environ=os.environ, switches={}) as made:
        record = made.enforcement
    assert shortfall(record) == ""
    assert "open" not in summarise(record)
    for less in (
        evolve(record, signals="none", reason="signals, as the kernel is old"),
        evolve(record, syscalls="none", reason="no table for this machine"),
        evolve(record, files="partial", reason="files, as the kernel is older"),
    ):
        assert shortfall(less) == less.reason
        assert summarise(less) != summarise(record)


@pytest.mark.parametrize(("abi", "files"), [(1, "partial"), (2, "partial"), (3, "kernel")])
def test_an_older_landlock_is_used_as_far_as_it_goes_and_said_so(
    tree: Path, abi: int, files: str
) -> None:
    grant = ScopeGrant(allow=(rule(tree / "w", "write"),))

    def act() -> list[Any]:
        switches = {ABI_VARIABLE: str(abi)}
        with prepare(grant, OwnPlaces(), environ=os.environ, switches=switches) as made:
            record = made.enter()
        return [
            [record.abi, record.files, record.signals, shortfall(record), record.gaps],
            outcome(lambda: (tree / "w/sub/file").rename(tree / "w/moved")),
            outcome(lambda: (tree / "outside").write_text("x")),
            outcome(lambda: os.truncate(tree / "outside", 0)),
        ]

    (got_abi, got_files, signals, short, gaps), moved, written, emptied = in_child(act)
    assert (got_abi, got_files, signals) == (abi, files, "none")
    assert f"{ABI_VARIABLE}={abi} is set" in short
    assert "cannot refuse signals" in short
    assert any("abstract" in gap for gap in gaps)
    assert (moved == "EXDEV") == ("cannot give moves between directories" in short) == (abi == 1)
    assert written == "EACCES"
    assert (emptied == "ok") == ("cannot refuse emptying" in short) == (abi < 3)


def test_a_cap_is_a_version_and_gives_no_more_than_there_is() -> None:
    assert spoken_abi({ABI_VARIABLE: "1000"}) == spoken_abi({}) == abi_version()
    assert missing({ABI_VARIABLE: "2"}) == missing({ABI_VARIABLE: ""}) == ""
    for wrong in ("0", "two", "-1"):
        assert ABI_VARIABLE in missing({ABI_VARIABLE: wrong})


def test_the_baseline_opens_no_home_and_nothing_of_pods_own(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".local/bin").mkdir(parents=True)
    (home / ".local/lib").mkdir()
    (home / "bin").mkdir()
    state = home / ".local/state/pods"
    state.mkdir(parents=True)
    environ = {"HOME": str(home), "PATH": f"{home}/.local/bin:{home}/bin:{home}:{tmp_path}:/"}
    paths = {place.path for place in baseline(environ, python=None, forbidden=(str(state),))}
    assert {f"{home}/.local/bin", f"{home}/.local/lib", f"{home}/bin"} <= paths
    assert not paths & {"/", str(home), str(tmp_path), f"{home}/.local", f"{home}/.local/state"}
    assert "/usr" in paths


def test_the_users_home_is_in_no_baseline_whatever_the_pods_home_is_said_to_be() -> None:
    try:
        record = os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        pytest.skip("nobody knows this user")
    environ = {"HOME": "/nonexistent", "PATH": f"{record}:{record}/bin:/usr/bin"}
    paths = {place.path for place in baseline(environ, python=None, forbidden=())}
    assert record not in paths
    assert "/usr" in paths


def test_the_baseline_has_what_another_interpreter_needs(tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    packages = environment / "lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    (environment / "bin").mkdir()
    (environment / "pyvenv.cfg").touch()
    (environment / "bin/python").symlink_to("/usr/bin/env")
    source = tmp_path / "source"
    source.mkdir()
    (packages / "x.pth").write_text(f"{source}\nimport this\n")
    places = baseline(
        {"HOME": "/nowhere", "PATH": ""}, python=f"{environment}/bin/python", forbidden=()
    )
    assert {str(environment), str(source)} <= {place.path for place in places}
