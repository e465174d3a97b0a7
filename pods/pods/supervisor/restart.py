"""A pod that died unasked: judged by its policy, and started again.

Owns the way from a tree that is gone to a pod that answers once more on the same id, name, journal,
token, lease and sockets, or to the facts of its burial. When and how often is `pods.restarts`; what
is on record is `pods.records`. Called by `watch` and by adoption; a stop cancels it through
`LivePod.restarting`.
"""

from __future__ import annotations

import random
import traceback
from typing import Final, assert_never

import trio
from attrs import evolve

from pods.keeper.confined import read_enforcement
from pods.keeper.record import read_record
from pods.lifecycle import Life, Trigger
from pods.paths import ENVIRONMENT_NAME
from pods.records.record import PodRecord
from pods.restarts import LONGEST_PAUSE_SECONDS, Again, NoMore, after_crash
from pods.scope.leases import LEASE_PENDING_SECONDS
from pods.scope.table import Table
from pods.supervisor import audited
from pods.supervisor.acts import LOST, Facts, describe_exit, perform
from pods.supervisor.bring_up import Start, bring_up, take_lease
from pods.supervisor.core import Supervisor
from pods.supervisor.kill import kill_tree
from pods.supervisor.live import LivePod
from pods.supervisor.records import read_environment
from pods_protocol.errors import (
    InternalError,
    NotAuthorized,
    PodsError,
    ScopeConflict,
    ScopeNotDelegable,
    StorageFailed,
)
from pods_protocol.process_messages import Revival
from pods_protocol.values import ExitRecord

STORAGE_RETRY_SECONDS: Final = 0.5
"""Between attempts to write down that a pod crashed, to a disk that refuses: unwritten, the next
supervisor would not know how many restarts there have been."""

GONE_RETRY_SECONDS: Final = 20.0
"""Between attempts to end what does not go: each takes ten seconds more, and with both a pending
lease is put off twice in its time."""


async def came_down(
    supervisor: Supervisor, live: LivePod, exit_record: ExitRecord, *, why: str = ""
) -> Facts | None:
    """Judge a pod whose tree is gone.

    Args:
        supervisor, live: whose pod, and which.
        exit_record: how its process ended.
        why: what went wrong, where that is more than the end of the process.

    Returns:
        None where it is to be started again, which is on record; else what to bury it with.
    """
    facts = Facts(exit_record=exit_record, why=why)
    never = supervisor.known(live.id).restart.when == "never"
    if never or exit_record.limit is not None or await _was_to_end(live):
        return facts
    while True:
        record = supervisor.known(live.id)
        if record.life not in (Life.RUNNING, Life.PAUSED, Life.RESTARTING):
            return facts
        now = supervisor.options.clock()
        began = None if record.life is Life.RESTARTING else record.began
        verdict = after_crash(
            record.restart,
            attempt=record.restarts.attempt,
            lived_seconds=0.0 if began is None else now - began,
            chance=random.random(),
        )
        match verdict:
            case NoMore(reason):
                return evolve(facts, give_up=f"not started again: {reason}")
            case Again(attempt, pause_seconds):
                crash = evolve(
                    facts,
                    attempt=attempt,
                    due=now + pause_seconds,
                    why=why or describe_exit(exit_record),
                )
            case _:
                assert_never(verdict)
        try:
            await perform(supervisor, live.id, Trigger.CRASHED, crash)
        except StorageFailed as error:
            supervisor.log(f"cannot write that pod {live.name} crashed: {error.message}")
            await trio.sleep(STORAGE_RETRY_SECONDS)
            continue
        live.changed()
        return None


async def _was_to_end(live: LivePod) -> bool:
    """Whether its journal says that it was asked to stop, by a signal, say, or crossed a limit.

    Another life of one that crossed a limit would be over it again.
    """
    try:
        await live.catch_up()
    except PodsError:
        return False  # damaged: its next process says so, and the attempts are bounded
    return live.fold.ended == "stopped" or live.fold.limit is not None


