"""What a confined program needs besides its scope: the named list that every pod gets.

Owns the list, and the finding of what differs between machines: interpreters, PATH, git's settings.
Knows nothing of Landlock's bits beyond the sets of rights it names, and gives nobody anything: a
place that would open a directory of pods' own, or the user's home, is left out. `confine` uses it.

Found by watching real programs fail (ISOLATION.md section 1.5): shells, git, compilers, Python,
Node. `/proc` is whole because a rule on `/proc/self` binds to one process; memory, environment and
descriptors of others are refused by Landlock itself there.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import Final, NamedTuple

from pods.scope.dotfiles import home_on_record
from pods.scope.landlock import Access
from pods.scope.regions import is_below

READ: Final = Access.READ_FILE | Access.READ_DIR | Access.EXECUTE
"""To read includes to run: a loader or an interpreter runs what it can read anyway."""

WRITE: Final = (
    READ
    | Access.WRITE_FILE
    | Access.TRUNCATE
    | Access.REMOVE_DIR
    | Access.REMOVE_FILE
    | Access.MAKE_DIR
    | Access.MAKE_REG
    | Access.MAKE_SOCK
    | Access.MAKE_FIFO
    | Access.MAKE_SYM
    | Access.REFER
)
"""Everything but making devices and commanding them."""

DEVICE: Final = Access.READ_FILE | Access.WRITE_FILE | Access.IOCTL_DEV

SHARED_MEMORY: Final = (
    Access.READ_FILE | Access.WRITE_FILE | Access.TRUNCATE | Access.MAKE_REG | Access.REMOVE_FILE
)
"""In `/dev/shm`; not to list it, so that other programs' names must be guessed."""

_SYSTEM: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/etc", "/opt", "/nix/store", "/proc",
    "/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/fs/cgroup",
    "/run/systemd/resolve",
)  # fmt: skip

_DEVICES: Final = (
    "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty",
)  # fmt: skip

_GIT: Final = (".gitconfig", ".config/git")

_BESIDE_BIN: Final = ("bin", "lib", "lib64", "libexec", "include")
"""What a PATH entry `X/bin` is taken to need of X. Not X whole: in a home it holds other things."""


MAX_REMEMBERED: Final = 16
"""Answers kept: one for this process's own PATH, the rest for pods that bring theirs."""


class Place(NamedTuple):
    """One entry of the baseline."""

    path: str
    access: Access


def baseline(
    environ: Mapping[str, str], *, python: str | None, forbidden: Iterable[str]
) -> tuple[Place, ...]:
    """The places of the baseline that exist here.

    Found once for each PATH and HOME; a process that asks before it forks spares its children the
    six milliseconds that it takes.

    Args:
        environ: the pod's; PATH and HOME are read.
        python: the interpreter that the pod is exec'd in, or None for this one.
        forbidden: directories of pods' own that no place may contain: other pods' are beside it.
    """
    return _baseline(
        environ.get("PATH", ""), environ.get("HOME") or "/", python, tuple(sorted(forbidden))
    )


@lru_cache(maxsize=MAX_REMEMBERED)
def _baseline(
    search_path: str, home: str, python: str | None, forbidden: tuple[str, ...]
) -> tuple[Place, ...]:
    closed = [os.path.realpath(path) for path in forbidden]
    wanted = [*_on_path(search_path), *_interpreter_places()]
    if python is not None:
        wanted += _places_of(python)
    wanted += (f"{home}/{name}" for name in _GIT)
    # A pod's HOME is what somebody said; what it may not have is the user's.
    homes = {os.path.realpath(place) for place in (home, home_on_record()) if place}
    found = {os.path.realpath(path) for path in wanted}
    found = {path for path in found if not any(is_below(at, path) for at in homes)}
    # Resolv.conf is a symlink to wherever this machine's resolver keeps it.
    found |= {os.path.realpath(path) for path in (*_SYSTEM, "/etc/resolv.conf")}
    read: list[str] = []
    for path in sorted(found):
        if path == "/" or any(is_below(root, path) for root in closed):
            continue
        if not any(is_below(path, upper) for upper in read) and os.path.exists(path):
            read.append(path)
    return (
        *(Place(path, READ) for path in read),
        *(Place(path, DEVICE) for path in _DEVICES if os.path.exists(path)),
        *(Place(path, SHARED_MEMORY) for path in ("/dev/shm",) if os.path.isdir(path)),
    )


def _on_path(variable: str) -> Iterable[str]:
    for entry in variable.split(":"):
        if not os.path.isabs(entry):
            continue
        yield entry
        entry = os.path.realpath(entry)
        if os.path.basename(entry) == "bin":
            above = os.path.dirname(entry)
            yield from (f"{above}/{name}" for name in _BESIDE_BIN)


@cache
def _interpreter_places() -> tuple[str, ...]:
    """Where this interpreter imports from; asked once, in the process that all pods fork from."""
    import pods  # of which a development install lies outside of every prefix
    import pods_protocol

    packages = (pods.__path__[0], pods_protocol.__path__[0])
    return (
        sys.prefix,
        sys.exec_prefix,
        sys.base_prefix,
        sys.base_exec_prefix,
        *(path for path in sys.path if os.path.isabs(path)),
        *packages,
    )


def _places_of(python: str) -> Iterable[str]:
    """What an interpreter that is not running can be seen to need."""
    for program in (python, os.path.realpath(python)):
        directory = os.path.dirname(program)
        yield program
        if os.path.basename(directory) == "bin":
            prefix = os.path.dirname(directory)
            # A virtual environment is a directory of its own; anything else may be /home/x/.local.
            if os.path.exists(f"{prefix}/pyvenv.cfg"):
                yield prefix
            yield from (f"{prefix}/{name}" for name in _BESIDE_BIN)
            yield from _editable(prefix)


def _editable(prefix: str) -> Iterable[str]:
    """Directories that path files of an environment add; development installs are made of them."""
    for name in glob.glob(f"{glob.escape(prefix)}/lib/python3*/site-packages/*.pth"):
        try:
            with open(name, encoding="utf-8") as file:
                for line in file:
                    if line.startswith("/"):
                        yield line.rstrip("\n")
        except (OSError, UnicodeDecodeError):
            continue
