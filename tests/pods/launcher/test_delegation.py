"""Where pods get cgroups of their own; and that a launcher goes without where it may make none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from pods.launcher import delegation
from pods.launcher.delegation import Delegation, home_name, take_delegation
from pods.paths import Places, SupervisorPlaces
from pods.pod import cgroup
from pods.pod.cgroup import Group, clear_group, empty_groups, make_group, remove_group
from pods.pod.life import example_spec
from pods_protocol.values import Limits, ScopeGrant, ScopeRule

LIMITS = Limits(memory_bytes=2**26, processes=9)


def saying(texts: dict[str, str]) -> Callable[[str], str]:
    """What reads these files, and no others."""
    return lambda path: texts.get(path, "")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def places(tmp_path: Path) -> SupervisorPlaces:
    found = Places(f"{tmp_path}/r", f"{tmp_path}/s", f"{tmp_path}/c").supervisor("one")
    os.makedirs(found.runtime)
    return found


def test_a_pod_without_limits_that_want_a_group_gets_none(tmp_path: Path, said: list[str]) -> None:
    spec = example_spec("/")
    assert Delegation(str(tmp_path), said.append).place(spec) is spec
    assert said == []


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("where", ["above", "beside", "/sys/fs/cgroup/one"])
def test_a_pod_that_may_write_to_its_group_or_another_one_gets_none(
    tmp_path: Path, said: list[str], where: str, written: bool
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    target = {"above": str(tmp_path), "beside": f"{tmp_path}/pods-own"}.get(where, where)
    scope = () if written else (ScopeRule(target=target, permission="write"),)
    spec = evolve(example_spec("/"), limits=LIMITS, grant=ScopeGrant(allow=scope))
    everywhere = (target,) if written else ()
    assert Delegation(str(home), said.append, everywhere).place(spec).cgroup == ""
    assert f"it may write to {target}" in said[0]
    assert list(home.iterdir()) == []


def test_where_the_kernel_refuses_a_pod_is_held_as_without_and_nothing_is_left(
    tmp_path: Path, said: list[str]
) -> None:
    spec = evolve(example_spec("/"), limits=LIMITS)  # no file of a group appears in this directory
    assert Delegation(str(tmp_path), said.append).place(spec).cgroup == ""
    assert "gets no cgroup" in said[0]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        make_group(str(tmp_path), "one", LIMITS)
    with pytest.raises(FileNotFoundError):
        Group(str(tmp_path / "none"), None)


def test_a_launcher_to_which_nothing_is_delegated_leaves_nothing_of_the_one_before(
    places: SupervisorPlaces, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delegation, "look", lambda: ("", "not here"))
    assert take_delegation(places, said.append) is None
    before = tmp_path / home_name(places)
    before.mkdir()
    Path(places.cgroup_note).write_text(str(before))
    assert take_delegation(places, said.append) is None
    assert not before.exists()
    assert not os.path.exists(places.cgroup_note)
    assert said == []


def test_a_group_that_cannot_be_divided_is_said_and_not_used(
    places: SupervisorPlaces, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delegation, "look", lambda: (str(tmp_path), ""))
    assert take_delegation(places, said.append) is None
    assert "was delegated and cannot be used" in said[0]
    assert not os.path.exists(places.cgroup_note)


def test_the_group_of_this_process_is_looked_for_and_a_reason_said_where_it_is_not_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory, reason = cgroup.look()
    assert bool(directory) != bool(reason)
    monkeypatch.setattr(cgroup, "read", saying({}))
    assert cgroup.look() == ("", "there is no cgroup v2 here")
    monkeypatch.setattr(cgroup, "read", saying({"/proc/self/cgroup": "0::/here"}))
    assert cgroup.look() == ("", "the cgroup of this process is mounted nowhere")


def test_groups_in_which_nothing_lives_are_found_and_removed(tmp_path: Path) -> None:
    for name, events in (("a", "populated 0\n"), ("b", "populated 1\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.events").write_text(events)
    assert empty_groups(str(tmp_path)) == ["a"]
    assert empty_groups(f"{tmp_path}/none") == []
    (tmp_path / "c").mkdir()
    assert clear_group(f"{tmp_path}/c")
    assert remove_group(f"{tmp_path}/c"), "gone is gone"
    assert not (tmp_path / "c").exists()
