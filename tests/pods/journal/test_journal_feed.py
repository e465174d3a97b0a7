"""Fan-out: no gap, no repeat, bounded memory, and nobody slows the writer."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path
from typing import cast

import pytest
import trio

from journal_support import WORDS, FakeSink, an_event, damage, seqs_of, settle, text, write_segment
from pods.journal.feed import Feed
from pods.journal.store import Journal
from pods.rpc.stream import UnixStream
from pods_protocol.errors import StorageFailed
from pods_protocol.events import Event
from process_support import WAIT_SECONDS


async def test_stored_events_come_first_and_new_ones_follow_without_a_turn_of_the_loop(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    with Journal.open(str(tmp_path)) as journal:
        text(journal, 5)
        feed = Feed(journal)
        sink = FakeSink()
        nursery.start_soon(partial(feed.pump, sink, since=2, kinds=frozenset()))
        await trio.testing.wait_all_tasks_blocked()
        assert sink.seqs == [3, 4, 5]
        text(journal)
        assert sink.seqs == [3, 4, 5, 6]
        nursery.cancel_scope.cancel()


async def test_a_notification_is_the_journals_line_in_an_envelope(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    with Journal.open(str(tmp_path)) as journal:
        feed = Feed(journal)
        sink = FakeSink()
        nursery.start_soon(partial(feed.pump, sink, since=0))
        await trio.testing.wait_all_tasks_blocked()
        event = journal.append("text", {"text": "a"}, turn=4)
        assert sink.events == [
            {"seq": 1, "time": event.time, "turn": 4, "type": "text", "data": {"text": "a"}}
        ]
        nursery.cancel_scope.cancel()


async def test_a_filter_leaves_events_out_of_replay_live_and_bursts(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    with Journal.open(str(tmp_path)) as journal:
        mixed = [("text", WORDS, None), ("status", {"state": "idle"}, None)]
        journal.append_many(mixed)
        feed = Feed(journal)
        some, all_of_it = FakeSink(), FakeSink()
        nursery.start_soon(partial(feed.pump, some, since=0, kinds=frozenset({"status"})))
        nursery.start_soon(partial(feed.pump, all_of_it, since=0))
        await trio.testing.wait_all_tasks_blocked()
        journal.append_many(mixed)
        journal.append(*mixed[0][:2])
        journal.append(*mixed[1][:2])
        assert some.seqs == [2, 4, 6]
        assert all_of_it.seqs == [1, 2, 3, 4, 5, 6]
        some.full = True
        journal.append_many(mixed * 2)
        await trio.testing.wait_all_tasks_blocked()
        journal.append_many(mixed)
        await settle(some, journal)
        assert some.seqs == [2, 4, 6, 8, 10, 12]
        nursery.cancel_scope.cancel()


async def test_a_filtered_replay_lets_others_run_between_its_steps(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    with Journal.open(str(tmp_path)) as journal:
        for _ in range(5):
            journal.append("text", {"text": "x" * 500_000})
        journal.append("status", {"state": "idle"})
        feed = Feed(journal)
        sink = FakeSink()
        nursery.start_soon(partial(feed.pump, sink, since=0, kinds=frozenset({"status"})))
        await trio.testing.wait_all_tasks_blocked()
        assert sink.seqs == [6]
        nursery.cancel_scope.cancel()


async def test_a_burst_is_one_gift_for_each_subscriber(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    with Journal.open(str(tmp_path)) as journal:
        feed = Feed(journal)
        sinks = [FakeSink() for _ in range(3)]
        for sink in sinks:
            nursery.start_soon(partial(feed.pump, sink, since=0))
        await trio.testing.wait_all_tasks_blocked()
        text(journal, 50)
        assert [sink.gifts for sink in sinks] == [1, 1, 1]
        assert sinks[0].seqs == list(range(1, 51))
        nursery.cancel_scope.cancel()


async def test_memory_stays_bounded_while_a_sink_takes_nothing(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path)) as journal:
        await _stall(journal)


async def _stall(journal: Journal) -> None:
    async with trio.open_nursery() as nursery:
        feed = Feed(journal, batch_bytes=1000, tail_bytes=4000)
        stalled, quick = FakeSink(), FakeSink()
        nursery.start_soon(partial(feed.pump, stalled, since=0))
        nursery.start_soon(partial(feed.pump, quick, since=0))
        await trio.testing.wait_all_tasks_blocked()
        stalled.full = True
        for _ in range(300):
            text(journal)
            assert feed.tail_bytes <= 4000
        assert len(stalled.data) < 200
        assert quick.seqs == list(range(1, 301))
        await settle(stalled, journal)
        assert stalled.seqs == list(range(1, 301))
        assert stalled.largest <= 1000
        nursery.cancel_scope.cancel()
    assert feed.subscribers == 0
    assert feed.tail_bytes == 0


async def test_a_burst_over_the_bound_stops_at_a_sink_that_is_full(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    with Journal.open(str(tmp_path)) as journal:
        feed = Feed(journal, batch_bytes=500)
        sink = FakeSink()
        nursery.start_soon(partial(feed.pump, sink, since=0))
        await trio.testing.wait_all_tasks_blocked()
        sink.full = True
        text(journal, 40)
        assert sink.gifts == 1
        assert len(sink.data) <= 500
        await settle(sink, journal)
        assert sink.seqs == list(range(1, 41))
        nursery.cancel_scope.cancel()


async def test_without_subscribers_nothing_is_kept(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path)) as journal:
        feed = Feed(journal)
        text(journal, 10)
        assert feed.tail_bytes == 0


async def test_a_cursor_from_the_future_counts_as_the_newest(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    with Journal.open(str(tmp_path)) as journal:
        text(journal, 2)
        feed = Feed(journal)
        sink = FakeSink()
        nursery.start_soon(partial(feed.pump, sink, since=99))
        await trio.testing.wait_all_tasks_blocked()
        text(journal)
        assert sink.seqs == [3]
        nursery.cancel_scope.cancel()


async def test_a_trimmed_cursor_is_told_of_the_gap_whatever_its_filter(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    write_segment(tmp_path, [an_event(11), an_event(12, "status", {"state": "idle"})])
    with Journal.open(str(tmp_path)) as journal:
        feed = Feed(journal)
        sink = FakeSink()
        nursery.start_soon(partial(feed.pump, sink, since=3, kinds=frozenset({"status"})))
        await trio.testing.wait_all_tasks_blocked()
        assert sink.seqs == [10, 12]
        assert sink.events[0]["data"] == {"first": 4, "last": 10}
        nursery.cancel_scope.cancel()


async def test_a_sink_that_raises_ends_its_own_pump_and_nothing_else(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    class Broken(FakeSink):
        def try_send(self, data: bytes) -> bool:
            raise RuntimeError("a bug in this sink")

    async def pump_broken() -> None:
        with pytest.raises(RuntimeError, match="a bug in this sink"):
            await feed.pump(Broken(), since=0)
        ended.set()

    with Journal.open(str(tmp_path)) as journal:
        feed = Feed(journal)
        good = FakeSink()
        ended = trio.Event()
        nursery.start_soon(pump_broken)
        nursery.start_soon(partial(feed.pump, good, since=0))
        await trio.testing.wait_all_tasks_blocked()
        text(journal)
        text(journal)
        with trio.fail_after(WAIT_SECONDS):
            await ended.wait()
        assert good.seqs == [1, 2]
        nursery.cancel_scope.cancel()


async def test_a_replay_over_damage_is_refused_after_what_is_good(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path)) as journal:
        text(journal, 3)
        damage(tmp_path, 1, b"garbage\n")
        sink = FakeSink()
        with trio.fail_after(WAIT_SECONDS), pytest.raises(StorageFailed, match="no event"):
            await Feed(journal, batch_bytes=1).pump(sink, since=0)
        assert sink.seqs == [1]


async def test_a_file_that_vanishes_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path)) as journal:
        text(journal, 3)
        damage(tmp_path, 0, b"")
        with trio.fail_after(WAIT_SECONDS), pytest.raises(StorageFailed, match="the file ends"):
            await Feed(journal).pump(FakeSink(), since=0)


async def test_appending_from_inside_a_sink_keeps_everybodys_order(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    class Echoing(FakeSink):
        def try_send(self, data: bytes) -> bool:
            taken = super().try_send(data)
            if journal.last_seq < 6:
                text(journal)
            return taken

    with Journal.open(str(tmp_path)) as journal:
        feed = Feed(journal)
        sinks = [FakeSink(), Echoing(), FakeSink()]
        for sink in sinks:
            nursery.start_soon(partial(feed.pump, sink, since=0))
        await trio.testing.wait_all_tasks_blocked()
        text(journal)
        for sink in sinks:
            await settle(sink, journal)
            assert sink.seqs == [1, 2, 3, 4, 5, 6]
        nursery.cancel_scope.cancel()


async def test_a_callback_that_appends_before_the_feed_hears_keeps_the_order(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    def echo(events: object, _: object) -> None:
        if cast("list[Event]", events)[0].type == "text":
            journal.append("status", {"state": "idle"})

    with Journal.open(str(tmp_path)) as journal:
        journal.on_append.append(echo)
        feed = Feed(journal)
        sink = FakeSink()
        nursery.start_soon(partial(feed.pump, sink, since=0))
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            text(journal)
        await settle(sink, journal)
        text(journal)
        await settle(sink, journal)
        assert sink.seqs == [1, 2, 3, 4, 5, 6, 7, 8]
        nursery.cancel_scope.cancel()


async def test_waiting_beyond_a_cursor_returns_at_once_or_with_the_next_event(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    with Journal.open(str(tmp_path)) as journal:
        feed = Feed(journal)
        text(journal)
        with trio.fail_after(WAIT_SECONDS):
            await feed.wait_beyond(0)
        woken: list[int] = []

        async def wait(seq: int) -> None:
            await feed.wait_beyond(seq)
            woken.append(seq)

        for seq in (1, 1, 2):
            nursery.start_soon(wait, seq)
        await trio.testing.wait_all_tasks_blocked()
        assert woken == []
        text(journal)
        await trio.testing.wait_all_tasks_blocked()
        assert woken == [1, 1]
        text(journal)
        await trio.testing.wait_all_tasks_blocked()
        assert woken == [1, 1, 2]


async def test_over_a_socket_a_reader_that_stalls_gets_all_of_it_in_order(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    stream = UnixStream(ours)
    nursery.start_soon(stream.run_writer)

    class StreamSink:
        def try_send(self, data: bytes) -> bool:
            return stream.send(data)

        async def drained(self) -> None:
            await stream.drained()

    with Journal.open(str(tmp_path)) as journal:
        text(journal, 100)
        feed = Feed(journal, tail_bytes=10_000)
        nursery.start_soon(partial(feed.pump, StreamSink(), since=0))
        for _ in range(300):
            text(journal)
            text(journal, 4)
            await trio.lowlevel.checkpoint()
            assert stream.pending_bytes < 100_000
        received = bytearray()
        reader = UnixStream(theirs)
        with trio.fail_after(WAIT_SECONDS):
            while received.count(b"\n") < journal.last_seq:
                received += await reader.receive()
        assert seqs_of(bytes(received)) == list(range(1, 1601))
        nursery.cancel_scope.cancel()
    reader.close()
    stream.close()
