"""The launcher as a process: what it is started with, started, waited for.

Owns its command, its environment and the pipe on which it says that it is ready. Imports next to
nothing: a daemon starts its launcher before it has imported anything itself (`head_start`). Knows
nothing of the launcher's socket; `launcher_link` speaks to it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pods.client.start import supervisor_environment
from pods.keeper.environ import inherited_environ
from pods_protocol.bounds import SECRET_PREFIX

if TYPE_CHECKING:
    from pods.paths import Places, SupervisorPlaces

LAUNCHER_VARIABLES: Final = frozenset({"LD_LIBRARY_PATH", "VIRTUAL_ENV"})
LAUNCHER_PREFIXES: Final = ("PODS_", "PYTHON", "COVERAGE")
"""What the launcher's own interpreter and its switches need, besides what pods inherit."""


class LauncherProcess:
    """A launcher that this process started, and the pipe on which it says that it is ready.

    Attributes:
        ready: what to read that one line from; whoever reads it closes it.
    """

    def __init__(self, process: subprocess.Popen[bytes], ready: int) -> None:
        self._process = process
        self.ready = ready

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def kill(self) -> None:
        """End it at once; it has forked nothing before it was ready."""
        self._process.kill()

    def wait(self) -> int:
        """Reap it, once it has ended; waits until then. Returns its exit status."""
        return self._process.wait()

    def end_descriptor(self) -> int | None:
        """A new descriptor that becomes readable when the process ends; None if it was reaped."""
        with contextlib.suppress(ProcessLookupError):
            return os.pidfd_open(self._process.pid)
        return None


def start_launcher(
    places: SupervisorPlaces, environ: Mapping[str, str], open_files: int | None
) -> LauncherProcess:
    """Start a launcher; returns as soon as the interpreter runs.

    Args:
        places: of the supervisor that it forks for.
        environ: all that it is started with, from `launcher_environment`.
        open_files: the soft limit on descriptors that it and all pods get; None leaves ours.

    Raises:
        OSError: no memory, processes or descriptors for it.
    """
    reader, writer = os.pipe()
    try:
        log = os.open(places.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            command = [
                sys.executable, "-P", "-m", "pods.launcher",
                "--name", places.name,
                "--ready-fd", str(writer),
                "--log", places.log,
            ]  # fmt: skip
            if open_files is not None:
                command += ["--open-files", str(open_files)]
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writer,),
                start_new_session=True,
                env=environ,
                cwd="/",
            )
        finally:
            os.close(log)
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    return LauncherProcess(process, reader)


def launcher_environment(environ: Mapping[str, str], places: Places) -> dict[str, str]:
    """What the launcher is started with, and the same places whatever decided them.

    Not all of `environ`: the launcher is forked into every pod, and what a process was started with
    can be read in its /proc for ever, whatever it has thrown away since. So no key of the user's,
    and no way to an agent or a bus, may be in there.
    """
    given = supervisor_environment(environ)
    own = {
        name: value
        for name, value in given.items()
        if name in LAUNCHER_VARIABLES
        # Who names such a secret to one pod (`--env NAME`) has it in the shell that starts us.
        or (name.startswith(LAUNCHER_PREFIXES) and not name.startswith(SECRET_PREFIX))
    }
    return {
        **own,
        **inherited_environ(given),
        "PODS_RUNTIME_DIR": places.runtime,
        "PODS_STATE_DIR": places.state,
    }
