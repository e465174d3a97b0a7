"""Whether a program could be started here, asked before anybody waits for what it says.

Owns the look: the way that a start goes (the PATH, the working directory, the modes, what the
kernel holds this process to, the first line of a script), without a start. Called in the pod's own
process, so that all of it is the pod's; by `command`. What a program does once it runs, and formats
that the kernel does not take, are for the start itself to tell.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Final, NamedTuple

MAX_FIRST_LINE_BYTES: Final = 256
"""The kernel looks at so much of a file for what runs it."""

_INTERPRETER: Final = re.compile(rb"#![ \t]*([^ \t\n\0]+)")
"""As the kernel reads it: a carriage return is a part of the name, and a NUL ends the line."""

_PASSED_OVER: Final = (FileNotFoundError, NotADirectoryError)
"""What a start takes for "not here", and goes on along the PATH; of anything else it tells."""


class Obstacle(NamedTuple):
    """What is in the way, and what to do about it."""

    detail: str
    advice: str


def why_not(program: str) -> Obstacle | None:
    """Why a program, as a start would take its name, cannot be started; None where it can."""
    if not program:
        return _missing(program, by_place=False)
    by_place = os.sep in program
    first: Obstacle | None = None
    for directory in [""] if by_place else os.get_exec_path():
        path = program if by_place else os.path.join(directory or os.curdir, program)
        try:
            obstacle = _look_at(path, "it" if by_place else path)
        except (*_PASSED_OVER, ValueError):  # ValueError: no path has these characters
            continue
        except OSError as error:
            obstacle = Obstacle(f"{path}: {error.strerror}", "correct that, or its path")
        if obstacle is None:
            return None
        first = first or obstacle
    return first or _missing(program, by_place=by_place)


def _missing(program: str, *, by_place: bool) -> Obstacle:
    what = f"there is no program {program!r}"
    if not by_place:
        return Obstacle(
            f"{what} on the PATH of the pod",
            "install it, give its absolute path, or another PATH by `--env PATH=...`",
        )
    if os.path.isabs(program):
        return Obstacle(what, "install it, or correct its path")
    return Obstacle(f"{what} in {os.getcwd()}", "correct its path, or `--cwd`")


def _look_at(path: str, called: str) -> Obstacle | None:
    """As `why_not`, of one file.

    Args:
        path: of the file.
        called: how to speak of it.

    Raises:
        OSError: it is not there, or nobody can tell.
    """
    seen = os.stat(path)
    if stat.S_ISDIR(seen.st_mode):
        return Obstacle(f"{called} is a directory", "name a program in it")
    if not os.access(path, os.X_OK):
        return Obstacle(f"{called} is not executable", f"chmod +x {path}, or name what runs it")
    if not stat.S_ISREG(seen.st_mode) or not os.access(path, os.R_OK):
        return None  # a start needs no reading: the kernel will tell
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        # Its mode lets us: it is outside of what the kernel holds this process to.
        return Obstacle(f"the pod may not read {called}", f"spawn it with `--read {path}`")
    with open(descriptor, "rb", buffering=0) as file:
        interpreter = _interpreter_of(file.read(MAX_FIRST_LINE_BYTES) or b"")
    if interpreter is None or os.access(interpreter, os.X_OK):
        return None
    return Obstacle(
        f"{called} begins with {'#!' + interpreter!r}, and there is no such program",
        "correct its first line, or name what runs it",
    )


def _interpreter_of(beginning: bytes) -> str | None:
    """What runs a script; None where the file is none, or names nothing."""
    found = _INTERPRETER.match(beginning)
    return None if found is None else os.fsdecode(found[1])
