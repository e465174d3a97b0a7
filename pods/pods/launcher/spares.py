"""The launcher's spare: one keeper with its pod, forked while nobody waits.

Owns when there is one, and handing a spec to it. A spawn that finds it answers in a third of the
time; those that come together share nothing, and the others are forked as they come. Knows nothing
of pods beyond their spec. Used by the launcher's loop.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from pods.keeper.handover import hand_over, write_spec
from pods.keeper.spare import SpareLife, clear_scratch, keep_spare
from pods.keeper.system import ALL_SIGNALS, set_mask
from pods_protocol.process_messages import PodSpec

SPARES: Final = 1
"""How many are kept. A person or an agent starts one pod at a time; each costs 5 to 10 MB."""


class _Spare(NamedTuple):
    pid: int
    channel: socket.socket


class Spares:
    """At most one spare.

    Args:
        fork: as `plain_fork`.
        switches: what the launcher was told about the holding of pods (`pods.scope.confine`).
        life: how a spare lives; None is to keep none.
        log: takes what went wrong.

    Attributes:
        due: one is to be made as soon as nobody waits for anything else.
    """

    def __init__(
        self,
        fork: Callable[[], int],
        *,
        switches: Mapping[str, str],
        life: SpareLife | None,
        log: Callable[[str], None],
    ) -> None:
        self._fork = fork
        self._switches = switches
        self._life = life
        self._log = log
        self._spare: _Spare | None = None
        self._dead: list[int] = []
        self._settled = False
        self._held: object = None
        self.due = False

    @property
    def pids(self) -> tuple[int, ...]:
        """The keepers of spares, for who looks at the children of this process."""
        return () if self._spare is None else (self._spare.pid,)

    def settle(self) -> None:
        """Ready the memory of this process to be shared by many pods, once.

        It takes 0.1 s, so the first pod is forked without, whose person may be waiting for the
        supervisor to come up; it shares nothing with the later ones, which is 20 MB for as long as
        it lives.
        """
        if self._life is not None and not self._settled:
            self._settled = True
            self._held = self._life.settle()

    def want(self) -> None:
        """A pod was started, so another may follow."""
        self.due = self._life is not None and self._spare is None

    def make(self) -> None:
        """Fork one; where the system refuses there is none until the next pod was started."""
        self.due = False
        if self._life is None or self._spare is not None:
            return
        self.settle()
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._log(f"no spare pod: {os.strerror(error.errno or 0)}")
            return
        before = set_mask(ALL_SIGNALS, signal.SIG_BLOCK)
        try:
            pid = self._fork()
            if pid == 0:
                keep_spare(theirs, switches=self._switches, life=self._life)
        except OSError as error:
            ours.close()
            self._log(f"no spare pod: fork: {os.strerror(error.errno or 0)}")
            return
        finally:
            set_mask(before)
            theirs.close()
        self._spare = _Spare(pid, ours)

    def use(
        self, spec: PodSpec, pod_listener: socket.socket, keeper_listener: socket.socket
    ) -> int | None:
        """Make the spare this pod; returns its keeper's pid, None where there is no fitting one."""
        # Another interpreter is exec'd, and what is not held needs another signal domain.
        if self._spare is None or spec.python is not None or spec.enforce == "off":
            return None
        spare, self._spare = self._spare, None
        with spare.channel:
            try:
                written = write_spec(spec)
                try:
                    hand_over(
                        spare.channel, (written, pod_listener.fileno(), keeper_listener.fileno())
                    )
                finally:
                    os.close(written)
            except OSError as error:
                # It is ending, and is reaped as a child of nobody.
                self._log(f"a spare pod could not be used: {os.strerror(error.errno or 0)}")
                return None
        return spare.pid

    def ended(self, pid: int) -> bool:
        """Take note that a child was reaped; whether it was the spare."""
        if self._spare is None or self._spare.pid != pid:
            return False
        self._spare.channel.close()
        self._dead.append(pid)
        self._spare = None
        return True

    def clear(self, *killed: int) -> None:
        """Remove what is left of the rehearsals of pods whose keepers were killed.

        Call it once everything below those keepers has ended.

        Args:
            killed: keepers that were somebody's; unused spares that ended are known here.
        """
        if self._life is not None:
            for pid in (*killed, *self._dead):
                clear_scratch(self._life.scratch, pid)
        self._dead.clear()

    def close(self) -> None:
        """End the spare, and its pod with it."""
        if self._spare is not None:
            self._spare.channel.close()
            os.kill(self._spare.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._spare.pid, 0)
            self._dead.append(self._spare.pid)
            self._spare = None
