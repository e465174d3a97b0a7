"""`spawn`: a new pod, or nothing at all.

Owns the way from a request to a pod that has answered and accepted its first message: check all,
reserve name and id, take the lease, launch, greet, run. A failure or a cancellation at any point
rolls back under a shield: no process, no directory, no lease, no row. The spawn is a task of its
asker's connection: an asker that goes away before the answer gets no pod.
"""

from __future__ import annotations

import os
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import trio

from pods.keeper.confined import read_enforcement
from pods.keeper.main import STDERR_LOG
from pods.keeper.record import read_record
from pods.lifecycle import POD_RESERVED, Life, PodRecord, Trigger, reserved_data
from pods.paths import SECRETS_NAME
from pods.scope.rules import Lease, Table
from pods.supervisor.acts import Facts, describe_exit, perform
from pods.supervisor.authority import Caller, check_caller
from pods.supervisor.core import Supervisor
from pods.supervisor.enforcement import enforcement_of, require_enforcement
from pods.supervisor.info import capacity, pod_info
from pods.supervisor.live import LivePod
from pods.supervisor.plan import Plan, make_plan
from pods.supervisor.records import error_tail, write_secrets, write_token
from pods.supervisor.remove import remove_record
from pods.supervisor.watch import watch
from pods_protocol.bounds import HELLO_SECONDS
from pods_protocol.errors import NotConnected, PodsError, StartFailed, TimedOut
from pods_protocol.pod_messages import Run, RunResult
from pods_protocol.process_messages import PodSpec
from pods_protocol.supervisor_messages import SpawnPod, SpawnPodResult
from pods_protocol.values import ScopeGrant

T = TypeVar("T")

ROLLBACK_SECONDS: Final = 20.0
"""A roll back is a kill and a locked write; past this the disk or the lock is stuck, and the next
supervisor finds the reservation in the journal and rolls it back."""

LEASE_PENDING_SECONDS: Final = 60.0
"""A lease whose pod never came up is reclaimed after this, whatever became of us: longer than any
start that succeeds."""

WITNESS_SECONDS: Final = 1.0
"""How long a failed start waits for the keeper's word on why."""


async def spawn(supervisor: Supervisor, caller: Caller, request: SpawnPod) -> SpawnPodResult:
    """Start a pod.

    Raises:
        PodsError: as `SpawnPod` lists them; nothing is left behind.
    """
    await _caller_started(supervisor, caller)
    if request.message_id is None:
        return await _spawn(supervisor, caller, request)
    key = (caller.pod_id, request.message_id)
    while True:
        known = supervisor.table.spawned_by_message(*key)
        if known is not None and known.life not in (Life.RESERVED, Life.LAUNCHING):
            return _answer(supervisor, caller, known)
        under_way = supervisor.spawns_under_way.get(key)
        if under_way is None:
            break
        await under_way.wait()
    done = supervisor.spawns_under_way[key] = trio.Event()
    try:
        return await _spawn(supervisor, caller, request)
    finally:
        del supervisor.spawns_under_way[key]
        done.set()


async def _caller_started(supervisor: Supervisor, caller: Caller) -> None:
    """A pod's first turn may ask for children before its own spawn is over: that comes first."""
    live = None if caller.pod_id is None else supervisor.pods.get(caller.pod_id)
    if live is not None:
        await live.started.wait()
        check_caller(supervisor, caller)


async def _spawn(supervisor: Supervisor, caller: Caller, request: SpawnPod) -> SpawnPodResult:
    if supervisor.closed_to_spawns:
        raise StartFailed(
            f"cannot spawn pod {request.name}: the supervisor is ending; ask again, and a new one "
            "is started",
            step="closing",
            detail="",
        )
    plan = make_plan(supervisor, caller, request)
    if request.require_enforcement:
        await require_enforcement(supervisor, request.name, plan.grant, request.python)
        plan = make_plan(supervisor, caller, request)  # others were served meanwhile
    pod_id = secrets.token_hex(6)
    supervisor.record(
        POD_RESERVED,
        reserved_data(
            request,
            pod_id=pod_id,
            parent_id=caller.pod_id,
            grant=plan.grant,
            cwd=plan.cwd,
            on_parent_exit=plan.on_parent_exit,
            replaces=plan.replaces,
        ),
    )
    live = supervisor.add_live(pod_id, request.name, secrets.token_hex(32))
    try:
        with trio.CancelScope() as live.spawning:
            message = await _bring_up(supervisor, live, plan, request)
            await trio.lowlevel.checkpoint_if_cancelled()  # the last chance to have never been
            await _finish(supervisor, live, plan, message)
            return _answer(supervisor, caller, supervisor.known(pod_id))
        raise StartFailed(
            f"cannot spawn pod {request.name}: it was stopped while it started; spawn it again",
            step="stopped",
            detail="",
        )
    except BaseException as error:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + ROLLBACK_SECONDS):
            await _roll_back(supervisor, live, error)
        raise
    finally:
        live.spawning = None
        live.started.set()


