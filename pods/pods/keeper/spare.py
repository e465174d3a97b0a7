"""A keeper and a pod that are forked before anybody asks for them, and wait for what to be.

Owns that wait in both processes and the way from it into the ordinary life. By then each has done
all that is the same for every pod (session, descriptors, the signal domain, a running event loop)
and gone once through what comes next, so that the pages it writes to are its own: what is left is
what the spec names. Neither holds anything of any other pod. Called by the launcher in a process
that it has just forked.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from attrs import frozen

from pods.keeper import main as keeper
from pods.keeper.backstop import is_watched
from pods.keeper.confined import Kill
from pods.keeper.domain import SignalDomain, forget_shared
from pods.keeper.handover import hand_over, read_spec, take_over, write_spec
from pods.keeper.pod_start import PROCESS_NAME, end_process, furnish, settle
from pods.keeper.rpc_loop import RpcLoop
from pods.keeper.system import LOOP_IGNORES, LOOP_SIGNALS, plain_fork, set_mask, set_process_name
from pods.keeper.tree import read_stat
from pods.keeper.wakeup import Wakeup
from pods.pod.life import RunSparePod, example_spec
from pods.rpc.welcome import welcome
from pods_protocol.api import KEEPER_API
from pods_protocol.process_messages import PodSpec

SPARE_NAME: Final = "pods-spare"
"""What `ps` shows of both until they are somebody's."""


def scratch_of(scratch: str, keeper: int) -> str:
    """Where the pod of a spare rehearses: named for its keeper, which lives longer."""
    return f"{scratch}/spare-{keeper}"


def clear_scratch(scratch: str, keeper: int) -> None:
    """Remove what a pod leaves that was killed while it rehearsed; there is mostly nothing."""
    shutil.rmtree(scratch_of(scratch, keeper), ignore_errors=True)


@frozen(kw_only=True)
class SpareLife:
    """How a spare lives.

    Attributes:
        run: a pod's life that begins with a wait for its spec.
        rehearse: goes through a pod's start in a directory that it makes and removes.
        settle: readies the launcher's memory to be shared by many; what it returns must be held.
        scratch: where such directories may be made.
    """

    run: RunSparePod
    rehearse: Callable[[str], None]
    settle: Callable[[], object]
    scratch: str


def keep_spare(channel: socket.socket, *, switches: Mapping[str, str], life: SpareLife) -> NoReturn:
    """Be the keeper of a pod that is named later, or of none: then both end.

    Every signal must be blocked by the caller since before the fork, as for `keeper.main.keep`.

    Args:
        channel: from it comes the spec; its end means that none will.
        switches: what the launcher was told about the holding of pods (`pods.scope.confine`).
        life: what the pod does.
    """
    end_process(lambda: _keep_spare(channel, switches, life))


def _keep_spare(channel: socket.socket, switches: Mapping[str, str], life: SpareLife) -> int:
    status = _be_keeper(channel, switches, life)
    clear_scratch(life.scratch, os.getpid())
    return status


def _be_keeper(channel: socket.socket, switches: Mapping[str, str], life: SpareLife) -> int:
    keeper.become_keeper(keep=(channel.fileno(),))
    set_process_name(SPARE_NAME)
    own = os.getpid()
    domain = SignalDomain.enter(os.getppid(), switches=switches, files_follow=True)
    forget_shared()
    ours, theirs = socket.socketpair()
    pid = plain_fork()
    if pid == 0:
        _enter_spare_pod(theirs, own, switches, keeper.kill_of(domain), life)
    theirs.close()
    _rehearse()
    wakeup = Wakeup(LOOP_SIGNALS, ignored=LOOP_IGNORES)
    set_mask(())
    descriptors = _wait(channel, wakeup)
    channel.close()
    if not descriptors:
        os.kill(pid, signal.SIGKILL)  # not reaped yet, so the pid is its own
        os.waitpid(pid, 0)
        return 0
    set_process_name(keeper.PROCESS_NAME)
    spec_file, pod_listener, keeper_listener = descriptors
    spec = read_spec(spec_file)
    keeper.open_log(spec.state_directory)
    try:
        hand_over(ours, (spec_file, pod_listener))
    except OSError:
        os.kill(pid, signal.SIGKILL)  # it ends already, or cannot listen: its end is told as any
    for descriptor in (spec_file, pod_listener):
        os.close(descriptor)
    told = ours if is_watched(spec.limits) else None
    if told is None:
        ours.close()
    listener = socket.socket(fileno=keeper_listener)
    return keeper.Keeper(spec, listener, wakeup, pid, domain=domain, told=told).run()


def _wait(channel: socket.socket, wakeup: Wakeup) -> list[int]:
    """Wait for the spec; nothing where there will be none, or where the spare pod has ended."""
    waiting = select.poll()
    waiting.register(channel, select.POLLIN)
    waiting.register(wakeup.reader, select.POLLIN)
    waiting.poll()
    # A spec that has come goes first, also one that came since: somebody counts on this keeper, and
    # gets the pod's end told.
    channel.setblocking(False)
    try:
        return take_over(channel)
    except BlockingIOError:
        return []


def _rehearse() -> None:
    """What the keeper does once it has a spec, for the pages that it writes to."""
    written = write_spec(example_spec("/"))
    spec = read_spec(written)
    os.close(written)
    listener, other = socket.socketpair()
    with other:
        read_stat(os.getpid())
        RpcLoop(
            listener,
            KEEPER_API,
            owner_digest=spec.owner_digest,
            identity=welcome("keeper", spec.name, spec.id),
            handlers={},
            log=print,
        ).close()


def _enter_spare_pod(
    channel: socket.socket,
    parent: int,
    switches: Mapping[str, str],
    kill: Kill,
    life: SpareLife,
) -> NoReturn:
    def take() -> tuple[PodSpec, socket.socket, socket.socket | None] | int:
        descriptors = take_over(channel)
        if not descriptors:
            return 0
        set_process_name(PROCESS_NAME)
        spec_file, listener = descriptors
        spec = read_spec(spec_file)
        os.close(spec_file)
        keeper.open_log(spec.state_directory)
        furnished = furnish(spec, switches=switches, kill=kill)
        if isinstance(furnished, int):
            return furnished
        tells = channel if is_watched(spec.limits) else None
        if tells is None:
            channel.close()
        return furnished, socket.socket(fileno=listener), tells

    def live() -> int:
        settle(parent, keep=(channel.fileno(),), forked=True)
        try:
            life.rehearse(scratch_of(life.scratch, parent))
        except Exception as error:
            # Whatever it is, it only starts a little slower.
            print(  # noqa: T201 - standard error is the launcher's log until it is somebody's
                f"a pod's start could not be rehearsed: {error}", file=sys.stderr, flush=True
            )
        written = write_spec(example_spec("/"))
        read_spec(written)
        os.close(written)
        return life.run(take)

    end_process(live)
