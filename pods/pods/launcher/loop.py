"""The launcher's life: fork keepers on request, reap them, clear what they leave, tell of it.

Owns the table of living keepers and the memory of the last that ended. Knows nothing of pods beyond
their spec, and hands that on unread. One thread, one `poll`; the only waits are in there.
Made and run by `main`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from pods.keeper.domain import share_rules
from pods.keeper.main import keep
from pods.keeper.pod_start import default_run_pod
from pods.keeper.probe import probe
from pods.keeper.rpc_loop import FAREWELL_SECONDS, Client, Log, RpcLoop
from pods.keeper.spare import SpareLife
from pods.keeper.system import ALL_SIGNALS, LOOP_IGNORES, LOOP_SIGNALS, plain_fork, set_mask
from pods.keeper.tree import identify_child, reap, sweep
from pods.keeper.wakeup import Wakeup
from pods.launcher.delegation import Delegation
from pods.launcher.prepare import abandon, prepare
from pods.launcher.spares import Spares
from pods.pod.life import RunPod
from pods.rpc.welcome import welcome
from pods_protocol.api import LAUNCHER_API
from pods_protocol.bounds import HELLO_SECONDS
from pods_protocol.errors import InvalidRequest, PodRunning, StartFailed
from pods_protocol.pod_messages import Empty, Ping
from pods_protocol.process_messages import (
    KeeperEnded,
    KillKeeper,
    LaunchPod,
    LaunchPodResult,
    ListKeepers,
    ListKeepersResult,
    PodSpec,
    ProbeEnforcement,
    ProbeResult,
    ShutdownLauncher,
)

MAX_REMEMBERED: Final = 512
"""Ends that a supervisor which comes later is told of: more than can happen while one restarts."""

IDLE_EXIT_SECONDS: Final = 60.0
"""Without keepers and without clients the launcher is of use to nobody: its supervisor was killed
and none came after it."""

FIRST_RETRY_SECONDS: Final = 0.005
LAST_RETRY_SECONDS: Final = 0.5
"""Between sweeps of strays that do not end at once, each twice the one before."""


class _Kept(NamedTuple):
    """What is remembered of a pod.

    Never its spec: every pod that is forked later gets this memory, and a spec holds the token that
    commands its pod, and that pod's variables.
    """

    id: str
    sockets: tuple[str, str]


class Launcher:
    """The loop.

    Args:
        name: the supervisor's.
        listener: the launcher's socket.
        owner_digest: hex SHA-256 of the supervisor's token.
        log: takes what went wrong.
        run_pod: a pod's life in the forked image; None is the real one.
        spare_life: how a pod lives that is forked ahead; None is to fork none ahead.
        fork: as `plain_fork`; a parameter because the kernel's refusals cannot be had on demand.
        hello_seconds: how long a client may take to say hello.
        idle_exit_seconds: how long to stay without keepers and clients.
        forbidden: the roots of pods' own directories, which no pod may see.
        switches: what the launcher was told about the holding of pods (`pods.scope.confine`).
        delegation: where pods get cgroups of their own; None is nowhere.
    """

    def __init__(
        self,
        name: str,
        listener: socket.socket,
        owner_digest: str,
        log: Log,
        *,
        forbidden: tuple[str, str],
        switches: Mapping[str, str],
        run_pod: RunPod | None = None,
        spare_life: SpareLife | None = None,
        fork: Callable[[], int] = plain_fork,
        hello_seconds: float = HELLO_SECONDS,
        idle_exit_seconds: float = IDLE_EXIT_SECONDS,
        delegation: Delegation | None = None,
    ) -> None:
        self._log = log
        self._forbidden = forbidden
        self._switches = switches
        self._delegation = delegation
        # Found now: an import in each pod would write to the import system's pages there.
        self._run_pod = run_pod or default_run_pod()
        self._fork = fork
        share_rules(switches)
        self._spares = Spares(fork, switches=switches, life=spare_life, log=log)
        self._idle_exit_seconds = idle_exit_seconds
        self._keepers: dict[int, _Kept] = {}
        self._pids: dict[str, int] = {}
        self._ended: dict[str, KeeperEnded] = {}
        self._unproven: list[tuple[int, _Kept, int]] = []
        self._struck: set[int] = set()
        self._strays = 0
        self._stray_seen = False
        self._more = False
        self._ending = False
        self._useless_since: float | None = None
        self._retry = FIRST_RETRY_SECONDS
        self._wakeup = Wakeup(LOOP_SIGNALS, ignored=LOOP_IGNORES)
        self._server = RpcLoop(
            listener,
            LAUNCHER_API,
            owner_digest=owner_digest,
            identity=welcome("launcher", name),
            handlers={
                LaunchPod.METHOD: self._launch,
                ListKeepers.METHOD: self._list,
                KillKeeper.METHOD: self._kill,
                ProbeEnforcement.METHOD: self._probe,
                ShutdownLauncher.METHOD: self._shutdown,
                Ping.METHOD: self._ping,
            },
            log=log,
            greeted=self._tell_ends,
            hello_seconds=hello_seconds,
        )
        self._server.watch(self._wakeup.reader, self._signalled)

    def run(self) -> None:
        """Serve until told to end and no keeper lives, or until nobody needs it any more."""
        while True:
            if self._more:
                self._reap()
            deadline = self._clear()
            if self._more:
                deadline = time.monotonic()
            end = self._end_deadline()
            if end is not None:
                if end <= time.monotonic():
                    return
                deadline = end if deadline is None else min(deadline, end)
            if not self._spares.due:
                self._server.turn(deadline)
            elif not self._server.turn(time.monotonic()):
                self._spares.make()

    def close(self) -> None:
        """Close every socket; whoever waits for this process's last word gets its end of file."""
        self._spares.close()
        sweep((), lambda pid, status: None, set())
        self._spares.clear()
        if self._delegation is not None:
            self._delegation.close()
        self._server.close()
        self._wakeup.close()

    def _end_deadline(self) -> float | None:
        """When to end if nothing happens before; None while somebody may need this process."""
        needed = bool(self._keepers or self._unproven)
        if needed or (self._server.clients and not self._ending):
            self._useless_since = None
            return None
        if self._useless_since is None:
            self._useless_since = time.monotonic()
        if not self._ending:
            return self._useless_since + self._idle_exit_seconds
        return self._useless_since + (FAREWELL_SECONDS if self._server.unsent else 0.0)

    # --- requests ---

    def _launch(self, request: LaunchPod) -> LaunchPodResult:
        spec = request.spec
        if self._ending:
            raise StartFailed(
                f"cannot start pod {spec.name}: the launcher is ending; start another supervisor",
                step="launch",
                detail="ending",
            )
        if spec.id in self._pids:
            raise InvalidRequest(
                f"cannot start pod {spec.name}: the keeper of {spec.id} lives already; a pod's id "
                "is used once",
                id=spec.id,
                keeper=self._pids[spec.id],
            )
        if any(ended.id == spec.id for _, ended, _ in self._unproven):
            raise InvalidRequest(
                f"cannot start pod {spec.name}: processes of its last life are still being ended; "
                "wait for `keeper_ended`",
                id=spec.id,
            )
        if self._keepers or self._ended:
            self._spares.settle()
        pod_listener, keeper_listener = prepare(spec)
        with contextlib.closing(pod_listener), contextlib.closing(keeper_listener):
            if self._delegation is not None:
                spec = self._delegation.place(spec)
            pid = self._spares.use(spec, pod_listener, keeper_listener)
            if pid is None:
                pid = self._fork_keeper(spec, pod_listener, keeper_listener)
        self._spares.want()
        self._keepers[pid] = _Kept(spec.id, (spec.pod_socket, spec.keeper_socket))
        self._pids[spec.id] = pid
        self._ended.pop(spec.id, None)
        return LaunchPodResult(keeper=identify_child(pid))

    def _fork_keeper(
        self, spec: PodSpec, pod_listener: socket.socket, keeper_listener: socket.socket
    ) -> int:
        # Blocked over the fork: a signal in the child before its handlers are its own would be
        # written into our wakeup.
        before = set_mask(ALL_SIGNALS, signal.SIG_BLOCK)
        try:
            pid = self._fork()
            if pid == 0:
                keep(
                    spec,
                    pod_listener,
                    keeper_listener,
                    switches=self._switches,
                    run_pod=self._run_pod,
                )
        except OSError as error:
            abandon(spec.pod_socket, spec.keeper_socket)
            if self._delegation is not None:
                self._delegation.forget(spec.id)
            raise StartFailed(
                f"cannot start pod {spec.name}: fork: {os.strerror(error.errno or 0)}; end some "
                "processes, then try again",
                step="fork",
                detail=str(error),
                errno=error.errno,
            ) from error
        finally:
            set_mask(before)
        return pid

    def _list(self, _: ListKeepers) -> ListKeepersResult:
        self._tell_proven()  # those that were reaped in this very turn
        # With those that were reaped and whose pods have left something: who asks wants to know of
        # the tree, and is told of its end by `keeper_ended`.
        unproven = {kept.id: pid for pid, kept, _ in self._unproven}
        return ListKeepersResult(keepers={**unproven, **self._pids})

    def _kill(self, request: KillKeeper) -> Empty:
        if any(pid == request.pid for pid, _, _ in self._unproven):
            return Empty()  # what it left is being killed
        if request.pid not in self._keepers:
            raise InvalidRequest(
                f"cannot kill {request.pid}: no living keeper of this launcher has that pid; ask "
                "`keepers`",
                pid=request.pid,
            )
        # In the table means not reaped, so the pid is still the keeper's.
        os.kill(request.pid, signal.SIGKILL)
        return Empty()

    def _probe(self, request: ProbeEnforcement) -> ProbeResult:
        return ProbeResult(
            enforcement=probe(
                request.grant,
                environ=os.environ,
                switches=self._switches,
                python=request.python,
                forbidden=self._forbidden,
                doors=request.doors,
            )
        )

    def _shutdown(self, _: ShutdownLauncher) -> Empty:
        if self._keepers or self._unproven:
            raise PodRunning(
                f"cannot end the launcher: {len(self._keepers)} pods run; stop them first",
                pod=next(iter(self._pids), ""),
                state="running",
            )
        self._ending = True
        return Empty()

    def _ping(self, _: Ping) -> Empty:
        return Empty()

    def _tell_ends(self, client: Client) -> None:
        for end in self._ended.values():
            self._server.notify_one(client, "keeper_ended", end)

    # --- ends ---

    def _signalled(self) -> None:
        if signal.SIGTERM in self._wakeup.take():
            self._ending = True
        self._reap()

    def _reap(self) -> None:
        self._more = reap(self._reaped).more

    def _reaped(self, pid: int, status: int) -> None:
        kept = self._keepers.pop(pid, None)
        if kept is not None:
            del self._pids[kept.id]
            self._unproven.append((pid, kept, os.waitstatus_to_exitcode(status)))
            return
        if self._spares.ended(pid):
            self._stray_seen = True  # its pod may still be on its way out
            return
        self._stray_seen = True
        if pid in self._struck:
            self._struck.discard(pid)
            self._strays += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

    def _clear(self) -> float | None:
        """Kill strays and tell of keepers whose pods have left nothing.

        A keeper that ended with 0 has proven its tree empty itself. One that was killed has not,
        and its pod's processes are our children now.

        Returns:
            When to try again, where something does not end; None where all is clear.
        """
        self._tell_proven()
        if not self._unproven and not self._stray_seen:
            return None
        self._stray_seen = False
        spared = {*self._keepers, *self._spares.pids}
        if not sweep(spared, self._reaped, self._struck):
            self._stray_seen = True
            deadline = time.monotonic() + self._retry
            self._retry = min(self._retry * 2, LAST_RETRY_SECONDS)
            return deadline
        self._stray_seen = False
        self._retry = FIRST_RETRY_SECONDS
        self._tell_proven()
        self._spares.clear(*(pid for pid, _, _ in self._unproven))
        # Which stray was whose cannot be known; they are told with the first that may own them.
        for end in self._unproven:
            abandon(*end[1].sockets)
            if self._delegation is not None:
                self._delegation.forget(end[1].id)
            self._tell_end(*end, strays=self._strays)
            self._strays = 0
        self._unproven.clear()
        return None

    def _tell_proven(self) -> None:
        for end in [end for end in self._unproven if end[2] == 0]:
            self._unproven.remove(end)
            self._tell_end(*end, strays=0)

    def _tell_end(self, pid: int, kept: _Kept, status: int, *, strays: int) -> None:
        end = KeeperEnded(pid=pid, id=kept.id, status=status, strays_killed=strays)
        self._ended.pop(kept.id, None)  # the newest last: the oldest are forgotten first
        self._ended[kept.id] = end
        while len(self._ended) > MAX_REMEMBERED:
            del self._ended[next(iter(self._ended))]
        if status != 0:
            self._log(f"the keeper of {kept.id} ended with {status}; {strays} strays were killed")
        self._server.notify("keeper_ended", end)
