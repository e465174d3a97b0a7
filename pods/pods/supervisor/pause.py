"""`pause` and `resume`: a pod's turn held by its agent, or all its processes stopped.

Owns which of the two, and where the truth lies. An agent that can hold its turn does so in its own
living process: the pod's journal says `paused`, and nothing of it is ours. For every other agent
the pod first stops the clocks of its turn and journals that it is paused; then it is written here
(`pod_paused`), since a stopped process can write nothing; then its keeper stops the tree. A pod
that is too busy to hear of it is stopped all the same.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from pods.lifecycle import Life, Trigger
from pods.records.record import PodRecord
from pods.rpc.client import open_rpc
from pods.supervisor.acts import Facts, perform
from pods.supervisor.authority import Caller, find_pod
from pods.supervisor.core import Supervisor
from pods.supervisor.live import LivePod
from pods_protocol.api import POD_API
from pods_protocol.errors import NotConnected, NotSupported, PodEnded, PodsError
from pods_protocol.pod_messages import Pause, Request, Resume
from pods_protocol.supervisor_messages import (
    PausePod,
    PausePodResult,
    ResumePod,
    ResumePodResult,
)

ANSWER_SECONDS: Final = 2.0
"""A pod answers in a few milliseconds. One that does not runs code that lets nobody else run: it
is paused without its help, and hears of it when it goes on."""


async def pause(supervisor: Supervisor, caller: Caller, request: PausePod) -> PausePodResult:
    """Pause a pod.

    Raises:
        UnknownPod: the caller has no such pod.
        PodEnded: it has ended or is being stopped.
        NotConnected: its keeper does not answer.
    """
    record = find_pod(supervisor, caller, request.pod)
    live = await living(supervisor, record, "pause")
    async with live.holding:
        if _life(supervisor, record, "pause") is Life.RUNNING:
            try:
                await ask_pod(supervisor, live, Pause())
            except NotSupported:
                pass
            except PodsError as error:
                supervisor.log(f"pod {live.name} is paused without its help: {error.message}")
            else:
                return PausePodResult(pod=record.name, state="paused", how="turn")
            with suppress(PodsError):
                await ask_pod(supervisor, live, Pause(whole=True))
            if _life(supervisor, record, "pause") is Life.RUNNING:
                await _stop_tree(supervisor, live)
    return PausePodResult(pod=record.name, state="paused", how="tree")


async def _stop_tree(supervisor: Supervisor, live: LivePod) -> None:
    try:
        await perform(supervisor, live.id, Trigger.PAUSE_ASKED, Facts())
    except PodsError:
        with suppress(PodsError):  # paused in half is worse than not at all
            if supervisor.known(live.id).life is Life.PAUSED:
                await go_on(supervisor, live)
            else:
                await ask_pod(supervisor, live, Resume())
        raise
    live.changed()


async def resume(supervisor: Supervisor, caller: Caller, request: ResumePod) -> ResumePodResult:
    """Let a pod go on.

    Raises:
        UnknownPod: the caller has no such pod.
        PodEnded: it has ended or is being stopped.
        NotConnected: its keeper does not answer.
    """
    record = find_pod(supervisor, caller, request.pod)
    live = await living(supervisor, record, "resume")
    async with live.holding:
        if _life(supervisor, record, "resume") is Life.PAUSED:
            await go_on(supervisor, live)
        else:
            await ask_pod(supervisor, live, Resume())
    with suppress(PodsError):  # damaged: what comes over its socket still counts
        await live.catch_up()
    return ResumePodResult(pod=record.name, state=supervisor.state_of(supervisor.known(live.id)))


async def go_on(supervisor: Supervisor, live: LivePod) -> None:
    """Let a tree go on that was stopped, and then its turn."""
    await perform(supervisor, live.id, Trigger.RESUME_ASKED, Facts())
    try:
        await ask_pod(supervisor, live, Resume())
    except PodsError as error:
        # It hears of it when it listens again: where it was not told of the pause either, its turn
        # has gone on; else `resume` can be asked again.
        supervisor.log(f"pod {live.name} was not told that it goes on: {error.message}")
    live.changed()


async def living(supervisor: Supervisor, record: PodRecord, verb: str) -> LivePod:
    """The living pod of a record, once it has come up.

    Raises:
        PodEnded: it has ended.
    """
    live = supervisor.pods.get(record.id)
    if live is not None:
        await live.started.wait()
        live = supervisor.pods.get(record.id)
    if live is None:
        raise _ended(supervisor, record, verb)
    return live


def _life(supervisor: Supervisor, record: PodRecord, verb: str) -> Life:
    now = supervisor.table.get(record.id)
    if now is None or now.life not in (Life.RUNNING, Life.PAUSED):
        raise _ended(supervisor, record, verb)
    return now.life


def _ended(supervisor: Supervisor, record: PodRecord, verb: str) -> PodsError:
    now = supervisor.table.get(record.id)
    state = "stopped" if now is None else supervisor.state_of(now)
    if now is not None and now.life is Life.RESTARTING:
        return NotConnected(
            f"cannot {verb} pod {record.name}: it died and is being started again; ask again once "
            "it runs",
            peer=record.name,
        )
    return PodEnded(
        f"cannot {verb} pod {record.name}: it is {state}; `pods read {record.name}` shows what it "
        "left",
        pod=record.name,
        state=state,
    )


async def ask_pod(supervisor: Supervisor, live: LivePod, message: Request[Any]) -> Any:
    """Ask a pod over a connection made for it: the one that follows it may be gone, or waking up.

    Raises:
        PodsError: its refusal; NotConnected; TimedOut.
    """
    async with open_rpc(
        supervisor.places.pod_socket(live.id),
        POD_API,
        token=supervisor.token,
        client="supervisor",
        peer=f"pod {live.name}",
        timeout_seconds=ANSWER_SECONDS,
    ) as pod:
        return await pod.request(message, timeout_seconds=ANSWER_SECONDS)
