"""A pod's processes are brought up: lease, directories, launch, greeting, first message.

Owns the way from a name that is taken to a pod that has answered, the same for the first life of a
pod and for every later one. Writes nothing into the supervisor's journal and takes nothing back
where it fails: whoever calls it knows what there was before. Called by spawn, restart and restore.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import trio
from attrs import field, frozen

from pods.keeper.main import STDERR_LOG
from pods.keeper.record import read_record
from pods.lifecycle import Trigger
from pods.paths import SECRETS_NAME
from pods.scope.rules import Lease, Table
from pods.supervisor.acts import describe_exit
from pods.supervisor.core import Supervisor
from pods.supervisor.live import LivePod
from pods.supervisor.records import error_tail, write_secrets, write_token
from pods_protocol.bounds import HELLO_SECONDS
from pods_protocol.errors import NotConnected, PodsError, StartFailed, TimedOut
from pods_protocol.pod_messages import Run, RunResult
from pods_protocol.process_messages import PodSpec
from pods_protocol.values import Limits, ScopeGrant

T = TypeVar("T")

LEASE_PENDING_SECONDS: Final = 60.0
"""A lease whose pod never came up is reclaimed after this, whatever became of us: longer than any
start that succeeds."""

WITNESS_SECONDS: Final = 1.0
"""How long a failed start waits for the keeper's word on why."""


@frozen(kw_only=True)
class Start:
    """What a pod's processes are started with.

    Attributes:
        parent, parent_id: the parent's name and id, or None for a pod that a person asked for.
        grant: its canonical rules; the registry adds what its ancestors deny.
        env: the values of its variables; they go nowhere but to the pod.
        prompt: the first message, where there is one.
        agent, options, cwd, limits, python, call_back, require_enforcement: as in `SpawnPod`.
        verb: what is done to the pod, for errors.
    """

    parent: str | None
    parent_id: str | None
    grant: ScopeGrant
    agent: str
    options: dict[str, Any]
    cwd: str
    limits: Limits
    python: str | None
    call_back: bool
    require_enforcement: bool
    env: Mapping[str, str] = field(repr=False)
    prompt: str | None = None
    verb: str = "spawn"


async def bring_up(supervisor: Supervisor, live: LivePod, start: Start) -> RunResult | None:
    """Take the lease, launch and greet; returns the fate of the first message.

    Raises:
        ScopeConflict, ScopeNotDelegable: the lease is refused.
        StartFailed, PodsError: the pod did not come up; what there is of it is the caller's to end.
    """
    places = supervisor.places
    nonce = secrets.token_hex(8)
    grant = await _take_lease(supervisor, live, start, nonce)
    life, _ = supervisor.move(live.id, Trigger.LEASE_TAKEN)
    supervisor.table.set_life(live.id, life)
    _make_directories(supervisor, live, start.env)
    live.launch_asked = True
    launched = await supervisor.launcher.launch(_spec(supervisor, live, start, grant))
    keeper = launched.keeper
    live.hold_keeper(supervisor.nursery, keeper, places.keeper_socket(live.id), supervisor.token)

    def adopt(table: Table) -> tuple[Table, None]:
        return table.adopt(live.id, nonce, keeper, launched.guardian), None

    async def take_over() -> None:
        await supervisor.registry_worker.submit(adopt)

    async def greet_pod() -> RunResult | None:
        await live.connect_pod(supervisor.nursery, places.pod_socket(live.id))
        if start.prompt is None or live.pod is None:
            return None
        return await live.pod.request(Run(input=start.prompt), timeout_seconds=HELLO_SECONDS)

    try:
        return await beside((take_over,), greet_pod)
    except (NotConnected, TimedOut) as error:
        raise await _start_failed(live, error, start.verb) from error


async def _take_lease(
    supervisor: Supervisor, live: LivePod, start: Start, nonce: str
) -> ScopeGrant:
    """Take the lease, pending; returns what the registry stored: the ancestors' denies are in."""
    lease = Lease(
        pod_id=live.id,
        name=live.name,
        supervisor=supervisor.places.name,
        parent_id=start.parent_id,
        grant=start.grant,
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

    return await supervisor.registry_worker.submit(lend, undo=give_back)


async def _start_failed(live: LivePod, error: PodsError, verb: str) -> StartFailed:
    """Say why a pod that was launched does not answer, as far as its keeper knows."""
    if live.keeper is not None and isinstance(error, NotConnected):
        with trio.move_on_after(WITNESS_SECONDS):
            await live.keeper.closed.wait()
    seen = read_record(live.directory)
    why = error.message if seen is None else describe_exit(seen)
    said = error_tail(f"{live.directory}/{STDERR_LOG}")
    return StartFailed(
        f"cannot {verb} pod {live.name}: it was launched and did not come up: {why}; "
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


def _make_directories(supervisor: Supervisor, live: LivePod, env: Mapping[str, str]) -> None:
    """The pod's own two directories and its secrets; the launcher makes the rest in them."""
    os.mkdir(live.directory, 0o700)
    os.mkdir(supervisor.places.pod_runtime(live.id), 0o700)
    write_token(supervisor.places.pod_token(live.id), live.token)
    secrets_path = f"{supervisor.places.pod_runtime(live.id)}/{SECRETS_NAME}"
    write_secrets(secrets_path, live.token, env)


def _spec(supervisor: Supervisor, live: LivePod, start: Start, grant: ScopeGrant) -> PodSpec:
    places = supervisor.places
    return PodSpec(
        id=live.id,
        name=live.name,
        agent=start.agent,
        options=start.options,
        parent=start.parent,
        cwd=start.cwd,
        # Token and variables lie in the pod's own file: nothing secret goes through the launcher.
        limits=start.limits,
        grant=grant,
        python=start.python,
        call_back=start.call_back,
        supervisor=places.name,
        supervisor_socket=places.socket,
        pod_socket=places.pod_socket(live.id),
        keeper_socket=places.keeper_socket(live.id),
        state_directory=live.directory,
        runtime_directory=places.pod_runtime(live.id),
        token="",
        owner_digest=supervisor.owner_digest,
        enforce="required" if start.require_enforcement else "available",
        settings=supervisor.options.config.for_pods,
    )