async def _bring_up(
    supervisor: Supervisor, live: LivePod, plan: Plan, request: SpawnPod
) -> RunResult | None:
    places = supervisor.places
    nonce = secrets.token_hex(8)
    lease = Lease(
        pod_id=live.id,
        name=live.name,
        supervisor=places.name,
        parent_id=plan.parent_id,
        grant=plan.grant,
        holder=None,
        pending_nonce=nonce,
        pending_deadline=time.time() + LEASE_PENDING_SECONDS,
        spawner=supervisor.identity,
    )

    def lend(table: Table) -> tuple[Table, ScopeGrant]:
        lent = table.lend(lease)
        return lent, lent.leases[live.id].grant

    def give_back(table: Table) -> tuple[Table, None]:
        return table.release(live.id), None

    # What the registry stored: the ancestors' denies are in it.
    grant = await supervisor.registry_worker.submit(lend, undo=give_back)
    life, _ = supervisor.move(live.id, Trigger.LEASE_TAKEN)
    supervisor.table.set_life(live.id, life)
    _make_directories(supervisor, live, request)
    live.launch_asked = True
    launched = await supervisor.launcher.launch(_spec(supervisor, live, plan, request, grant))
    keeper = launched.keeper
    live.hold_keeper(supervisor.nursery, keeper, places.keeper_socket(live.id), supervisor.token)

    def adopt(table: Table) -> tuple[Table, None]:
        return table.adopt(live.id, nonce, keeper), None

    async def take_over() -> None:
        await supervisor.registry_worker.submit(adopt)

    async def greet_pod() -> RunResult | None:
        await live.connect_pod(supervisor.nursery, places.pod_socket(live.id))
        if request.prompt is None or live.pod is None:
            return None
        return await live.pod.request(Run(input=request.prompt), timeout_seconds=HELLO_SECONDS)

    try:
        return await beside((take_over,), greet_pod)
    except (NotConnected, TimedOut) as error:
        raise await _start_failed(live, error) from error


async def _start_failed(live: LivePod, error: PodsError) -> StartFailed:
    """Say why a pod that was launched does not answer, as far as its keeper knows."""
    if live.keeper is not None and isinstance(error, NotConnected):
        with trio.move_on_after(WITNESS_SECONDS):
            await live.keeper.closed.wait()
    seen = read_record(live.directory)
    why = error.message if seen is None else describe_exit(seen)
    said = error_tail(f"{live.directory}/{STDERR_LOG}")
    return StartFailed(
        f"cannot spawn pod {live.name}: it was launched and did not come up: {why}; "
        + (f"it wrote: {said}" if said else "it wrote nothing; check its agent and cwd"),
        step="hello",
        detail=said or why,
    )


async def beside(
    others: Sequence[Callable[[], Awaitable[None]]], main: Callable[[], Awaitable[T]]
) -> T:
    """Run things at once; the first failure cancels the rest and comes out as it is."""
    failures: list[Exception] = []
    results: list[T] = []
    async with trio.open_nursery() as nursery:

        async def guarded(act: Callable[[], Awaitable[None]]) -> None:
            try:
                await act()
            except Exception as error:
                failures.append(error)
                nursery.cancel_scope.cancel()

        async def keep_result() -> None:
            results.append(await main())

        for other in others:
            nursery.start_soon(guarded, other)
        await guarded(keep_result)
    if failures:
        raise failures[0]
    return results[0]


async def _finish(
    supervisor: Supervisor, live: LivePod, plan: Plan, message: RunResult | None
) -> None:
    """The pod has come up: write it down, hold it. No checkpoint from here to the answer."""
    assert live.pod_pid is not None, "it has said hello"
    facts = Facts(
        message=message,
        pid=live.pod_pid,
        enforcement=read_enforcement(live.directory),  # its process wrote it before it answered
    )
    await perform(supervisor, live.id, Trigger.ACCEPTED, facts)
    replaced = None if plan.replaces is None else supervisor.table.get(plan.replaces)
    if replaced is not None:
        supervisor.nursery.start_soon(remove_record, supervisor, replaced)
    supervisor.nursery.start_soon(watch, supervisor, live)


async def _roll_back(supervisor: Supervisor, live: LivePod, error: BaseException) -> None:
    code = error.CODE if isinstance(error, PodsError) else type(error).__name__
    try:
        await perform(supervisor, live.id, Trigger.SPAWN_FAILED, Facts(error=code))
    except Exception:
        supervisor.log(f"cannot roll back pod {live.name}:\n{traceback.format_exc()}")
    finally:
        supervisor.drop_live(live)
        live.ended.set()
        live.changed()


def _answer(supervisor: Supervisor, caller: Caller, record: PodRecord) -> SpawnPodResult:
    live = supervisor.pods.get(record.id)
    return SpawnPodResult(
        pod=pod_info(supervisor, record, caller.reader),
        socket=supervisor.places.pod_socket(record.id),
        token="" if live is None else live.token,
        message=record.message,
        enforcement=enforcement_of(record),
        capacity=capacity(supervisor, caller),
    )


def _make_directories(supervisor: Supervisor, live: LivePod, request: SpawnPod) -> None:
    """The pod's own two directories and its secrets; the launcher makes the rest in them."""
    os.mkdir(live.directory, 0o700)
    os.mkdir(supervisor.places.pod_runtime(live.id), 0o700)
    write_token(supervisor.places.pod_token(live.id), live.token)
    secrets_path = f"{supervisor.places.pod_runtime(live.id)}/{SECRETS_NAME}"
    write_secrets(secrets_path, live.token, request.env)


def _spec(
    supervisor: Supervisor, live: LivePod, plan: Plan, request: SpawnPod, grant: ScopeGrant
) -> PodSpec:
    places = supervisor.places
    return PodSpec(
        id=live.id,
        name=live.name,
        agent=request.agent,
        options=request.options,
        parent=plan.parent,
        cwd=plan.cwd,
        # Token and variables lie in the pod's own file: nothing secret goes through the launcher.
        limits=request.limits,
        grant=grant,
        python=request.python,
        call_back=request.call_back,
        supervisor=places.name,
        supervisor_socket=places.socket,
        pod_socket=places.pod_socket(live.id),
        keeper_socket=places.keeper_socket(live.id),
        state_directory=live.directory,
        runtime_directory=places.pod_runtime(live.id),
        token="",
        owner_digest=supervisor.owner_digest,
        enforce="required" if request.require_enforcement else "available",
    )
