"""The end of all that carries a dead pod's id, before the pod's lease is given back.

One look at `/proc` proves little where a program keeps forking and its parent ends at once: each
process is gone by the time that it is signalled, and the next one has a number that the look has
passed. So what is found is stopped before anything is killed, since what is stopped forks no more;
the numbers that were given out during a look are looked at as well, the newest at once; and only
several looks in a row that find nothing count.

Owns that hunt. What carries an id is `strays`. Called by `guards`, where nobody has witnessed the
end of a pod.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field

from pods.descriptors import is_out_of_descriptors, no_descriptors
from pods.paths import Places
from pods.scope.identity import identify
from pods.supervisor.processes import (
    DESCRIPTOR_RETRY_SECONDS,
    signal_process,
    wait_process_gone,
)
from pods.supervisor.strays import carried_by, numbers, pids
from pods_protocol.errors import CapacityReached
from pods_protocol.values import ProcessIdentity

if TYPE_CHECKING:
    from pods.supervisor.core import Supervisor

EMPTY_LOOKS: Final = 4
EXEC_SECONDS: Final = 0.01
"""Looks in a row that find nothing, and the pause after each: a process that is just replacing its
program has no environment for some microseconds, and one that lives for a tenth of a millisecond
may be born and gone between two readings. Such a chain was missed by four of 84 looks, so by four
in a row once in two hundred thousand times."""

ROUND_SECONDS: Final = 0.25
"""For stopping all there is. What multiplies faster than it is stopped is killed in rounds, and a
thread is not kept for it."""

CHASE_SECONDS: Final = 0.003
"""For looking at what is born after a look: some twenty of a chain of processes in which each forks
the next and ends, each looked at within some hundredths of a millisecond."""

MAX_BEHIND: Final = 64
"""Newborn numbers that are looked at in one go; of more, the newest: the older ones have ended,
or the next look finds them."""

FIRST_PAUSE_SECONDS: Final = 0.01
RARE_SECONDS: Final = 10.0
"""After a round that found something, doubled with each. What comes again after all those rounds is
made by somebody who lives, a program of another pod, say, that forges the id: a look costs some
milliseconds, and the lease is kept for as long as it takes."""

MAX_ROUNDS: Final = 10
"""After that many it is told in the log: they take some ten seconds."""


@define
class Caught:
    """What one round has found.

    Attributes:
        stopped: by their numbers.
        killed: those of them that were still there then.
        seen: how many there were, with those that ended before they could be stopped.
    """

    stopped: dict[int, ProcessIdentity] = field(factory=dict[int, ProcessIdentity])
    killed: list[ProcessIdentity] = field(factory=list[ProcessIdentity])
    seen: int = 0


async def end_strays(supervisor: Supervisor, pod_id: str) -> int:
    """End all that carries a dead pod's id, and wait until it is gone; returns how many there were.

    However long that takes: who calls has a lease to give back.
    """
    ended, rounds, empty = 0, 0, 0
    while empty < EMPTY_LOOKS:
        try:
            caught = await end_round(supervisor.places.places, pod_id)
        except CapacityReached:
            empty = 0  # nobody knows what is there
            await trio.sleep(DESCRIPTOR_RETRY_SECONDS)
            continue
        if not caught.seen:
            empty += 1
            await trio.sleep(EXEC_SECONDS)
            continue
        empty, rounds = 0, rounds + 1
        ended += len(caught.killed)
        if caught.killed and rounds <= MAX_ROUNDS:
            supervisor.log(f"ended {numbers(caught.killed)} of dead pod {pod_id}")
        if rounds == MAX_ROUNDS:
            supervisor.log(
                f"something goes on starting processes as of dead pod {pod_id}: its scope is kept, "
                f"and they are looked for every {RARE_SECONDS:g} s from now on; end what starts "
                f"them: they have PODS_ID={pod_id} in their environment"
            )
        for one in caught.killed:
            await wait_process_gone(one)
        await trio.sleep(min(FIRST_PAUSE_SECONDS * 2 ** min(rounds, MAX_ROUNDS), RARE_SECONDS))
    return ended


async def end_round(places: Places, pod_id: str) -> Caught:
    """One round: stop all that carries a pod's id, and what that forks meanwhile; then kill it.

    In one go, as far as time allows: who is cancelled in between would leave it stopped.

    Raises:
        CapacityReached: no descriptor is left to look with; what was stopped is found again.
    """
    return await trio.to_thread.run_sync(_end_all, places, pod_id)


def _end_all(places: Places, pod_id: str) -> Caught:
    try:
        caught = _stop_all(places, pod_id)
    except OSError as error:
        if is_out_of_descriptors(error):
            raise no_descriptors("look for what a dead pod has left", error) from error
        raise
    caught.killed = [one for one in caught.stopped.values() if signal_process(one, signal.SIGKILL)]
    return caught


def _stop_all(places: Places, pod_id: str) -> Caught:
    caught = Caught()
    deadline = time.monotonic() + ROUND_SECONDS
    while True:
        before, newest = caught.seen, _newest_pid()
        for pid in pids():
            _stop(caught, places, pod_id, pid)
        _chase(caught, places, pod_id, newest)
        # All that was found before is still: what comes now was forked before it was stopped.
        if caught.seen == before or time.monotonic() > deadline:
            return caught


def _chase(caught: Caught, places: Places, pod_id: str, newest: int) -> None:
    """Stop what has been born since that number was the newest, and what is being born."""
    deadline = time.monotonic() + CHASE_SECONDS
    while time.monotonic() < deadline:
        looked, newest = newest, _newest_pid()
        # Numbers begin anew at their end; what is passed over then, the next look finds.
        for pid in range(max(looked + 1, newest - MAX_BEHIND), newest + 1):
            _stop(caught, places, pod_id, pid)


def _stop(caught: Caught, places: Places, pod_id: str, pid: int) -> None:
    if pid in caught.stopped or pid == os.getpid():
        return
    try:
        # As root every environment can be read, and other users have pods of their own.
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            return
        # Held before it is looked at: if the number is another's by then, nobody gets the signal.
        descriptor = os.pidfd_open(pid)
    except OSError as error:
        if is_out_of_descriptors(error):
            raise
        return  # it has ended, or is a thread
    try:
        carried = carried_by(places, pid)
        if carried is None or carried[0] != pod_id:
            return
        caught.seen += 1
        signal.pidfd_send_signal(descriptor, signal.SIGSTOP)
        caught.stopped[pid] = identify(pid)
    except OSError as error:
        if is_out_of_descriptors(error):
            raise
        # It has ended; who was seen has been counted.
    finally:
        os.close(descriptor)


def _newest_pid() -> int:
    """The number that was given out last, in our own namespace of numbers."""
    with open("/proc/loadavg", "rb", buffering=0) as file:
        return int(file.read().rpartition(b" ")[2])
