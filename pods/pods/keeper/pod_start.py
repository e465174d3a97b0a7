"""From the fork to the first line of the pod's own code: what the new process is and is not given.

Owns the pod's descriptors, limits and signals, what the kernel holds it to, and the
two ways to go on: stay in the forked image, or exec another interpreter. Runs in the pod's process
only; never returns to the keeper's code. What goes wrong here ends up as a line in the pod's
`stderr.log`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import resource
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import attrs
import orjson

from pods.agents.kinds import ACP_KINDS
from pods.keeper.backstop import data_ceiling
from pods.keeper.confined import Kill, PodNotHeld, forbidden_roots, hold
from pods.keeper.environ import inherited_environ, judging_environ, own_environ
from pods.keeper.system import (
    LOOP_IGNORES,
    LOOP_SIGNALS,
    close_descriptors,
    die_with_parent,
    reset_signals,
    set_process_name,
)
from pods.paths import SECRETS_NAME
from pods.pod.cgroup import enter_group
from pods.pod.life import RunPod
from pods_protocol.codec import to_json
from pods_protocol.process_messages import PodSpec

if TYPE_CHECKING:
    from pods.agents.acp.home import Guest

EXIT_BUG: Final = 70
"""The code of the pod or of its keeper raised; the traceback is in `stderr.log`. EX_SOFTWARE of
sysexits.h."""

EXIT_CANNOT_START: Final = 127
"""No such interpreter or working directory, or the system refused; what a shell says for it."""

PROCESS_NAME: Final = "pods-pod"

MAX_SECRETS_BYTES: Final = 4 * 1024 * 1024
"""Token and variables of one pod: what came in a line of 1 MiB, with room for its escapes."""

NEW_OBJECTS: Final = 5000
"""Made before the collector of garbage looks at what is new, in a forked pod. Python's own 700 have
it look a dozen times while a pod starts; this is half a megabyte."""

OOM_SCORE: Final = 300
"""Added to a pod's badness when memory runs out: its keeper, which proves the end of whatever the
kernel kills, and the supervisor must outlive it. 1000 would make it the first of the machine."""


def enter_pod(
    spec: PodSpec,
    listener: socket.socket,
    keeper: int,
    run_pod: RunPod | None,
    *,
    switches: Mapping[str, str],
    kill: Kill,
    tells: socket.socket | None = None,
) -> NoReturn:
    """Become the pod. Called in the process that the keeper has just forked.

    Args:
        spec: what to become.
        listener: the pod's own socket, listening.
        keeper: the pid of the parent.
        run_pod: the pod's life in the forked image; None is `pods.pod.main.run_pod`.
        switches: what the launcher was told about the holding of pods (`pods.scope.confine`).
        kill: how the keeper would end the tree, for the record.
        tells: where it tells its keeper of its turns, if that is to know.
    """

    def live() -> int:
        kept = (listener,) if tells is None else (listener, tells)
        settle(keeper, keep=[one.fileno() for one in kept], forked=spec.python is None)
        set_process_name(PROCESS_NAME)
        furnished = furnish(spec, switches=switches, kill=kill)
        if isinstance(furnished, int):
            return furnished
        if furnished.python is not None:
            environ = {**inherited_environ(os.environ), **own_environ(furnished)}
            return _exec(furnished, listener, tells, environ)
        gc.enable()
        return (run_pod or default_run_pod())(furnished, listener, tells)

    end_process(live)


def end_process(live: Callable[[], int]) -> NoReturn:
    """Live, then end this process with the exit code; nothing above on the stack ever runs."""
    code = EXIT_BUG
    try:
        code = live()
    except SystemExit as request:
        code = request.code if isinstance(request.code, int) else EXIT_BUG
    except BaseException:
        # Whatever it is, the keeper's loop above on this stack must never run in this process.
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def settle(keeper: int, *, keep: Sequence[int], forked: bool) -> None:
    """What is the same for every pod: its parent, session, signals, descriptors, file mode.

    Args:
        keeper: the pid of the parent.
        keep: the descriptors to keep beside the standard streams.
        forked: it stays in the forked image, which has what Python set at its start, and what the
            launcher's loop did.
    """
    die_with_parent(keeper)
    os.setsid()
    if forked:
        reset_signals((*LOOP_SIGNALS, *LOOP_IGNORES))
    else:
        reset_signals()
    close_descriptors(keep=(0, 1, 2, *keep))
    os.umask(0o077)
    if forked:
        # What `os.fork` does in a child beyond this is for the threads and locks of a parent that
        # has some: the keeper has one thread, and its launcher had.
        random.seed()
        gc.set_threshold(NEW_OBJECTS)


def furnish(spec: PodSpec, *, switches: Mapping[str, str], kill: Kill) -> PodSpec | int:
    """What this pod is given: secrets, limits, directory, confinement, environment.

    Returns:
        The spec with its secrets; the exit code where the pod cannot start.
    """
    try:
        spec = with_secrets(spec)
    except (OSError, ValueError) as error:
        return _cannot_start(spec, f"its secrets cannot be read: {error}")
    try:
        _set_limits(spec)
        os.chdir(spec.cwd)
    except (OSError, ValueError) as error:
        return _cannot_start(spec, f"{spec.cwd}: {error}; check its `python` and `cwd`")
    environ = judging_environ(spec, os.environ)
    guest = None if spec.agent not in ACP_KINDS else _guest(spec, environ)
    try:
        hold(spec, environ, switches=switches, kill=kill, guest=guest)
        if guest is not None:
            guest.move_in()
            spec = attrs.evolve(spec, env={**guest.environment, **spec.env})
    except PodNotHeld as error:
        return _cannot_start(spec, str(error))
    except OSError as error:
        return _cannot_start(spec, f"its agent's home cannot be made: {error}; check the disk")
    own = own_environ(spec)
    if spec.python is None:
        # The launcher has thrown away at its start what pods do not inherit.
        os.environ.update(own)
        if "TZ" in spec.env:
            time.tzset()
        _forget_temporary_directory()
    return spec


def _guest(spec: PodSpec, environ: Mapping[str, str]) -> Guest:
    from pods.agents.acp.home import guest_of  # only vendors' agents have one

    return guest_of(
        spec.agent,
        spec.options,
        state_directory=spec.state_directory,
        environ=environ,
        asked_by_pod=spec.parent is not None,
        variables_given=bool(spec.env),
        forbidden=forbidden_roots(spec.state_directory, spec.runtime_directory),
    )


def with_secrets(spec: PodSpec) -> PodSpec:
    """The spec with its token and `env`, taken from the file that the supervisor left for it.

    They do not come through the launcher: what that has once held lies in the memory of every pod
    it forks later, freed or not. The file is gone afterwards. A spec without one has them itself.

    Raises:
        OSError, ValueError: there is a file, and it cannot be read.
    """
    path = f"{spec.runtime_directory}/{SECRETS_NAME}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return spec
    with open(descriptor, "rb", buffering=0) as file:
        # Not as much as may be there: the room for it is taken before it is known what there is.
        size = min(os.fstat(descriptor).st_size, MAX_SECRETS_BYTES)
        secrets = orjson.loads(file.read(size))
    os.unlink(path)
    return attrs.evolve(spec, token=secrets["token"], env=secrets["env"])


def default_run_pod() -> RunPod:
    """The pod runtime; imported late so that this file stands without it."""
    from pods.pod.main import run_pod

    return run_pod


def _set_limits(spec: PodSpec) -> None:
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+b", buffering=0) as file:
        if int(file.read(16)) < OOM_SCORE:  # to lower it again takes a privilege
            file.write(b"%d" % OOM_SCORE)
    if spec.cgroup:
        enter_group(spec.cgroup)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = spec.limits.memory_bytes
    _lower(resource.RLIMIT_NOFILE, spec.limits.open_files)
    _lower(resource.RLIMIT_DATA, None if memory is None else data_ceiling(memory))


def _lower(what: int, wanted: int | None) -> None:
    if wanted is not None:
        _, ceiling = resource.getrlimit(what)
        number = wanted if ceiling == resource.RLIM_INFINITY else min(wanted, ceiling)
        resource.setrlimit(what, (number, number))


def _exec(
    spec: PodSpec, listener: socket.socket, tells: socket.socket | None, environ: dict[str, str]
) -> int:
    """Hand the spec over in a file without a name: argv and environment are anybody's to read."""
    python = cast("str", spec.python)
    try:
        handover = os.memfd_create("pods-spec", 0)
        line: dict[str, Any] = {"spec": to_json(spec), "listener_fd": listener.fileno()}
        if tells is not None:
            line["tells_fd"] = tells.fileno()
            os.set_inheritable(tells.fileno(), True)
        with open(handover, "wb", buffering=0, closefd=False) as file:
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        os.lseek(handover, 0, os.SEEK_SET)
        os.set_inheritable(listener.fileno(), True)
        os.execvpe(python, [python, "-P", "-m", "pods.pod", str(handover)], environ)
    except OSError as error:
        why = f"{python}: {os.strerror(error.errno or 0)}"
        return _cannot_start(spec, f"{why}; check its `python` and `cwd`")


def _cannot_start(spec: PodSpec, why: str) -> int:
    print(  # noqa: T201 (standard error is the pod's stderr.log here)
        f"cannot start pod {spec.name}: {why}", file=sys.stderr
    )
    return EXIT_CANNOT_START


def _forget_temporary_directory() -> None:
    """Make `tempfile`, where it is loaded, look at the new TMPDIR."""
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = None  # type: ignore[attr-defined]  # sys.modules knows no module's names
