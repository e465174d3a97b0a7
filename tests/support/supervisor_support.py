"""Helpers for tests of supervisors: embedded ones, daemons, and what must not be left of either.

Owns also the agents that make trouble (`supervisor_support:deaf` and its like): this directory is
on the path of the pods that these helpers start.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from pods.agents.turn import Turn
from pods.client import aio
from pods.client.pod_handle import Pod
from pods.journal.files import SystemFiles
from pods.journal.store import Item, JournalWriter
from pods.paths import SupervisorPlaces, places_from
from pods.scope.registry import ScopeRegistry
from pods.supervisor.core import Supervisor
from pods.supervisor.launcher_process import launcher_environment
from pods.supervisor.options import Options
from pods.supervisor.records import read_token
from pods.supervisor.service import serve
from pods_protocol.errors import StorageFailed
from pods_protocol.process_messages import PodSpec

if TYPE_CHECKING:
    import pytest  # pods load this file for their agents

ROOT: Final = Path(__file__).parents[2]
ROOMS: Final = [str(ROOT / name) for name in ("pods", "protocol", "tools", "tests/support")]
WAIT_SECONDS: Final = 45.0
"""Round every wait: real processes on a machine that runs other suites beside this one. Less
than the limit of a test, so that a fault has a name."""

BUSY: Final = "echo up; exec sleep 1000"
"""For the shell agent: says that it runs, then stays."""


# -- agents ----------------------------------------------------------------------------------


BEGUN: Final = "TROUBLE_BEGUN"
"""The variable with the path of a named pipe: an agent that makes trouble says there that it is
about to."""


class Deaf:
    """Blocks the pod's loop, so that nothing answers; SIGTERM ends it."""

    async def run_turn(self, turn: object) -> None:
        """Say that it begins, then hear nothing any more."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _block()


class Stubborn:
    """Blocks the pod's loop and ignores SIGTERM."""

    async def run_turn(self, turn: object) -> None:
        """Say that it begins, then hear nothing any more."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _block()


class Unsynced:
    """Says when the end of its turn is written and not synced; then it goes on, or cannot.

    What to do stands in a second pipe, `BEGUN` and ".go": nothing to go on, anything to fail.
    """

    async def run_turn(self, turn: object) -> None:
        """End at once; the journal's next sync is the one that waits."""
        sync = SystemFiles.sync

        def waiting(descriptor: int) -> None:
            setattr(SystemFiles, "sync", staticmethod(sync))  # noqa: B010 - a typed one is final
            pipe = os.environ[BEGUN]
            Path(pipe).write_bytes(b"begun")
            if Path(f"{pipe}.go").read_bytes():
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            sync(descriptor)

        setattr(SystemFiles, "sync", staticmethod(waiting))  # noqa: B010 - as above


class Hoarder:
    """Takes memory in its own process, once it is asked to."""

    async def run_turn(self, turn: Turn) -> None:
        """Take the bytes that the message names, in pieces, and keep them."""
        self._held = [b"x" * (1 << 20) for _ in range(int(turn.input) >> 20)]


class Loud:
    """Writes to its descriptor 2, itself and by a program that has it from here."""

    async def run_turn(self, turn: Turn) -> None:
        """Write as many bytes as the message says, then a line by a program."""
        await trio.to_thread.run_sync(_be_loud, int(turn.input))


def _be_loud(size: int) -> None:
    while size > 0:
        size -= os.write(2, b"x" * min(size, 1 << 16))
    subprocess.run(["/bin/sh", "-c", "echo; echo done >&2"], stdout=2, check=True)


class Wedged:
    """Starts a shell command, and hears nothing any more: what that does, its pod does not see."""

    async def run_turn(self, turn: Turn) -> None:
        """Start the message as a command and wait for it for ever."""
        _wait_for_ever(turn.input)


