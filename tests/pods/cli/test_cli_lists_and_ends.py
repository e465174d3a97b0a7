"""The verbs that list, end and remove, with a supervisor and without one."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from cli_support import Cli
from client_support import Json, Peer, World, always, capacity, pod_info, stop_result
from pods.cli.tree import tree_lines
from pods_protocol.errors import PodRunning, TimedOut, UnknownPod

ENFORCED = {"backend": "landlock", "summary": "landlock 4", "gaps": ["a"], "reason": "old kernel"}


def listed(fake: World, *pods: Json) -> Json:
    answer = {"pods": list(pods), "capacity": capacity()}
    fake.supervisor.answers["list"] = always(answer)
    return answer


def test_ls_is_a_table(fake: World, pods: Cli) -> None:
    two = [{"target": f"/src/{n}", "permission": "write", "recursive": True} for n in "ab"]
    listed(
        fake,
        pod_info(state="working", turn=3, queue_length=2, unread=5),
        pod_info(
            "kid\x1b",
            parent="api",
            last_turn={"turn": 1, "stop_reason": "end_turn"},
            scope={"allow": two, "deny": [], "delegable": []},
            memory_bytes=None,
        ),
    )
    code, out, err = pods("ls")
    header, api, kid = out.splitlines()
    assert (code, err) == (0, "")
    assert header.split() == [
        *("NAME", "STATE", "TURN", "QUEUE", "UNREAD", "PARENT", "AGENT", "WRITE", "AGE", "RSS"),
    ]
    assert api.split()[:8] == ["api", "working", "3", "2", "5", "-", "shell", "/src/api"]
    assert api.split()[9] == "5.2M"
    assert "1 end_turn" in kid
    assert "/src/a +1" in kid
    assert "\x1b" not in out
    assert fake.supervisor.params_of("list") == [{"ended": False, "reader": "cli"}]


def test_ls_in_its_other_forms(fake: World, pods: Cli) -> None:
    answer = listed(fake, pod_info(), pod_info("web"))
    assert pods("ls", "-q") == (0, "api\nweb\n", "")
    assert json.loads(pods("ls", "--json")[1]) == answer
    pods("ls", "-a")
    assert fake.supervisor.params_of("list")[2]["ended"] is True


def test_ls_tells_that_its_memory_is_counted_with_what_pods_share(pods: Cli) -> None:
    code, out, _ = pods("ls", "--help")
    assert code == 0
    assert "most of an idle pod's is shared with all other pods" in " ".join(out.lower().split())


def test_ls_says_where_nothing_enforces(fake: World, pods: Cli) -> None:
    off: Json = {"backend": "none", "summary": "none", "gaps": [], "reason": "no Landlock"}
    listed(fake, pod_info(enforcement=off))
    assert "enforcement: none (no Landlock)" in pods("ls")[2]


def test_without_a_supervisor_nothing_is_listed_and_nothing_is_started(
    nobody: dict[str, Any], pods: Cli
) -> None:
    assert pods("ls")[:2] == (0, "")
    assert pods("ls", "-q") == (0, "", "")
    assert json.loads(pods("ls", "--json")[1]) == {"pods": [], "capacity": None}
    assert pods("tree")[:2] == (0, "")
    assert pods("scope", "show")[:2] == (0, "")
    assert pods("prune")[:2] == (0, "")
    assert pods("stop", "--all")[:2] == (0, "")
    assert pods("rm", "--all-ended")[:2] == (0, "")
    assert pods("down")[:2] == (0, "")
    assert json.loads(pods("down", "--json")[1]) == {"stopped": []}
    assert not os.path.exists(nobody["PODS_RUNTIME_DIR"])


@pytest.mark.parametrize(
    "words",
    [
        ("read", "api"),
        ("send", "api", "x"),
        ("logs", "api"),
        ("attach", "api"),
        ("wait", "api"),
        ("stop", "api"),
        ("rm", "api"),
        ("inspect", "api"),
        ("scope", "show", "api"),
    ],
)
def test_without_a_supervisor_a_named_pod_is_unknown(
    nobody: dict[str, Any], pods: Cli, words: tuple[str, ...]
) -> None:
    code, out, err = pods(*words)
    assert (code, out) == (4, "")
    assert "cannot find the pod 'api'" in err
    assert "no journal of a pod is kept" in err
    assert not os.path.exists(nobody["PODS_RUNTIME_DIR"])


@pytest.mark.parametrize(
    "words",
    [
        ("read", "a/b"),
        ("send", "", "x"),
        ("stop", "x" * 300),
        ("stop",),
        ("rm",),
        ("rm", "a", "b/c"),
        ("stop", "a", "--grace", "-3"),
        ("stop", "a", "--grace", "601"),
        ("stop", "a", "--finish", "--kill"),
        ("read", "a", "--since", "-1"),
        ("logs", "a", "--tail", "x"),
        ("prune", "--older-than", "soon"),
        ("prune", "--older-than", "-5d"),
        ("audit", "--since", "-5m"),
        ("scope", "check"),
        ("scope",),
        ("wait",),
        ("ls", "--", "x"),
        ("nonsense",),
        (),
        ("--supervisor", "a/b", "ls"),
        ("ls", "--supervisor", ""),
    ],
)
def test_wrong_words_are_usage_errors(
    nobody: dict[str, Any], pods: Cli, words: tuple[str, ...]
) -> None:
    code, out, err = pods(*words)
    assert (code, out) == (2, "")
    assert err
    assert "Traceback" not in err
    assert not os.path.exists(nobody["PODS_RUNTIME_DIR"])


def test_a_duration_below_zero_is_said_to_be_none(nobody: dict[str, Any], pods: Cli) -> None:
    for words in (("audit", "--since"), ("prune", "--older-than")):
        assert "'-5m' is no duration: write 90s, 5m, 2h or 7d" in pods(*words, "-5m")[2]


def test_tree_puts_children_below_their_parents() -> None:
    root = pod_info("root")
    kids = [pod_info(name, parent="root", parent_id=root["id"]) for name in ("a", "b")]
    grandchild = pod_info("c", parent="a", parent_id=kids[0]["id"], state="working")
    orphan = pod_info("o", parent="gone", parent_id="gone")
    assert tree_lines([root, *kids, grandchild, orphan]) == [
        "root  idle  /src/root",
        "├─ a  idle  /src/a",
        "│  └─ c  working  /src/c",
        "└─ b  idle  /src/b",
        "o  idle  /src/o",
    ]


def test_tree_is_printed_and_comes_as_json(fake: World, pods: Cli) -> None:
    answer = listed(fake, pod_info())
    assert pods("tree") == (0, "api  idle  /src/api\n", "")
    assert json.loads(pods("tree", "--json")[1]) == answer


def test_stop_says_which_step_worked_and_what_is_free_again(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["stop"] = always(
        stop_result(stopped_descendants=["kid"], step="terminate")
    )
    code, out, _ = pods("stop", "api", "--kill", "--grace", "2")
    assert code == 0
    assert out == "api stopped (terminate, 0.1 s), with kid; free again: write /src/api\n"
    (asked,) = fake.supervisor.params_of("stop")
    assert asked.pop("message_id"), "so that it may be asked again"
    assert asked == {"pod": "api", "mode": "kill", "grace_seconds": 2.0}


def test_stopping_an_ended_pod_is_no_error(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["stop"] = always(
        stop_result(step="already_ended", previous_state="failed")
    )
    assert pods("stop", "api", "--finish") == (0, "api had ended (failed)\n", "")


def stop_unless_x(_peer: Peer, params: Json) -> Json:
    if params["pod"] == "x":
        raise UnknownPod("cannot stop x: no such pod", pod="x")
    return stop_result(params["pod"])


def test_one_of_several_that_cannot_be_stopped_does_not_hold_up_the_others(
    fake: World, pods: Cli
) -> None:
    fake.supervisor.answers["stop"] = stop_unless_x
    code, out, err = pods("stop", "api", "x", "web")
    assert code == 4
    assert [line.split()[0] for line in out.splitlines()] == ["api", "web"]
    assert err == "pods: cannot stop x: no such pod\n"
    code, out, err = pods("stop", "api", "x", "--json")
    answer = json.loads(out)
    assert (code, err) == (4, "")
    assert [one["pod"] for one in answer["stopped"]] == ["api"]
    assert answer["errors"][0]["data"]["code"] == "unknown_pod"


def test_stop_all_stops_what_runs(fake: World, pods: Cli) -> None:
    listed(fake, pod_info(), pod_info("web"))
    fake.supervisor.answers["stop"] = stop_unless_x
    assert pods("stop", "--all")[0] == 0
    assert [one["pod"] for one in fake.supervisor.params_of("stop")] == ["api", "web"]


def test_rm_removes_and_a_running_pod_refuses(fake: World, pods: Cli) -> None:
    def remove(_peer: Peer, params: Json) -> Json:
        if params["pod"] == "web":
            raise PodRunning("cannot remove web: it runs; stop it first")
        return {"pod": params["pod"], "id": "i"}

    fake.supervisor.answers["remove"] = remove
    code, out, err = pods("rm", "api", "web")
    assert (code, out) == (5, "api removed\n")
    assert "stop it first" in err


def test_rm_with_force_stops_first_and_all_ended_takes_ids(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["stop"] = stop_unless_x
    fake.supervisor.answers["remove"] = lambda _peer, params: {"pod": params["pod"], "id": "i"}
    assert pods("rm", "api", "x", "--force")[0] == 4
    assert [one["pod"] for one in fake.supervisor.params_of("remove")] == ["api"]
    listed(fake, pod_info("old", ended=5.0, state="stopped"), pod_info("new"))
    code, out, _ = pods("rm", "--all-ended", "--json")
    assert code == 0
    assert json.loads(out) == {"removed": [{"pod": "idold0000000", "id": "i"}], "errors": []}


def test_prune_only_reports_unless_forced(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["prune"] = always(
        {"removed": [], "would_remove": ["a"], "uncertain": ["b"]}
    )
    code, out, err = pods("prune", "--older-than", "2h")
    assert (code, out) == (0, "a would be removed\n")
    assert "b cannot be judged" in err
    assert "add --force" in err
    assert fake.supervisor.params_of("prune") == [{"older_than_seconds": 7200.0, "force": False}]
    fake.supervisor.answers["prune"] = always(
        {"removed": ["a"], "would_remove": [], "uncertain": []}
    )
    assert pods("prune", "--force", "--older-than", "90") == (0, "a removed\n", "")
    assert json.loads(pods("prune", "--json")[1])["removed"] == ["a"]


def test_inspect_shows_every_fact(fake: World, pods: Cli) -> None:
    answer = {
        "pod": pod_info(description="two\nlines"),
        "socket": "/s",
        "directory": "/d",
        "keeper_pid": 1,
        "queue": [
            {
                "message_id": "m1",
                "input": "next\nline",
                "position": 1,
                "sender": "pod lead",
                "accepted": 0.0,
            },
        ],
        "notes": [],
        "undelivered": [
            {"message_id": "m0", "input": "late", "sender": "", "accepted": 1.0, "given_up": 2.0},
        ],
        "questions": [],
        "options": {},
        "limits": {"turn_seconds": None},
        "python": None,
    }
    fake.supervisor.answers["inspect"] = always(answer)
    code, out, _ = pods("inspect", "api")
    facts = dict(line.split(None, 1) for line in out.splitlines())
    assert code == 0
    assert facts["description"] == "two lines"
    assert facts["queue"] == "1. m1 from pod lead: 'next\\nline'"
    assert facts["notes"] == "-"
    assert facts["undelivered"].startswith("m0, ")
    assert facts["undelivered"].endswith(" ago: 'late'")
    assert facts["python"] == "-"
    assert json.loads(pods("inspect", "api", "--json")[1]) == answer


def test_scope_show_says_who_holds_what(fake: World, pods: Cli) -> None:
    rule = {"target": "/src", "permission": "write", "recursive": False}
    holder = {
        "pod": "api",
        "id": "i",
        "supervisor": "default",
        "parent_id": None,
        "grant": {"allow": [rule], "deny": [rule], "delegable": []},
        "effective_write": [],
        "lent": [rule],
        "pending": True,
    }
    fake.supervisor.answers["scope.show"] = always({"holders": [holder]})
    code, out, _ = pods("scope", "show", "api")
    assert code == 0
    assert out.splitlines() == [
        "api (pending)",
        "  write /src (flat)",
        "  not write /src (flat)",
        "  lent: write /src (flat)",
    ]
    assert json.loads(pods("scope", "show", "--json")[1]) == {"holders": [holder]}


def test_scope_check_exits_as_a_spawn_would(fake: World, pods: Cli) -> None:
    rule = {"target": "/src", "permission": "write", "recursive": True}
    granted = {
        "granted": True,
        "normalised": [rule],
        "code": None,
        "message": "",
        "owner": None,
    }
    fake.supervisor.answers["scope.check"] = always(granted)
    assert pods("scope", "check", "--write", "/src") == (0, "free: write /src\n", "")
    refused = {
        **granted,
        "granted": False,
        "code": "scope_conflict",
        "message": "cannot lend /src: web has it",
    }
    fake.supervisor.answers["scope.check"] = always(refused)
    assert pods("scope", "check", "--write", "/src") == (
        5,
        "",
        "pods: cannot lend /src: web has it\n",
    )
    code, out, _ = pods("scope", "check", "--write", "/src", "--json")
    assert (code, json.loads(out)) == (5, refused)
    fake.supervisor.answers["scope.check"] = always({**refused, "code": "invalid_scope"})
    assert pods("scope", "check", "--write", "/src")[0] == 2


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


def test_down_ends_the_supervisor(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["shutdown"] = always({"stopped": ["api"]})
    assert pods("down", "--stop-pods") == (0, "the supervisor has ended, with api\n", "")
    assert fake.supervisor.params_of("shutdown") == [{"stop_pods": True, "grace_seconds": 5.0}]
    assert json.loads(pods("down", "--json")[1]) == {"stopped": ["api"]}
    fake.supervisor.answers["shutdown"] = always(PodRunning("cannot end: pods live"))
    assert pods("down")[0] == 5
