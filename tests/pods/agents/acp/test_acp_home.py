"""What a vendor's agent gets of the machine: its program, what that needs, its home, its logins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pods.agents.acp import home as home_module
from pods.agents.acp.home import Guest, guest_of
from pods.agents.acp.program import find, places_of
from pods.agents.acp.table import KNOWN
from pods.agents.kinds import ACP_KINDS, BUILT_IN, GENERIC


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A user's home with Codex logged in and its program below npm's."""
    user = tmp_path / "user"
    executable(user / "npm/node_modules/codex/run.js", "#!/usr/bin/env -S node --x\n")
    (user / "npm/node_modules/.bin").mkdir()
    (user / "npm/node_modules/.bin/codex-acp").symlink_to("../codex/run.js")
    executable(user / "node/bin/node")
    (user / "node/lib").mkdir()
    (user / ".codex").mkdir()
    (user / ".codex/auth.json").write_text("login")
    (user / ".gitconfig").write_text("[user]\n")
    return user


def guest(user: Path, state: Path, *, kind: str = "codex", by_pod: bool = False,
          argv: list[str] | None = None, variables: bool = False) -> Guest:  # fmt: skip
    path = f"{user}/npm/node_modules/.bin:{user}/node/bin:/usr/bin:/bin"
    return guest_of(
        kind,
        {} if argv is None else {"argv": argv},
        state_directory=str(state),
        environ={"HOME": str(user), "PATH": path},
        asked_by_pod=by_pod,
        variables_given=variables,
    )


def test_the_kinds_are_those_of_the_table() -> None:
    assert {*KNOWN, GENERIC} == ACP_KINDS
    assert set(BUILT_IN) > ACP_KINDS
    for known in KNOWN.values():
        assert known.command
        assert known.install
        assert known.login
        assert not any(os.path.isabs(path) or ".." in path for path in known.logins)


def test_a_program_brings_what_it_links_to_what_runs_it_and_its_packages(user: Path) -> None:
    path = f"{user}/node/bin:/usr/bin"
    places = places_of(f"{user}/npm/node_modules/.bin/codex-acp", path)
    assert f"{user}/npm/node_modules" in places
    assert f"{user}/node/bin/node" in places
    assert f"{user}/node/lib" in places
    assert str(user) not in places
    assert find("node", path) == f"{user}/node/bin/node"
    assert find("nothing", path) is None
    assert places_of(f"{user}/nothing", path) == ()


def test_a_path_with_places_that_depend_on_where_one_stands_finds_nothing_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(tmp_path / "codex-acp")
    executable(tmp_path / "bin/codex-acp")
    monkeypatch.chdir(tmp_path)
    for path in ("", ":", ".:", f":bin:{tmp_path}/none", "::"):
        assert find("codex-acp", path) is None, path
    assert find("codex-acp", f":.:{tmp_path}/bin:") == f"{tmp_path}/bin/codex-acp"
    assert find("./codex-acp", "") == f"{tmp_path}/codex-acp"


def test_a_link_that_goes_round_and_a_script_of_nothing_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert places_of(f"{tmp_path}/a", "") == ()
    for line in ("#!\n", "#!/usr/bin/env\n", "#!/usr/bin/env no-such-program\n"):
        script = executable(tmp_path / "script", line)
        assert places_of(str(script), "") == (str(script),)


def test_a_guest_gets_a_home_with_copies_and_variables_that_point_there(
    user: Path, tmp_path: Path
) -> None:
    own = guest(user, tmp_path / "state")
    assert own.home == f"{tmp_path}/state/agent/home"
    assert own.environment["HOME"] == own.home
    assert own.environment["CODEX_HOME"] == f"{own.home}/.codex"
    assert own.environment["GIT_CONFIG_GLOBAL"] == f"{user}/.gitconfig"
    own.move_in()
    copy = Path(own.home, ".codex/auth.json")
    assert copy.read_text() == "login"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert any("a copy of" in words for words in own.said)


def test_a_copy_that_the_agent_renewed_stays_and_a_login_that_is_newer_comes(
    user: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    guest(user, state).move_in()
    copy = Path(guest(user, state).home, ".codex/auth.json")
    copy.write_text("renewed")
    guest(user, state).move_in()
    assert copy.read_text() == "renewed"
    (user / ".codex/auth.json").write_text("logged in again")
    later = copy.stat().st_mtime_ns + 10**9
    os.utime(user / ".codex/auth.json", ns=(later, later))
    guest(user, state).move_in()
    assert copy.read_text() == "logged in again"


def test_a_program_that_a_pod_names_gets_no_login_and_nothing_to_read(
    user: Path, tmp_path: Path
) -> None:
    secret = executable(user / "secret/bin/tool")
    own = guest(user, tmp_path, by_pod=True, argv=[str(secret)])
    assert (own.read, own.logins) == ((), ())
    assert guest(user, tmp_path, by_pod=True).logins, "what it only names is the user's own"
    assert guest(user, tmp_path, argv=[str(secret)]).logins, "and so is what a person names"
    assert guest(user, tmp_path, kind=GENERIC, argv=["node"]).logins == ()


def test_an_agent_that_gets_variables_from_a_pod_gets_no_login(user: Path, tmp_path: Path) -> None:
    """A PATH of the pod's choosing would run a program of its own with the user's login."""
    own = guest(user, tmp_path, by_pod=True, variables=True)
    assert own.logins == ()
    assert own.read, "its program is the one of the launcher's PATH"
    assert guest(user, tmp_path, variables=True).logins, "a person may give both"


def test_nothing_that_holds_the_home_and_no_odd_file_is_given(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(tmp_path / "bin/tool")
    (tmp_path / "lib").symlink_to(tmp_path)
    own = guest(user, tmp_path, argv=[f"{tmp_path}/bin/tool"])
    assert f"{tmp_path}/bin" in own.read
    assert f"{tmp_path}/lib" not in own.read
    os.mkfifo(user / ".codex/config.toml")
    assert [login.path for login in own.logins] == [".codex/auth.json"]
    monkeypatch.setattr(home_module, "MAX_LOGIN_BYTES", 2)
    assert guest(user, tmp_path).logins == ()
