"""Where everything lies, and that every socket of every supervisor can be bound."""

from __future__ import annotations

import os

import pytest

from pods.paths import (
    MAX_PLAIN_DIRECTORY_NAME,
    MAX_SOCKET_PATH_BYTES,
    Places,
    check_name,
    places_from,
)
from pods_protocol.bounds import MAX_NAME_LENGTH
from pods_protocol.errors import InvalidName, InvalidParams, PathTooLong

PLACES = Places(runtime="/run/p", state="/state", config="/config")
POD_ID = "0123456789ab"


def test_everything_of_a_pod_lies_below_its_supervisor() -> None:
    supervisor = PLACES.supervisor("main")
    runtime = supervisor.pod_runtime(POD_ID)
    assert runtime == f"{supervisor.runtime}/{POD_ID}"
    for path in (
        supervisor.pod_socket(POD_ID),
        supervisor.keeper_socket(POD_ID),
        supervisor.pod_token(POD_ID),
        supervisor.pod_tmp(POD_ID),
    ):
        assert os.path.dirname(path) == runtime


def test_a_long_name_becomes_a_short_directory_of_its_own() -> None:
    plain = "a" * MAX_PLAIN_DIRECTORY_NAME
    assert PLACES.supervisor(plain).directory_name == plain
    long, other = "a" * MAX_NAME_LENGTH, "a" * (MAX_NAME_LENGTH - 1)
    names = {PLACES.supervisor(name).directory_name for name in (long, other, plain)}
    assert len(names) == 3
    assert all(len(name) <= MAX_PLAIN_DIRECTORY_NAME for name in names)
    # No name begins with the underscore: a digest is nobody else's name.
    with pytest.raises(InvalidName):
        check_name(PLACES.supervisor(long).directory_name)


def test_a_runtime_directory_is_refused_when_its_pods_could_not_be_bound() -> None:
    rest = len(PLACES.supervisor("main").keeper_socket(POD_ID)) - len(PLACES.runtime)
    longest = "/" + "r" * (MAX_SOCKET_PATH_BYTES - rest - 1)
    Places(runtime=longest, state="/s", config="/c").supervisor("main").check_socket_paths()
    with pytest.raises(PathTooLong) as caught:
        Places(runtime=longest + "r", state="/s", config="/c").supervisor(
            "main"
        ).check_socket_paths()
    assert "PODS_RUNTIME_DIR" in caught.value.message


@pytest.mark.parametrize("name", ["", ".hidden", "-option", "a/b", "a b", "a\n", "a" * 65])
def test_a_name_that_could_not_stand_in_a_path_or_a_table_is_refused(name: str) -> None:
    with pytest.raises(InvalidName) as caught:
        check_name(name, "supervisor")
    assert "supervisor" in caught.value.message
    assert len(caught.value.message) < 250


@pytest.mark.parametrize("name", ["PODS_RUNTIME_DIR", "PODS_STATE_DIR"])
def test_a_relative_place_of_ours_is_refused_and_one_of_xdg_passed_over(name: str) -> None:
    with pytest.raises(InvalidParams, match=f"{name}='here'.*the whole path"):
        places_from({name: "here", "HOME": "/home/a"}, 7)
    xdg = dict.fromkeys(("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"), "here")
    assert places_from({**xdg, "HOME": "/home/a"}, 7) == places_from({"HOME": "/home/a"}, 7)


def test_slashes_too_many_make_no_other_place() -> None:
    # POSIX keeps two at the beginning apart from one, and `os.path.normpath` with it; Linux has no
    # such place, and a path that the kernel gives back would be another.
    plain = places_from({"PODS_RUNTIME_DIR": "/r", "PODS_STATE_DIR": "/s"}, 7)
    assert places_from({"PODS_RUNTIME_DIR": "//r/", "PODS_STATE_DIR": "//s//"}, 7) == plain
    shared = {"XDG_RUNTIME_DIR": "//run", "XDG_STATE_HOME": "//state", "HOME": "/home/a"}
    assert places_from(shared, 7).runtime == "/run/pods"
    assert places_from(shared, 7).state == "/state/pods"


def test_the_environment_chooses_the_places() -> None:
    chosen = places_from({"PODS_RUNTIME_DIR": "/r", "PODS_STATE_DIR": "/s"}, 7)
    assert (chosen.runtime, chosen.state) == ("/r", "/s")
    usual = places_from({"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/home/a"}, 7)
    assert usual.runtime.startswith("/run/user/7/")
    assert usual.state.startswith("/home/a/")
    bare = places_from({"HOME": "/home/a"}, 7)
    assert "7" in bare.runtime
