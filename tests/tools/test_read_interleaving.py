"""No text is lost and none repeats, wherever a call is cancelled, fails or runs beside another."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pods_protocol.errors import InvalidParams, NotConnected, PodsError, UnknownPod
from pods_protocol.pod_messages import Request
from pods_protocol.supervisor_messages import AdvanceCursor, ReadOutput
from pods_tools import BlockingToolset, Toolset
from pods_tools.bookmarks import MAX_REMEMBERED, Bookmarks, Cursor
from tools_clients import BlockingFakeClient, FakeClient
from tools_support import OWNER, FakeSupervisor

R = TypeVar("R")


class StoppingClient(FakeClient):
    """Cancels the call at the n-th moment: before or after any request."""

    def __init__(self, supervisor: FakeSupervisor) -> None:
        super().__init__(supervisor)
        self.moments = 0
        self.stop_at = -1
        self.scope = trio.CancelScope()

    def moment(self) -> None:
        if self.moments == self.stop_at:
            self.scope.cancel()
        self.moments += 1

    async def request(self, message: Request[R], /) -> R:
        self.moment()
        await trio.lowlevel.checkpoint()
        answer = await super().request(message)
        self.moment()
        await trio.lowlevel.checkpoint()
        return answer


async def read(tools: Toolset, **arguments: Any) -> str:
    result = await tools.call(
        "ReadPodOutput", {"pod": "api", "wait_seconds": 0, "max_bytes": 1000, **arguments}
    )
    assert not result.is_error, result.summary
    return str(result.data["text"]).removesuffix("\n")


@pytest.mark.parametrize("moment", range(10))
@pytest.mark.parametrize("wait", [0, 5])
async def test_a_read_cancelled_at_any_moment_loses_and_repeats_nothing(
    moment: int, wait: int, autojump_clock: object
) -> None:
    supervisor = FakeSupervisor()
    pod = supervisor.add("api")
    pod.begin("go")
    client = StoppingClient(supervisor)
    tools = Toolset(client)
    pod.say("a" * 1500)  # two answers, so that a bookmark stands inside an event
    got = [await read(tools)]
    pod.say("b")
    client.moments, client.stop_at = 0, moment
    with client.scope:
        got.append(await read(tools, wait_seconds=wait))
    client.stop_at = -1
    pod.say("c")
    for _ in range(4):
        got.append(await read(tools))
    assert "".join(got) == "a" * 1500 + "bc"
    assert pod.cursors[OWNER] <= pod.last_seq


@pytest.mark.parametrize("moment", range(10))
async def test_a_parent_that_dies_at_any_moment_loses_nothing(moment: int) -> None:
    supervisor = FakeSupervisor()
    pod = supervisor.add("api")
    pod.begin("go")
    seen: list[str] = []
    client = StoppingClient(supervisor)
    client.stop_at = moment
    with client.scope:
        tools = Toolset(client)
        for number in range(3):
            pod.say(f"{number}")
            seen.append(await read(tools))
    # The next parent of the same authority: what was shown last may come once more.
    rest = await read(Toolset(FakeClient(supervisor)))
    said = "".join(str(event.data["text"]) for event in pod.events if event.type == "text_delta")
    shown = "".join(seen)
    assert said.startswith(shown)
    assert rest.endswith(said[len(shown) :])
    assert len(rest) <= len(said) - len(shown) + 1


async def test_reads_side_by_side_share_the_text_between_them(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    supervisor = FakeSupervisor()
    pod = supervisor.add("api")
    pod.begin("go")
    tools = Toolset(FakeClient(supervisor))
    got: list[str] = []

    async def reader() -> None:
        for _ in range(5):
            got.append(await read(tools, wait_seconds=3))

    async with trio.open_nursery() as readers:
        for _ in range(4):
            readers.start_soon(reader)
        for number in range(20):
            await trio.sleep(0.3)
            pod.say(f"<{number}>")
    got.append(await read(tools))
    said = [f"<{number}>" for number in range(20)]
    assert sorted("".join(got).replace("><", "> <").split()) == sorted(said)


@pytest.mark.parametrize("asks", [False, True])
async def test_two_reads_that_got_the_same_page_show_it_once(asks: bool) -> None:
    supervisor = FakeSupervisor()
    pod = supervisor.add("api")
    pod.begin("go")
    pod.say("once")
    if asks:  # then there is a step more, in which the other read may return
        pod.ask("may I?")
    tools = Toolset(FakeClient(supervisor))
    got: list[str] = []

    async def reader() -> None:
        got.append(await read(tools))

    async with trio.open_nursery() as readers:
        readers.start_soon(reader)
        readers.start_soon(reader)
    assert sorted(got) == ["", "once"]


async def test_a_refusal_under_an_event_loop_is_a_result_too() -> None:
    result = await Toolset(FakeClient(FakeSupervisor())).call("StopPod", {"pod": "nobody"})
    assert result.data["code"] == "unknown_pod"


async def test_closing_tells_the_supervisor_what_was_read() -> None:
    supervisor = FakeSupervisor()
    pod = supervisor.add("api")
    pod.begin("go")
    pod.say("x")
    tools = Toolset(FakeClient(supervisor))
    await read(tools)
    assert pod.cursors == {}
    await tools.aclose()
    assert pod.cursors == {OWNER: 3}
    supervisor.asked.clear()
    await tools.aclose()
    assert supervisor.asked == []


@pytest.mark.parametrize(
    ("error", "asked_again"),
    [
        (NotConnected("cannot: broke"), True),
        (UnknownPod("cannot: gone"), False),
        (InvalidParams("cannot: one reader too many"), False),
    ],
)
def test_an_advance_that_fails_repeats_nothing(error: PodsError, asked_again: bool) -> None:
    supervisor = FakeSupervisor()
    pod = supervisor.add("api")
    pod.begin("go")
    pod.say("a")
    tools = BlockingToolset(BlockingFakeClient(supervisor))

    def text() -> str:
        result = tools.call("ReadPodOutput", {"pod": "api", "wait_seconds": 0})
        return str(result.data["text"])

    assert text() == "a"
    supervisor.refuse[AdvanceCursor] = [error]
    pod.say("b")
    assert text() == "b"
    supervisor.asked.clear()
    supervisor.refuse[AdvanceCursor] = [error]
    assert text() == ""
    assert pod.cursors == {}
    # It asked again from where it was, so that a wait would have been for what is new.
    reads = [asked for asked in supervisor.asked if isinstance(asked, ReadOutput)]
    assert [asked.since for asked in reads] == [None, pod.last_seq]
    supervisor.asked.clear()
    assert text() == ""
    assert any(isinstance(asked, AdvanceCursor) for asked in supervisor.asked) is asked_again


def test_a_pod_of_the_same_name_starts_at_its_own_beginning() -> None:
    supervisor = FakeSupervisor()
    old = supervisor.add("api")
    tools = BlockingToolset(BlockingFakeClient(supervisor))
    old.begin("go")
    old.say("old")
    assert tools.call("ReadPodOutput", {"pod": "api"}).data["text"] == "old"
    old.name = "gone"
    new = supervisor.add("api")
    new.begin("go")
    new.say("new")
    assert tools.call("ReadPodOutput", {"pod": "api"}).data["text"] == "new"


def test_bookmarks_are_bounded_and_never_go_back() -> None:
    marks = Bookmarks()
    for number in range(MAX_REMEMBERED + 5):
        marks.remember(f"{number}", Cursor(1))
    assert len(marks) == MAX_REMEMBERED
    assert marks.shown("0") is None
    marks.remember("9", Cursor(5, 3))
    marks.remember("9", Cursor(4))
    assert marks.shown("9") == Cursor(5, 3)


def test_a_cursor_is_written_and_read_back() -> None:
    for cursor in (Cursor(0), Cursor(12), Cursor(12, 7)):
        assert Cursor.read(cursor.written) == cursor


class ReadingParent(RuleBasedStateMachine):
    """A parent reads with any sizes while its pod talks, and the supervisor fails at times."""

    def __init__(self) -> None:
        super().__init__()
        self.supervisor = FakeSupervisor()
        self.pod = self.supervisor.add("api")
        self.pod.begin("go")
        self.tools = BlockingToolset(BlockingFakeClient(self.supervisor))
        self.said = ""
        self.shown = ""
        self.number = 0

    @rule(size=st.integers(1, 4000))
    def say(self, size: int) -> None:
        self.number += 1
        text = f"{self.number},".ljust(size, "é")
        self.said += text
        self.pod.say(text)

    @rule(size=st.integers(1000, 5000), kinds=st.sampled_from([[], ["thought"], ["all"]]))
    def read(self, size: int, kinds: list[str]) -> None:
        result = self.tools.call(
            "ReadPodOutput", {"pod": "api", "max_bytes": size, "kinds": kinds, "wait_seconds": 0}
        )
        if not result.is_error:
            self.shown += result.data["text"]

    @rule()
    def think(self) -> None:
        self.pod.write("thought", text="hm")

    @rule(kind=st.sampled_from([AdvanceCursor, ReadOutput]))
    def break_once(self, kind: type[Any]) -> None:
        self.supervisor.refuse[kind] = [NotConnected("cannot: broke")]

    @rule()
    def read_again_from_the_start(self) -> None:
        self.tools.call("ReadPodOutput", {"pod": "api", "since": 0})

    @invariant()
    def what_was_shown_is_the_beginning_of_what_was_said(self) -> None:
        assert self.said.startswith(self.shown.replace("\n", ""))

    def teardown(self) -> None:
        self.supervisor.refuse.clear()
        for _ in range(1 + len(self.said) // 400):
            self.read(5000, [])
        assert self.shown.replace("\n", "") == self.said


TestReadingParent = ReadingParent.TestCase
TestReadingParent.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


async def test_what_the_host_never_got_is_read_again_and_nothing_before_it() -> None:
    supervisor = FakeSupervisor()
    pod = supervisor.add("api")
    pod.say("one\n")
    tools = Toolset(FakeClient(supervisor))
    assert await read(tools) == "one"
    pod.say("two\n")
    assert await read(tools) == "two"
    tools.bookmarks.forget(pod.id)
    assert await read(tools) == "two"
    assert await read(tools) == ""
