"""From what people write to canonical rules; on real trees with symlinks."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pods.scope.normalise import MAX_RULES
from pods.scope.registry import normalise_rules
from pods_protocol.errors import InvalidScope, ScopeConflict, ScopeNotDelegable
from pods_protocol.values import Permission, ScopeRule
from scope_support import lease, table_of


def write(target: str | Path, *, recursive: bool = True) -> ScopeRule:
    return ScopeRule(target=str(target), permission="write", recursive=recursive)


def resolved(target: str | Path) -> str:
    return normalise_rules([write(target)])[0].target


def refused(target: str, permission: Permission = "write") -> InvalidScope:
    with pytest.raises(InvalidScope) as error:
        normalise_rules([ScopeRule(target=target, permission=permission)])
    assert error.value.data["hint"]
    return error.value


def test_symlinks_and_dots_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "real/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    real = os.path.realpath(tmp_path / "real")
    assert resolved(tmp_path / "link") == real
    assert resolved(f"{tmp_path}/link/deep/../../real/") == real
    assert resolved(f"/{tmp_path}/real") == real


def test_fault_3_a_request_that_climbs_out_of_the_parents_scope_is_refused(tmp_path: Path) -> None:
    for name in ("src/a", "src/b", "etc"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "src/link").symlink_to(tmp_path / "etc")
    src = f"w {os.path.realpath(tmp_path)}/src/**"
    table = table_of(
        lease("boss", [src], delegable=[src]),
        lease("child", [src.replace("/**", "/a/**")], parent="boss"),
    )

    def ask(target: str) -> None:
        rule = normalise_rules([write(tmp_path / target)])[0]
        table.lend(lease("late", [f"w {rule.target}/**"], parent="boss"))

    for escape in ("src/../etc", "src/link"):
        with pytest.raises(ScopeNotDelegable):
            ask(escape)
    # The same place under another name is the same place.
    with pytest.raises(ScopeConflict):
        ask("src/b/../a")


def test_each_rule_stands_once_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    rules = [write(tmp_path / "a"), write(tmp_path), write(f"{tmp_path}/a/../a")]
    found = normalise_rules(rules)
    assert [rule.target for rule in found] == [
        os.path.realpath(tmp_path / "a"),
        os.path.realpath(tmp_path),
    ]


def test_no_rules_are_fine() -> None:
    assert normalise_rules([]) == ()


def test_a_file_may_be_a_target(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert resolved(tmp_path / "file") == os.path.realpath(tmp_path / "file")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("", "it is empty"),
        ("src", "relative"),
        ("./src", "relative"),
        ("~/src", "tilde"),
        ("/tmp/\0", "zero byte"),
        ("/tmp/\udcff", "not UTF-8"),
        ("/", "whole machine"),
        ("/tmp/..", "whole machine"),
        ("/proc", "the kernel's"),
        ("/proc/self/fd", "the kernel's"),
        ("/sys", "the kernel's"),
        ("/dev/", "the kernel's"),
        ("/" + "n" * 300, "longer than the system takes"),
        ("/dev/null/x", "a file, not a directory"),
    ],
)
def test_a_target_that_cannot_be_one_is_refused_with_the_reason(target: str, why: str) -> None:
    assert why in refused(target).message


def test_a_missing_target_is_refused_with_what_is_there(tmp_path: Path) -> None:
    error = refused(f"{tmp_path}/gone/deeper")
    assert error.data["target"] == f"{tmp_path}/gone/deeper"
    assert error.data["hint"] == f"make it first; {tmp_path} is there"


def test_a_circle_of_symlinks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "go in a circle" in refused(f"{tmp_path}/a").message


def test_a_link_to_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(odd)
    os.symlink(odd, os.fsencode(tmp_path) + b"/link")
    assert "leads to a path that is not UTF-8" in refused(f"{tmp_path}/link").message


def test_other_refusals_of_the_system_are_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def realpath(path: str, *, strict: bool = False) -> str:
        raise OSError(failing, os.strerror(failing))

    monkeypatch.setattr(os.path, "realpath", realpath)
    failing = 13
    assert "may not be searched" in refused(str(tmp_path)).message
    failing = 5
    assert "Input/output error" in refused(str(tmp_path)).message


def test_reading_everything_may_be_asked_for() -> None:
    rule = ScopeRule(target="/", permission="read")
    assert normalise_rules([rule]) == (rule,)


def test_what_is_the_kernels_may_be_read_denied_and_named_by_its_parts() -> None:
    for target in ("/proc", "/dev", "/sys"):
        rule = ScopeRule(target=target, permission="read")
        assert normalise_rules([rule]) == (rule,)
        assert normalise_rules([write(target)], what="deny") == (write(target),)
    assert resolved("/dev/null") == "/dev/null"


@pytest.mark.parametrize("target", ["state", "state/pods", ".", "link"])
@pytest.mark.parametrize("permission", ["read", "write"])
def test_pods_own_directories_are_nobodys_scope(
    tmp_path: Path, target: str, permission: Permission
) -> None:
    (tmp_path / "state/pods").mkdir(parents=True)
    (tmp_path / "beside").mkdir()
    (tmp_path / "link").symlink_to("state")
    roots = [f"{tmp_path}/link"]
    with pytest.raises(InvalidScope, match="keeps its own state"):
        normalise_rules(
            [ScopeRule(target=f"{tmp_path}/{target}", permission=permission)], forbidden_roots=roots
        )
    normalise_rules([write(tmp_path / "beside")], forbidden_roots=roots)


def test_the_message_names_what_the_rules_are_for_and_cuts_long_targets() -> None:
    with pytest.raises(InvalidScope, match=r"^cannot deny a pod 'xxx") as error:
        normalise_rules([write("x" * 1000)], what="deny")
    assert len(error.value.message) < 400
    with pytest.raises(InvalidScope, match=r"^cannot let a pod write '/not/there': it does not"):
        normalise_rules([write("/not/there")], what="allow")


def test_there_is_a_bound_on_rules() -> None:
    with pytest.raises(InvalidScope, match=f"{MAX_RULES} is the most"):
        normalise_rules([write("/tmp")] * (MAX_RULES + 1))


links = st.dictionaries(
    st.sampled_from(["a", "b", "a/c", "b/c", "d"]),
    st.sampled_from(["dir", "link a", "link ../a", "link b", "link ..", "link d/../b", "link /"]),
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(links, st.lists(st.sampled_from(["a", "b", "c", "d", "..", "."]), max_size=4))
@example({"a": "dir", "b": "link a", "a/c": "link a", "b/c": "link a"}, [])
@example({"a": "dir", "b": "link a", "a/c": "link a", "b/c": "dir"}, ["b", "c"])
def test_what_comes_out_is_the_same_place_written_canonically(
    tree: dict[str, str], steps: list[str]
) -> None:
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as top:
        for name, kind in sorted(tree.items()):
            path = Path(top, name)
            inside = os.path.realpath(path.parent).startswith(os.path.realpath(top))
            # Through a link it may be there already, as a dangling link too, or lie outside.
            if not inside or not path.parent.is_dir() or os.path.lexists(path):
                continue
            if kind == "dir":
                path.mkdir()
            else:
                path.symlink_to(kind.removeprefix("link "))
        target = "/".join([top, *steps])
        try:
            found = normalise_rules([ScopeRule(target=target, permission="read")])[0].target
        except InvalidScope:
            assert not os.path.exists(target)
            return
        assert os.path.samefile(found, target)
        assert found == os.path.realpath(found)
