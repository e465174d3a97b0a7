"""The task of each living pod: hears what it does, notices its end, sees to what follows.

Owns the subscription to the pod's state and the judgement that its tree is gone: the keeper's
`exit.json`, or, where the keeper itself was killed, the launcher's word. Started by spawn and by
adoption in the supervisor's nursery; ends with the pod.
"""

from __future__ import annotations

import time
import traceback
from contextlib import suppress
from typing import Final

import trio
from attrs import evolve

from pods.keeper.main import STDERR_LOG
from pods.keeper.record import read_record
from pods.lifecycle import Life, Trigger
from pods.supervisor.acts import LOST, Facts, perform
from pods.supervisor.core import Supervisor
from pods.supervisor.guards import wait_nothing_left
from pods.supervisor.live import STATE_KINDS_ASKED, LivePod
from pods.supervisor.overdue import see_to_end, wait_dead
from pods.supervisor.processes import wait_child_gone, wait_process_gone
from pods.supervisor.remove import apply_retention
from pods.supervisor.restart import came_down, start_again
from pods_protocol.bounds import HELLO_SECONDS
from pods_protocol.errors import PodsError, StorageFailed
from pods_protocol.pod_messages import Subscribe
from pods_protocol.values import ExitRecord

FIRST_RECONNECT_SECONDS: Final = 0.1
LAST_RECONNECT_SECONDS: Final = 10.0
"""Between attempts to reach a living pod that does not answer, each twice the one before: it may be
stopped by a signal, for hours. Also the moment in which a pod that ended is noticed as ended."""

STORAGE_RETRY_SECONDS: Final = 0.5
"""Between attempts to write a pod's end to a disk that refuses."""

JOURNAL_SECONDS: Final = 60.0
"""How long a pod's end waits for a disk that refuses the pod's own journal and nothing else. Its
place on it may be broken for good; then its record says `lost`, and it is over."""


async def watch(supervisor: Supervisor, live: LivePod) -> None:
    """Follow one pod through all its lives until it is buried."""
    facts: Facts | None = None
    while facts is None:
        if supervisor.known(live.id).life is not Life.RESTARTING:
            supervisor.bounded_logs.add(live.id, f"{live.directory}/{STDERR_LOG}")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_follow, supervisor, live)
                exit_record = await wait_tree_gone(supervisor, live)
                nursery.cancel_scope.cancel()
            facts = await came_down(supervisor, live, exit_record)
        if facts is None:
            facts = await start_again(supervisor, live)
    await bury(supervisor, live, facts)


async def bury(
    supervisor: Supervisor, live: LivePod, facts: Facts, trigger: Trigger = Trigger.TREE_GONE
) -> None:
    """Do all that follows from a pod's end; what cannot be done is in the log.

    Args:
        trigger: what brought the end about. Where that is not the tree's own end, the tree is
            ended first.
    """
    if trigger is Trigger.TREE_GONE:
        live.dead = True  # nobody may take it for idle, or for ended, before its end is on record
        live.tree_gone.set()
    if not await _try_to_bury(supervisor, live, facts, trigger):
        # In the background: a supervisor that comes up on a full disk serves all the same.
        supervisor.nursery.start_soon(_bury_later, supervisor, live, facts, trigger)


async def _bury_later(
    supervisor: Supervisor, live: LivePod, facts: Facts, trigger: Trigger
) -> None:
    """Try until the disk takes it: a pod whose end is not written is not forgotten either."""
    deadline = trio.current_time() + JOURNAL_SECONDS
    while True:
        await trio.sleep(STORAGE_RETRY_SECONDS)
        insist = trio.current_time() < deadline
        if await _try_to_bury(supervisor, live, evolve(facts, insist=insist), trigger):
            return


async def _try_to_bury(
    supervisor: Supervisor, live: LivePod, facts: Facts, trigger: Trigger
) -> bool:
    """Whether it is done; False where the disk refused and it is worth another try."""
    try:
        await perform(supervisor, live.id, trigger, facts)
    except StorageFailed as error:
        supervisor.log(f"cannot write the end of pod {live.name}: {error.message}")
        return False
    except Exception:
        supervisor.log(f"cannot bury pod {live.name} as it should be:\n{traceback.format_exc()}")
    supervisor.drop_live(live)
    live.tree_gone.set()
    live.ended.set()
    live.changed()
    supervisor.relay.has_news(live.id)  # where its journal is damaged, nothing else says so
    if supervisor.options.config.keep_ended_seconds is not None:
        supervisor.nursery.start_soon(apply_retention, supervisor)
    return True


