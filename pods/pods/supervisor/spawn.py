"""`spawn`: a new pod, or nothing at all.

Owns the way from a request to a pod that has answered and accepted its first message: check all,
reserve name and id, bring up, write it down. A failure or a cancellation at any point
rolls back under a shield: no process, no directory, no lease, no row. The spawn is a task of its
asker's connection: an asker that goes away before the answer gets no pod.
"""

from __future__ import annotations

import secrets
import traceback
from typing import Final

import trio

from pods.keeper.confined import read_enforcement
from pods.lifecycle import Life, Trigger
from pods.records.events import POD_RESERVED, reserved_data
from pods.records.record import PodRecord
from pods.supervisor.acts import Facts, perform
from pods.supervisor.authority import Caller, check_caller, known_as
from pods.supervisor.bring_up import Start, bring_up
from pods.supervisor.checks import check_message_id
from pods.supervisor.core import Supervisor
from pods.supervisor.enforcement import enforcement_of, has_to_be_tried, require_enforcement
from pods.supervisor.info import capacity, pod_info
from pods.supervisor.live import LivePod
from pods.supervisor.own_use import own_use_of
from pods.supervisor.plan import Plan, make_plan
from pods.supervisor.remove import remove_record
from pods.supervisor.watch import watch
from pods_protocol.errors import Busy, PodsError, StartFailed
from pods_protocol.pod_messages import RunResult
from pods_protocol.supervisor_messages import SpawnPod, SpawnPodResult

ROLLBACK_SECONDS: Final = 20.0
"""A roll back is a kill and a locked write; past this the disk or the lock is stuck, and the next
supervisor finds the reservation in the journal and rolls it back."""

FIRST_ROLLBACK_RETRY_SECONDS: Final = 0.5
LAST_ROLLBACK_RETRY_SECONDS: Final = 60.0
"""Between attempts to roll back where the disk or a process refuses, each twice the one before."""


async def spawn(supervisor: Supervisor, caller: Caller, request: SpawnPod) -> SpawnPodResult:
    """Start a pod.

    Raises:
        PodsError: as `SpawnPod` lists them; nothing is left behind.
    """
    await _caller_started(supervisor, caller)
    if request.message_id is None:
        return await _spawn(supervisor, caller, request)
    key = (caller.pod_id, check_message_id(request.message_id))
    while True:
        known = supervisor.table.spawned_by_message(*key)
        if known is not None and known.life not in (Life.RESERVED, Life.LAUNCHING):
            return answer(supervisor, caller, known, known.message)
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


def _check_loop(supervisor: Supervisor, caller: Caller, name: str) -> None:
    """Refuse an agent that spawns in a loop; also one whose spawns all fail is in one."""
    if caller.pod_id is None:
        return
    brake = supervisor.spawn_brake
    wait = brake.take(caller.pod_id, trio.current_time())
    if wait:
        raise Busy(
            f"cannot spawn pod {name}: {supervisor.known(caller.pod_id).name} has asked for "
            f"{brake.most} pods within {brake.seconds:g} s; give work to the pods there are, or "
            f"finish it yourself; spawns are taken again in {wait:.0f} s",
            limit_name="spawns_per_minute",
            limit=brake.most,
            retry_after_seconds=round(wait, 1),
        )


async def _spawn(supervisor: Supervisor, caller: Caller, request: SpawnPod) -> SpawnPodResult:
    parents_use = await own_use_of(supervisor, caller.pod_id)
    check_caller(supervisor, caller)  # it was asked meanwhile
    if supervisor.closed_to_spawns:
        raise StartFailed(
            f"cannot spawn pod {request.name}: the supervisor is ending; ask again, and a new one "
            "is started",
            step="closing",
            detail="",
        )
    _check_loop(supervisor, caller, request.name)
    plan = make_plan(supervisor, caller, request, parents_use)
    if has_to_be_tried(plan.doors, exactly=request.require_enforcement):
        await require_enforcement(
            supervisor,
            request.name,
            plan.grant,
            request.python,
            doors=plan.doors,
            exactly=request.require_enforcement,
            parent_id=plan.parent_id,
        )
        plan = make_plan(supervisor, caller, request, parents_use)  # others were served meanwhile
    pod_id = secrets.token_hex(6)
    supervisor.record(
        POD_RESERVED,
        reserved_data(
            request,
            pod_id=pod_id,
            parent_id=caller.pod_id,
            grant=plan.grant,
            doors=plan.doors,
            limits=plan.limits,
            cwd=plan.cwd,
            on_parent_exit=plan.on_parent_exit,
            replaces=plan.replaces,
            session=plan.session,
        ),
    )
    live = supervisor.add_live(pod_id, request.name, secrets.token_hex(32))
    if request.restart.when != "never":
        live.env = request.env
    try:
        with trio.CancelScope() as live.spawning:
            message = await bring_up(
                supervisor, live, _start_of(plan, request, known_as(supervisor, caller))
            )
            await trio.lowlevel.checkpoint_if_cancelled()  # the last chance to have never been
            await _finish(supervisor, live, plan, message)
            return answer(supervisor, caller, supervisor.known(pod_id), message)
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


