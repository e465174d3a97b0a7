"""The worker: what waits together is written together, and cancellation leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from pods.scope import worker as worker_module
from pods.scope.registry import RegistryWorker, ScopeRegistry
from pods.scope.table import Table
from pods_protocol.errors import ClientClosed, InternalError, ScopeConflict, TimedOut
from scope_support import lease, lend, release

WAIT_SECONDS = 30.0


class Gate:
    """A registry whose acts wait in their thread until they are let through."""

    def __init__(self, registry: ScopeRegistry) -> None:
        self.registry = registry
        self.batches: list[int] = []
        self.entered = threading.Semaphore(0)
        self.let_through = threading.Semaphore(0)
        self.error: Exception | None = None

    def transact_many(
        self, operations: Sequence[Callable[[Table], tuple[Table, Any]]], /
    ) -> list[Any]:
        self.batches.append(len(operations))
        self.entered.release()
        assert self.let_through.acquire(timeout=WAIT_SECONDS)
        if self.error is not None:
            raise self.error
        return self.registry.transact_many(operations)

    async def wait_entered(self) -> None:
        with trio.fail_after(WAIT_SECONDS):
            while not self.entered.acquire(blocking=False):
                await trio.lowlevel.checkpoint()


@pytest.fixture
def registry(tmp_path: Path) -> ScopeRegistry:
    return ScopeRegistry(f"{tmp_path}/scopes/registry.json")


@pytest.fixture
def gate(registry: ScopeRegistry) -> Iterator[Gate]:
    gate = Gate(registry)
    yield gate
    gate.let_through.release(1000)


async def test_the_outcome_comes_back(nursery: trio.Nursery, registry: ScopeRegistry) -> None:
    worker = RegistryWorker(registry)
    await nursery.start(worker.run)
    with trio.fail_after(WAIT_SECONDS):
        assert await worker.submit(lend(lease("a", ["w /a/**"]))) == "a"
        with pytest.raises(ScopeConflict):
            await worker.submit(lend(lease("b", ["w /a/**"])))
    assert list(registry.read().leases) == ["a"]
    nursery.cancel_scope.cancel()


async def test_what_waits_together_is_written_together(nursery: trio.Nursery, gate: Gate) -> None:
    worker = RegistryWorker(gate)
    await nursery.start(worker.run)
    async with trio.open_nursery() as clients:
        clients.start_soon(worker.submit, lend(lease("first")))
        await gate.wait_entered()
        for number in range(20):
            clients.start_soon(worker.submit, lend(lease(f"pod{number}")))
        await trio.testing.wait_all_tasks_blocked()
        gate.let_through.release(2)
    assert gate.batches == [1, 20]
    nursery.cancel_scope.cancel()


async def test_a_batch_has_a_bound(
    nursery: trio.Nursery, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "MAX_BATCH", 2)
    gate.let_through.release(10)
    worker = RegistryWorker(gate)
    async with trio.open_nursery() as clients:
        for number in range(5):
            clients.start_soon(worker.submit, lend(lease(f"pod{number}")))
        await trio.testing.wait_all_tasks_blocked()
        await nursery.start(worker.run)
    assert gate.batches == [2, 2, 1]
    nursery.cancel_scope.cancel()


async def test_a_full_queue_makes_the_next_one_wait(
    nursery: trio.Nursery, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "MAX_WAITING", 2)
    gate.let_through.release(10)
    worker = RegistryWorker(gate)
    async with trio.open_nursery() as clients:
        for number in range(3):
            clients.start_soon(worker.submit, lend(lease(f"pod{number}")))
        await trio.testing.wait_all_tasks_blocked()
        await nursery.start(worker.run)
    assert gate.batches == [2, 1]
    nursery.cancel_scope.cancel()


async def test_fault_14_what_is_cancelled_before_it_began_never_happens(
    nursery: trio.Nursery, gate: Gate
) -> None:
    worker = RegistryWorker(gate)
    await nursery.start(worker.run)
    async with trio.open_nursery() as clients:
        clients.start_soon(worker.submit, lend(lease("first")))
        await gate.wait_entered()
        async with trio.open_nursery() as impatient:
            impatient.start_soon(worker.submit, lend(lease("withdrawn")))
            await trio.testing.wait_all_tasks_blocked()
            impatient.cancel_scope.cancel()
        gate.let_through.release()
    assert list(gate.registry.read().leases) == ["first"]
    assert gate.batches == [1]
    nursery.cancel_scope.cancel()


async def test_fault_14_what_is_cancelled_after_it_succeeded_is_undone_first(
    nursery: trio.Nursery, gate: Gate
) -> None:
    worker = RegistryWorker(gate)
    await nursery.start(worker.run)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as clients:

            async def spawn() -> None:
                try:
                    await worker.submit(lend(lease("pod")), undo=release("pod"))
                finally:
                    assert gate.registry.read().leases == {}

            clients.start_soon(spawn)
            await gate.wait_entered()
            scope.cancel()
            gate.let_through.release(2)
    assert scope.cancelled_caught
    assert gate.batches == [1, 1]
    nursery.cancel_scope.cancel()


async def test_what_is_cancelled_and_was_refused_needs_no_undo(
    nursery: trio.Nursery, gate: Gate
) -> None:
    gate.registry.transact(lend(lease("owner", ["w /p/**"])))
    worker = RegistryWorker(gate)
    await nursery.start(worker.run)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as clients:

            async def spawn() -> None:
                await worker.submit(lend(lease("pod", ["w /p/**"])), undo=release("owner"))

            clients.start_soon(spawn)
            await gate.wait_entered()
            scope.cancel()
            gate.let_through.release()
    assert list(gate.registry.read().leases) == ["owner"]
    nursery.cancel_scope.cancel()


async def test_cancelling_worker_and_tasks_at_once_still_undoes(gate: Gate) -> None:
    worker = RegistryWorker(gate)
    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            await nursery.start(worker.run)

            async def spawn() -> None:
                await worker.submit(lend(lease("pod")), undo=release("pod"))

            nursery.start_soon(spawn)
            await gate.wait_entered()
            nursery.cancel_scope.cancel()
            gate.let_through.release(2)
    assert gate.registry.read().leases == {}


async def test_an_undo_after_the_worker_has_ended_is_carried_out(
    gate: Gate, nursery: trio.Nursery
) -> None:
    worker = RegistryWorker(gate)
    with trio.CancelScope() as working:
        async with trio.open_nursery() as inner:
            await inner.start(worker.run)
            with trio.CancelScope() as asking:
                async with trio.open_nursery() as clients:

                    async def spawn() -> None:
                        await worker.submit(lend(lease("pod")), undo=release("pod"))

                    clients.start_soon(spawn)
                    await gate.wait_entered()
                    asking.cancel()
                    working.cancel()
                    gate.let_through.release(2)
    assert gate.registry.read().leases == {}


async def test_an_undo_that_fails_is_logged(nursery: trio.Nursery, gate: Gate) -> None:
    lines: list[str] = []
    worker = RegistryWorker(gate, log=lines.append)
    await nursery.start(worker.run)

    def broken(table: Table) -> tuple[Table, None]:
        raise TimedOut("cannot undo")

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as clients:

            async def spawn() -> None:
                await worker.submit(lend(lease("pod")), undo=broken)

            clients.start_soon(spawn)
            await gate.wait_entered()
            scope.cancel()
            gate.let_through.release(2)
    assert lines == ["the scope of a cancelled start lapses later: cannot undo"]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("error", "kind"), [(TimedOut("locked"), TimedOut), (ZeroDivisionError(), InternalError)]
)
async def test_a_failure_of_the_registry_reaches_all_who_wait_and_the_worker_lives_on(
    nursery: trio.Nursery, gate: Gate, error: Exception, kind: type[Exception]
) -> None:
    worker = RegistryWorker(gate)
    gate.error = error
    gate.let_through.release(10)
    found: list[BaseException] = []

    async def ask(name: str) -> None:
        with pytest.raises(kind) as refused:
            await worker.submit(lend(lease(name)))
        found.append(refused.value)

    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as clients:
            clients.start_soon(ask, "a")
            clients.start_soon(ask, "b")
            await trio.testing.wait_all_tasks_blocked()
            await nursery.start(worker.run)
        gate.error = None
        assert await worker.submit(lend(lease("c"))) == "c"
    assert len(found) == 2
    nursery.cancel_scope.cancel()


async def test_whoever_waits_when_the_worker_ends_is_told(gate: Gate) -> None:
    worker = RegistryWorker(gate)

    async def ask() -> None:
        with pytest.raises(ClientClosed):
            await worker.submit(lend(lease("late")))

    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as clients:
            with trio.CancelScope() as working:
                async with trio.open_nursery() as inner:
                    await inner.start(worker.run)
                    clients.start_soon(worker.submit, lend(lease("first")))
                    await gate.wait_entered()
                    clients.start_soon(ask)
                    await trio.testing.wait_all_tasks_blocked()
                    working.cancel()
                    gate.let_through.release()
        with pytest.raises(ClientClosed):
            await worker.submit(lend(lease("too late")))
    assert list(gate.registry.read().leases) == ["first"]
