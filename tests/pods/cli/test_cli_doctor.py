"""`pods doctor`: what it says of a supervisor, of none, and of a wrong configuration."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from cli_support import Cli
from client_support import Json, World, always
from pods_protocol.errors import TimedOut

ENFORCED = {"backend": "landlock", "summary": "landlock 4", "gaps": ["a"], "reason": "old kernel"}


def doctor_answer(*problems: Json) -> Json:
    return {
        "supervisor": {
            "pid": 7,
            "version": "0.1.0",
            "socket": "/s",
            "name": "default",
            "started": 1.0,
            "launcher_pid": 8,
            "runtime_directory": "/r",
            "state_directory": "/st",
        },
        "pods": {"idle": 2},
        "scopes": 2,
        "enforcement": ENFORCED,
        "doors": {"network=none": "", "unix_sockets=none": "no table"},
        "settings": {
            "file": "/c/config.toml",
            "max_depth": 3,
            "max_children": 8,
            "max_pods": 1000,
            "max_queue_length": 50,
            "longest_wait_seconds": 3600.0,
            "journal_max_bytes": None,
            "journal_max_age_seconds": 60.0,
            "keep_ended_seconds": None,
        },
        "problems": list(problems),
    }


def test_doctor_without_problems_exits_zero(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["doctor"] = always(doctor_answer())
    code, out, _ = pods("doctor")
    assert code == 0
    assert "pid 7" in out
    assert "2 idle" in out
    assert "not enforced: a" in out
    assert "because old kernel" in out
    assert "--network none: can be had" in out
    assert "--unix-sockets none: cannot be had: no table" in out
    assert "problems     none" in out
    assert "depth 3, children 8, total 1000, queue 50, wait 3600 s" in out
    assert "journals keep 60 s; ended pods are kept until they are removed" in out


def test_doctor_says_what_keeps_limits_on_memory(fake: World, pods: Cli) -> None:
    for fields, said in (
        ({"cgroup": "/lent/home", "no_cgroup": ""}, "kept by cgroups in /lent/home"),
        ({"cgroup": "", "no_cgroup": "nobody lent one"}, "polled, since nobody lent one"),
    ):
        fake.supervisor.answers["doctor"] = always({**doctor_answer(), **fields})
        assert f"limits       memory and processes: {said}" in pods("doctor")[1]


def test_doctor_with_problems_says_what_to_do_and_exits_one(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["doctor"] = always(
        doctor_answer({"code": "c", "message": "disk full", "fix": "free some", "fixed": False})
    )
    code, out, _ = pods("doctor")
    assert code == 1
    assert "disk full" in out
    assert "free some" in out
    code, out, _ = pods("doctor", "--json")
    assert (code, len(json.loads(out)["problems"])) == (1, 1)


def test_doctor_says_so_when_no_supervisor_runs(nobody: dict[str, Any], pods: Cli) -> None:
    code, out, _ = pods("doctor")
    assert code == 0
    assert "none runs" in out
    assert json.loads(pods("doctor", "--json")[1]) == {
        "supervisor": None,
        "pods": {},
        "scopes": 0,
        "enforcement": None,
        "doors": {},
        "settings": None,
        "cgroup": "",
        "no_cgroup": "",
        "problems": [],
    }
    assert not os.path.exists(nobody["PODS_RUNTIME_DIR"])


def test_doctor_does_not_say_that_none_runs_where_one_is_silent(
    fake: World, pods: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = {"code": "supervisor_silent", "message": "it hangs", "fix": "kill it", "fixed": False}

    def check_up(*_args: object, **_named: object) -> list[Json]:
        return [silent]

    monkeypatch.setattr("pods.cli.doctor._check_up", check_up)
    fake.supervisor.answers["doctor"] = always(TimedOut("no answer", timeout_seconds=2.0))
    code, out, _ = pods("doctor")
    assert code == 1
    assert "none runs" not in out
    assert "lives and does not answer" in out
    assert "it hangs" in out


def test_a_wrong_configuration_is_a_usage_error_and_starts_nothing(
    nobody: dict[str, Any], short_dir: str, monkeypatch: pytest.MonkeyPatch, pods: Cli
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", f"{short_dir}/c")
    os.makedirs(f"{short_dir}/c/pods")
    with open(f"{short_dir}/c/pods/config.toml", "w") as file:
        file.write("[bounds]\ndepht = 2\n")
    code, _, err = pods("spawn", "api")
    assert code == 2
    assert "did you mean `depth`" in err
    assert not os.path.exists(nobody["PODS_RUNTIME_DIR"])
    code, out, _ = pods("doctor", "--json")
    assert code == 1
    (problem,) = json.loads(out)["problems"]
    assert (problem["code"], problem["fixed"]) == ("invalid_config", False)


def test_doctor_mends_when_asked_and_exits_by_what_remains(fake: World, pods: Cli) -> None:
    mended = {"code": "c", "message": "it was stale", "fix": "removed it", "fixed": True}
    fake.supervisor.answers["doctor"] = always(doctor_answer(mended))
    code, out, _ = pods("doctor", "--fix")
    assert code == 0
    assert "mended       it was stale\n             removed it" in out
    assert fake.supervisor.params_of("doctor") == [{"fix": True}]
