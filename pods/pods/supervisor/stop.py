"""`stop`: a pod and the descendants that go with it, from a polite word to SIGKILL.

Owns the ladder: shutdown request, grace, SIGTERM to the tree, grace, SIGKILL to the tree, gone. It
climbs in a task of its own, so an asker that goes away changes nothing and several askers share
it. Children that go along are stopped first, deepest first, side by side. The end itself (lease,
socket, token, directories) follows from the watch of the pod once the tree is proven gone.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from pods.lifecycle import STARTING, Command, Trigger
from pods.records.events import POD_STOPPING, STOP_ASKED, stop_asked_data
from pods.records.record import PodRecord
from pods.supervisor.authority import Caller, find_pod
from pods.supervisor.checks import check_message_id, check_seconds
from pods.supervisor.core import Supervisor
from pods.supervisor.freeze import thaw
from pods.supervisor.kill import KILL_SECONDS, kill_tree
from pods.supervisor.live import LivePod
from pods_protocol.bounds import DEFAULT_GRACE_SECONDS, MAX_GRACE_SECONDS
from pods_protocol.errors import PodsError, StorageFailed, TimedOut
from pods_protocol.pod_messages import Shutdown
from pods_protocol.process_messages import SignalTree
from pods_protocol.supervisor_messages import StopPod, StopPodResult
from pods_protocol.values import ScopeRule, StopMode

BURIAL_SECONDS: Final = 10.0
"""From the tree's end to everything being on disk: a few milliseconds, and the registry's lock."""


async def stop(supervisor: Supervisor, caller: Caller, request: StopPod) -> StopPodResult:
    """Stop a pod; returns when its tree is gone and its scope is free.

    Raises:
        UnknownPod: the caller has no such pod.
        InvalidParams: a grace out of bounds.
        TimedOut: something of it survives SIGKILL.
    """
    grace = check_seconds(request.grace_seconds, "grace_seconds", longest=MAX_GRACE_SECONDS)
    record = find_pod(supervisor, caller, request.pod)
    if request.message_id is not None:
        return await _stop_once(supervisor, caller, record, request, request.message_id, grace)
    return await _stop(supervisor, record, request.mode, grace)


async def _stop_once(
    supervisor: Supervisor,
    caller: Caller,
    record: PodRecord,
    request: StopPod,
    message_id: str,
    grace: float,
) -> StopPodResult:
    """Stop it under an id; whoever asks again under it joins the first, or gets its answer."""
    check_message_id(message_id)
    asked = record.stop_asked(caller.pod_id, message_id)
    if asked is not None and asked.answer is not None:
        return asked.answer
    if asked is None:
        try:
            supervisor.record(
                STOP_ASKED,
                stop_asked_data(
                    record,
                    asked_by=caller.pod_id,
                    message_id=message_id,
                    previous_state=supervisor.state_of(record),
                    descendants=[below.name for below in _going_along(supervisor, record)],
                ),
            )
        except StorageFailed as error:
            # It may be this very pod that fills the disk: it is stopped all the same.
            supervisor.log(f"the id of a stop of {record.name} is unrecorded: {error.message}")
    answer = await _stop(supervisor, record, request.mode, grace)
    now = supervisor.table.get(record.id)
    settled = None if now is None else now.stop_asked(caller.pod_id, message_id)
    return answer if settled is None or settled.answer is None else settled.answer


async def _stop(
    supervisor: Supervisor, record: PodRecord, mode: StopMode, grace: float
) -> StopPodResult:
    began = time.monotonic()
    previous = supervisor.state_of(record)
    live = supervisor.pods.get(record.id)
    if live is None:
        return StopPodResult(
            pod=record.name,
            previous_state=previous,
            state=previous,
            step="already_ended",
            stopped_descendants=(),
            released=(),
            seconds=0.0,
        )
    along = [r.name for r in _going_along(supervisor, record)]
    released: tuple[ScopeRule, ...] = record.grant.allow
    ask_stop(supervisor, live, mode, grace)
    await wait_stopped(supervisor, record, live, grace)
    now = supervisor.table.get(record.id)
    return StopPodResult(
        pod=record.name,
        previous_state=previous,
        state="stopped" if now is None else supervisor.state_of(now),
        step=live.step,
        stopped_descendants=tuple(reversed(along)),
        released=released,
        seconds=time.monotonic() - began,
    )


async def wait_stopped(
    supervisor: Supervisor, record: PodRecord, live: LivePod, grace: float
) -> None:
    """Wait until a stop that was asked for is done.

    Raises:
        TimedOut: it does not get there.
    """
    depth = 1 + len(_going_along(supervisor, record))
    longest = depth * (2 * grace + 4 * KILL_SECONDS) + BURIAL_SECONDS
    with trio.move_on_after(longest):
        await live.ended.wait()
        return
    raise TimedOut(
        f"cannot stop pod {record.name}: it is not gone after {longest:g} s; it keeps its scope; "
        "the supervisor's log says more, try again with mode `kill`",
        timeout_seconds=longest,
    )


def ask_stop(supervisor: Supervisor, live: LivePod, mode: StopMode, grace: float) -> None:
    """Begin to stop a pod, or make a stop that is under way harsher. No checkpoint."""
    if mode == "kill":
        top = supervisor.known(live.id)
        for record in (top, *_going_along(supervisor, top)):
            below = supervisor.pods.get(record.id)
            if below is not None:
                below.kill_asked.set()
    if live.spawning is not None:
        live.stop_mode = mode
        live.step = "kill"
        live.spawning.cancel()  # its spawn rolls it back and tells its asker why
        return
    if live.tree_gone.is_set():
        return
    if supervisor.known(live.id).life in STARTING:
        return  # adopted in the middle of a start: it is being rolled back, which ends it
    life, commands = supervisor.move(live.id, Trigger.STOP_ASKED)
    live.stop_mode, live.grace = mode, grace
    if Command.RECORD_STOPPING in commands:
        try:
            supervisor.record(POD_STOPPING, {"id": live.id, "pod": live.name})
        except StorageFailed as error:
            # It may be this very pod that fills the disk: it is stopped all the same.
            supervisor.log(f"pod {live.name} is being stopped, unrecorded: {error.message}")
            supervisor.table.set_life(live.id, life)
        live.changed()
    if not live.climbing:  # also again, after a ladder that did not get to the end
        live.climbing = True
        supervisor.nursery.start_soon(climb, supervisor, live)
    if live.restarting is not None:
        live.restarting.cancel()  # whoever starts it again ends what there is, and buries it


def stop_in_background(supervisor: Supervisor, pod_id: str) -> None:
    """Stop a pod whose parent has ended; nobody waits for the answer."""
    live = supervisor.pods.get(pod_id)
    if live is not None:
        ask_stop(supervisor, live, "now", DEFAULT_GRACE_SECONDS)


async def climb(supervisor: Supervisor, live: LivePod) -> None:
    """Stop what goes along, then this pod, step by step; ends when its tree is gone."""
    children = [
        (child, below)
        for child in supervisor.table.children(live.id)
        if child.living
        and child.on_parent_exit == "stop"
        and (below := supervisor.pods.get(child.id)) is not None
        and (child.life not in STARTING or below.spawning is not None)
    ]
    for _, below in children:
        ask_stop(supervisor, below, live.stop_mode or "now", live.grace)
    try:
        for child, below in children:
            await wait_stopped(supervisor, child, below, live.grace)
    except TimedOut as error:
        supervisor.log(error.message)  # its parent goes all the same
    try:
        await _ladder(supervisor, live, live.stop_mode or "now", live.grace)
    except PodsError as error:
        supervisor.log(error.message)
    finally:
        live.climbing = False


async def _ladder(supervisor: Supervisor, live: LivePod, mode: StopMode, grace: float) -> None:
    if mode != "kill" and not live.kill_asked.is_set():
        async with live.holding:
            if live.thawed is not None:  # paused: it has to hear what it is asked
                with suppress(PodsError):
                    await thaw(live)
        live.step = "shutdown"
        word: Shutdown = Shutdown(mode="finish" if mode == "finish" else "now")

        async def ask_politely() -> None:
            if live.pod is not None:
                await live.pod.request(word)

        if await _step(live, ask_politely, grace):
            return
    if mode != "kill" and not live.kill_asked.is_set():
        live.step = "terminate"

        async def terminate() -> None:
            if live.keeper is not None:
                await live.keeper.request(SignalTree(signal="terminate"))

        if await _step(live, terminate, grace):
            return
    live.step = "kill"
    await kill_tree(supervisor, live, supervisor.known(live.id))
    await live.tree_gone.wait()


async def _step(live: LivePod, act: Callable[[], Awaitable[None]], grace: float) -> bool:
    """Do one step and give it its grace; True where the tree is gone, False where more is due."""

    async def quietly() -> None:
        with suppress(PodsError):  # a refusal or a broken link only means that the next step comes
            await act()

    over = trio.Event()

    async def note(event: trio.Event) -> None:
        await event.wait()
        over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(quietly)
        nursery.start_soon(note, live.tree_gone)
        nursery.start_soon(note, live.kill_asked)
        with trio.move_on_after(grace):
            await over.wait()
        nursery.cancel_scope.cancel()
    return live.tree_gone.is_set()


def _going_along(supervisor: Supervisor, record: PodRecord) -> list[PodRecord]:
    """The living descendants that end with it, parents before children."""
    found: list[PodRecord] = []
    for child in supervisor.table.children(record.id):
        if child.living and child.on_parent_exit == "stop":
            found.append(child)
            found.extend(_going_along(supervisor, child))
    return found
