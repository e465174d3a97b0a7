"""A child whose journal is damaged: its parent is told of a gap, and of its end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

from leftover_support import reserved
from pods.client import aio
from pods.journal.store import Journal
from pods.records.events import POD_ENDED
from pods.records.record import PodRecord
from pods.records.table import PodTable
from pods.supervisor.damaged import end_behind_damage
from pods_protocol.codec import to_json
from pods_protocol.errors import StorageFailed
from pods_protocol.events import Event
from pods_protocol.values import ExitRecord, UndeliveredMessage
from supervisor_support import NOTHING, WAIT_SECONDS, left_in, supervisor_and_client


def garble(journal: str, kind: str) -> None:
    """Make the newest line of one kind unreadable, at its length."""
    segment = next(Path(journal).glob("*.jsonl"))
    lines = segment.read_bytes().splitlines(keepends=True)
    place = max(n for n, line in enumerate(lines) if f'"{kind}"'.encode() in line)
    lines[place] = b"x" * (len(lines[place]) - 1) + b"\n"
    segment.write_bytes(b"".join(lines))


@pytest.mark.parametrize("end", ["stopped", "killed"])
async def test_a_parent_is_told_of_a_gap_and_of_the_end_behind_damage(
    pods_environ: dict[str, str], end: str
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            boss = await client.spawn("boss", agent="echo")
            assert boss.spawned is not None
            assert boss.spawned.pod.pid is not None
            async with aio.connect_socket(supervisor.places.socket, boss.spawned.token) as as_boss:
                await as_boss.spawn("kid", agent="echo", prompt="one", on_parent_exit="keep")
                await _wait_told(client, "turn_ended")
                os.kill(boss.spawned.pod.pid, signal.SIGSTOP)
                link = next(live.pod for live in supervisor.pods.values() if live.name == "boss")
                assert link is not None
                await link.aclose()
                await client.send("kid", "two")
                await client.wait("kid")
                found = await client.inspect("kid")
                garble(f"{found.directory}/journal", "turn_started")
                if end == "stopped":
                    await client.stop("kid")
                else:
                    assert found.pod.pid is not None
                    os.kill(found.pod.pid, signal.SIGKILL)
                    await client.wait("kid", until="ended")
                os.kill(boss.spawned.pod.pid, signal.SIGCONT)
                told = await _wait_told(client, "stopped")
                assert [one.data["type"] for one in told] == ["turn_ended", "gap", "stopped"]
                ended = (await client.inspect("kid")).pod.state
                assert told[-1].data["data"]["reason"] == ended
                gap = told[1].data["data"]
                assert told[0].data["seq"] < gap["first"] <= gap["last"] == told[1].data["seq"]
                supervisor.relay.may_have_news(supervisor.table)
                await supervisor.relay.wait_told(supervisor.known(found.pod.id))
                assert len(await _wait_told(client, "stopped")) == 3, "once"
                await client.remove("kid")
    assert left_in(pods_environ) == NOTHING


async def _wait_told(client: aio.PodsClient, last: str) -> list[Event]:
    seen: list[Event] = []
    cursor = 0
    while not seen or seen[-1].data["type"] != last:
        answer = await client.read(
            "boss", since=cursor, kinds=["child_event"], wait_seconds=WAIT_SECONDS
        )
        cursor = answer.next
        seen += answer.events
    return seen


POD = "0123456789ab"


@pytest.fixture
def record() -> PodRecord:
    table = PodTable()
    ended = {
        "id": POD,
        "pod": "kid",
        "state": "lost",
        "reason": "nobody saw how",
        "exit": to_json(ExitRecord(status=None, reason="lost")),
        "last_turn": None,
        "undelivered": [
            to_json(
                UndeliveredMessage(message_id="m", input="x", sender="", accepted=1.0, given_up=2.0)
            )
        ],
    }
    for seq, (kind, data) in enumerate(
        (("pod_reserved", reserved(POD, "kid")), (POD_ENDED, ended))
    ):
        table.apply(Event(seq=seq + 1, time=9.0, turn=None, type=kind, data=dict(data)))
    found = table.get(POD)
    assert found is not None
    return found


def test_an_end_that_is_not_in_the_journal_is_the_recorded_one(
    tmp_path: Path, record: PodRecord
) -> None:
    with Journal.open(str(tmp_path)) as journal:
        journal.append_many([("text", {"text": "x"}, 1)] * 5)
    gap, end = end_behind_damage(str(tmp_path), 2, record)
    assert (gap.seq, gap.data) == (5, {"first": 3, "last": 5})
    assert (end.seq, end.type, end.data["reason"]) == (6, "stopped", "lost")
    assert end.data["undelivered"] == ["m"]
    assert end_behind_damage(str(tmp_path), 5, record) == [end]
    assert end_behind_damage(str(tmp_path), 6, record) == []


def test_where_no_line_can_be_read_they_are_counted(tmp_path: Path, record: PodRecord) -> None:
    (tmp_path / "00000000000000000001.jsonl").write_bytes(b"x\n" * 7)
    gap, end = end_behind_damage(str(tmp_path), 0, record)
    assert (gap.data["last"], end.seq) == (7, 8)
    with pytest.raises(StorageFailed):
        end_behind_damage(f"{tmp_path}/00000000000000000001.jsonl", 0, record)


def test_a_journal_without_files_has_its_recorded_end(tmp_path: Path, record: PodRecord) -> None:
    (end,) = end_behind_damage(str(tmp_path), 0, record)
    assert (end.seq, end.type) == (1, "stopped")
