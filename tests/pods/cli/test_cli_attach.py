"""`pods attach`: lines to a running pod, its events, and how it is left."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_support import STOPPED, Cli, follow_events, paged
from client_support import Json, Peer, World, always, event, pod_status, read_page
from pods.cli import attach, render
from pods_protocol.errors import UnknownPod
from process_support import wait_for
from supervisor_support import WAIT_SECONDS


class Terminal:
    """Standard input for `attach`: a socket, so that a test can type when it is time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ours, theirs = socket.socketpair()
        self.stdin = theirs.makefile("r")
        theirs.close()
        monkeypatch.setattr("sys.stdin", self.stdin)

    def type(self, text: str) -> None:
        self._ours.sendall(text.encode())

    def leave(self) -> None:
        self._ours.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._ours.close()
        self.stdin.close()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    made = Terminal(monkeypatch)
    yield made
    made.close()


def test_attach_sends_lines_shows_events_and_leaves_the_pod_running(
    fake: World, pods: Cli, terminal: Terminal
) -> None:
    sent = threading.Event()

    def run(_peer: Peer, _params: Json) -> Json:
        sent.set()
        return {"message_id": "m", "state": "started", "turn": 1, "position": None}

    def leave_once_sent() -> None:
        assert sent.wait(WAIT_SECONDS)
        terminal.leave()

    fake.pod.answers["run"] = run
    follow_events(fake, event(5, "text", text="hello"), then=leave_once_sent)
    terminal.type("make all\n\n")
    code, out, err = pods("attach", "api")
    assert (code, out) == (0, "hello\n")
    assert fake.pod.params_of("run") == [{"input": "make all", "if_busy": "queue"}]
    assert fake.pod.params_of("subscribe") == [{"since": 4, "kinds": []}]
    assert "attached to api (idle)" in err
    assert "detached; api goes on" in err


def test_a_last_line_without_its_newline_is_sent_too(
    fake: World, pods: Cli, terminal: Terminal
) -> None:
    fake.pod.answers["run"] = always({"message_id": "m", "state": "queued", "position": 1})
    follow_events(fake, then=lambda: None)
    terminal.type("make")
    terminal.leave()
    pods("attach", "api", "--if-busy", "interrupt")
    assert fake.pod.params_of("run") == [{"input": "make", "if_busy": "interrupt"}]


def test_attach_ends_when_the_pod_does(fake: World, pods: Cli, terminal: Terminal) -> None:
    paged(fake, read_page([STOPPED], state="stopped"))
    follow_events(fake, event(5, "text", text="last words"))
    code, out, err = pods("attach", "api", "--since", "0")
    assert (code, out) == (0, "last words\n-- the pod has ended: stopped: bye\n")
    assert "api has ended" in err
    assert fake.pod.params_of("subscribe")[0]["since"] == 0
    assert terminal.stdin.closed is False


def test_a_ctrl_c_that_interrupts_no_call_leaves_too(
    fake: World, pods: Cli, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    follows, left = threading.Event(), threading.Event()
    waits_in = Path(f"/proc/self/task/{threading.get_native_id()}/wchan")

    def follow(attached: attach._Attached) -> bool:  # pyright: ignore[reportPrivateUsage]
        follows.set()
        return follow_on(attached)

    def interrupt() -> None:
        assert follows.wait(WAIT_SECONDS)
        wait_for(lambda: "poll" in waits_in.read_text(), "it does not wait")
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        if not left.wait(WAIT_SECONDS):
            terminal.leave()
            raise AssertionError("it was not heard")

    follow_on = attach._Attached.follow  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(attach._Attached, "follow", follow)  # pyright: ignore[reportPrivateUsage]
    follow_events(fake, then=interrupt)
    code, _, err = pods("attach", "api")
    left.set()
    assert (code, "detached; api goes on" in err) == (0, True)


def test_a_line_answers_the_open_question(fake: World, pods: Cli, terminal: Terminal) -> None:
    fake.pod.answers["status"] = always(
        pod_status(
            state="waiting",
            questions=[{"question_id": "q1", "prompt": "push?", "options": [], "default": None}],
        )
    )
    fake.pod.answers["answer"] = always({})
    follow_events(fake, then=lambda: None)
    terminal.type("yes\n")
    terminal.leave()
    _, _, err = pods("attach", "api", "--json")
    assert fake.pod.params_of("answer") == [{"question_id": "q1", "answer": "yes"}]
    assert "it asks: push?" in err


def test_questions_that_come_and_go_while_attached_are_minded(
    fake: World, pods: Cli, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []

    def show(event: Json) -> None:
        shown.append(event["seq"])
        if event["seq"] == 7:
            terminal.type("the second\nno more\n")
            terminal.leave()

    monkeypatch.setattr(render, "say_json", show)
    fake.pod.answers["run"] = always({"message_id": "m", "state": "queued", "position": 1})
    fake.pod.answers["answer"] = always({})
    follow_events(
        fake,
        event(5, "question", question_id="q1", prompt="a?", options=[], default=None),
        event(6, "answer", question_id="q1", answer="y", by="default"),
        event(7, "question", question_id="q2", prompt="b?", options=[], default=None),
        then=lambda: None,
    )
    pods("attach", "api", "--json")
    assert shown == [5, 6, 7]
    assert fake.pod.params_of("answer") == [{"question_id": "q2", "answer": "the second"}]
    assert fake.pod.params_of("run") == [{"input": "no more", "if_busy": "queue"}]


def test_a_refused_line_is_told_and_the_attach_goes_on(
    fake: World, pods: Cli, terminal: Terminal
) -> None:
    fake.pod.answers["run"] = always(UnknownPod("cannot send: queue full"))
    follow_events(fake, then=lambda: None)
    terminal.type("a\nb\n")
    terminal.leave()
    code, _, err = pods("attach", "api")
    assert code == 0
    assert err.count("queue full") == 2


def test_a_line_without_an_end_is_refused(
    fake: World, pods: Cli, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pods.cli.attach.MAX_LINE_BYTES", 10)
    follow_events(fake, then=lambda: None)
    terminal.type("x" * 50)
    assert pods("attach", "api")[0] == 2


def test_ctrl_c_detaches(
    fake: World, pods: Cli, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_self: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("pods.cli.attach._Attached.follow", interrupted)
    follow_events(fake, then=lambda: None)
    code, _, err = pods("attach", "api")
    assert code == 0
    assert "detached; api goes on" in err
    assert terminal.stdin.closed is False