async def start_again(supervisor: Supervisor, live: LivePod) -> Facts | None:
    """Start a pod again until it runs, or until its policy or a stop says no more.

    Returns:
        None where it runs; else what to bury it with: nothing of it is left then.
    """
    taken_again = False
    while True:
        record = supervisor.known(live.id)
        if record.life is not Life.RESTARTING:  # it was stopped in between
            return Facts(exit_record=record.exit or LOST)
        failure: PodsError | None = None
        try:
            with trio.CancelScope() as live.restarting:
                await _attempt(supervisor, live, record)
                return None
        except PodsError as error:
            failure = error
        except Exception as error:
            supervisor.log(f"cannot restart pod {live.name}:\n{traceback.format_exc()}")
            failure = InternalError(f"cannot restart pod {live.name}: {error!r}; see the log")
        finally:
            live.restarting = None
        exit_record = await end_attempt(supervisor, live, record)
        if failure is None:
            return Facts(exit_record=exit_record)
        if isinstance(failure, NotAuthorized) and not taken_again:
            # The registry lost this lease in the pause, and made another of what is on record. That
            # is no fault of the pod's.
            taken_again = True
            supervisor.log(f"{failure.message}; the scope of pod {live.name} is taken once more")
            continue
        why = f"it could not be started again: {failure.message}"
        if isinstance(failure, ScopeConflict | ScopeNotDelegable):
            # Nobody knows for how long the other one has it: a person, or its parent, decides.
            return Facts(exit_record=exit_record, why=why)
        facts = await came_down(supervisor, live, exit_record, why=why)
        if facts is not None:
            return facts


async def _attempt(supervisor: Supervisor, live: LivePod, record: PodRecord) -> None:
    again = record.restarts
    if record.env_names and not live.env:
        runtime = supervisor.places.pod_runtime(live.id)
        live.env = read_environment(f"{runtime}/{ENVIRONMENT_NAME}")
    start = Start.of_record(
        supervisor,
        record,
        env=live.env,
        revival=Revival(reason=again.reason, attempt=again.attempt),
        verb="restart",
    )
    await _clear(supervisor, live, record)
    left = (again.due or 0.0) - supervisor.options.clock()
    pause = min(max(0.0, left), LONGEST_PAUSE_SECONDS)
    taken = await take_lease(supervisor, live, start, pause_seconds=pause)
    if pause:
        await trio.sleep(pause)
    await bring_up(supervisor, live, start, taken)
    await trio.lowlevel.checkpoint_if_cancelled()  # the last chance to be stopped while it starts
    await record_running(supervisor, live)
    audited.restarted(supervisor, supervisor.known(live.id))


async def record_running(supervisor: Supervisor, live: LivePod) -> None:
    """Write down that a pod has come up once more. No checkpoint."""
    assert live.pod_pid is not None, "it has said hello"
    facts = Facts(pid=live.pod_pid, enforcement=read_enforcement(live.directory))
    await perform(supervisor, live.id, Trigger.ACCEPTED, facts)
    live.changed()


async def _clear(supervisor: Supervisor, live: LivePod, record: PodRecord) -> None:
    """Make sure that nothing of the life before is left, the launcher's memory of it included."""
    if live.launcher is not None and live.launcher == supervisor.launcher.identity:
        # An id is launched again only once its keeper was reaped.
        await supervisor.launcher.wait_ended(live.id)
    elif live.launch_asked:
        # Adopted in the middle of a start, or its launcher is gone.
        await kill_tree(supervisor, live, record)
    supervisor.launcher.forget(live.id)
    live.forget_processes()


async def end_attempt(supervisor: Supervisor, live: LivePod, record: PodRecord) -> ExitRecord:
    """End what there is of a start that failed or was stopped; returns once nothing is left.

    However long that takes: who calls has a lease to give back.
    """
    try:
        with trio.CancelScope(shield=True):
            await kill_tree(supervisor, live, record)
    except PodsError as error:
        supervisor.log(f"{error.message}; until then the pod keeps its scope")
        # Not shielded: where this supervisor ends, the next one goes on with it.
        await _outlast(supervisor, live, record)
    return read_record(live.directory) or record.exit or LOST


async def _outlast(supervisor: Supervisor, live: LivePod, record: PodRecord) -> None:
    """Kill what does not go until it is gone, and keep the lease from lapsing meanwhile."""
    while True:
        await _keep_pending(supervisor, live)
        with trio.move_on_after(GONE_RETRY_SECONDS):
            if live.keeper is None:
                await trio.sleep_forever()
            await live.keeper.closed.wait()  # it ends once nothing of the pod is left
        try:
            await kill_tree(supervisor, live, record)
        except PodsError:
            continue
        return


async def _keep_pending(supervisor: Supervisor, live: LivePod) -> None:
    """Put off the deadline of a lease that nobody has adopted."""
    deadline = supervisor.options.clock() + LEASE_PENDING_SECONDS

    def keep(table: Table) -> tuple[Table, None]:
        lease = table.leases.get(live.id)
        if lease is None or not lease.is_pending:
            return table, None
        return table.retake(evolve(lease, pending_deadline=deadline)), None

    try:
        await supervisor.registry_worker.submit(keep)
    except PodsError as error:
        supervisor.log(f"cannot keep the scope of pod {live.name}: {error.message}")
