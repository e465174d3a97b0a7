"""`pods spawn` and `pods send`: what is asked, what is said, how it exits."""

from __future__ import annotations

import io
import json
import os
from typing import Any

import pytest

from cli_support import Cli
from client_support import (
    TOKEN,
    HangUp,
    Json,
    Peer,
    World,
    always,
    capacity,
    event,
    pod_info,
    pod_status,
    read_page,
)
from pods_protocol.errors import (
    AlreadyRunning,
    NotConnected,
    PodEnded,
    PodPaused,
    ScopeConflict,
    UnknownMessage,
    UnknownPod,
)


def spawn_answer(world: World, **changes: Any) -> Json:
    answer: Json = {
        "pod": pod_info(),
        "socket": world.pod.path,
        "token": TOKEN,
        "message": {"message_id": "m1", "state": "started", "turn": 1, "position": None},
        "enforcement": {"backend": "landlock", "summary": "landlock 4", "gaps": [], "reason": ""},
        "capacity": capacity(),
    }
    return {**answer, **changes}


def turn(world: World, *events: Json, started: bool = True) -> None:
    """Let the fake pod answer `run` and send these events to the subscriber."""
    world.pod.answers["run"] = always(
        {
            "message_id": "m1",
            "state": "started" if started else "queued",
            "turn": 1 if started else None,
            "position": None if started else 1,
        }
    )
    world.pod.answers["subscribe"] = always({"last_seq": 4})

    def play(peer: Peer, _params: Json) -> None:
        for one in events:
            peer.event(one)

    world.pod.answers["after subscribe"] = play


GOOD_TURN = (
    event(5, "turn_started", message_id="m1"),
    event(6, "text_delta", text="hello "),
    event(7, "text_delta", text="world"),
    event(8, "turn_ended", stop_reason="end_turn", exit_status=0),
)
BAD_TURN = (
    event(5, "turn_started", message_id="m1"),
    event(6, "turn_ended", stop_reason="error", exit_status=2, message="make failed"),
)


def test_spawn_says_what_it_holds_and_what_to_do_next(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["spawn"] = always(spawn_answer(fake))
    code, out, err = pods("spawn", "api", "--write", "/src/api", "--prompt", "pytest -q")
    assert code == 0
    assert "api started" in out
    assert "write /src/api" in out
    assert "enforcement: landlock 4" in out
    assert "pods send api" in out
    assert err == ""


def test_hints_go_to_the_supervisor_that_was_named(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["spawn"] = always(spawn_answer(fake))
    named = ("--supervisor", "default")
    _, out, _ = pods(*named, "spawn", "api", "--prompt", "p")
    assert out.splitlines()[-2:] == [
        "  pods --supervisor default send api 'MESSAGE' --wait     "
        "pods --supervisor default logs -f api",
        "  pods --supervisor default read api                      "
        "pods --supervisor default stop api",
    ]
    turn(fake, started=False)
    assert "`pods --supervisor default withdraw api m1`" in pods(*named, "send", "api", "ls")[1]
    turn(fake)
    question = event(6, "question", question_id="q1", prompt="may I?")

    def ask_at_once(peer: Peer, _params: Json) -> Json:
        peer.event(question)  # before the answer: what comes with that is shown however late it is
        return {"last_seq": 6}

    fake.pod.answers["subscribe"] = ask_at_once
    _, _, err = pods(*named, "send", "api", "ls", "--wait", "--timeout", "0.05")
    assert "`pods --supervisor default answer api q1 ANSWER`" in err
    assert "`pods --supervisor default logs -f api`" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--base-url", "http://x"), "cannot use --base-url with the agent shell"),
        (("--api", "openai", "--agent", "echo"), "`--agent model` and `--model NAME`"),
        (("--model", "m", "--", "cat"), "cannot use --model with the agent command"),
        (("--agent", "command"), "put it at the end, after `--`"),
        (("--agent", "acp"), "put it at the end, after `--`"),
    ],
)
def test_spawn_says_in_its_own_words_what_an_agent_cannot_be_given(
    fake: World, pods: Cli, words: tuple[str, ...], said: str
) -> None:
    code, _, err = pods("spawn", "api", *words)
    assert code == 2
    assert said in err
    assert fake.supervisor.params_of("spawn") == []


def test_a_key_is_refused_to_an_agent_that_asks_no_model(
    fake: World, pods: Cli, tmp_path: os.PathLike[str]
) -> None:
    key = os.path.join(tmp_path, "key")
    with open(key, "w", encoding="ascii") as file:
        file.write("sk")
    assert "cannot use --key-file or --key-fd" in pods("spawn", "api", "--key-file", key)[2]
    assert fake.supervisor.params_of("spawn") == []