class Scanner:
    """Tells the digests of everything in its own memory that looks like one of our secrets."""

    async def run_turn(self, turn: Turn) -> None:
        """Look at every page that it can write."""
        for secret in self._found():
            await turn.text(hashlib.sha256(secret).hexdigest() + "\n")

    def _found(self) -> set[bytes]:
        found: set[bytes] = set()
        with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
            for line in maps:
                span, rights = line.split()[:2]
                if not rights.startswith("rw") or "[v" in line:
                    continue
                start, end = (int(edge, 16) for edge in span.split("-"))
                memory.seek(start)
                found.update(re.findall(rb"(?<![0-9a-f])[0-9a-f]{64}", memory.read(end - start)))
        return found


class Nosy:
    """Says what it finds of pods' specs in its process's memory."""

    async def run_turn(self, turn: Turn) -> None:
        """Look at everything that the collector knows of."""
        specs = [found for found in gc.get_objects() if isinstance(found, PodSpec)]
        await turn.text("\n".join(f"{spec!r} {spec.token} {spec.env}" for spec in specs))


def _wait_for_ever(command: str) -> None:
    with subprocess.Popen(command, shell=True):
        while True:
            time.sleep(1000)


def _block() -> None:
    with open(os.environ[BEGUN], "wb") as said:
        said.write(b"begun")
    while True:
        time.sleep(1000)


async def spawn_trouble(client: aio.PodsClient, directory: str, name: str, kind: str) -> None:
    """Spawn a pod with one of these agents and wait until its trouble has begun."""
    own = f"{directory}/{name}"
    os.mkdir(own, 0o700)
    pipe = f"{own}/begun"
    os.mkfifo(pipe, 0o600)
    os.mkfifo(f"{pipe}.go", 0o600)
    await client.spawn(
        name, agent=f"supervisor_support:{kind}", prompt="go", env={BEGUN: pipe}, write=[own]
    )
    said = await trio.to_thread.run_sync(Path(pipe).read_bytes, abandon_on_cancel=True)
    assert said == b"begun"


# -- environments ----------------------------------------------------------------------------


def with_rooms(environ: dict[str, str]) -> dict[str, str]:
    """An environment in which `python -P -m pods...` finds this tree, installed or not."""
    before = environ.get("PYTHONPATH")
    return {**environ, "PYTHONPATH": os.pathsep.join(ROOMS + ([before] if before else []))}


def places_of(environ: dict[str, str], name: str) -> SupervisorPlaces:
    """Where the supervisor `name` of that environment lies."""
    return places_from(environ, os.geteuid()).supervisor(name)


def processes_of(environ: dict[str, str]) -> list[str]:
    """Every process that was started with this environment's runtime directory."""
    mark = f"PODS_RUNTIME_DIR={environ['PODS_RUNTIME_DIR']}".encode()
    found: list[str] = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ")
                found.append(f"{entry}: {command.decode()}")
    return found


def left_in(environ: dict[str, str]) -> dict[str, list[str]]:
    """What supervisors of this environment have left: nothing in each list is right."""
    runtime, state = Path(environ["PODS_RUNTIME_DIR"]), Path(environ["PODS_STATE_DIR"])
    registry = ScopeRegistry(places_from(environ, os.geteuid()).registry)
    return {
        "processes": processes_of(environ),
        "runtime": sorted(
            os.path.relpath(f"{directory}/{name}", runtime)
            for directory, below, files in os.walk(runtime)  # a spare's own may go meanwhile
            for name in (*below, *files)
            if not name.endswith(".lock")
        ),
        "leases": sorted(registry.read().leases) if (state / "scopes").exists() else [],
    }


def is_there(path: str) -> bool:
    """Whether something lies at a path."""
    return Path(path).exists()


NOTHING: Final[dict[str, list[str]]] = {"processes": [], "runtime": [], "leases": []}


# -- embedded --------------------------------------------------------------------------------


def options_for(environ: dict[str, str], name: str, **given: Any) -> Options:
    """Options of a test's supervisor."""
    places = places_from(environ, os.geteuid())
    given.setdefault("stop_pods", True)
    given.setdefault("idle_exit_seconds", None)
    return Options(
        places=places.supervisor(name),
        environ=launcher_environment(with_rooms(environ), places),
        **given,
    )


