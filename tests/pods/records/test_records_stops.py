"""Which stops were asked for, and their answers, as a supervisor remembers them."""

from __future__ import annotations

from pods.records.events import POD_STOPPING, STOP_ASKED, stop_asked_data
from pods.records.record import MAX_REMEMBERED_STOPS
from pods_protocol.supervisor_messages import StopPodResult
from records_support import Story


def stop_asked(story: Story, pod_id: str, message_id: str, asked_by: str | None = None) -> None:
    record = story.table.get(pod_id)
    assert record is not None
    data = stop_asked_data(
        record, asked_by=asked_by, message_id=message_id, previous_state="working",
        descendants=["parent", "child"],
    )  # fmt: skip
    story.tell(STOP_ASKED, **data)


def answer_of(
    story: Story, pod_id: str, message_id: str, asked_by: str | None = None
) -> StopPodResult | None:
    record = story.table.get(pod_id)
    assert record is not None
    asked = record.stop_asked(asked_by, message_id)
    return None if asked is None else asked.answer


def test_a_stop_with_an_id_has_its_answer_once_the_pod_has_ended() -> None:
    story = Story()
    story.run("a")
    stop_asked(story, "a", "s1")
    assert answer_of(story, "a", "s1") is None
    story.tell(POD_STOPPING, id="a")
    story.end("a")
    answer = answer_of(story, "a", "s1")
    assert answer is not None
    assert (answer.previous_state, answer.state) == ("working", "stopped")
    assert answer.stopped_descendants == ("child", "parent")
    assert answer_of(story, "a", "s1", asked_by="b") is None
    assert answer_of(story, "a", "s2") is None


def test_a_stop_of_an_ended_pod_keeps_the_answer_that_it_got() -> None:
    story = Story()
    story.run("a")
    story.end("a")
    stop_asked(story, "a", "s1")
    answer = answer_of(story, "a", "s1")
    assert answer is not None
    assert (answer.step, answer.stopped_descendants) == ("already_ended", ())


def test_so_many_stops_are_remembered_and_the_oldest_is_forgotten_first() -> None:
    story = Story()
    story.run("a")
    for number in range(MAX_REMEMBERED_STOPS + 1):
        stop_asked(story, "a", f"s{number}")
    record = story.table.get("a")
    assert record is not None
    assert len(record.stops) == MAX_REMEMBERED_STOPS
    assert record.stop_asked(None, "s0") is None


def test_a_stop_that_has_its_answer_keeps_it_when_the_pod_ends_again() -> None:
    story = Story()
    story.run("a")
    story.end("a")
    stop_asked(story, "a", "s1")
    before = answer_of(story, "a", "s1")
    story.end("a")
    assert answer_of(story, "a", "s1") == before
