"""A pod's processes are brought up: lease, directories, launch, greeting, first message.

Owns the way from a name that is taken to a pod that has answered, the same for the first life of a
pod and for every later one. Writes nothing into the supervisor's journal and takes nothing back
where it fails: whoever calls it knows what there was before. Called by spawn, restart and restore.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import trio
from attrs import field, frozen

from pods.keeper.main import STDERR_LOG
from pods.keeper.record import FILE_NAME as EXIT_RECORD
from pods.keeper.record import read_record
from pods.lifecycle import Trigger
from pods.paths import ENVIRONMENT_NAME, GUARD_NAME, POLLED_NAME, SECRETS_NAME
from pods.records.record import PodRecord
from pods.scope.leases import LEASE_PENDING_SECONDS, Lease
from pods.scope.table import Table
from pods.supervisor.acts import describe_exit
from pods.supervisor.core import Supervisor
from pods.supervisor.lending import tell_lent
from pods.supervisor.live import LivePod
from pods.supervisor.records import (
    MAX_ERROR_TAIL_BYTES,
    error_tail,
    last_traceback,
    write_environment,
    write_secrets,
    write_token,
)
from pods.supervisor.redaction import hide, longest
from pods_protocol.bounds import HELLO_SECONDS
from pods_protocol.errors import AgentError, NotConnected, PodsError, StartFailed, TimedOut
from pods_protocol.pod_messages import Run, RunResult
from pods_protocol.process_messages import PodSpec, Revival
from pods_protocol.values import Doors, Limits, ScopeGrant

T = TypeVar("T")

MAX_COMPARED_CHARACTERS: Final = 100
"""Of an error's detail, to find its traceback by: the rest may be cut off."""

WITNESS_SECONDS: Final = 1.0
"""How long a failed start waits for the keeper's word on why."""


@frozen(kw_only=True)
class Start:
    """What a pod's processes are started with.

    Attributes:
        parent, parent_id: the parent's name and id, or None for a pod that a person asked for.
        grant: its canonical rules; the registry adds what its ancestors deny.
        doors: what else is open to it.
        env: the values of its variables; they go nowhere but to the pod.
        prompt, sender: the first message, where there is one, and whom it is from.
        revival: why there is another process; None for the pod's first.
        agent, options, cwd, limits, python, call_back, require_enforcement: as in `SpawnPod`.
        verb: what is done to the pod, for errors.
    """

    parent: str | None
    parent_id: str | None
    grant: ScopeGrant
    doors: Doors
    agent: str
    options: dict[str, Any]
    cwd: str
    limits: Limits
    python: str | None
    call_back: bool
    require_enforcement: bool
    env: Mapping[str, str] = field(repr=False)
    prompt: str | None = None
    sender: str = ""
    revival: Revival | None = None
    verb: str = "spawn"

    @classmethod
    def of_record(
        cls,
        supervisor: Supervisor,
        record: PodRecord,
        *,
        env: Mapping[str, str],
        revival: Revival,
        verb: str,
        prompt: str | None = None,
        sender: str = "",
    ) -> Start:
        """What a pod is started with once more."""
        parent = None if record.parent_id is None else supervisor.table.get(record.parent_id)
        return cls(
            parent=None if parent is None else parent.name,
            parent_id=record.parent_id,
            grant=record.grant,
            doors=record.doors,
            agent=record.agent,
            options=record.options,
            cwd=record.cwd,
            limits=record.limits,
            python=record.python,
            call_back=record.call_back,
            require_enforcement=record.require_enforcement,
            env=env,
            prompt=prompt,
            sender=sender,
            revival=revival,
            verb=verb,
        )


@frozen(kw_only=True)
class Taken:
    """A pending lease: what adopts it, and its rules with what the ancestors deny."""

    nonce: str
    grant: ScopeGrant


async def bring_up(
    supervisor: Supervisor, live: LivePod, start: Start, taken: Taken | None = None
) -> RunResult | None:
    """Take the lease, launch and greet; returns the fate of the first message.

    Args:
        supervisor, live, start: who brings up what, and as what.
        taken: the lease, where it was taken before.

    Raises:
        ScopeConflict, ScopeNotDelegable: the lease is refused.
        StartFailed, PodsError: the pod did not come up; what there is of it is the caller's to end.
    """
    places = supervisor.places
    if taken is None:
        taken = await take_lease(supervisor, live, start)
    nonce = taken.nonce
    life, _ = supervisor.move(live.id, Trigger.LEASE_TAKEN)
    supervisor.table.set_life(live.id, life)
    if start.revival is None:
        os.mkdir(live.directory, 0o700)
    else:
        _clear_directories(supervisor, live)
    _fill_runtime_directory(supervisor, live, start.env)
    live.launch_asked = True
    launched = await supervisor.launcher.launch(_spec(supervisor, live, start, taken.grant))
    keeper, live.launcher = launched.keeper, launched.guardian
    live.hold_keeper(supervisor.nursery, keeper, places.keeper_socket(live.id), supervisor.token)

    def adopt(table: Table) -> tuple[Table, None]:
        return table.adopt(live.id, nonce, keeper, launched.guardian), None

    async def take_over() -> None:
        await supervisor.registry_worker.submit(adopt)

    async def greet_pod() -> RunResult | None:
        await live.connect_pod(supervisor.nursery, places.pod_socket(live.id))
        if start.prompt is None or live.pod is None:
            return None
        return await live.pod.request(
            Run(input=start.prompt, sender=start.sender), timeout_seconds=HELLO_SECONDS
        )

    try:
        return await beside((take_over,), greet_pod)
    except (NotConnected, TimedOut) as error:
        raise await _start_failed(live, error, start) from error
    except AgentError as error:
        # No cause: its words are the pod's, as they came.
        raise _with_traceback(supervisor, live, error, start.env.values()) from None


