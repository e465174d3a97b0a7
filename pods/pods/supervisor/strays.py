"""Processes of pods that live no more, known by what they were started with.

Where a pod's keeper, its launcher and its guard are all killed, what its programs left running
falls to the init process, and no parent leads to it any more. Its environment does: every program
of a pod is started with `PODS_ID` beside our directories. What has thrown that away, and what the
agent's own process forked without a program of its own, is not found.

Owns that look and the end of what it finds. A number alone is nobody: a process is held by its
identity, and looked at once more before it is ended. Blocking. Used by `doctor` and by `checkup`;
`hunt` ends what must be gone before a lease is given back whose pod's end nobody has witnessed.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from attrs import frozen

from pods.descriptors import is_out_of_descriptors
from pods.paths import Places
from pods.scope.identity import identify, is_alive
from pods.scope.leases import Lease
from pods.scope.registry import ScopeRegistry
from pods.supervisor.probes import POD_ID
from pods.supervisor.processes import signal_process
from pods_protocol.errors import PodsError
from pods_protocol.values import ProcessIdentity

MAX_ENVIRON_BYTES: Final = 1024 * 1024
"""Of one process: most have four thousand; more than this no program of ours was started with."""

MAX_NAMED: Final = 10
"""Processes that one problem names."""

KILL_SECONDS: Final = 5.0
"""SIGKILL to gone: a few milliseconds, but for processes in uninterruptible sleep."""


@frozen
class Carrier:
    """A process that carries a pod's id.

    Attributes:
        process: which, for ever.
        pod_id: of the pod.
        surely_ours: its temporary directory is that pod's too: nobody has this from elsewhere, as a
            supervisor has that was started inside of a pod with directories of its own.
    """

    process: ProcessIdentity
    pod_id: str
    surely_ours: bool


def find_carriers(places: Places) -> list[Carrier]:
    """Every process of this user that carries the id of a pod of these directories."""
    own, user = os.getpid(), os.geteuid()
    return [
        found for pid in pids() if pid != own and (found := _carrier(places, pid, user)) is not None
    ]


def carriers_of(places: Places, pod_id: str) -> list[Carrier]:
    """Those of one pod."""
    return [found for found in find_carriers(places) if found.pod_id == pod_id]


def kill_carrier(places: Places, seen: Carrier) -> bool:
    """Kill a process that was seen, if it still is the one; whether it was there."""
    if _carrier(places, seen.process.pid, os.geteuid()) != seen:
        return False
    return signal_process(seen.process, signal.SIGKILL)


def describe_strays(name: str, seen: Sequence[Carrier]) -> str:
    """What is wrong, in a sentence."""
    who = numbers([one.process for one in seen])
    return (
        f"{who}: started by pod {name} ({seen[0].pod_id}), which is not a living pod; "
        "its keeper, launcher and guard were killed before they could end that"
    )


def fix_for_strays(seen: Sequence[Carrier]) -> str:
    """What a person would do about it."""
    return f"end it: kill -9 {' '.join(str(one.process.pid) for one in seen[:MAX_NAMED])}"


def end_carriers(places: Places, seen: Sequence[Carrier]) -> str:
    """End these, each if it still is what was seen; says so. What they fork meanwhile is left.

    Raises:
        TimeoutError: something does not go.
    """
    for one in seen:
        kill_carrier(places, one)
    deadline = time.monotonic() + KILL_SECONDS
    for one in seen:
        if not _gone_by(one.process, deadline):
            raise TimeoutError(f"process {one.process.pid} does not go")
    return f"ended {numbers([one.process for one in seen])}"


def numbers(seen: Sequence[ProcessIdentity]) -> str:
    """Processes as a sentence names them, a few of many."""
    named = ", ".join(str(one.pid) for one in seen[:MAX_NAMED])
    more = f" and {len(seen) - MAX_NAMED} more" if len(seen) > MAX_NAMED else ""
    return f"{'process' if len(seen) == 1 else 'processes'} {named}{more}"


def _gone_by(process: ProcessIdentity, deadline: float) -> bool:
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        left = max(0.0, deadline - time.monotonic())
        return not is_alive(process) or bool(poll.poll(left * 1000))
    finally:
        os.close(descriptor)


def end_after_leases(
    registry: ScopeRegistry, places: Places, leases: Iterable[Lease], say: Callable[[str], None]
) -> None:
    """End what is left of pods whose leases were given up because nobody answers for them.

    Whoever takes such a scope next shall have it alone. A pod that has a lease again was started
    again meanwhile, and what was seen may be of its new life.

    Args:
        registry: which has just dropped the leases, or is about to.
        places: of the user.
        leases: what it drops.
        say: told of what was ended, and of what does not go.
    """
    dropped = {lease.pod_id: lease for lease in leases if not lease.is_pending}
    if not dropped:
        return
    try:
        seen = [one for one in find_carriers(places) if one.pod_id in dropped]
        if not seen:
            return
        held = registry.read().leases
        left = [one for one in seen if held.get(one.pod_id) in (None, dropped[one.pod_id])]
        if left:
            say(f"{end_carriers(places, left)}, which a dead pod had left")
    except (PodsError, OSError) as error:
        say(f"cannot end what a dead pod has left: {error}")


def release_leases(registry: ScopeRegistry, places: Places, over: Sequence[Lease]) -> str:
    """Drop leases of the dead, once what their pods have left is ended; says so.

    Raises:
        PodsError: the registry refuses.
    """
    done: list[str] = []
    end_after_leases(registry, places, over, done.append)
    registry.tidy()
    return "; ".join([*done, f"released {len(over)} leases"])


def pids() -> Iterator[int]:
    """The numbers of all processes."""
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit():
                yield int(entry.name)


def _carrier(places: Places, pid: int, user: int) -> Carrier | None:
    try:
        # As root every environment can be read, and other users have pods of their own.
        if os.stat(f"/proc/{pid}").st_uid != user:
            return None
        process = identify(pid)
        carried = carried_by(places, pid)
    except OSError as error:
        if is_out_of_descriptors(error):
            raise
        return None
    if carried is None or not is_alive(process):
        return None
    pod_id, surely_ours = carried
    return Carrier(process, pod_id, surely_ours)


def carried_by(places: Places, pid: int) -> tuple[str, bool] | None:
    """The id that a process was started with, and whether it is surely ours; None without one.

    Raises:
        OSError: it has ended, or is not to be read.
    """
    with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
        content = file.read(MAX_ENVIRON_BYTES)
    if b"PODS_ID=" not in content:
        return None
    parts = (entry.partition(b"=") for entry in content.split(b"\0"))
    carried = {name: value for name, _, value in parts}
    pod_id = os.fsdecode(carried.get(b"PODS_ID", b""))
    ours = (
        carried.get(b"PODS_RUNTIME_DIR") == os.fsencode(places.runtime)
        or carried.get(b"PODS_STATE_DIR") == os.fsencode(places.state)
    )  # fmt: skip
    if not ours or not POD_ID.match(pod_id):
        return None
    temporary = os.fsdecode(carried.get(b"TMPDIR", b""))
    surely = temporary.startswith(f"{places.runtime}/") and f"/{pod_id}/" in f"{temporary}/"
    return pod_id, surely
