"""The tree that the demo works on: a copy, so that nobody's sources are touched.

Owns choosing what to copy and naming the packages in it. Called by `main`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
from contextlib import suppress
from typing import Final

from attrs import frozen

from pods.paths import check_name
from pods_protocol.errors import InvalidName, InvalidScope, StorageFailed

OWN_PACKAGES: Final = ("pods", "pods_protocol", "pods_tools")

MAX_PACKAGES: Final = 6
"""Children at work at once: fewer than the default cap, leaving room for an heir."""

RESERVED: Final = frozenset({"coordinator", "intruder"})
"""Names of the show's own pods."""

MIN_PACKAGES: Final = 2
"""Somebody has to stand in somebody's way."""

MAX_LEFT_OUT: Final = 5
"""Directories that an error names: enough to see what is meant by it."""

MAX_COPY_BYTES: Final = 256 * 1024 * 1024
"""A demo is over in seconds; a tree above this would be copied for longer than that."""

_SKIPPED: Final = shutil.ignore_patterns(
    "__pycache__", ".*", "*.pyc", "node_modules", "target", "dist", "build", "*.egg-info"
)


@frozen(kw_only=True)
class Tree:
    """The copy: its root and the directories that get a pod each."""

    root: str
    packages: tuple[str, ...]


def copy_tree(source: str | None, destination: str) -> Tree:
    """Copy a tree and name its packages.

    Args:
        source: a directory; None is the installed packages of pods itself.
        destination: a directory that does not exist yet.

    Raises:
        InvalidScope: no such directory, too few packages in it, or too much to copy.
        StorageFailed: it cannot be read, or there is no room for the copy.
    """
    if source is None:
        os.mkdir(destination)
        for name in OWN_PACKAGES:
            found = importlib.util.find_spec(name)
            if found is None or found.origin is None:
                raise InvalidScope(f"cannot copy {name}: it is not installed as files", target=name)
            _copy(os.path.dirname(found.origin), f"{destination}/{name}")
    else:
        if not os.path.isdir(source):
            raise InvalidScope(
                f"cannot show {source}: there is no such directory; name one with --tree",
                target=source,
            )
        _check_size(source)
        _copy(source, destination)
    packages = sorted(
        entry.name
        for entry in os.scandir(destination)
        if entry.is_dir(follow_symlinks=False)
        and _may_name_a_pod(entry.name)
        and os.listdir(entry.path)
    )[:MAX_PACKAGES]
    if len(packages) < MIN_PACKAGES:
        count = "1 directory" if len(packages) == 1 else "no directories"
        raise InvalidScope(
            f"cannot show {source}: it has {count} to share out and the demo needs "
            f"{MIN_PACKAGES}{_left_out(source, destination)}; name a tree with more, or leave "
            "--tree out",
            target=source or "",
        )
    return Tree(root=os.path.realpath(destination), packages=tuple(packages))


def _left_out(source: str | None, destination: str) -> str:
    """Which directories of the tree get no pod, and why; empty where there are none."""
    if source is None:
        return ""
    why: list[str] = []
    for name in sorted(os.listdir(source)):
        copied = os.path.join(destination, name)
        if not os.path.isdir(os.path.join(source, name)):
            continue
        if os.path.islink(copied):
            why.append(f"{name!a} is a link")
        elif not os.path.isdir(copied):
            why.append(f"{name!a} is hidden or made by tools")
        elif not os.listdir(copied):
            why.append(f"{name!a} has nothing to copy in it")
        elif not _may_name_a_pod(name):
            why.append(f"{name!a} cannot name a pod here")
    more = len(why) - MAX_LEFT_OUT
    shown = [*why[:MAX_LEFT_OUT], *([f"and {more} more"] if more > 0 else [])]
    return f" ({', '.join(shown)})" if shown else ""


def _copy(source: str, destination: str) -> None:
    try:
        shutil.copytree(source, destination, ignore=_ignored, symlinks=True)
    except OSError as error:  # shutil.Error too, which lists what failed as (from, to, why)
        first = error.args[0][0][2] if isinstance(error, shutil.Error) else error
        raise StorageFailed(
            f"cannot copy {source} for the demo: {first}; name another tree with --tree, or free "
            "some space in /tmp",
            path=source,
            errno=error.errno,
        ) from error


def _ignored(directory: str, names: list[str]) -> set[str]:
    """What stays behind: what is no source, and what a copy would wait on for ever."""
    ignored = _SKIPPED(directory, names)
    for name in names:
        with suppress(OSError):
            mode = os.lstat(os.path.join(directory, name)).st_mode
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                ignored.add(name)
    return ignored


def _may_name_a_pod(name: str) -> bool:
    """Each package's pod is called after it."""
    try:
        return check_name(name) not in RESERVED
    except InvalidName:
        return False


def _check_size(source: str) -> None:
    held = 0
    for directory, names, files in os.walk(source):
        skipped = _SKIPPED(directory, names)
        names[:] = [name for name in names if name not in skipped]
        held += sum(os.lstat(os.path.join(directory, file)).st_size for file in files)
        if held > MAX_COPY_BYTES:
            raise InvalidScope(
                f"cannot show {source}: it holds more than {MAX_COPY_BYTES >> 20} MiB and the demo "
                "works on a copy; name a smaller tree",
                target=source,
            )
