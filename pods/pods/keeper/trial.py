"""Runs one command in a copy of a pod's confinement and tells what was refused to it.

Owns that copy: the same grant, the same baseline, the same working directory, in a child that is
thrown away with all that it started. It differs from the pod in what a copy should: its temporary
directory is its own and removed, the pod's journal and artifacts can be read and not written, and
the values of the pod's `env` are not known to it. Called by `pods explain`, in the user's own
process: nothing of a pod or its supervisor waits for it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import orjson
from attrs import asdict, frozen

from pods.keeper.environ import inherited_environ
from pods.keeper.system import die_with_parent, redirect_standard_streams, reset_signals
from pods.paths import LENT_NAME
from pods.scope.confine import OwnPlaces, prepare, switches_from
from pods.scope.doors import OPEN
from pods.scope.lending import layer_without, read_lending
from pods.scope.refusals import Refused
from pods.scope.tracer import Traced, trace
from pods_protocol.codec import from_json, to_json
from pods_protocol.errors import PodsError, StartFailed
from pods_protocol.values import Doors, Enforcement, ScopeGrant

READ_BYTES: Final = 64 * 1024


@frozen(kw_only=True)
class Subject:
    """The pod that is copied.

    Attributes:
        name, grant, cwd, python: the pod's.
        state_directory: of its journal; the copy may read it.
        closed: the roots of pods' own directories.
        doors: what else is open to it.
    """

    name: str
    grant: ScopeGrant
    cwd: str
    python: str | None
    state_directory: str
    closed: tuple[str, str]
    doors: Doors = OPEN


@frozen(kw_only=True)
class Trial:
    """What came of it.

    Attributes:
        traced: the command's end, and what was refused.
        enforcement: what the copy was held to.
        temporary: its temporary directory, which is gone.
    """

    traced: Traced
    enforcement: Enforcement
    temporary: str


def try_command(subject: Subject, argv: Sequence[str], environ: Mapping[str, str]) -> Trial:
    """Run a command as the pod's programs run; what it writes goes to standard error.

    Args:
        subject: whose confinement to copy.
        argv: the program and its arguments.
        environ: the user's; the copy gets of it what a pod would.

    Raises:
        StartFailed: the copy cannot be made, or this machine lets nobody trace.
    """
    temporary = tempfile.mkdtemp(prefix="pods-explain-")
    try:
        told = _in_child(lambda: _run(subject, argv, environ, temporary))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if "failed" in told:
        raise StartFailed(
            f"cannot run {argv[0]!r} in a copy of pod {subject.name}: {told['failed']}",
            step="explain",
            detail=told["failed"],
        )
    return Trial(
        traced=Traced(
            told["status"],
            tuple(Refused(**refused) for refused in told["refused"]),
            told["truncated"],
        ),
        enforcement=from_json(Enforcement, told["enforcement"]),
        temporary=temporary,
    )


def _run(
    subject: Subject, argv: Sequence[str], environ: Mapping[str, str], temporary: str
) -> dict[str, Any]:
    env = {
        **inherited_environ(environ),
        "TMPDIR": temporary,
        "XDG_CACHE_HOME": f"{temporary}/cache",
        "PODS_NAME": subject.name,
    }
    own = OwnPlaces(write=(temporary,), read=(subject.state_directory,), forbidden=subject.closed)
    with prepare(
        subject.grant,
        own,
        environ=env,
        switches=switches_from(environ),
        python=subject.python,
        doors=subject.doors,
    ) as confinement:
        lending = read_lending(f"{subject.state_directory}/{LENT_NAME}")
        layer = None if lending is None else layer_without(subject.grant, lending, (temporary,))

        def become() -> None:
            os.setsid()
            reset_signals()
            redirect_standard_streams(2)
            os.chdir(subject.cwd)
            confinement.enter()
            if layer is not None:
                layer.restrict_self()
            os.execvpe(argv[0], list(argv), env)

        traced = trace(become)
    return {
        "status": traced.status,
        "refused": [asdict(one) for one in traced.refused],
        "truncated": traced.truncated,
        "enforcement": to_json(confinement.enforcement),
    }


def _in_child(act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `act` returns in a child: a tracer waits for every child there is."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_child(parent, writer, act)
    os.close(writer)
    chunks: list[bytes] = []
    try:
        while chunk := os.read(reader, READ_BYTES):
            chunks.append(chunk)
    finally:
        os.close(reader)
        os.waitpid(pid, 0)
    if not chunks:
        return {"failed": "the process that watches it has ended"}
    told: dict[str, Any] = orjson.loads(b"".join(chunks))
    return told


def _be_child(parent: int, writer: int, act: Callable[[], dict[str, Any]]) -> NoReturn:
    try:
        try:
            die_with_parent(parent)
            told = act()
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            told = {"failed": f"{where}{error.strerror or error}"}
        except PodsError as error:
            told = {"failed": error.message}
        data = orjson.dumps(told)
        while data:
            data = data[os.write(writer, data) :]
    finally:
        os._exit(0)
