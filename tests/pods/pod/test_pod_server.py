"""A pod as its clients see it: real socket, real journal, in this process."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from pod_support import (
    WAIT_SECONDS,
    PodFixture,
    connected,
    living_pod,
    until,
    until_idle,
)
from pods.agents.base import TurnEnd
from pods.agents.echo import EchoAgent
from pods.agents.turn import Turn
from pods.pod import answers
from pods.pod import server as server_module
from pods.rpc.client import RpcClient
from pods.rpc.server import Session
from pods_protocol import errors
from pods_protocol.events import Event
from pods_protocol.pod_messages import (
    AnswerQuestion,
    Cancel,
    GetHistory,
    GetStatus,
    Notify,
    Pause,
    Ping,
    ReadEvents,
    Resume,
    Run,
    Shutdown,
    Subscribe,
    WaitFor,
    Withdraw,
)
from pods_protocol.values import Limits


async def forever(turn: Turn) -> None:
    await turn.text_delta("begun")
    await trio.sleep_forever()


async def in_order(turn: Turn) -> None:
    await turn.text(f"[{turn.input}]")


async def test_a_message_is_answered_and_all_of_it_is_in_the_journal(short_dir: str) -> None:
    async with living_pod(short_dir, EchoAgent()) as pod, connected(pod) as client:
        result = await client.request(Run(input="hello"))
        assert (result.state, result.turn) == ("started", 1)
        ended = await until_idle(client)
        assert ended.last_turn is not None
        assert ended.last_turn.stop_reason == "end_turn"
        assert pod.texts() == "hello"
        assert pod.kinds() == [
            "status", "message_accepted", "turn_started", "text", "turn_ended",
        ]  # fmt: skip


async def test_the_answer_comes_before_anything_that_the_agent_does(short_dir: str) -> None:
    order: list[str] = []

    async def agent(turn: Turn) -> None:
        order.append("agent")

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        with pytest.MonkeyPatch.context() as patch:
            answered = Session.answer

            def answer(self: Any, *arguments: Any) -> None:
                order.append("answer")
                answered(self, *arguments)

            patch.setattr(Session, "answer", answer)
            await client.request(Run(input="x"))
            await until_idle(client)
    assert order[:2] == ["answer", "agent"]


async def test_a_wrong_token_is_refused(short_dir: str) -> None:
    async with living_pod(short_dir, EchoAgent()) as pod:
        with pytest.raises(errors.NotAuthorized):
            async with connected(pod, token="wrong"):
                pass


async def test_a_busy_pod_refuses_queues_and_is_interrupted(short_dir: str) -> None:
    async with living_pod(short_dir, forever) as pod, connected(pod) as client:
        await client.request(Run(input="first"))
        with pytest.raises(errors.AlreadyRunning):
            await client.request(Run(input="second"))
        queued = await client.request(Run(input="third", if_busy="queue", message_id="t"))
        assert queued.position == 1
        urgent = await client.request(Run(input="urgent", if_busy="interrupt"))
        assert urgent.position == 1
        await until(lambda: pod.kinds().count("turn_started") == 2, pod)
        status = await client.request(GetStatus())
        assert (status.turn, status.state) == (2, "working")
        assert [one.message_id for one in status.queue] == ["t"]
        await client.request(Withdraw(message_id="t"))
        assert (await client.request(Cancel())).turn == 2
        await until_idle(client)
        assert [end["stop_reason"] for end in pod.ends()] == ["cancelled", "cancelled"]
        assert pod.ends()[0]["message"] == "another message interrupted it"
        assert pod.texts() == "begunbegun", "what was produced stays"


async def test_a_status_stays_small_whatever_is_queued(short_dir: str) -> None:
    async with living_pod(short_dir, forever) as pod, connected(pod) as client:
        await client.request(Run(input="first"))
        for _ in range(5):
            await client.request(Run(input="x" * 500_000, if_busy="queue"))
        status = await client.request(GetStatus())
        assert len(status.queue) == 5
        assert "[cut here: 499000 more bytes]" in status.queue[0].input


async def test_a_message_of_a_megabyte_goes_through_and_one_that_fits_no_event_does_not(
    short_dir: str,
) -> None:
    async with living_pod(short_dir, in_order) as pod, connected(pod) as client:
        await client.request(Run(input="y" * 1_000_000))
        await until_idle(client)
        assert len(pod.texts()) == 1_000_002
        with pytest.raises(errors.TooLarge):
            await client.request(Run(input="y" * 1_040_000))
        assert pod.ends() == [pod.ends()[0]]


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (None, "end_turn"),
        ("refusal", "refusal"),
        (TurnEnd("max_tokens", "enough"), "max_tokens"),
        ("lost", "error"),
        ("victory", "error"),
        (17, "error"),
    ],
)
async def test_only_what_the_agent_says_is_believed(
    short_dir: str, returned: Any, reason: str
) -> None:
    async def agent(_: Turn) -> Any:
        return returned

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until_idle(client)
        assert pod.ends()[0]["stop_reason"] == reason


async def raise_value_error(_: Turn) -> None:
    raise ValueError("bad luck")


async def raise_in_a_task(turn: Turn) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raise_value_error, turn)
        await trio.sleep_forever()


async def leave(_: Turn) -> None:
    raise SystemExit(3)


async def raise_ours(_: Turn) -> None:
    raise errors.NotConnected("cannot connect")


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (raise_value_error, "ValueError: bad luck"),
        (raise_in_a_task, "ValueError: bad luck"),
        (leave, "SystemExit: 3"),
        (raise_ours, "cannot connect"),
    ],
)
async def test_an_agent_that_raises_ends_its_turn_and_not_the_pod(
    short_dir: str, agent: Any, words: str
) -> None:
    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        for _ in range(2):
            await client.request(Run(input="x"))
            await until_idle(client)
        assert [end["message"] for end in pod.ends()] == [words, words]
        assert {end["stop_reason"] for end in pod.ends()} == {"error"}
        assert "Traceback" in pod.log[0]


async def test_what_an_agent_raises_while_it_is_cancelled_is_told(short_dir: str) -> None:
    async def agent(turn: Turn) -> None:
        await turn.text("begun")
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("no way")

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until(lambda: "text" in pod.kinds(), pod)
        await client.request(Cancel())
        await until_idle(client)
        (end,) = pod.ends()
        assert end["stop_reason"] == "cancelled"
        assert "ValueError: no way" in end["message"]


async def test_a_cancelled_agent_with_tasks_is_cancelled(short_dir: str) -> None:
    async def agent(turn: Turn) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(forever, turn)

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until(lambda: "text_delta" in pod.kinds(), pod)
        assert (await client.request(Cancel())).turn == 1
        await until_idle(client)
        assert pod.ends()[0]["stop_reason"] == "cancelled"
        assert (await client.request(Cancel())).turn is None


async def test_a_turn_over_its_limit_ends_as_timeout(short_dir: str) -> None:
    limits = Limits(turn_seconds=0.05)
    async with living_pod(short_dir, forever, limits=limits) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until_idle(client)
        assert pod.ends()[0]["stop_reason"] == "timeout"
        assert "0.05 s" in pod.ends()[0]["message"]


async def test_a_task_that_outlives_its_turn_cannot_write_into_the_next(short_dir: str) -> None:
    turns: list[Turn] = []

    async def agent(turn: Turn) -> None:
        if turns:
            with pytest.raises(errors.InvalidRequest):
                await turns[0].text("late")
        turns.append(turn)

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        for _ in range(2):
            await client.request(Run(input="x"))
            await until_idle(client)
        assert [end["stop_reason"] for end in pod.ends()] == ["end_turn", "end_turn"]
        with pytest.raises(errors.InvalidRequest):
            await turns[0].text("later still")


# Questions


async def asker(turn: Turn) -> None:
    answer = await turn.ask(turn.input, options=["yes", "no"], default="no")
    await turn.text(answer)


async def test_a_question_waits_for_its_answer(short_dir: str) -> None:
    async with living_pod(short_dir, asker) as pod, connected(pod) as client:
        await client.request(Run(input="go on?"))
        waited = await client.request(WaitFor(until="question", timeout_seconds=WAIT_SECONDS))
        assert waited.state == "waiting"
        (question,) = (await client.request(GetStatus())).questions
        assert (question.prompt, question.options) == ("go on?", ("yes", "no"))
        with pytest.raises(errors.UnknownQuestion):
            await client.request(AnswerQuestion(question_id="q99", answer="yes"))
        with pytest.raises(errors.InvalidParams):
            await client.request(AnswerQuestion(question_id=question.question_id, answer="maybe"))
        await client.request(AnswerQuestion(question_id=question.question_id, answer="yes"))
        await until_idle(client)
        assert pod.texts() == "yes"


@pytest.mark.parametrize(("default", "said"), [("no", "no"), (None, "TimedOut")])
async def test_a_question_that_nobody_answers_gets_its_default_or_fails(
    short_dir: str, default: str | None, said: str
) -> None:
    async def agent(turn: Turn) -> None:
        try:
            await turn.text(await turn.ask("?", default=default, timeout_seconds=0.02))
        except errors.TimedOut:
            await turn.text("TimedOut")

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until_idle(client)
        assert pod.texts() == said


async def test_a_question_ends_with_the_one_who_asked(short_dir: str) -> None:
    async def agent(turn: Turn) -> None:
        with trio.move_on_after(0.02):
            await turn.ask("?")
        await turn.text("gave up")

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until_idle(client)
        closed = next(event for event in pod.events() if event.type == "answer")
        assert closed.data == {"question_id": "q4", "answer": None, "by": "cancelled"}
        assert pod.texts() == "gave up"


async def test_cancelling_a_turn_closes_its_question(short_dir: str) -> None:
    async with living_pod(short_dir, asker) as pod, connected(pod) as client:
        await client.request(Run(input="?"))
        await client.request(WaitFor(until="question", timeout_seconds=WAIT_SECONDS))
        await client.request(Cancel())
        await until_idle(client)
        assert pod.kinds()[-2:] == ["answer", "turn_ended"]


# Looking


async def test_notes_reach_the_agent_with_its_next_turn(short_dir: str) -> None:
    async with living_pod(short_dir, EchoAgent()) as pod, connected(pod) as client:
        noted = await client.request(Notify(message="by the way"))
        assert (noted.state, noted.turn) == ("noted", None)
        woken = await client.request(Notify(message="wake up", wake=True))
        assert (woken.state, woken.turn) == ("started", 1)
        await until_idle(client)
        assert pod.texts() == "by the way\nwake up"


async def test_history_is_the_conversation(short_dir: str) -> None:
    async with living_pod(short_dir, in_order) as pod, connected(pod) as client:
        for word in ("one", "two"):
            await client.request(Run(input=word))
            await until_idle(client)
        first = await client.request(GetHistory(limit=3))
        assert [(e.role, e.text) for e in first.entries] == [
            ("user", "one"), ("assistant", "[one]"), ("user", "two"),
        ]  # fmt: skip
        rest = await client.request(GetHistory(since=first.next))
        assert [e.text for e in rest.entries] == ["[two]"]
        assert (await client.request(GetHistory(since=rest.next))).next == rest.next


async def test_a_history_that_would_not_fit_a_line_comes_in_parts(short_dir: str) -> None:
    async def silent(_: Turn) -> None:
        pass

    async with living_pod(short_dir, silent) as pod, connected(pod) as client:
        for text in ("\x01" * 160_000, "b" * 400_000):
            await client.request(Run(input=text))
            await until_idle(client)
        first = await client.request(GetHistory())
        assert "cut here" in first.entries[0].text
        rest = await client.request(GetHistory(since=first.next))
        assert [len(entry.text) for entry in (*first.entries, *rest.entries)][-1] == 400_000


async def test_read_gives_what_is_there_and_waits_for_what_is_not(short_dir: str) -> None:
    async with living_pod(short_dir, in_order) as pod, connected(pod) as client:
        first = await client.request(ReadEvents())
        assert [event.type for event in first.events] == ["status"]
        assert (first.next, first.truncated, first.state) == (1, False, "idle")
        nothing = await client.request(ReadEvents(since=1, wait_seconds=0.01))
        assert nothing.events == ()
        async with trio.open_nursery() as nursery:
            got: list[Event] = []

            async def wait_for_text() -> None:
                request = ReadEvents(since=1, kinds=("text",), wait_seconds=WAIT_SECONDS)
                got.extend((await client.request(request)).events)

            nursery.start_soon(wait_for_text)
            await client.request(Run(input="x"))
        assert [event.data["text"] for event in got] == ["[x]"]


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (ReadEvents(since=-1), "since"),
        (ReadEvents(limit=0), "limit"),
        (ReadEvents(limit=10_001), "limit"),
        (ReadEvents(max_bytes=0), "max_bytes"),
        (ReadEvents(wait_seconds=-1.0), "wait_seconds"),
        (ReadEvents(wait_seconds=3601.0), "wait_seconds"),
        (WaitFor(timeout_seconds=-0.5), "timeout_seconds"),
        (GetHistory(since=-1), "since"),
        (GetHistory(limit=0), "limit"),
        (Subscribe(since=-1), "since"),
    ],
)
async def test_numbers_out_of_range_are_named(short_dir: str, message: Any, path: str) -> None:
    async with living_pod(short_dir, EchoAgent()) as pod, connected(pod) as client:
        with pytest.raises(errors.InvalidParams) as caught:
            await client.request(message)
        assert caught.value.data["path"] == path


def test_a_time_that_is_no_number_is_out_of_range() -> None:
    with pytest.raises(errors.InvalidParams):
        answers.check_range("wait_seconds", math.nan, 0, 1)


async def test_a_wait_that_is_not_met_says_so(short_dir: str) -> None:
    async with living_pod(short_dir, EchoAgent()) as pod, connected(pod) as client:
        waited = await client.request(WaitFor(until="question", timeout_seconds=0.01))
        assert (waited.reached, waited.state) == (False, "idle")


async def test_a_subscriber_gets_everything_once_and_one_connection_subscribes_once(
    short_dir: str,
) -> None:
    events: list[Event] = []
    async with living_pod(short_dir, in_order) as pod, connected(pod, events=events) as client:
        await client.request(Run(input="x"))
        await until_idle(client)
        await client.request(Ping())
        assert events == pod.events()
        with pytest.raises(errors.InvalidRequest):
            await client.request(Subscribe())


def damage_first_line(pod: PodFixture) -> None:
    (path,) = Path(f"{pod.spec.state_directory}/journal").glob("*.jsonl")
    length = path.read_bytes().index(b"\n")
    with path.open("r+b") as file:
        file.write(b"#" * length)


async def test_a_subscription_to_a_damaged_journal_ends_with_its_connection(
    short_dir: str,
) -> None:
    async with living_pod(short_dir, in_order) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until_idle(client)
        damage_first_line(pod)
        await client.request(Subscribe())
        await client.closed.wait()
        assert "a subscription ended" in pod.log[0]


async def test_a_turn_is_held_only_where_the_agent_can(short_dir: str) -> None:
    async with living_pod(short_dir, EchoAgent()) as pod, connected(pod) as client:
        assert not (await client.request(GetStatus())).can_pause
        with pytest.raises(errors.NotSupported):
            await client.request(Pause())
        await client.request(Resume())


class Steps:
    """Says a step each time it is let, and asks in between where it is told to."""

    can_pause = True

    def __init__(self) -> None:
        self.go_on = trio.Event()

    async def run_turn(self, turn: Turn) -> None:
        if turn.input == "ask":
            await turn.text(await turn.ask("?", default="by itself", timeout_seconds=0.5))
            return
        await turn.text("one ")
        await self.go_on.wait()
        await turn.text("two ")
        await turn.text("three")


async def test_a_held_turn_goes_no_further_and_none_of_its_clocks_runs(
    short_dir: str, mock_clock: trio.testing.MockClock
) -> None:
    agent = Steps()
    limits = Limits(turn_seconds=1)
    async with living_pod(short_dir, agent, limits=limits) as pod, connected(pod) as client:
        assert (await client.request(GetStatus())).can_pause
        await client.request(Run(input="go"))
        await until(lambda: pod.texts() == "one ", pod)
        await client.request(Pause())
        await client.request(Pause())
        agent.go_on.set()
        mock_clock.jump(2)
        await trio.testing.wait_all_tasks_blocked()
        # What it was saying when it was held is said; it is held after that.
        assert pod.texts() == "one two "
        assert (await client.request(GetStatus())).state == "paused"
        assert (await client.request(Run(input="ask", if_busy="queue"))).position == 1
        with pytest.raises(errors.PodPaused):
            await client.request(Run(input="no"))
        await client.request(Resume())
        await until(lambda: "question" in pod.kinds(), pod)
        assert pod.ends()[0]["stop_reason"] == "end_turn"
        await client.request(Pause())
        mock_clock.jump(2)
        await trio.testing.wait_all_tasks_blocked()
        assert pod.kinds().count("answer") == 0
        await client.request(Resume())
        mock_clock.jump(0.6)
        await until_idle(client)
        assert pod.texts() == "one two threeby itself"


async def test_a_held_turn_can_be_cancelled_and_the_pod_stays_paused(short_dir: str) -> None:
    agent = Steps()
    agent.go_on.set()
    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        agent.go_on = trio.Event()
        await client.request(Run(input="go"))
        await until(lambda: pod.texts() == "one ", pod)
        await client.request(Pause())
        await client.request(Cancel())
        await until(lambda: bool(pod.ends()), pod)
        assert pod.ends()[0]["stop_reason"] == "cancelled"
        assert (await client.request(GetStatus())).state == "paused"
        await client.request(Resume())
        assert (await client.request(GetStatus())).state == "idle"


async def test_a_pod_that_is_about_to_be_stopped_whole_sends_its_clients_away(
    short_dir: str,
) -> None:
    events: list[Event] = []
    digest = hashlib.sha256(b"owner").hexdigest()
    async with (
        living_pod(short_dir, EchoAgent(), owner_digest=digest) as pod,
        connected(pod) as other,
        connected(pod, events=events),
        connected(pod, token="owner") as supervisor,
    ):
        with pytest.raises(errors.NotAuthorized):
            await other.request(Pause(whole=True))
        await supervisor.request(Pause(whole=True))
        await other.closed.wait()
        while events[-1].data != {"state": "paused"}:
            await trio.lowlevel.checkpoint()
        await supervisor.request(Resume())


# The disk


async def test_a_full_disk_refuses_messages_and_the_pod_goes_on(short_dir: str) -> None:
    async with living_pod(short_dir, in_order) as pod, connected(pod) as client:
        pod.disk.full = True
        with pytest.raises(errors.StorageFailed):
            await client.request(Run(input="x", message_id="again"))
        assert (await client.request(GetStatus())).state == "idle"
        pod.disk.full = False
        assert (await client.request(Run(input="x", message_id="again"))).state == "started"
        await until_idle(client)
        assert pod.texts() == "[x]"


@pytest.mark.parametrize("swallows", [True, False])
async def test_a_disk_that_fills_up_during_a_turn_makes_it_an_error(
    short_dir: str, monkeypatch: pytest.MonkeyPatch, swallows: bool
) -> None:
    monkeypatch.setattr(server_module, "STORAGE_RETRY_SECONDS", 0.01)
    pods: list[PodFixture] = []

    async def agent(turn: Turn) -> None:
        pods[0].disk.full = True
        try:
            await turn.text("lost")
        except errors.StorageFailed:
            if not swallows:
                raise

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        pods.append(pod)
        await client.request(Run(input="x"))
        with trio.fail_after(WAIT_SECONDS):
            await pod.complained.wait()
        assert (await client.request(GetStatus())).state == "working"
        pod.disk.full = False
        await until_idle(client)
        assert pod.ends()[0]["stop_reason"] == "error"


async def test_a_success_whose_end_cannot_be_written_is_no_success(
    short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "STORAGE_RETRY_SECONDS", 0.01)
    pods: list[PodFixture] = []

    async def agent(_: Turn) -> None:
        pods[0].disk.full = True

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        pods.append(pod)
        await client.request(Run(input="x"))
        with trio.fail_after(WAIT_SECONDS):
            await pod.complained.wait()
        pod.disk.full = False
        await until_idle(client)
        assert pod.ends()[0]["stop_reason"] == "error"


# The end


async def served_until_the_end(pod: PodFixture, client: RpcClient) -> None:
    await pod.ended.wait()
    await client.closed.wait()


async def test_shutdown_of_an_idle_pod_ends_it_and_tells_everybody(short_dir: str) -> None:
    events: list[Event] = []
    async with living_pod(short_dir, EchoAgent()) as pod, connected(pod, events=events) as client:
        async with trio.open_nursery() as nursery:

            async def wait_for_the_end() -> None:
                result = await client.request(WaitFor(until="ended", timeout_seconds=WAIT_SECONDS))
                assert (result.reached, result.state) == (True, "stopped")

            nursery.start_soon(wait_for_the_end)
            await client.request(Ping())
            await client.request(Shutdown())
        await served_until_the_end(pod, client)
        assert [event.type for event in events[-2:]] == ["status", "stopped"]
        assert events == pod.events()


async def test_finish_lets_the_turn_end(short_dir: str) -> None:
    go = trio.Event()

    async def agent(turn: Turn) -> None:
        await go.wait()
        await turn.text("done")

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await client.request(Run(input="never", if_busy="queue"))
        await client.request(Shutdown(mode="finish"))
        assert (await client.request(GetStatus())).state == "stopping"
        with pytest.raises(errors.PodEnded):
            await client.request(Run(input="y"))
        go.set()
        await served_until_the_end(pod, client)
        assert pod.kinds()[-4:] == ["message_withdrawn", "text", "turn_ended", "stopped"]
        assert pod.ends()[0]["stop_reason"] == "end_turn"


async def test_now_cancels_the_turn_and_a_wait_ends_with_the_pod(short_dir: str) -> None:
    async with living_pod(short_dir, forever) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        async with trio.open_nursery() as nursery:

            async def wait_in_vain() -> None:
                result = await client.request(WaitFor(until="idle", timeout_seconds=WAIT_SECONDS))
                assert (result.reached, result.state) == (False, "stopped")

            async def read_in_vain() -> None:
                result = await client.request(
                    ReadEvents(kinds=("artifact",), wait_seconds=WAIT_SECONDS)
                )
                assert result.events == ()

            nursery.start_soon(wait_in_vain)
            nursery.start_soon(read_in_vain)
            await client.request(Ping())
            await client.request(Shutdown(mode="now"))
        await served_until_the_end(pod, client)
        assert pod.ends()[0]["stop_reason"] == "cancelled"
        assert pod.ends()[0]["message"] == "the pod was told to stop"


class Closing(EchoAgent):
    """Counts how often it is closed; the closing may fail."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1
        if self.fails:
            raise OSError("no")


@pytest.mark.parametrize("fails", [False, True])
async def test_an_agent_is_closed_once_at_the_end(short_dir: str, fails: bool) -> None:
    agent = Closing(fails)
    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Shutdown())
        await served_until_the_end(pod, client)
        assert agent.closed == 1
        assert bool(pod.log) == fails


async def test_a_pod_goes_on_with_the_journal_of_one_that_died(short_dir: str) -> None:
    async with living_pod(short_dir, forever) as pod, connected(pod) as client:
        await client.request(Run(input="lost", message_id="l"))
        await client.request(Run(input="kept", if_busy="queue"))
    async with living_pod(short_dir, EchoAgent()) as pod, connected(pod) as client:
        await until_idle(client)
        assert [end["stop_reason"] for end in pod.ends()] == ["lost", "end_turn"]
        assert pod.texts().endswith("kept")
        assert (await client.request(Run(input="lost", message_id="l"))).turn == 1
        assert len(pod.ends()) == 2