async def wait_tree_gone(supervisor: Supervisor, live: LivePod) -> ExitRecord:
    """Wait until nothing of the pod is left, and say how it went."""
    if live.keeper is not None:
        await live.keeper.closed.wait()
    record = read_record(live.directory) or live.last_word
    if record is not None:
        return record  # it is written, and said where the disk refuses it, once nothing is left
    # The keeper went without its last word. What it kept falls to the launcher, which kills it. A
    # launcher that came after the keeper's own knows nothing of it and will never speak: there the
    # keeper's guard is at work, if the kernel allows one.
    witnessed = (
        await _launcher_has_it(supervisor, live)
        and await supervisor.launcher.wait_ended(live.id) is not None
    )
    record = read_record(live.directory)
    if record is not None:
        return record
    if live.keeper_identity is not None:
        await wait_process_gone(live.keeper_identity)
        # It dies with its keeper, and its journal is free once it is dead.
        await wait_child_gone(live.keeper_identity, live.pod_pid)
    if not witnessed:
        await wait_nothing_left(supervisor, live.id)
    # A keeper that was asked ends once it has answered, which may be heard before the answer is.
    if live.keeper is not None:
        await live.keeper.wait_answered()
    said = read_record(live.directory) or live.last_word
    if said is not None:
        return said
    return evolve(LOST, time=time.time()) if witnessed else LOST


async def _launcher_has_it(supervisor: Supervisor, live: LivePod) -> bool:
    """Whether the launcher that is there will say, or has said, what became of a keeper."""
    if live.launcher is not None:
        return live.launcher == supervisor.launcher.identity
    # Adopted while the registry did not say whose it was: the launcher itself knows.
    try:
        return await supervisor.launcher.has(live.id)
    except PodsError as error:
        supervisor.log(f"the launcher cannot say if it has pod {live.name}: {error.message}")
        return False


async def _follow(supervisor: Supervisor, live: LivePod) -> None:
    """Get the pod's state events as they come, again where the connection broke; until cancelled.

    Without them nobody who waits for the pod would be woken, though its journal on disk tells all.
    """
    pause = FIRST_RECONNECT_SECONDS
    while not live.dead:
        if live.thawed is not None:  # a stopped process answers nobody
            await _thawed_or_dead(live, live.thawed)
            continue
        try:
            if live.pod is None or live.pod.closed.is_set():  # adopted, or it broke
                with suppress(StorageFailed):  # damaged: what comes over its socket still counts
                    await live.catch_up()
                await live.connect_pod(supervisor.nursery, supervisor.places.pod_socket(live.id))
            link = supervisor.pod_link(live)
            since = live.seen
            stands = await link.request(
                Subscribe(since=since, kinds=tuple(sorted(STATE_KINDS_ASKED))),
                timeout_seconds=HELLO_SECONDS,
            )
            if stands.last_seq < since or not live.still_stands():
                live.forget_state()
                await live.catch_up()
            live.vouch(stands.last_seq)
            pause = FIRST_RECONNECT_SECONDS
            supervisor.relay.go_on(live.id)
            await link.closed.wait()
        except PodsError as error:
            if not live.tree_gone.is_set() and pause == FIRST_RECONNECT_SECONDS:
                supervisor.log(f"cannot follow pod {live.name}: {error.message}")
            if live.pod is not None:
                await live.pod.aclose()
        with trio.move_on_after(pause):
            # What ends closes its connections first.
            await wait_dead(live)
            live.found_dead()
        pause = min(pause * 2, LAST_RECONNECT_SECONDS)
    await see_to_end(supervisor, live)


async def _thawed_or_dead(live: LivePod, thawed: trio.Event) -> None:
    async with trio.open_nursery() as nursery:

        async def hear_of_death() -> None:
            await wait_dead(live)
            live.found_dead()
            nursery.cancel_scope.cancel()

        nursery.start_soon(hear_of_death)
        await thawed.wait()
        nursery.cancel_scope.cancel()