def _start_of(plan: Plan, request: SpawnPod, sender: str) -> Start:
    return Start(
        parent=plan.parent,
        parent_id=plan.parent_id,
        grant=plan.grant,
        doors=plan.doors,
        agent=request.agent,
        options=request.options,
        cwd=plan.cwd,
        limits=plan.limits,
        python=request.python,
        call_back=request.call_back,
        require_enforcement=request.require_enforcement,
        env=request.env,
        prompt=request.prompt,
        sender=sender,
    )


async def _finish(
    supervisor: Supervisor, live: LivePod, plan: Plan, message: RunResult | None
) -> None:
    """The pod has come up: write it down, hold it. No checkpoint from there to the answer."""
    assert live.pod_pid is not None, "it has said hello"

    def hold() -> None:
        live.spawning = None  # who stops it from here on stops a pod
        if live.fold.last_told:
            supervisor.relay.has_news(live.id)  # it was faster than its spawn
        replaced = None if plan.replaces is None else supervisor.table.get(plan.replaces)
        if replaced is not None:
            supervisor.nursery.start_soon(_remove_replaced, supervisor, replaced)
        supervisor.nursery.start_soon(watch, supervisor, live)

    facts = Facts(
        message=message,
        pid=live.pod_pid,
        enforcement=read_enforcement(live.directory),  # its process wrote it before it answered
        then=hold,
    )
    await perform(supervisor, live.id, Trigger.ACCEPTED, facts)


async def _remove_replaced(supervisor: Supervisor, replaced: PodRecord) -> None:
    """Forget the pod whose name this one has now, once its parent knows of its end.

    The new pod runs whatever becomes of the old one's files; its row stays with them.
    """
    await supervisor.relay.wait_told(replaced)
    try:
        await remove_record(supervisor, replaced)
    except PodsError as error:
        supervisor.log(f"cannot remove the pod that {replaced.name} replaced: {error.message}")


async def _roll_back(supervisor: Supervisor, live: LivePod, error: BaseException) -> None:
    code = error.CODE if isinstance(error, PodsError) else type(error).__name__
    try:
        await perform(supervisor, live.id, Trigger.SPAWN_FAILED, Facts(error=code))
    except Exception:
        supervisor.log(f"cannot roll back pod {live.name}:\n{traceback.format_exc()}")
        supervisor.nursery.start_soon(roll_back_later, supervisor, live.id, Facts(error=code))
    finally:
        supervisor.drop_live(live)
        live.ended.set()
        live.changed()


async def roll_back_later(supervisor: Supervisor, pod_id: str, facts: Facts) -> None:
    """Try until it is done: its name, its lease and its room would be taken for ever."""
    pause = FIRST_ROLLBACK_RETRY_SECONDS
    while supervisor.table.get(pod_id) is not None and pod_id not in supervisor.pods:
        await trio.sleep(pause)
        try:
            await perform(supervisor, pod_id, Trigger.SPAWN_FAILED, facts)
        except (PodsError, OSError, LookupError):  # LookupError: `doctor` was first
            pause = min(pause * 2, LAST_ROLLBACK_RETRY_SECONDS)


def answer(
    supervisor: Supervisor, caller: Caller, record: PodRecord, message: RunResult | None
) -> SpawnPodResult:
    """What the asker of a pod is told: the pod, and the way to it."""
    live = supervisor.pods.get(record.id)
    return SpawnPodResult(
        pod=pod_info(supervisor, record, caller.reader),
        socket=supervisor.places.pod_socket(record.id),
        token="" if live is None else live.token,
        message=message,
        enforcement=enforcement_of(record),
        capacity=capacity(supervisor, caller),
    )
