"""The keeper's life: fork the pod, serve, reap, clear the tree, write the record, end.

Owns the order of these. Knows nothing of messages or journals. Called by the launcher in a process
that it has just forked; the memory of this process is shared with all its siblings, so it imports
nothing, keeps the collector off and makes little.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NoReturn

from pods.keeper.backstop import is_watched
from pods.keeper.confined import Kill, read_enforcement
from pods.keeper.domain import DomainBroken, SignalDomain, forget_shared, shared_descriptors
from pods.keeper.guard import fork_guard
from pods.keeper.last_word import end_without_pod, leave_record, unlink_sockets
from pods.keeper.pod_start import end_process, enter_pod
from pods.keeper.record import note_polled, record_from
from pods.keeper.rpc_loop import RpcLoop
from pods.keeper.system import (
    LOOP_IGNORES,
    LOOP_SIGNALS,
    PARENT_DIED,
    become_subreaper,
    close_descriptors,
    hear_of_parents_death,
    plain_fork,
    redirect_standard_streams,
    set_mask,
    set_process_name,
)
from pods.keeper.tree import (
    count_tree,
    identify_child,
    identity_from,
    read_stat,
    reap,
    reap_all,
    signal_tree,
    sweep,
)
from pods.keeper.wakeup import Wakeup
from pods.pod.life import RunPod
from pods.rpc.welcome import welcome
from pods_protocol.api import KEEPER_API
from pods_protocol.errors import StorageFailed
from pods_protocol.process_messages import (
    GetKeeperStatus,
    KeeperStatus,
    PodSpec,
    SignalTree,
    SignalTreeResult,
)
from pods_protocol.values import ExitRecord

if TYPE_CHECKING:
    from pods.keeper.limit_watch import LimitWatch

STDERR_LOG: Final = "stderr.log"
"""In the pod's state directory: what keeper, pod and whatever the pod starts say outside of it."""

FIRST_RETRY_SECONDS: Final = 0.005
LAST_RETRY_SECONDS: Final = 0.5
"""Between sweeps of a tree that does not end at once: a process in an uninterruptible wait ends
when its device answers. Each pause is twice the one before, so waiting for long costs nothing."""

PROCESS_NAME: Final = "pods-keeper"


def keep(
    spec: PodSpec,
    pod_listener: socket.socket,
    keeper_listener: socket.socket,
    *,
    switches: Mapping[str, str],
    run_pod: RunPod | None = None,
) -> NoReturn:
    """Be the keeper of one pod until it has ended. Called in a process forked for it.

    Every signal must be blocked by the caller since before the fork, so that none reaches handlers
    of the parent here.

    Args:
        spec: the pod.
        pod_listener: its socket, listening; only the pod has it once it is forked.
        keeper_listener: the keeper's socket, listening.
        switches: what the launcher was told about the holding of pods (`pods.scope.confine`).
        run_pod: the pod's life in the forked image; None is the real one.
    """
    end_process(lambda: _keep(spec, pod_listener, keeper_listener, switches, run_pod))


def _keep(
    spec: PodSpec,
    pod_listener: socket.socket,
    keeper_listener: socket.socket,
    switches: Mapping[str, str],
    run_pod: RunPod | None,
) -> int:
    become_keeper(keep=(pod_listener.fileno(), keeper_listener.fileno()))
    set_process_name(PROCESS_NAME)
    open_log(spec.state_directory)
    keeper = os.getpid()
    # Before the pod is forked: what is below this process then is inside with it, for ever.
    domain = SignalDomain.enter(os.getppid(), switches=switches, files_follow=spec.enforce != "off")
    forget_shared()
    try:
        told, tells = socket.socketpair() if is_watched(spec.limits) else (None, None)
        pid = plain_fork()
    except OSError as error:
        _say(f"cannot start pod {spec.name}: fork: {error.strerror}; end some processes")
        pod_listener.close()
        return end_without_pod(spec, keeper_listener, say=_say)
    if pid == 0:
        kill = kill_of(domain)
        enter_pod(spec, pod_listener, keeper, run_pod, switches=switches, kill=kill, tells=tells)
    pod_listener.close()
    if tells is not None:
        tells.close()
    wakeup = Wakeup(LOOP_SIGNALS, ignored=LOOP_IGNORES)
    set_mask(())
    return Keeper(spec, keeper_listener, wakeup, pid, domain=domain, told=told).run()


