"""The supervisor's life: what it takes, the nursery tree it serves in, what it gives back.

Owns the order of start and end. The order of the end is the indentation: the front (accept,
signals, idle exit) goes first, then the links to pods, then the launcher's link and the registry.
That the supervisor ends is never a reason to end a pod. Used by `__main__` and by `embedded`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from inspect import isawaitable
from typing import Any, Final, cast

import trio

from pods.journal.retention import Retention
from pods.journal.store import JournalWriter
from pods.paths import SupervisorPlaces
from pods.records.table import PodTable
from pods.rpc.server import Handler, Session, serve_connection, serve_unix
from pods.rpc.stream import UnixStream
from pods.rpc.unix import bind_unix, ensure_private_directory
from pods.scope.identity import identify
from pods.scope.registry import RegistryWorker, ScopeRegistry
from pods.supervisor import audited
from pods.supervisor.adopt import adopt_pods
from pods.supervisor.audit import Audit
from pods.supervisor.authority import Caller, authenticator, check_caller
from pods.supervisor.core import Supervisor
from pods.supervisor.doctor import doctor
from pods.supervisor.guards import keep_guardians
from pods.supervisor.head_start import HeadStart, prepare
from pods.supervisor.inspect import connect, inspect
from pods.supervisor.launcher_link import LauncherLink
from pods.supervisor.list import list_pods
from pods.supervisor.log import Log
from pods.supervisor.mailbox import answer, notify, send, withdraw
from pods.supervisor.on_record import leases_on_record
from pods.supervisor.options import Options
from pods.supervisor.pause import pause, resume
from pods.supervisor.read import advance, read
from pods.supervisor.remove import apply_retention, prune, remove
from pods.supervisor.restore import restore
from pods.supervisor.scopes import check, show
from pods.supervisor.shutdown import ping, shutdown, stop_everything
from pods.supervisor.spawn import spawn
from pods.supervisor.stop import stop
from pods.supervisor.strays import end_after_leases
from pods.supervisor.subscribe import subscribe
from pods.supervisor.wait import wait
from pods_protocol.errors import PodRunning, StartFailed, StorageFailed
from pods_protocol.supervisor_api import SUPERVISOR_API

JOURNAL_RETENTION: Final = Retention(max_bytes=64 * 1024 * 1024)
"""Of the supervisor's own journal: the lives of some 15,000 pods, for subscribers that come back.
The table itself needs none of it: it is in the snapshots."""

JOURNAL_SNAPSHOT_BYTES: Final = 256 * 1024
"""A thousand events of that journal; to replay one costs five times what it does in a pod's."""

LIFE_LOCK_SECONDS: Final = 5.0
"""A supervisor that ends holds its lock for the milliseconds of giving things back; one that is
killed gives it back at once. Longer means that another one lives."""

LOCK_RETRY_SECONDS: Final = 0.01
"""flock has no wait with a deadline; this pause is paid only while another supervisor ends."""

FAREWELL_GRACE_SECONDS: Final = 2.0
FAREWELL_SECONDS: Final = 60.0
"""Each step, and all of it, where an embedded supervisor stops its pods on the way out."""

LAUNCHER_END_SECONDS: Final = 20.0
"""A launcher without keepers ends at once."""

HANDLERS: Final[dict[str, Callable[[Supervisor, Caller, Any], Any]]] = {
    "spawn": spawn,
    "stop": stop,
    "pause": pause,
    "resume": resume,
    "send": send,
    "notify": notify,
    "withdraw": withdraw,
    "answer": answer,
    "list": list_pods,
    "inspect": inspect,
    "connect": connect,
    "read": read,
    "advance": advance,
    "wait": wait,
    "subscribe": subscribe,
    "restore": restore,
    "remove": remove,
    "prune": prune,
    "scope.show": show,
    "scope.check": check,
    "doctor": doctor,
    "shutdown": shutdown,
    "ping": ping,
}
"""Method -> what answers it. A test holds it to the protocol's table."""


