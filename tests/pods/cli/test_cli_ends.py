"""`pods stop`, `rm`, `prune` and `down`: what ends, what is said of it, how it exits."""

from __future__ import annotations

import json

from cli_support import Cli, listed
from client_support import Json, Peer, World, always, pod_info, stop_result
from pods_protocol.errors import PodRunning, UnknownPod


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


def test_down_ends_the_supervisor(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["shutdown"] = always({"stopped": ["api"]})
    assert pods("down", "--stop-pods") == (0, "the supervisor has ended, with api\n", "")
    assert fake.supervisor.params_of("shutdown") == [{"stop_pods": True, "grace_seconds": 5.0}]
    assert json.loads(pods("down", "--json")[1]) == {"stopped": ["api"]}
    fake.supervisor.answers["shutdown"] = always(PodRunning("cannot end: pods live"))
    assert pods("down")[0] == 5