def become_keeper(*, keep: tuple[int, ...]) -> None:
    """What every keeper does first: a session of its own, descriptors, its descendants its own.

    From here on it hears of its launcher's end, which becomes a signal that it still blocks.

    Args:
        keep: descriptors to keep beside the standard streams.
    """
    signal.set_wakeup_fd(-1)
    close_descriptors(keep=(0, 1, 2, *shared_descriptors(), *keep))
    os.setsid()
    become_subreaper()
    hear_of_parents_death(PARENT_DIED)


def kill_of(domain: SignalDomain | None) -> Kill:
    """How a keeper in this domain would end its tree."""
    return "subreaper_loop" if domain is None else "landlock_domain"


def open_log(state_directory: str) -> None:
    """Let what this process says end up in the pod's `stderr.log`."""
    path = f"{state_directory}/{STDERR_LOG}"
    try:
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError:
        # A full disk is no reason to not run: what would be said there is lost, nothing else.
        log = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    redirect_standard_streams(log)
    if log > 2:
        os.close(log)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 (standard error is stderr.log)


def _watch_limits(spec: PodSpec, told: socket.socket, pod: int) -> LimitWatch:
    from pods.keeper.limit_watch import LimitWatch  # the launcher's image has it

    watch = LimitWatch(
        spec.limits, wall_until=spec.wall_until, told=told, pod=pod, say=_say, cgroup=spec.cgroup
    )
    if spec.cgroup and watch.group is None:
        note_polled(spec.runtime_directory)
    return watch