def _with_traceback(
    supervisor: Supervisor, live: LivePod, error: AgentError, hidden: Collection[str]
) -> AgentError:
    """The error with where its traceback is: the pod's own log goes with a spawn that failed.

    Args:
        supervisor, live, error: whose, which pod's, and what it answered.
        hidden: the values of its variables, which its agent may have put into its words.
    """
    detail = str(error.data.get("detail", ""))
    shown = hide(detail, hidden)
    # First the detail by itself: a value that was cut off is known by what it ends with.
    words = hide(error.message.replace(detail, shown) if detail else error.message, hidden)
    data = {**error.data, "detail": shown}
    written = last_traceback(f"{live.directory}/{STDERR_LOG}")
    if not detail or detail[:MAX_COMPARED_CHARACTERS] not in written:
        return AgentError(words, **data)  # it is our own sentence, and all there is to say
    supervisor.log(f"the agent of pod {live.name} cannot be loaded:\n{hide(written, hidden)}")
    return AgentError(f"{words}; its traceback is in {supervisor.places.log}", **data)


async def take_lease(
    supervisor: Supervisor, live: LivePod, start: Start, *, pause_seconds: float = 0.0
) -> Taken:
    """Take the pod's lease, pending; one that it still holds is kept for its next process.

    Args:
        supervisor, live, start: for whom.
        pause_seconds: how long it will be before the launch.

    Raises:
        ScopeConflict, ScopeNotDelegable: it is refused.
        TimedOut, StorageFailed: the registry cannot be used.
    """
    nonce = secrets.token_hex(8)
    lease = Lease(
        pod_id=live.id,
        name=live.name,
        supervisor=supervisor.places.name,
        parent_id=start.parent_id,
        grant=start.grant,
        holder=None,
        pending_nonce=nonce,
        pending_deadline=supervisor.options.clock() + pause_seconds + LEASE_PENDING_SECONDS,
        spawner=supervisor.identity,
    )

    # Looked up here: what is submitted runs in a thread, beside which the table changes.
    below: list[str] = []
    above: list[tuple[str, ScopeGrant]] = []
    if start.revival is not None:
        below = [one.id for one in supervisor.table.descendants(live.id) if one.living]
        ancestors = map(supervisor.table.get, supervisor.table.ancestors(live.id))
        above = [(one.id, one.grant) for one in ancestors if one is not None]

    def lend(table: Table) -> tuple[Table, Lease]:
        lent = table.lend(lease) if start.revival is None else table.retake(lease, below, above)
        return lent, lent.leases[live.id]

    def give_back(table: Table) -> tuple[Table, None]:
        return table.release(live.id), None

    # What the registry stored: the ancestors' denies are in it. A lease that was held before is the
    # pod's also where the task that takes it again is cancelled.
    undo = give_back if start.revival is None else None
    lent = await supervisor.registry_worker.submit(lend, undo=undo)
    tell_lent(supervisor, (lent.parent_id, live.id) if below else (lent.parent_id,))
    return Taken(nonce=nonce, grant=lent.grant)


async def _start_failed(live: LivePod, error: PodsError, start: Start) -> StartFailed:
    """Say why a pod that was launched does not answer, as far as its keeper knows."""
    if live.keeper is not None and isinstance(error, NotConnected):
        with trio.move_on_after(WITNESS_SECONDS):
            await live.keeper.closed.wait()
    seen = read_record(live.directory)
    why = error.message if seen is None else describe_exit(seen)
    hidden = start.env.values()
    # So much more that a value in the end of it is there as a whole.
    limit_bytes = MAX_ERROR_TAIL_BYTES + longest(hidden)
    said = hide(error_tail(f"{live.directory}/{STDERR_LOG}", limit_bytes), hidden)
    said = said[-MAX_ERROR_TAIL_BYTES:]
    return StartFailed(
        f"cannot {start.verb} pod {live.name}: it was launched and did not come up: {why}; "
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


def _clear_directories(supervisor: Supervisor, live: LivePod) -> None:
    """Take away what an earlier process left and this one's would be mistaken for."""
    places = supervisor.places
    runtime = places.pod_runtime(live.id)
    for path in (
        f"{live.directory}/{EXIT_RECORD}",
        f"{runtime}/{SECRETS_NAME}",
        f"{runtime}/{GUARD_NAME}",
        f"{runtime}/{POLLED_NAME}",
        places.pod_socket(live.id),
        places.keeper_socket(live.id),
    ):
        with suppress(FileNotFoundError):
            os.unlink(path)


def _fill_runtime_directory(supervisor: Supervisor, live: LivePod, env: Mapping[str, str]) -> None:
    """The pod's runtime directory and its secrets; the launcher makes the rest in it."""
    runtime = supervisor.places.pod_runtime(live.id)
    with suppress(FileExistsError):  # a pod that is started again has it
        os.mkdir(runtime, 0o700)
    write_token(supervisor.places.pod_token(live.id), live.token)
    write_secrets(f"{runtime}/{SECRETS_NAME}", live.token, env)
    if live.env:
        write_environment(f"{runtime}/{ENVIRONMENT_NAME}", live.env)


def _spec(supervisor: Supervisor, live: LivePod, start: Start, grant: ScopeGrant) -> PodSpec:
    places, wall = supervisor.places, start.limits.wall_seconds
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
        doors=start.doors,
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
        revival=start.revival,
        wall_until=None if wall is None else supervisor.known(live.id).created + wall,
    )
