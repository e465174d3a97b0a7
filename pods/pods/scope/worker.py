"""The registry for tasks: what waits together is written together, in one thread, off the loop.

Owns the queue in front of a registry and what cancellation means for it. Knows no laws and no
files. The supervisor runs one `RegistryWorker` per registry and submits its acts to it.

Promises to a task that submits:

- Cancelled before its batch has begun: the operation is withdrawn and never happens.
- Cancelled later: the task waits, shielded, until the outcome is known. If the operation
  succeeded, its `undo` is carried out before the cancellation goes on. Both waits are bounded by
  the lock's deadline.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar, cast

import attrs
import trio

from pods.scope.table import Table
from pods_protocol.errors import ClientClosed, InternalError, PodsError

T = TypeVar("T")

MAX_WAITING: Final = 1000
"""Operations in the queue: every pod that the caps allow, spawned at once. More wait in line."""

MAX_BATCH: Final = 250
"""Operations in one locked write, so that other supervisors' turns come within milliseconds."""


class Registry(Protocol):
    """What the worker needs of a `ScopeRegistry`."""

    def transact_many(
        self, operations: Sequence[Callable[[Table], tuple[Table, Any]]], /
    ) -> list[Any]:
        """See `ScopeRegistry.transact_many`."""
        ...


@attrs.define(eq=False)
class _Submission:
    operation: Callable[[Table], tuple[Table, Any]]
    must_run: bool = False
    begun: bool = False
    done: trio.Event = attrs.field(factory=trio.Event)
    outcome: Any = None


class RegistryWorker:
    """One task that carries out what other tasks submit.

    Args:
        registry: where it is carried out.
        log: gets a line when an undo fails, which nobody else will hear of.
        after: called after each batch, before anybody is told of it.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        log: Callable[[str], None] | None = None,
        after: Callable[[], None] | None = None,
    ) -> None:
        self._registry = registry
        self._log = log
        self._after = after
        self._waiting: deque[_Submission] = deque()
        self._arrived = trio.Event()
        self._room = trio.Semaphore(MAX_WAITING)
        self._state = "new"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; what has begun is finished first, undos too."""
        self._state = "running"
        task_status.started()
        try:
            while True:
                await trio.lowlevel.checkpoint_if_cancelled()
                if not self._waiting:
                    self._arrived = trio.Event()
                    await self._arrived.wait()
                await self._carry_out(self._take())
        finally:
            self._state = "ended"
            left = self._take(everything=True)
            # First those that are told no, with no checkpoint in between: a task that is cancelled
            # now must find its item either in the queue or decided.
            for item in left:
                if not item.must_run:
                    item.outcome = _closed()
                    item.done.set()
            await self._carry_out([item for item in left if item.must_run])

    async def submit(
        self,
        operation: Callable[[Table], tuple[Table, T]],
        *,
        undo: Callable[[Table], tuple[Table, object]] | None = None,
    ) -> T:
        """Carry out one operation, together with whatever else waits.

        Args:
            operation: as for `ScopeRegistry.transact`: pure, may be called twice.
            undo: carried out if this task is cancelled after the operation has succeeded.

        Returns:
            The operation's value.

        Raises:
            PodsError: what the operation or the registry raises; nothing is changed then.
            ClientClosed: the worker has ended.
        """
        async with self._room:
            item = self._enqueue(_Submission(operation))
            try:
                await item.done.wait()
            except trio.Cancelled:
                if not item.begun and not item.done.is_set():
                    self._waiting.remove(item)
                    raise
                with trio.CancelScope(shield=True):
                    await item.done.wait()
                    if undo is not None and not isinstance(item.outcome, PodsError):
                        await self._undo(undo)
                raise
            if isinstance(item.outcome, PodsError):
                raise item.outcome
            return cast("T", item.outcome)

    async def _undo(self, undo: Callable[[Table], tuple[Table, object]]) -> None:
        item = _Submission(undo, must_run=True)
        if self._state == "ended":
            await self._carry_out([item])
        else:
            self._enqueue(item)
            await item.done.wait()
        if isinstance(item.outcome, PodsError) and self._log is not None:
            self._log(f"the scope of a cancelled start lapses later: {item.outcome.message}")

    def _enqueue(self, item: _Submission) -> _Submission:
        if self._state == "ended":
            raise _closed()
        self._waiting.append(item)
        self._arrived.set()
        return item

    def _take(self, *, everything: bool = False) -> list[_Submission]:
        count = len(self._waiting) if everything else min(len(self._waiting), MAX_BATCH)
        return [self._waiting.popleft() for _ in range(count)]

    async def _carry_out(self, batch: list[_Submission]) -> None:
        if not batch:
            return
        for item in batch:
            item.begun = True
        # Shielded, and the thread is never left behind: a batch that was taken is decided, and an
        # undo in it must happen even while everything around is cancelled.
        with trio.CancelScope(shield=True):
            outcomes = await self._outcomes([item.operation for item in batch])
            if self._after is not None:
                self._after()
            for item, outcome in zip(batch, outcomes, strict=True):
                item.outcome = outcome
                item.done.set()

    async def _outcomes(
        self, operations: list[Callable[[Table], tuple[Table, Any]]]
    ) -> Sequence[Any]:
        try:
            return await trio.to_thread.run_sync(self._registry.transact_many, operations)
        except PodsError as error:
            return [error] * len(operations)
        except Exception as error:
            bug = InternalError(
                f"cannot change the scope registry: {type(error).__name__}: {error}; this is a bug "
                "of pods, please report it"
            )
            bug.__cause__ = error
            return [bug] * len(operations)


def _closed() -> ClientClosed:
    return ClientClosed("cannot use the scope registry: its worker has ended; start it again")
