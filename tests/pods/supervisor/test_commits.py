"""Records that are written together: one sync for all who wait, each refused by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pods.supervisor.commits import Commits, Item
from pods_protocol.errors import InvalidParams, StorageFailed

pytestmark = pytest.mark.trio


class Disk:
    """What was written, a list a write; `refuses` names ids that it takes nothing of."""

    def __init__(self) -> None:
        self.writes: list[list[str]] = []
        self.refuses: dict[str, Exception] = {}

    def write(self, items: Sequence[Item]) -> None:
        ids = [data["id"] for _, data in items]
        for one in ids:
            if one in self.refuses:
                raise self.refuses[one]
        self.writes.append(ids)


class Asking:
    """Tasks that each want a record written."""

    def __init__(self, commits: Commits, disk: Disk) -> None:
        self.commits = commits
        self.disk = disk
        self.followed: list[tuple[str, int]] = []
        self.refused: dict[str, Exception] = {}
        self.went_on: list[str] = []

    async def ask(self, name: str, *, alone: bool = False) -> None:
        data: dict[str, Any] = {"id": name}

        def then() -> None:
            self.followed.append((name, len(self.disk.writes)))

        try:
            await self.commits.record("spawned", data, then=then, alone=alone)
        except (StorageFailed, InvalidParams) as error:
            self.refused[name] = error
        else:
            self.went_on.append(name)


async def test_all_who_wait_are_written_by_one_write_and_go_on_after_it() -> None:
    disk = Disk()
    async with trio.open_nursery() as nursery:
        asking = Asking(Commits(disk.write, nursery), disk)
        for name in "abc":
            nursery.start_soon(asking.ask, name)
        await wait_all_tasks_blocked()
    assert [sorted(ids) for ids in disk.writes] == [["a", "b", "c"]]
    assert sorted(asking.followed) == [("a", 1), ("b", 1), ("c", 1)]
    assert sorted(asking.went_on) == ["a", "b", "c"]


async def test_one_who_is_alone_is_written_at_once_without_a_checkpoint() -> None:
    disk = Disk()
    async with trio.open_nursery() as nursery:
        asking = Asking(Commits(disk.write, nursery), disk)
        with trio.CancelScope() as scope:
            scope.cancel()  # would show at the first checkpoint
            await asking.ask("a", alone=True)
    assert disk.writes == [["a"]]
    assert asking.followed == [("a", 1)]
    assert asking.went_on == ["a"]


async def test_a_disk_that_refuses_all_refuses_each_and_nothing_follows() -> None:
    disk = Disk()
    full = StorageFailed("the disk is full")
    disk.refuses = {"a": full, "b": full}
    async with trio.open_nursery() as nursery:
        asking = Asking(Commits(disk.write, nursery), disk)
        for name in "ab":
            nursery.start_soon(asking.ask, name)
        nursery.start_soon(asking.ask, "alone")
    assert asking.refused.keys() == {"a", "b"}
    assert asking.followed == [("alone", 1)]


async def test_what_one_of_them_is_refused_for_is_none_of_the_others_business() -> None:
    disk = Disk()
    disk.refuses = {"b": InvalidParams("no JSON")}
    async with trio.open_nursery() as nursery:
        asking = Asking(Commits(disk.write, nursery), disk)
        for name in "abc":
            nursery.start_soon(asking.ask, name)
    assert sorted(asking.went_on) == ["a", "c"]
    assert isinstance(asking.refused["b"], InvalidParams)


async def test_who_gives_up_before_the_write_was_never_written() -> None:
    disk = Disk()
    async with trio.open_nursery() as nursery:
        asking = Asking(Commits(disk.write, nursery), disk)
        with trio.CancelScope() as scope:

            async def cancel_first() -> None:
                scope.cancel()

            async def both() -> None:
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(asking.ask, "given up")

            nursery.start_soon(asking.ask, "kept")
            nursery.start_soon(cancel_first)
            await both()
    assert disk.writes == [["kept"]]
    assert asking.went_on == ["kept"]
    assert "given up" not in asking.refused


async def test_who_gives_up_once_it_is_being_written_goes_on_all_the_same() -> None:
    disk = Disk()
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        def write(items: Sequence[Item]) -> None:
            disk.write(items)
            scope.cancel()  # too late

        asking = Asking(Commits(write, nursery), disk)
        with scope:
            await asking.ask("a")
    assert asking.went_on == ["a"]
    assert asking.followed == [("a", 1)]


async def test_where_what_follows_fails_its_own_task_hears_of_it_and_all_others_go_on() -> None:
    disk = Disk()
    failed: list[str] = []

    def fail() -> None:
        raise RuntimeError("a bug")

    async with trio.open_nursery() as nursery:
        commits = Commits(disk.write, nursery)
        asking = Asking(commits, disk)

        async def ask_and_fail() -> None:
            with pytest.raises(RuntimeError, match="a bug"):
                await commits.record("spawned", {"id": "bad"}, then=fail, alone=False)
            failed.append("bad")

        nursery.start_soon(asking.ask, "a")
        nursery.start_soon(ask_and_fail)
        nursery.start_soon(asking.ask, "b")
    assert failed == ["bad"]
    assert sorted(asking.went_on) == ["a", "b"]


async def test_what_fails_once_the_disk_has_it_is_not_written_again() -> None:
    disk = Disk()

    def write(items: Sequence[Item]) -> None:
        disk.write(items)
        raise RuntimeError("a subscriber's bug")

    async with trio.open_nursery() as nursery:
        commits = Commits(write, nursery)

        async def ask(name: str) -> None:
            with pytest.raises(RuntimeError, match="a subscriber's bug"):
                await commits.record("spawned", {"id": name}, then=_fail, alone=False)

        nursery.start_soon(ask, "a")
        nursery.start_soon(ask, "b")
    assert [sorted(ids) for ids in disk.writes] == [["a", "b"]]


def _fail() -> None:
    raise AssertionError("nothing follows")
