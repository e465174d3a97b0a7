"""Text files that an ACP agent reads and writes through its client, within the pod's scope.

Owns the check against the scope and the bounds; the kernel, where it holds the pod, refuses
besides. Blocking: `requests` calls it in a thread.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable
from typing import Final

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""Of one file that is read or written; its line on the wire takes twice that."""

_READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
_WRITE_FLAGS: Final = (
    os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
)


class FileRefused(Exception):
    """The file is not read or written; the words are for the agent.

    Attributes:
        missing: it is not there.
    """

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


def read_text(
    path: str, may_read: Callable[[str], bool], *, line: int | None, limit: int | None
) -> str:
    """The text of a file, or of some of its lines.

    Args:
        path: absolute.
        may_read: whether a path is within the scope.
        line: the first line, from 1; None is the first.
        limit: how many lines; None is all.

    Raises:
        FileRefused: outside of the scope, not there, no text, too large.
    """
    real = _checked("read", path, may_read)
    try:
        with open(os.open(real, _READ_FLAGS), "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise FileRefused(f"cannot read {path}: it is not a plain file")
            if found.st_size > MAX_FILE_BYTES:
                raise FileRefused(
                    f"cannot read {path}: it has {found.st_size} bytes and {MAX_FILE_BYTES} is "
                    "the most; read a part of it with a command"
                )
            text = _all_of(file.fileno()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileRefused(f"cannot read {path}: it is not text in UTF-8") from error
    except OSError as error:
        raise _refused("read", path, error) from error
    if line is None and limit is None:
        return text
    start = max(0, (line or 1) - 1)
    # By line feeds alone, as compilers and editors count.
    lines = io.StringIO(text, newline="\n").readlines()
    return "".join(lines[start:] if limit is None else lines[start : start + max(0, limit)])


def write_text(path: str, content: str, may_write: Callable[[str], bool]) -> None:
    """Write a file, in place where there is one; missing directories are made.

    Raises:
        FileRefused: outside of the scope, too large, or the disk refuses.
    """
    data = content.encode("utf-8", "replace")
    if len(data) > MAX_FILE_BYTES:
        raise FileRefused(
            f"cannot write {path}: {len(data)} bytes, and {MAX_FILE_BYTES} is the most; write it "
            "in pieces with a command"
        )
    real = _checked("write", path, may_write)
    try:
        os.makedirs(os.path.dirname(real), exist_ok=True)
        with open(os.open(real, _WRITE_FLAGS, 0o666), "wb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise FileRefused(f"cannot write {path}: it is not a plain file")
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file.fileno(), rest) :]
    except OSError as error:
        raise _refused("write", path, error) from error


def _checked(verb: str, path: str, may: Callable[[str], bool]) -> str:
    """The path as it really is, which is the one that is opened: a link swapped in is not followed.

    Raises:
        FileRefused: it is not absolute, or outside of the scope.
    """
    if not os.path.isabs(path) or "\0" in path:
        raise FileRefused(f"cannot {verb} {path!r}: it is not an absolute path")
    real = os.path.realpath(path)
    if not may(real):
        raise FileRefused(
            f"cannot {verb} {path}: it is outside of this pod's scope, or lent to another pod. Do "
            "not try to get round it: say what you need"
        )
    return real


def _all_of(descriptor: int) -> bytes:
    pieces: list[bytes] = []
    left = MAX_FILE_BYTES
    while left > 0 and (piece := os.read(descriptor, min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _refused(verb: str, path: str, error: OSError) -> FileRefused:
    return FileRefused(
        f"cannot {verb} {path}: {os.strerror(error.errno or 0)}",
        missing=error.errno in (errno.ENOENT, errno.ENOTDIR),
    )