class Keeper:
    """The loop of one keeper.

    Args:
        spec: the pod.
        listener: the keeper's socket.
        wakeup: notices SIGCHLD and SIGTERM.
        pod: the pid of the pod's main process, a child that nobody has reaped yet.
        domain: what this process entered, if the kernel let it.
        told: where the pod tells of its turns; None where no limit is this process's to see to.
    """

    def __init__(
        self,
        spec: PodSpec,
        listener: socket.socket,
        wakeup: Wakeup,
        pod: int,
        *,
        domain: SignalDomain | None = None,
        told: socket.socket | None = None,
    ) -> None:
        self._spec = spec
        self._wakeup = wakeup
        self._pod = pod
        self._domain = domain
        self._all_struck = False
        self._guard: int | None = None
        # Read now, while the pid is surely the pod's; understood only when somebody asks.
        self._pod_line = read_stat(pod)
        self._wait_status: int | None = None
        self._struck: set[int] = set()
        self._survivors = 0
        self._childless = False
        self._more = False
        self._killing = False
        self._terminations = 0
        self._record: ExitRecord | None = None
        self._record_read = False
        self._server = RpcLoop(
            listener,
            KEEPER_API,
            owner_digest=spec.owner_digest,
            identity=welcome("keeper", spec.name, spec.id),
            handlers={
                GetKeeperStatus.METHOD: self._status,
                SignalTree.METHOD: self._signal,
            },
            log=_say,
        )
        self._server.watch(wakeup.reader, self._signalled)
        self._limits: LimitWatch | None = None
        if told is not None:
            self._limits = _watch_limits(spec, told, pod)
            self._server.watch(told, self._told)
            if self._limits.group is not None:
                self._server.watch(self._limits.group, self._limits.struck)

    def run(self) -> int:
        """Serve until the tree is proven empty and the record is safe; returns the exit code."""
        retry = FIRST_RETRY_SECONDS
        self._reap()
        while True:
            deadline = None
            if self._more:
                self._reap()
            if self._wait_status is not None:
                self._killing = True
            if self._limits is not None and not self._killing:
                deadline = self._limits.attend(self._apart())
                self._killing = self._limits.crossed is not None
            if self._killing and not self._childless:
                self._sweep()
            if self._wait_status is not None and self._childless and self._cleared():
                break
            if self._killing:
                deadline = time.monotonic() + retry
                retry = min(retry * 2, LAST_RETRY_SECONDS)
            self._server.turn(time.monotonic() if self._more else deadline)
        crossed = None if self._limits is None else self._limits.verdict(self._wait_status)
        self._record = record_from(self._wait_status, self._survivors, crossed)
        code = leave_record(
            self._spec.state_directory,
            self._record,
            self._server,
            was_read=lambda: self._record_read,
            say=_say,
        )
        unlink_sockets(self._spec)
        self._server.close()
        return code

    def _signalled(self) -> None:
        numbers = self._wakeup.take()
        if PARENT_DIED in numbers:
            self._be_guarded()
        # Somebody ends the session or the machine. Ask the pod, and at the second time make it.
        told = numbers.count(signal.SIGTERM)
        if told and not self._terminations:
            self._tell_all(signal.SIGTERM, signal.SIGCONT)
        self._terminations += told
        if self._terminations > 1:
            self._killing = True
        self._reap()

    def _told(self) -> None:
        assert self._limits is not None, "only then its socket is watched"
        if not self._limits.hear():
            self._server.forget(self._limits.told)

    def _apart(self) -> tuple[int, ...]:
        """Children of this process that are not the pod's."""
        return () if self._guard is None else (self._guard,)

    def _be_guarded(self) -> None:
        """The launcher has ended: nobody would end the tree if this process were killed, but this.

        Where there is no domain nobody can; the README says so.
        """
        if self._domain is None or self._guard is not None or self._killing:
            return
        try:
            self._guard = fork_guard(self._domain, self._spec.runtime_directory)
        except (OSError, DomainBroken, StorageFailed) as error:
            _say(f"the launcher has ended, and this keeper stays without a guard: {error}")

    def _reap(self) -> None:
        _, self._childless, self._more = reap(self._reaped)

    def _sweep(self) -> None:
        """Kill what is left, and reap for a while."""
        if self._in_domain(signal.SIGKILL):
            self._all_struck = True
            self._childless = reap_all(self._reaped)
        else:
            self._childless = sweep((), self._reaped, self._struck)

    def _in_domain(self, *numbers: int) -> bool:
        """Signal the whole tree at once; False where that is not to be had."""
        if self._domain is None:
            return False
        try:
            self._domain.signal_all(*numbers)
        except DomainBroken as error:
            _say(f"{error}; going on process by process")
            self._domain = None
            return False
        return True

    def _tell_all(self, *numbers: int, until_still: bool = False) -> int:
        """Send signals to every process of the pod; returns how many there were."""
        there = self._count()
        if self._in_domain(*numbers):
            return there
        return signal_tree(*numbers, until_still=until_still)

    def _count(self) -> int:
        """How many processes of the pod live."""
        return count_tree() - (self._guard is not None)

    def _reaped(self, pid: int, status: int) -> None:
        killed = self._all_struck or pid in self._struck
        self._struck.discard(pid)
        if pid == self._guard:
            self._guard = None
        elif pid == self._pod and self._wait_status is None:
            self._wait_status = status
        else:
            if self._limits is not None:
                self._limits.reaped()
            if killed and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                self._survivors += 1

    def _status(self, _: GetKeeperStatus) -> KeeperStatus:
        self._record_read = self._record is not None
        return KeeperStatus(
            keeper=identify_child(os.getpid()),
            pod=identity_from(self._pod, self._pod_line),
            processes=self._count(),
            exit=self._record,
            enforcement=read_enforcement(self._spec.state_directory),
            memory_bytes=None if self._limits is None else self._limits.memory(self._apart()),
        )

    def _signal(self, request: SignalTree) -> SignalTreeResult:
        if request.signal == "terminate":
            # A stopped process gets its SIGTERM only once it goes on.
            reached = self._tell_all(signal.SIGTERM, signal.SIGCONT)
        elif request.signal == "pause":
            reached = self._tell_all(signal.SIGSTOP, until_still=True)
            self._hold_limits(held=True)
        elif request.signal == "resume":
            self._hold_limits(held=False)
            reached = self._tell_all(signal.SIGCONT, until_still=True)
        elif request.signal == "wake":
            reached = 0 if self._wait_status is not None else 1
            if reached:  # not reaped yet, so the pid is still the pod's
                os.kill(self._pod, signal.SIGCONT)
        else:
            before = self._survivors
            reached = 0 if self._wait_status is not None else 1
            self._killing = True
            self._sweep()
            reached += self._survivors - before
        return SignalTreeResult(signalled=reached)

    def _cleared(self) -> bool:
        """Whether there is no cgroup of the pod's, any more, that could go."""
        return self._limits is None or self._limits.clear(self._server.forget)

    def _hold_limits(self, *, held: bool) -> None:
        if self._limits is not None:
            self._limits.hold_tree(held=held)
