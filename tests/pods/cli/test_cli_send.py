"""`pods send`, and what else may become of a message: `withdraw`, `pause`, `resume`."""

from __future__ import annotations

import io
import json

import pytest

from cli_support import BAD_TURN, GOOD_TURN, Cli, turn
from client_support import HangUp, Json, Peer, World, always, event, pod_status, read_page
from pods_protocol.errors import AlreadyRunning, PodEnded, PodPaused, UnknownMessage, UnknownPod


def test_send_says_what_became_of_the_message(fake: World, pods: Cli) -> None:
    turn(fake)
    assert pods("send", "api", "ls") == (0, "api: turn 1 started\n", "")
    assert fake.pod.params_of("run") == [{"input": "ls", "if_busy": "fail"}]
    turn(fake, started=False)
    assert pods("send", "api", "ls", "--if-busy", "queue") == (
        0,
        "api: queued at position 1; `pods withdraw api m1` takes it back\n",
        "",
    )
    assert fake.pod.params_of("run")[1]["if_busy"] == "queue"


def test_send_as_json_is_the_answer(fake: World, pods: Cli) -> None:
    turn(fake)
    code, out, _ = pods("send", "api", "ls", "--json")
    assert code == 0
    assert json.loads(out)["message_id"] == "m1"


def test_a_busy_pod_refuses_with_exit_one(fake: World, pods: Cli) -> None:
    fake.pod.answers["run"] = always(
        AlreadyRunning("cannot send to api: it is already running turn 3; wait", turn=3)
    )
    code, out, err = pods("send", "api", "ls")
    assert (code, out) == (1, "")
    assert "already running" in err


def test_an_error_under_json_is_json_on_standard_error(fake: World, pods: Cli) -> None:
    fake.pod.answers["run"] = always(AlreadyRunning("cannot send to api: busy", turn=3))
    code, out, err = pods("send", "api", "ls", "--json")
    assert (code, out) == (1, "")
    assert json.loads(err)["error"] == {
        "code": -32009,
        "message": "cannot send to api: busy",
        "data": {"turn": 3, "code": "already_running", "retryable": True},
    }