def test_the_command_may_be_an_option(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["spawn"] = always(spawn_answer(fake))
    assert pods("spawn", "api", "--agent", "command", "--option", 'argv=["cat"]')[0] == 0


def test_spawn_asks_for_absolute_paths_and_everything_that_was_said(
    fake: World, pods: Cli, tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HERE", "there")
    fake.supervisor.answers["spawn"] = always(spawn_answer(fake))
    code, _, _ = pods(
        *("spawn", "api", "--write", "a", "--read", ".", "--read-flat", "/etc"),
        *("--deny", "a/secret", "--deny-write", "a/doc", "--lend-write", "a/b"),
        *("--env", "N=V=1", "--env", "HERE", "--cwd", "a", "--description", "d"),
        *("--turn-timeout", "9", "--on-parent-exit", "stop", "--call-back", "--replace"),
        *("--require-enforcement", "--python", "/py"),
        *("--network", "loopback", "--unix-sockets", "any", "--pty"),
    )
    here = os.getcwd()
    assert code == 0
    (asked,) = fake.supervisor.params_of("spawn")
    assert asked.pop("message_id"), "so that it may be asked again"
    assert asked == (
        {
            "name": "api",
            "agent": "shell",
            "options": {},
            "prompt": None,
            "allow": [
                {"target": f"{here}/a", "permission": "write", "recursive": True},
                {"target": here, "permission": "read", "recursive": True},
                {"target": "/etc", "permission": "read", "recursive": False},
            ],
            "deny": [
                {"target": f"{here}/a/secret", "permission": "read", "recursive": True},
                {"target": f"{here}/a/doc", "permission": "write", "recursive": True},
            ],
            "delegable": [{"target": f"{here}/a/b", "permission": "write", "recursive": True}],
            "cwd": f"{here}/a",
            "env": {"N": "V=1", "HERE": "there"},
            "limits": {"turn_seconds": 9.0},
            "description": "d",
            "on_parent_exit": "stop",
            "wake_on": "none",
            "restart": {"when": "never"},
            "python": "/py",
            "call_back": True,
            "replace": True,
            "require_enforcement": True,
            "network": "loopback",
            "unix_sockets": "any",
            "pty": True,
        }
    )


def test_a_pod_works_in_the_current_directory_and_may_lend_all_unless_told(
    fake: World, pods: Cli
) -> None:
    fake.supervisor.answers["spawn"] = always(spawn_answer(fake))
    pods("spawn", "api")
    pods("spawn", "api", "--lend-nothing")
    first, second = fake.supervisor.params_of("spawn")
    assert first["cwd"] == os.getcwd()
    assert (first["network"], first["unix_sockets"], first["pty"]) == (None, None, False)
    assert "delegable" not in first
    assert second["delegable"] == []


@pytest.mark.parametrize(
    "words",
    [
        ("--agent", "command: grep -n 'a b'"),
        ("--", "grep", "-n", "a b"),
        ("--agent", "command", "--", "grep", "-n", "a b"),
    ],
)
def test_a_command_may_be_given_in_three_ways(
    fake: World, pods: Cli, words: tuple[str, ...]
) -> None:
    fake.supervisor.answers["spawn"] = always(spawn_answer(fake))
    assert pods("spawn", "api", *words)[0] == 0
    (asked,) = fake.supervisor.params_of("spawn")
    assert asked["agent"] == "command"
    assert asked["options"] == {"argv": ["grep", "-n", "a b"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--agent", "command: a", "--", "b"), "twice"),
        (("--",), "empty command"),
        (("--agent", "command:"), "empty command"),
        (("--agent", "echo", "--", "b"), "only `command`"),
        (("--jsonl",), "--jsonl is for --agent command"),
        (("--wait",), "add --prompt"),
        (("--write", ""), "may not be empty"),
        (("--write", "a\0b"), "zero byte"),
        (("--env", "=v"), "needs a name"),
        (("--env", "SURELY_NOT_SET"), "is not set here"),
        (("--turn-timeout", "-1"), "no number of seconds"),
        (("--timeout", "nan"), "no number of seconds"),
        (("--timeout", "5"), "--timeout is for --wait"),
        (("--limit", "-5m"), "is no limit"),
        (("ls",), "usage: pods spawn"),
        (("ls",), "a command stands after `--`"),
        (("--on-parent-exit", "cry"), "invalid choice"),
        (("--writ", "a"), "unrecognized"),
    ],
)
def test_wrong_words_for_spawn_are_usage_errors_and_nothing_is_asked(
    fake: World, pods: Cli, words: tuple[str, ...], said: str
) -> None:
    code, out, err = pods("spawn", "api", *words)
    assert code == 2
    assert said in err
    assert out == ""
    assert fake.supervisor.params_of("spawn") == []


@pytest.mark.parametrize("name", ["a/b", "", "x" * 300, "-x", "ä", ".hidden"])
def test_a_name_that_cannot_be_one_is_a_usage_error(fake: World, pods: Cli, name: str) -> None:
    code, _, err = pods("spawn", "--write", "/src", name)
    assert code == 2
    assert "Traceback" not in err
    assert fake.supervisor.requests == []


def test_a_scope_conflict_exits_five_and_names_the_owner(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["spawn"] = always(
        ScopeConflict("cannot spawn api: web holds /src/api; stop web", owner="web")
    )
    code, out, err = pods("spawn", "api", "--write", "/src/api")
    assert (code, out) == (5, "")
    assert err == "pods: cannot spawn api: web holds /src/api; stop web\n"


def test_spawn_as_json_is_the_answer_without_its_secret(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["spawn"] = always(spawn_answer(fake))
    code, out, err = pods("spawn", "api", "--json")
    expected = spawn_answer(fake)
    del expected["token"]
    assert (code, json.loads(out), err) == (0, expected, "")
    assert TOKEN not in out


def test_json_lines_are_an_option_of_a_command(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["spawn"] = always(spawn_answer(fake))
    assert pods("spawn", "api", "--jsonl", "--", "make", "-s")[0] == 0
    (asked,) = fake.supervisor.params_of("spawn")
    assert asked["agent"] == "command"
    assert asked["options"] == {"argv": ["make", "-s"], "jsonl": True}


def test_spawn_warns_where_the_kernel_does_not_enforce(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["spawn"] = always(
        spawn_answer(
            fake,
            enforcement={
                "backend": "none",
                "summary": "none",
                "gaps": ["nothing is held"],
                "reason": "no Landlock",
            },
        )
    )
    code, _, err = pods("spawn", "api")
    assert code == 0
    assert "not enforced by the kernel: nothing is held (no Landlock)" in err


def test_spawn_and_wait_prints_the_output_and_exits_by_the_outcome(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["spawn"] = always(spawn_answer(fake))
    turn(fake, *GOOD_TURN)
    code, out, err = pods("spawn", "api", "--prompt", "p", "--wait")
    assert (code, out) == (0, "hello world\n")
    assert "api started" in err
    turn(fake, *BAD_TURN)
    assert pods("spawn", "api", "--prompt", "p", "--wait")[0] == 1


def test_a_pod_that_dies_in_its_first_turn_is_told_of_by_its_journal(
    fake: World, pods: Cli
) -> None:
    way = {"id": "idapi0000000", "name": "api", "socket": "/gone/pod.sock", "token": TOKEN}
    ended = PodEnded("cannot connect to api: it has ended")
    asked: list[Json] = []

    def connect(_peer: Peer, params: Json) -> Json:
        asked.append(params)
        if len(asked) == 1:
            return {**way, "pid": 7}
        raise ended

    fake.supervisor.answers["spawn"] = always(spawn_answer(fake, socket="/gone/pod.sock"))
    fake.supervisor.answers["connect"] = connect
    fake.supervisor.answers["wait"] = always({"ready": [], "pending": [], "timed_out": False})
    lost = event(7, "turn_ended", stop_reason="lost", message="killed")
    fake.supervisor.answers["read"] = always(read_page([*GOOD_TURN[:2], lost]))
    code, out, err = pods("spawn", "api", "--prompt", "p", "--wait")
    assert (code, out) == (1, "hello \n")
    assert "the turn of api ended: lost: killed" in err
    assert [one["gone"] for one in asked] == [None, 7]
    for gone in (ended, NotConnected("cannot connect to api: it starts")):
        fake.supervisor.answers["connect"] = always(gone)
        assert pods("spawn", "api", "--prompt", "p", "--wait")[0] == 1


def test_a_prompt_may_come_from_standard_input(
    fake: World, pods: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.supervisor.answers["spawn"] = always(spawn_answer(fake))
    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe"))
    pods("spawn", "api", "--prompt", "-")
    assert fake.supervisor.params_of("spawn")[0]["prompt"] == "from a pipe"


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
