"""What an agent has of its pod: its words, its questions, its end, a turn that is held."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from pod_agents import forever
from pod_support import (
    WAIT_SECONDS,
    connected,
    living_pod,
    until,
    until_idle,
)
from pods.agents.base import TurnEnd
from pods.agents.echo import EchoAgent
from pods.agents.turn import Turn
from pods_protocol import errors
from pods_protocol.pod_messages import (
    AnswerQuestion,
    Cancel,
    GetStatus,
    Pause,
    Resume,
    Run,
    WaitFor,
)
from pods_protocol.values import Limits


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
    asking = trio.CancelScope()

    async def agent(turn: Turn) -> None:
        with asking:
            await turn.ask("?")
        await turn.text("gave up")

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await client.request(WaitFor(until="question", timeout_seconds=WAIT_SECONDS))
        asking.cancel()
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
