"""`pods spawn`: what is asked, what is said, how it exits."""

from __future__ import annotations

import io
import json
import os
from typing import Any

import pytest

from cli_support import BAD_TURN, GOOD_TURN, Cli, turn
from client_support import TOKEN, Json, Peer, World, always, event, read_page, spawned
from pods_protocol.errors import NotConnected, PodEnded, ScopeConflict


def spawn_answer(world: World, **changes: Any) -> Json:
    answer: Json = {
        "message": {"message_id": "m1", "state": "started", "turn": 1, "position": None},
        "enforcement": {"backend": "landlock", "summary": "landlock 4", "gaps": [], "reason": ""},
    }
    return spawned(world, **{**answer, **changes})


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