async def serve(
    options: Options,
    *,
    signals: bool,
    head_start: HeadStart | None = None,
    task_status: trio.TaskStatus[Supervisor] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Be the supervisor until it is told to leave; reports itself once its socket answers.

    Args:
        options: what it was started with.
        signals: leave on SIGTERM and SIGINT. Its pods live on.
        head_start: what this process has of it already; what is left in it is the caller's.

    Raises:
        PodsError: it cannot start: another one lives, a directory is unsafe, the disk refuses.
    """
    places = options.places
    prepare(places)
    lock = None if head_start is None else head_start.take_lock()
    if lock is None:
        lock = await _take_life_lock(places)
    try:
        with _plain_errors():
            await _serve_locked(options, signals, head_start, task_status)
    finally:
        os.close(lock)


async def _serve_locked(
    options: Options,
    signals: bool,
    head_start: HeadStart | None,
    task_status: trio.TaskStatus[Supervisor],
) -> None:
    places = options.places
    ensure_private_directory(places.runtime)  # the one before us may have taken it along
    log = Log(places.log)
    begun = HeadStart() if head_start is None else head_start
    token = begun.token(places)
    opened = ExitStack()
    try:
        journal = opened.enter_context(_journal(options))
    except BaseException:
        begun.undo(places)
        raise
    with opened, closing(Audit(places.audit, log)) as audit:
        table = journal.fold
        table.forget_unjournaled()
        registry = ScopeRegistry(
            places.places.registry,
            on_record=partial(leases_on_record, places.places, places),
        )

        def after_an_act() -> None:
            reclaimed = registry.take_reclaimed()
            audited.reclaimed_from_the_dead(audit, reclaimed)
            end_after_leases(registry, places.places, reclaimed, log)

        worker = RegistryWorker(registry, after=after_an_act)
        launcher = LauncherLink(options, token, log, begun)
        async with trio.open_nursery() as base:
            await base.start(worker.run)
            await base.start(launcher.run)
            async with trio.open_nursery() as pods:
                supervisor = Supervisor(
                    options=options,
                    token=token,
                    journal=journal,
                    table=table,
                    registry=registry,
                    registry_worker=worker,
                    launcher=launcher,
                    identity=identify(os.getpid()),
                    nursery=pods,
                    log=log,
                    audit=audit,
                )
                await adopt_pods(supervisor)
                supervisor.bounded_logs.add("", places.log)
                pods.start_soon(supervisor.bounded_logs.run)
                pods.start_soon(keep_guardians, supervisor)
                pods.start_soon(apply_retention, supervisor)
                await _front(supervisor, signals, task_status)
                if options.stop_pods:
                    with trio.move_on_after(FAREWELL_SECONDS):
                        await stop_everything(supervisor, FAREWELL_GRACE_SECONDS)
                pods.cancel_scope.cancel()
            if not table.living():
                with trio.move_on_after(LAUNCHER_END_SECONDS):
                    await launcher.shutdown()
                shutil.rmtree(places.runtime, ignore_errors=True)
            base.cancel_scope.cancel()
    if options.ephemeral:
        _forget(places, table)


async def _front(
    supervisor: Supervisor, signals: bool, task_status: trio.TaskStatus[Supervisor]
) -> None:
    """Answer clients until it is time to leave; no connection is left afterwards."""
    listener = _listen(supervisor.places)
    try:
        async with trio.open_nursery() as front:
            if signals:
                await front.start(_leave_on_signals, supervisor)
            if supervisor.options.idle_exit_seconds is not None:
                front.start_soon(_leave_when_idle, supervisor, supervisor.options.idle_exit_seconds)
            await front.start(_accept, supervisor, listener)
            task_status.started(supervisor)
            await supervisor.leaving.wait()
            # Nobody finds us any more; what is under way is cancelled, and rolls itself back.
            _unlink(supervisor.places.socket)
            front.cancel_scope.cancel()
    finally:
        _unlink(supervisor.places.socket)
        listener.close()


async def _accept(
    supervisor: Supervisor,
    listener: socket.socket,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    authenticate = authenticator(supervisor)
    handlers = {name: _handler(supervisor, name, method) for name, method in HANDLERS.items()}

    async def one(stream: UnixStream) -> None:
        supervisor.connections += 1
        supervisor.touch()
        try:
            await serve_connection(
                stream,
                SUPERVISOR_API,
                authenticate=authenticate,
                handlers=handlers,
                log=supervisor.log,
                refused=partial(audited.refused, supervisor),
            )
        finally:
            supervisor.connections -= 1
            supervisor.touch()

    await serve_unix(listener, one, log=supervisor.log, task_status=task_status)


def _handler(
    supervisor: Supervisor, name: str, method: Callable[[Supervisor, Caller, Any], Any]
) -> Handler:
    def handle(session: Session, message: Any) -> Any:
        check_caller(supervisor, session.caller)
        return method(supervisor, session.caller, message)

    async def act(session: Session, message: Any) -> Any:
        check_caller(supervisor, session.caller)
        answer = method(supervisor, session.caller, message)
        if isawaitable(answer):
            answer = await answer
        audited.allowed(supervisor, session, name, message, answer)
        return answer

    return act if name in audited.ACTS else handle


async def _leave_on_signals(
    supervisor: Supervisor, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        task_status.started()
        async for _ in received:
            supervisor.leaving.set()


async def _leave_when_idle(supervisor: Supervisor, seconds: float) -> None:
    while True:
        activity = supervisor.activity
        if supervisor.connections or supervisor.pods:
            await activity.wait()
            continue
        with trio.move_on_after(seconds) as patience:
            await activity.wait()
        if patience.cancelled_caught:
            supervisor.leaving.set()
            return


async def _take_life_lock(places: SupervisorPlaces) -> int:
    """Hold the lock for life. The file is never unlinked while others may wait for it."""
    descriptor = os.open(places.life_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with trio.move_on_after(LIFE_LOCK_SECONDS):
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await trio.sleep(LOCK_RETRY_SECONDS)
                else:
                    return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    raise StartFailed(
        f"cannot start the supervisor {places.name}: another one lives (it holds "
        f"{places.life_lock}); use that one, or choose another name",
        step="lock",
        detail=places.life_lock,
    )


@contextmanager
def _journal(options: Options) -> Generator[JournalWriter[PodTable]]:
    places = options.places
    directory = f"{places.state}/journal"
    try:
        journal = JournalWriter[PodTable].open_with(
            PodTable(),
            directory,
            clock=options.clock,
            retention=JOURNAL_RETENTION,
            snapshot_bytes=JOURNAL_SNAPSHOT_BYTES,
        )
    except PodRunning as error:
        # Its life lock lies in its runtime directory, and was free: that one has another.
        raise StartFailed(
            f"cannot start the supervisor {places.name}: process {error.data['holder']} is one of "
            f"that name with the same state directory {places.places.state} and another runtime "
            f"directory than {places.places.runtime}; set PODS_RUNTIME_DIR to that one's, give "
            "this one another name by --supervisor, or set PODS_STATE_DIR to another directory",
            step="journal",
            detail=directory,
        ) from error
    except OSError as error:
        raise StorageFailed(
            f"cannot open the supervisor's journal in {directory}: {error.strerror}; check its "
            "disk",
            path=directory,
            errno=error.errno,
        ) from error
    try:
        yield journal
    finally:
        journal.close()


def _listen(places: SupervisorPlaces) -> socket.socket:
    # We hold the life lock, so whatever lies at the path is dead.
    _unlink(places.socket)
    return bind_unix(places.socket)


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _forget(places: SupervisorPlaces, table: PodTable) -> None:
    """Take an ephemeral supervisor's last traces: nobody could ever ask for them by its name."""
    for record in table:
        if not record.living:
            shutil.rmtree(places.places.pod_state(record.id), ignore_errors=True)
    if not table.living():
        shutil.rmtree(places.state, ignore_errors=True)
        _unlink(places.life_lock)  # its name is this process's alone: nobody waits for it


@contextmanager
def _plain_errors() -> Generator[None]:
    """Let a failure that nurseries wrapped come out as it was."""
    try:
        yield
    except BaseExceptionGroup as group:
        alone = _only_one(group)
        if alone is group:
            raise
        raise alone from alone.__cause__


def _only_one(group: BaseException) -> BaseException:
    """The one exception in a group of groups of one; the group, where there are several."""
    error = group
    while isinstance(error, BaseExceptionGroup):
        inside = list(cast("BaseExceptionGroup[BaseException]", error).exceptions)
        if len(inside) > 1:
            return group
        error = inside[0]
    return error
