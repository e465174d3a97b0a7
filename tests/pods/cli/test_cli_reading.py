"""`pods read`, `logs` and `wait`: what is shown, what moves, how it exits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from cli_support import STOPPED, Cli, follow_events, paged
from client_support import Json, World, always, event, read_page
from pods.cli import main, render
from pods.cli.transcript import TEXT_KINDS
from pods_protocol.errors import PodEnded, UnknownPod
from pods_protocol.events import ASSISTANT_TEXT_KINDS

JOURNAL: list[Json] = [
    event(1, "status", turn=None, state="starting"),
    event(2, "message_accepted", message_id="m1", input="make", state="started", if_busy="fail"),
    event(3, "turn_started", message_id="m1"),
    event(4, "text_delta", text="building"),
    event(5, "tool_call", call_id="c", name="grep", arguments={"pattern": "x"}),
    event(6, "tool_result", call_id="c", summary="2 lines", is_error=False),
    event(7, "thought", text="hm"),
    event(8, "text", text="done"),
    event(9, "progress", message="half", step=1, of=2),
    event(10, "question", question_id="q", prompt="push?", options=["y", "n"], default=None),
    event(11, "answer", question_id="q", answer="y", by="client"),
    event(12, "artifact", name="report.md", media_type="text/plain", size=2048, sha256="0"),
    event(13, "warning", code="odd", message="look"),
    {**event(14, "child_event"), "data": {"pod": "kid", "type": "text"}},
    event(15, "from_the_future", x=1),
    event(16, "gap", first=3, last=4),
    event(17, "turn_ended", stop_reason="error", exit_status=2, seconds=1.25),
    event(18, "restarted", turn=None, reason="crash"),
    STOPPED,
]


def test_the_kinds_of_text_are_those_of_the_protocol() -> None:
    assert set(TEXT_KINDS) == ASSISTANT_TEXT_KINDS


def test_read_prints_the_new_text_and_then_advances_the_mark(fake: World, pods: Cli) -> None:
    paged(
        fake,
        read_page([event(4, "text_delta", text="a")], next=5, truncated=True),
        read_page([event(6, "text", text="b\n")], next=9),
    )
    assert pods("read", "api") == (0, "ab\n", "")
    assert [one["since"] for one in fake.supervisor.params_of("read")] == [None, None]
    assert [one["reader"] for one in fake.supervisor.params_of("read")] == ["cli", "cli"]
    assert fake.supervisor.params_of("advance") == [
        {"pod": "idapi0000000", "seq": 5, "reader": "cli"},
        {"pod": "idapi0000000", "seq": 9, "reader": "cli"},
    ]


def test_read_ends_each_turn_with_a_line(fake: World, pods: Cli) -> None:
    paged(
        fake,
        read_page([event(4, "text", text="hi"), event(5, "text", text="")], truncated=True),
        read_page([event(6, "text", text="th"), event(9, "text", turn=2, text="ere")]),
    )
    assert pods("read", "api") == (0, "hith\nere\n", "")


def test_read_adds_nothing_to_a_turn_that_goes_on(fake: World, pods: Cli) -> None:
    paged(fake, read_page([event(4, "text_delta", text="hal")], state="working"))
    assert pods("read", "api") == (0, "hal", "")


def test_read_with_nothing_new_says_so_beside_the_output(fake: World, pods: Cli) -> None:
    paged(fake, read_page([], state="stopped"))
    assert pods("read", "api") == (0, "", "pods: nothing new; api is stopped\n")


def test_what_could_not_be_written_is_not_marked_as_read(
    fake: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    paged(fake, read_page([event(4, "text", text="a")]))
    monkeypatch.setattr(render, "flush", broken_pipe)
    read, write = os.pipe()
    with os.fdopen(read), os.fdopen(write, "w") as out:
        monkeypatch.setattr("sys.stdout", out)
        assert main(["read", "api"]) == 0
    assert fake.supervisor.params_of("advance") == []


def broken_pipe() -> None:
    raise BrokenPipeError


@pytest.mark.parametrize(("words", "since"), [(("--all",), 0), (("--since", "7"), 7)])
def test_looking_back_leaves_the_mark_alone(
    fake: World, pods: Cli, words: tuple[str, ...], since: int
) -> None:
    paged(
        fake,
        read_page([event(8, "text", text="a")], next=8, truncated=True),
        read_page([event(9, "text", text="b")], next=9),
    )
    assert pods("read", "api", *words)[:2] == (0, "ab\n")
    assert [one["since"] for one in fake.supervisor.params_of("read")] == [since, 8]
    assert fake.supervisor.params_of("advance") == []


def test_read_can_give_every_event_as_a_line(fake: World, pods: Cli) -> None:
    paged(fake, read_page(JOURNAL))
    code, out, _ = pods("read", "api", "--events")
    assert code == 0
    assert [json.loads(line) for line in out.splitlines()] == JOURNAL
    assert fake.supervisor.params_of("read")[0]["kinds"] == []


def test_read_as_json_is_one_page_as_it_came(fake: World, pods: Cli) -> None:
    page = read_page(JOURNAL[:2], truncated=True)
    paged(fake, page)
    code, out, _ = pods("read", "api", "--json")
    assert (code, json.loads(out)) == (0, page)
    assert len(fake.supervisor.params_of("advance")) == 1


def test_reading_an_unknown_pod_exits_four(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["read"] = always(UnknownPod("cannot read x: no such pod"))
    assert pods("read", "x") == (4, "", "pods: cannot read x: no such pod\n")


def test_logs_tells_the_conversation(fake: World, pods: Cli) -> None:
    paged(fake, read_page(JOURNAL, state="stopped"))
    code, out, _ = pods("logs", "api")
    assert code == 0
    assert out.splitlines() == [
        "> make",
        "building",
        '* grep {"pattern":"x"}',
        "* -> 2 lines",
        "~ hm",
        "done",
        ". half (1 of 2)",
        "? push? [y / n]",
        "= y (by client)",
        "+ report.md, 2.0K",
        "! odd: look",
        "@ kid: text",
        '? from_the_future {"x":1}',
        "! events 3 to 4 are gone",
        "-- turn 1 ended: error (exit status 2), 1.2 s",
        "-- restarted: crash",
        "-- the pod has ended: stopped: bye",
    ]


def test_logs_can_show_every_event_on_a_line_with_its_time(fake: World, pods: Cli) -> None:
    paged(fake, read_page(JOURNAL[:3]))
    _, out, _ = pods("logs", "api", "--events", "-t")
    assert [line.split()[1:4] for line in out.splitlines()] == [
        ["1", "-", "status"],
        ["2", "1", "message_accepted"],
        ["3", "1", "turn_started"],
    ]


def test_logs_can_begin_near_the_end(fake: World, pods: Cli) -> None:
    paged(fake, read_page(JOURNAL[:8], truncated=True), read_page(JOURNAL[8:]))
    code, out, _ = pods("logs", "api", "--tail", "2", "--json")
    assert code == 0
    assert [json.loads(line)["seq"] for line in out.splitlines()] == [18, 19]


def test_following_an_ended_pod_ends(fake: World, pods: Cli) -> None:
    paged(fake, read_page(JOURNAL, state="stopped"))
    assert pods("logs", "api", "-f")[0] == 0
    assert fake.supervisor.params_of("connect") == []


def test_following_goes_on_live_and_ends_with_the_pod(fake: World, pods: Cli) -> None:
    paged(fake, read_page(JOURNAL[:4]), read_page([JOURNAL[18]], state="stopped"))
    follow_events(fake, JOURNAL[7])
    code, out, _ = pods("logs", "api", "-f")
    assert code == 0
    assert out.splitlines()[-3:] == ["building", "done", "-- the pod has ended: stopped: bye"]
    assert fake.pod.params_of("subscribe") == [{"since": 4, "kinds": []}]
    assert fake.supervisor.params_of("read")[1]["since"] == 8


def test_following_a_pod_that_ends_meanwhile_shows_the_rest(fake: World, pods: Cli) -> None:
    paged(fake, read_page(JOURNAL[:4]), read_page(JOURNAL[18:], state="stopped"))
    fake.supervisor.answers["connect"] = always(PodEnded("cannot connect: it has ended"))
    fake.supervisor.answers["wait"] = always({"ready": [], "pending": [], "timed_out": False})
    assert pods("logs", "api", "-f")[1].endswith("-- the pod has ended: stopped: bye\n")


def test_ctrl_c_while_following_says_that_the_pod_goes_on(
    fake: World, pods: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object) -> Iterator[Json]:
        raise KeyboardInterrupt

    paged(fake, read_page(JOURNAL[:4]))
    monkeypatch.setattr("pods.cli.logs._live", interrupted)
    code, _, err = pods("logs", "api", "-f")
    assert code == 130
    assert "api goes on" in err


OUTCOME = {
    "pod": "api",
    "state": "idle",
    "last_turn": {"turn": 2, "stop_reason": "end_turn", "message": "", "exit_status": 0},
}


def test_wait_says_how_it_stands(fake: World, pods: Cli) -> None:
    fake.supervisor.answers["wait"] = always(
        {
            "ready": [OUTCOME, {"pod": "web", "state": "stopped", "last_turn": None}],
            "pending": [],
            "timed_out": False,
        }
    )
    assert pods("wait", "api", "web", "--any", "--until", "ended") == (
        0,
        "api idle, turn 2: end_turn\nweb stopped\n",
        "",
    )
    (asked,) = fake.supervisor.params_of("wait")
    assert asked["pods"] == ["api", "web"]
    assert asked["mode"] == "any"
    assert asked["until"] == "ended"
    assert asked["timeout_seconds"] == 3600


def test_a_wait_that_runs_out_exits_three(fake: World, pods: Cli) -> None:
    answer = {
        "ready": [],
        "pending": [{"pod": "api", "state": "working", "last_turn": None}],
        "timed_out": True,
    }
    fake.supervisor.answers["wait"] = always(answer)
    code, out, err = pods("wait", "api", "--timeout", "0")
    assert (code, out) == (3, "")
    assert "api (working)" in err
    assert "go on" in err
    code, out, _ = pods("wait", "api", "--timeout", "0", "--json")
    assert (code, json.loads(out)) == (3, answer)


def test_a_wait_without_a_deadline_asks_again_when_the_wire_s_own_is_over(
    fake: World, pods: Cli
) -> None:
    answers: list[Json] = [
        {"ready": [], "pending": [], "timed_out": True},
        {"ready": [OUTCOME], "pending": [], "timed_out": False},
    ]
    fake.supervisor.answers["wait"] = lambda _peer, _params: answers.pop(0)
    assert pods("wait", "api")[0] == 0
    assert answers == []


def test_ctrl_c_in_wait_leaves_the_pods_running(
    fake: World, pods: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object) -> Json:
        raise KeyboardInterrupt

    monkeypatch.setattr("pods.cli.wait._wait", interrupted)
    assert pods("wait", "api", "web") == (130, "", "pods: no longer waiting; api, web go on\n")


@pytest.mark.parametrize("seconds", ["-1", "soon", "nan", "inf"])
def test_a_wrong_timeout_is_a_usage_error(fake: World, pods: Cli, seconds: str) -> None:
    assert pods("wait", "api", f"--timeout={seconds}")[0] == 2
    assert fake.supervisor.requests == []
