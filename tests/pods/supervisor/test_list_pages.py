"""A long list: pages that lose and repeat nothing, whatever happens between them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from pods.journal.store import Journal
from pods.records.events import (
    POD_ENDED,
    POD_REMOVED,
    POD_REPARENTED,
    POD_RESERVED,
    ended_data,
    reserved_data,
)
from pods.records.table import PodTable
from pods.supervisor.acts import LOST
from pods_protocol.bounds import DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT
from pods_protocol.errors import InvalidParams, InvalidScope
from pods_protocol.supervisor_messages import ListPods, SpawnPod
from pods_protocol.values import ScopeGrant, ScopeRule
from supervisor_support import WAIT_SECONDS, places_of, supervisor_and_client, with_rooms

ENDED = 2000


def plant(environ: dict[str, str], count: int) -> list[str]:
    """Have the journal of the supervisor `test` tell of pods that ended; their names."""
    places = places_of(environ, "test")
    for directory in (places.places.state, os.path.dirname(places.state), places.state):
        Path(directory).mkdir(mode=0o700, exist_ok=True)
    grant = ScopeGrant(
        allow=tuple(ScopeRule(target=f"/src/package{n}", permission="write") for n in range(3))
    )
    names: list[str] = []
    with Journal.open(f"{places.state}/journal") as journal:
        for number in range(count):
            names.append(f"old{number}")
            data = reserved_data(
                SpawnPod(name=names[-1]),
                pod_id=f"{number:012x}",
                parent_id=None,
                grant=grant,
                cwd="/src",
                on_parent_exit="keep",
                replaces=None,
            )
            event = journal.append(POD_RESERVED, data)
            record = PodTable([event]).get(data["id"])
            assert record is not None
            journal.append(
                POD_ENDED,
                ended_data(record, state="stopped", reason="", exit_record=LOST, last_turn=None),
            )
    return names


async def test_two_thousand_ended_pods_are_listed_whole_by_every_client(
    pods_environ: dict[str, str],
) -> None:
    names = plant(pods_environ, ENDED)
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            listed = await client.list()
            assert [row.name for row in listed.pods] == names
            assert listed.next is None
            first = await client.request(ListPods())
            assert len(first.pods) == DEFAULT_LIST_LIMIT
            assert first.next is not None
            # More rows than a line holds: the bytes end the page, and no request is too large.
            largest = await client.request(ListPods(limit=MAX_LIST_LIMIT))
            assert DEFAULT_LIST_LIMIT < len(largest.pods) < MAX_LIST_LIMIT
            assert (await client.list(ended=False)).pods == ()
            done = await trio.run_process(
                [sys.executable, "-P", "-m", "pods", "ls", "-a", "-q"],
                env={**with_rooms(pods_environ), "PODS_SUPERVISOR": "test"},
                capture_stdout=True,
            )
            assert done.stdout.decode().split() == names

            # Between any two pages the row that the cursor names goes, and another moves.
            seen: list[str] = []
            after: str | None = None
            while True:
                page = await client.request(ListPods(after=after, limit=150))
                seen += [row.name for row in page.pods]
                after = page.next
                if after is None:
                    break
                supervisor.record(POD_REMOVED, {"id": page.pods[-1].id})
                moved = {"id": page.pods[0].id, "parent_id": page.pods[1].id}
                supervisor.record(POD_REPARENTED, moved)
            assert seen == names


async def test_what_no_page_can_hold_or_gave_is_refused(
    pods_environ: dict[str, str], tmp_path: Path
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            for after in ("", "api", "soon/0123", "/"):
                with pytest.raises(InvalidParams, match="cannot go on after"):
                    await client.request(ListPods(after=after))
            for limit in (0, MAX_LIST_LIMIT + 1):
                with pytest.raises(InvalidParams, match="as limit"):
                    await client.request(ListPods(limit=limit))
            deep = tmp_path.joinpath(*["x" * 200] * 10)
            leaves = [deep / str(number) for number in range(60)]
            for leaf in leaves:
                leaf.mkdir(parents=True)
            with pytest.raises(InvalidScope, match="its rules take"):
                await client.spawn("wide", write=[str(leaf) for leaf in leaves])
            assert (await client.list()).pods == ()