def test_send_to_an_unknown_pod_exits_four(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["connect"] = always(UnknownPod("cannot find the pod api: no such"))
    assert pods("send", "api", "ls")[0] == 4


def test_send_and_wait_streams_the_output(fake: World, pods: Cli) -> None:
    turn(fake, *GOOD_TURN)
    assert pods("send", "api", "ls", "--wait") == (0, "hello world\n", "")
    assert fake.pod.params_of("subscribe") == [{"since": 4, "kinds": []}]


def test_a_turn_that_does_not_end_well_exits_one_and_says_how(fake: World, pods: Cli) -> None:
    turn(fake, *BAD_TURN)
    code, out, err = pods("send", "api", "ls", "--wait")
    assert (code, out) == (1, "")
    assert "error (exit status 2): make failed" in err


def test_a_timeout_without_a_wait_is_refused_before_anything_is_sent(
    fake: World, pods: Cli
) -> None:
    code, out, err = pods("send", "api", "ls", "--timeout", "5")
    assert (code, out) == (2, "")
    assert "--timeout is for --wait; add --wait" in err
    assert fake.pod.params_of("run") == []


def test_an_exit_status_is_told_once(fake: World, pods: Cli) -> None:
    ended = event(
        6, "turn_ended", stop_reason="error", exit_status=7, message="exit status 7", seconds=0.1
    )
    turn(fake, ended)
    assert "ended: error: exit status 7\n" in pods("send", "api", "ls", "--wait")[2]


def test_a_queued_message_is_followed_to_its_own_turn(fake: World, pods: Cli) -> None:
    turn(
        fake,
        event(5, "text_delta", text="another turn's"),
        event(6, "turn_ended", stop_reason="error"),
        event(7, "turn_started", turn=2, message_id="m1"),
        event(8, "text_delta", turn=2, text="mine\n"),
        event(9, "turn_ended", turn=2, stop_reason="end_turn"),
        started=False,
    )
    assert pods("send", "api", "ls", "--wait", "--if-busy", "queue") == (0, "mine\n", "")


def test_a_message_that_was_withdrawn_ends_the_wait(fake: World, pods: Cli) -> None:
    turn(fake, event(5, "message_withdrawn", message_id="m1", reason="withdrawn"), started=False)
    code, _, err = pods("send", "api", "ls", "--wait")
    assert code == 1
    assert "withdrawn before the message had its turn" in err


def test_a_message_that_its_pod_never_got_to_fails_and_says_so(fake: World, pods: Cli) -> None:
    turn(
        fake,
        event(5, "message_withdrawn", turn=None, message_id="m1", reason="undelivered"),
        started=False,
    )
    code, _, err = pods("send", "api", "ls", "--wait")
    assert code == 1
    assert "undelivered, the pod ended before the message had its turn" in err
    document = json.loads(pods("send", "api", "ls", "--wait", "--json")[1])
    assert (document["stop_reason"], document["turn"]) == ("undelivered", None)


def test_a_queued_message_is_withdrawn_by_its_id(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["withdraw"] = always({})
    assert pods("withdraw", "api", "m1") == (0, "api: message m1 withdrawn\n", "")
    assert fake.supervisor.params_of("withdraw") == [{"pod": "api", "message_id": "m1"}]
    unknown = UnknownMessage("cannot withdraw message 'm1': its turn has begun")
    fake.supervisor.answers["withdraw"] = always(unknown)
    assert pods("withdraw", "api", "m1")[0] == 1


def test_a_message_to_a_paused_pod_is_queued_where_that_was_asked(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["connect"] = always(PodPaused("cannot connect to pod api: paused"))
    answer = {"message_id": "m1", "state": "queued", "turn": None, "position": 2}
    fake.supervisor.answers["send"] = always(answer)
    code, out, _ = pods("send", "api", "ls", "--if-busy", "queue", "--message-id", "m1")
    assert (code, out.startswith("api: queued at position 2")) == (0, True)
    assert fake.supervisor.params_of("send") == [
        {"pod": "api", "input": "ls", "if_busy": "queue", "message_id": "m1"}
    ]
    fake.supervisor.answers["send"] = always(PodPaused("cannot send to pod api: resume it"))
    code, _, err = pods("send", "api", "ls")
    assert (code, "resume it" in err) == (1, True)


def test_pods_are_paused_and_resumed(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["pause"] = always({"pod": "api", "state": "paused", "how": "tree"})
    fake.supervisor.answers["resume"] = always({"pod": "api", "state": "working"})
    code, out, _ = pods("pause", "api")
    assert (code, "all its processes are stopped" in out) == (0, True)
    assert pods("resume", "api") == (0, "api goes on (working)\n", "")
    assert json.loads(pods("resume", "api", "--json")[1])["resumed"][0]["state"] == "working"


def test_send_and_wait_as_json_is_one_document(fake: World, pods: Cli) -> None:
    turn(fake, *GOOD_TURN)
    code, out, _ = pods("send", "api", "ls", "--wait", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["text"] == "hello world"
    assert answer["stop_reason"] == "end_turn"
    assert answer["turn"] == 1


def test_a_question_in_a_turn_is_shown_beside_the_output(fake: World, pods: Cli) -> None:
    turn(
        fake,
        event(5, "question", question_id="q", prompt="go on?", options=[], default=None),
        *GOOD_TURN[1:],
    )
    _, out, err = pods("send", "api", "ls", "--wait")
    assert out == "hello world\n"
    assert "api asks: go on?" in err


def test_a_wait_that_takes_too_long_exits_three_and_the_pod_goes_on(fake: World, pods: Cli) -> None:
    turn(fake, GOOD_TURN[0])
    code, _, err = pods("send", "api", "ls", "--wait", "--timeout", "0.05")
    assert code == 3
    assert "goes on" in err


def test_the_output_of_a_pod_that_died_comes_from_its_journal(fake: World, pods: Cli) -> None:
    turn(fake, *GOOD_TURN[:2])
    play = fake.pod.answers["after subscribe"]

    def die(peer: Peer, params: Json) -> None:
        play(peer, params)
        raise HangUp

    fake.pod.answers["after subscribe"] = die
    fake.supervisor.answers["wait"] = always({"ready": [], "pending": [], "timed_out": False})
    fake.supervisor.answers["read"] = always(
        read_page([event(7, "turn_ended", stop_reason="lost", message="killed")])
    )
    code, out, err = pods("send", "api", "ls", "--wait")
    assert (code, out) == (1, "hello \n")
    assert "lost: killed" in err
    assert fake.supervisor.params_of("read")[0]["since"] == 6


def test_ctrl_c_in_a_wait_leaves_the_pod_running_and_says_so(
    fake: World, pods: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_args: object, **_named: object) -> None:
        raise KeyboardInterrupt

    turn(fake, *GOOD_TURN)
    monkeypatch.setattr("pods.cli.turn_output.follow_turn", interrupt)
    code, _, err = pods("send", "api", "ls", "--wait")
    assert code == 130
    assert "api goes on" in err


def test_a_message_over_the_line_cap_is_a_usage_error(
    fake: World, pods: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("x" * (1024 * 1024 + 1)))
    code, _, err = pods("send", "api", "-")
    assert code == 2
    assert "a line takes 1048576" in err


def test_sending_to_an_ended_pod_says_so(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["connect"] = always(PodEnded("cannot send to api: it has ended"))
    assert pods("send", "api", "x") == (1, "", "pods: cannot send to api: it has ended\n")


def test_status_is_asked_only_for_a_wait(fake: World, pods: Cli) -> None:
    fake.pod.answers["status"] = always(pod_status(last_seq=9))
    turn(fake)
    pods("send", "api", "x")
    assert fake.pod.params_of("status") == []
