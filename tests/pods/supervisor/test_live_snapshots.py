"""What a supervisor knows of a pod whose first events retention took: from its snapshot."""

from __future__ import annotations

from pathlib import Path

from pods.journal.retention import MIN_SEGMENT_BYTES, Retention
from pods.journal.store import Journal
from pods.supervisor.live import LivePod

SMALL = Retention(max_bytes=2 * MIN_SEGMENT_BYTES)
BLOCK = {"text": "x" * 60_000}


def ask(journal: Journal, message_id: str) -> None:
    data = {"message_id": message_id, "input": "do it", "if_busy": "queue", "state": "queued"}
    journal.append("message_accepted", data)


def live_pod(directory: Path) -> LivePod:
    return LivePod(
        pod_id="p",
        name="p",
        token="",
        directory=str(directory),
        on_change=lambda _: None,
        on_news=lambda _: None,
    )


def waiting(live: LivePod) -> list[str]:
    return [message.message_id for message in live.fold.queue]


async def test_a_queue_that_is_older_than_all_kept_events_is_known_at_adoption_and_after_a_lag(
    tmp_path: Path,
) -> None:
    lagging = live_pod(tmp_path)
    with Journal.open(f"{tmp_path}/journal", retention=SMALL) as journal:
        journal.append("status", {"state": "idle"})
        ask(journal, "first")
        await lagging.catch_up()
        assert waiting(lagging) == ["first"]
        ask(journal, "second")
        for _ in range(100):
            journal.append("text", BLOCK)
        ask(journal, "third")
        for live in (lagging, live_pod(tmp_path)):
            await live.catch_up()
            assert waiting(live) == ["first", "second", "third"]
            assert (live.seen, live.fold.state) == (journal.last_seq, "idle")
