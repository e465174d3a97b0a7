"""A home of its own for the agent of a pod: where it is, what is copied there, what it may read.

Owns what a vendor's agent gets of the machine besides its pod's scope, and nothing of how the
kernel is told (`pods.keeper.confined`). The home lies beside the pod's journal and lives as long as
it, so that an agent finds its sessions again after a crash; `HOME` and the vendor's own variables
point there. So nothing of the user's home can be written, and no two pods share a state.

Logins are copied: read before the pod is confined, because afterwards it cannot, and written after
that, because an agent of an earlier life may have put links where they go. A copy that the agent
has renewed since is left alone. Called in the pod's process before any code of its agent.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from pods.agents.acp.program import find, places_of
from pods.agents.acp.table import KNOWN
from pods.scope.regions import is_below

MAX_LOGIN_BYTES: Final = 1024 * 1024
"""Of one file with a login or settings; they have some kilobytes."""

DIRECTORY: Final = "agent"
"""In the pod's state directory: what its agent may write besides the scope."""

HOME: Final = "home"
"""In that directory."""


class Login(NamedTuple):
    """A file to copy.

    Attributes:
        path: below the user's home, and below the pod's.
        content: what was there.
        modified: when it was written, in nanoseconds since the epoch.
    """

    path: str
    content: bytes
    modified: int


class Guest(NamedTuple):
    """What an agent gets.

    Attributes:
        directory: its own, to write; `home` is in it.
        read: what else it may read: its program, and what that needs.
        environment: variables, below those that the pod was given.
        logins: files to copy.
        said: all of it in words, for `pods inspect`.
    """

    directory: str
    read: tuple[str, ...]
    environment: dict[str, str]
    logins: tuple[Login, ...]
    said: tuple[str, ...]

    @property
    def home(self) -> str:
        """Its home."""
        return f"{self.directory}/{HOME}"

    def move_in(self) -> None:
        """Make the home and put the logins there; the process is held to its scope by now.

        Raises:
            OSError: the disk refuses.
        """
        directories = {self.home}
        directories.update(
            value for value in self.environment.values() if is_below(value, self.home)
        )
        for path in sorted(directories):
            os.makedirs(path, mode=0o700, exist_ok=True)
        for login in self.logins:
            _put(f"{self.home}/{login.path}", login)


def guest_of(
    kind: str,
    options: Mapping[str, Any],
    *,
    state_directory: str,
    environ: Mapping[str, str],
    asked_by_pod: bool,
    variables_given: bool = False,
    forbidden: tuple[str, ...] = (),
) -> Guest:
    """What the agent of a pod gets.

    Args:
        kind: one of `ACP_KINDS`.
        options: of the agent; `argv` names another program.
        state_directory: the pod's.
        environ: what the pod would have as its environment; PATH and HOME are read.
        asked_by_pod: a pod spawned it. A program that a pod names itself gets no login, and nothing
            to read around it: both are the user's to give.
        variables_given: whoever spawned it gave it variables. From a pod they may name another
            program, or code to load into this one (PATH, NODE_OPTIONS, LD_PRELOAD): no login then.
        forbidden: directories of pods' own; nothing that holds them is given.
    """
    known = KNOWN.get(kind)
    user_home, search_path = environ.get("HOME") or "/", environ.get("PATH", "")
    directory = f"{state_directory}/{DIRECTORY}"
    own = _own_program(options)
    trusted = own is None or not asked_by_pod
    given = trusted and not (asked_by_pod and variables_given)
    program = own or (known.command[0] if known else None)
    found = find(program, search_path) if program and trusted else None
    closed = [os.path.realpath(path) for path in (user_home, *forbidden)]
    read = tuple(
        path
        for path in (() if found is None else places_of(found, search_path))
        if not any(is_below(one, os.path.realpath(path)) for one in closed)
    )
    logins = tuple(
        login
        for path in (known.logins if known is not None and given else ())
        if (login := _take(user_home, path)) is not None
    )
    return Guest(
        directory=directory,
        read=read,
        environment=_environment(kind, f"{directory}/{HOME}", user_home),
        logins=logins,
        said=(
            f"write {directory} (the home of its agent; HOME and the agent's own variables point "
            "there)",
            *(f"read {path} (its agent's program)" for path in read),
            *(f"a copy of {user_home}/{login.path}" for login in logins),
        ),
    )


def _own_program(options: Mapping[str, Any]) -> str | None:
    """The program that the options name, if they do."""
    argv: object = options.get("argv")
    first: object = cast("list[object]", argv)[0] if isinstance(argv, list) and argv else None
    return first if isinstance(first, str) and first else None


def _environment(kind: str, home: str, user_home: str) -> dict[str, str]:
    known = KNOWN.get(kind)
    environment = {"HOME": home}
    if known is not None:
        wanted = {**known.environment, **(known.root_environment if os.geteuid() == 0 else {})}
        environment.update((name, value.replace("{home}", home)) for name, value in wanted.items())
    # Whose commits they are is no secret, and git looks for it in HOME.
    for path in (f"{user_home}/.gitconfig", f"{user_home}/.config/git/config"):
        if os.path.isfile(path):
            environment["GIT_CONFIG_GLOBAL"] = path
            break
    return environment


def _take(user_home: str, path: str) -> Login | None:
    """A file below the user's home, if it is there and a plain one of a sensible size."""
    try:
        descriptor = os.open(f"{user_home}/{path}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    with open(descriptor, "rb", buffering=0) as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_LOGIN_BYTES:
            return None
        return Login(path, file.read(MAX_LOGIN_BYTES), found.st_mtime_ns)


def _put(path: str, login: Login) -> None:
    """Write a copy, unless the one that is there is newer: the agent has renewed it."""
    with contextlib.suppress(OSError):
        if os.lstat(path).st_mtime_ns >= login.modified:
            return
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    aside = f"{path}.pods"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(aside)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(login.content)
    os.utime(aside, ns=(login.modified, login.modified))
    os.replace(aside, path)