@asynccontextmanager
async def supervisor_and_client(
    environ: dict[str, str], name: str = "test", **given: Any
) -> AsyncGenerator[tuple[Supervisor, aio.PodsClient]]:
    """A supervisor in this process with its inside at hand, and the owner's client."""
    options = options_for(environ, name, **given)
    async with trio.open_nursery() as nursery:
        supervisor: Supervisor = await nursery.start(_shielded, options)
        try:
            async with aio.connect_socket(options.places.socket, supervisor.token) as client:
                yield supervisor, client
        finally:
            supervisor.leaving.set()


async def _shielded(
    options: Options, *, task_status: trio.TaskStatus[Supervisor] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.CancelScope(shield=True):
        await serve(options, signals=False, task_status=task_status)


# -- daemons ---------------------------------------------------------------------------------


@contextmanager
def daemon(
    environ: dict[str, str],
    name: str = "test",
    *,
    idle_exit_seconds: float = 0.0,
    open_files: tuple[int, int] | None = None,
) -> Generator[subprocess.Popen[bytes]]:
    """A supervisor of its own process, ready; killed at the end if it is still there.

    Args:
        open_files: the soft and the hard limit that it is started under.
    """
    limits: list[str] = []
    if open_files is not None:
        script = 'ulimit -S -n "$0" && ulimit -H -n "$1" && shift && exec "$@"'
        limits = ["/bin/sh", "-c", script, *map(str, open_files)]
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [
            *limits,
            sys.executable, "-P", "-m", "pods.supervisor", "--name", name,
            "--ready-fd", str(writer), "--idle-exit-seconds", str(idle_exit_seconds),
        ],
        env=with_rooms(environ),
        pass_fds=(writer,),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(writer)
    try:
        with open(reader, "rb") as ready:
            assert ready.readline() == b"ready\n", "the supervisor did not come up"
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(WAIT_SECONDS)


@asynccontextmanager
async def client_of(environ: dict[str, str], name: str = "test") -> AsyncGenerator[aio.PodsClient]:
    """The owner's client of a daemon."""
    places = places_of(environ, name)
    token = read_token(places.owner_token)
    assert token is not None
    async with aio.connect_socket(places.socket, token) as client:
        yield client


def acting_as(path: str, pod: Pod) -> AbstractAsyncContextManager[aio.PodsClient]:
    """A client with the authority of a pod that was just spawned."""
    assert pod.spawned is not None
    return aio.connect_socket(path, pod.spawned.token)


async def wait_process_ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process, once it has ended."""
    with trio.fail_after(WAIT_SECONDS):
        return await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)


async def wait_text(client: aio.PodsClient, pod: str, text: str) -> None:
    """Wait until the pod has put out `text`."""
    with trio.fail_after(WAIT_SECONDS):
        cursor, seen = 0, ""
        while text not in seen:
            answer = await client.read(pod, since=cursor, wait_seconds=WAIT_SECONDS)
            cursor = answer.next
            seen += "".join(str(event.data.get("text", "")) for event in answer.events)


def refuse_events(monkeypatch: pytest.MonkeyPatch, refuses: Callable[[str], bool]) -> None:
    """Let the journals of this process refuse events of some kinds, as a full disk does.

    Args:
        refuses: asked with each kind; a batch with one that it refuses is not written at all.
    """
    append: Any = JournalWriter[Any].append_many

    def refusing(self: Any, items: Sequence[Item], **given: Any) -> Any:
        if any(refuses(kind) for kind, _, _ in items):
            raise StorageFailed("cannot write: the disk is full; free some", path="", errno=28)
        return append(self, items, **given)

    monkeypatch.setattr(JournalWriter, "append_many", refusing)


def each_once(*kinds: str) -> Callable[[str], bool]:
    """For `refuse_events`: each of these once, one that is named twice two times."""
    left = list(kinds)

    def refuses(kind: str) -> bool:
        if kind in left:
            left.remove(kind)
            return True
        return False

    return refuses
