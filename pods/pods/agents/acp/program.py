"""Where an agent's program is, and what has to be readable so that it can run.

Owns the search on a PATH, and following a program to what it really is: links, the interpreter of
its first line, the tree of packages it lies in. Reads the file system and starts nothing. Used by
`home` and `pods agents`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Final

MAX_LINKS: Final = 16
"""Links and interpreters that are followed, as the kernel's own bounds would have it."""

MAX_FIRST_LINE_BYTES: Final = 256
"""Of a script: what the kernel reads."""

_MODULES: Final = "node_modules"

_BESIDE_BIN: Final = ("bin", "lib", "lib64", "libexec", "include", "pyvenv.cfg")
"""What a program in `X/bin` is taken to need of X; not X whole, which may be the user's home."""


def find(program: str, search_path: str) -> str | None:
    """The absolute path of a program, or None. One with a slash in it is taken as it is.

    Places on the path that are not absolute (an empty one is the directory that somebody stands in)
    are passed over: whoever may write there would choose the program.
    """
    places = os.pathsep.join(filter(os.path.isabs, search_path.split(os.pathsep)))
    found = shutil.which(program, path=places)
    return None if found is None else os.path.abspath(found)


def places_of(program: str, search_path: str) -> tuple[str, ...]:
    """Files and directories that a program needs to be read, existing ones; sorted, no doubles."""
    found: set[str] = set()
    for path in _chain(program, search_path):
        found.add(path)
        found.update(_around(path))
    return tuple(sorted(path for path in found if os.path.exists(path)))


def _chain(program: str, search_path: str) -> Iterator[str]:
    """The program, what it links to, and what runs it."""
    path = program
    for _ in range(MAX_LINKS):
        yield path
        try:
            if os.path.islink(path):
                path = os.path.join(os.path.dirname(path), os.readlink(path))
                continue
            with open(path, "rb") as file:
                line = file.readline(MAX_FIRST_LINE_BYTES)
        except OSError:
            return
        if not line.startswith(b"#!"):
            return
        words = os.fsdecode(line[2:].strip()).split()
        if words and os.path.basename(words[0]) == "env":
            words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
            words[:1] = [found] if words and (found := find(words[0], search_path)) else []
        if not words:
            return
        path = words[0]


def _around(path: str) -> Iterator[str]:
    """What lies beside a program and belongs to it."""
    real = os.path.realpath(path)
    for one in {path, real}:
        parts = one.split("/")
        if _MODULES in parts:
            # All of it: packages find one another in the trees above them.
            yield "/".join(parts[: parts.index(_MODULES) + 1])
        above, name = os.path.split(os.path.dirname(one))
        if name == "bin" and above != "/":
            yield from (f"{above}/{beside}" for beside in _BESIDE_BIN)
