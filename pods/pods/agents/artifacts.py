"""Results with a name: small text inside the event, everything else as a file that it names.

Owns the size limits, the digest and the place of what was handed over as bytes. Blocking: `turn`
calls it in a thread where it reads or writes much.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import Any, Final

import orjson

from pods.agents.recorder import MAX_LABEL_BYTES
from pods.agents.text import shorten
from pods.rpc.unix import write_private_file
from pods_protocol.bounds import MAX_INLINE_ARTIFACT_BYTES
from pods_protocol.errors import InvalidParams, StorageFailed, TooLarge

MAX_ARTIFACT_BYTES: Final = 1024 * 1024 * 1024
"""A file that is named as a result is read once for its digest: a gibibyte takes some seconds."""

MAX_INLINE_ENCODED_BYTES: Final = 2 * MAX_INLINE_ARTIFACT_BYTES
"""Text that JSON would blow up beyond this (control characters become six bytes) goes to a file."""

MAX_FILE_NAME_LENGTH: Final = 80
"""Of the readable part of a stored artifact's file name."""

_COPY_BYTES: Final = 1024 * 1024
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")

TEXT_TYPE: Final = "text/plain; charset=utf-8"
BINARY_TYPE: Final = "application/octet-stream"


def of_data(
    name: str, data: str | bytes, *, media_type: str | None, directory: str
) -> dict[str, Any]:
    """The event of a result that is handed over; what does not fit it is stored in `directory`.

    Raises:
        StorageFailed: it cannot be stored.
        TooLarge: over `MAX_ARTIFACT_BYTES`.
    """
    content = data.encode("utf-8", "replace") if isinstance(data, str) else data
    _check_size(name, len(content))
    digest = hashlib.sha256(content).hexdigest()
    event = _event(
        name, media_type or (TEXT_TYPE if isinstance(data, str) else BINARY_TYPE), len(content),
        digest,
    )  # fmt: skip
    if isinstance(data, str) and len(content) <= MAX_INLINE_ARTIFACT_BYTES:
        text = content.decode()
        if len(orjson.dumps(text)) <= MAX_INLINE_ENCODED_BYTES:
            event["text"] = text
            return event
    event["path"] = _store(directory, name, digest, content)
    return event


def of_file(name: str, path: str, *, media_type: str | None) -> dict[str, Any]:
    """The event of a result that is a file already; it stays where it is.

    Raises:
        InvalidParams: there is no such regular file, or it cannot be read.
        TooLarge: over `MAX_ARTIFACT_BYTES`.
    """
    try:
        # Without O_NONBLOCK the open of a named pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0) as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise InvalidParams(
                    f"cannot name {path} as a result: it is not a plain file; name one",
                    path="path",
                )
            _check_size(name, found.st_size)
            digest, size = hashlib.sha256(), 0
            while piece := file.read(_COPY_BYTES):
                size += len(piece)
                _check_size(name, size)
                digest.update(piece)
    except OSError as error:
        raise InvalidParams(
            f"cannot name {path} as a result: {os.strerror(error.errno or 0)}; write it first",
            path="path",
        ) from error
    return {**_event(name, media_type or BINARY_TYPE, size, digest.hexdigest()), "path": path}


def _event(name: str, media_type: str, size: int, digest: str) -> dict[str, Any]:
    return {
        "name": shorten(name, MAX_LABEL_BYTES),
        "media_type": shorten(media_type, MAX_LABEL_BYTES),
        "size": size,
        "sha256": digest,
    }


def _check_size(name: str, size: int) -> None:
    if size > MAX_ARTIFACT_BYTES:
        raise TooLarge(
            f"cannot take the result {name!r} of {size} bytes: the limit is "
            f"{MAX_ARTIFACT_BYTES}; split it",
            limit_bytes=MAX_ARTIFACT_BYTES,
            size_bytes=size,
        )


def _store(directory: str, name: str, digest: str, content: bytes) -> str:
    """Write it whole under a name that tells its content: the same result twice is one file."""
    readable = _UNSAFE.sub("_", name)[-MAX_FILE_NAME_LENGTH:].lstrip(".")
    path = f"{directory}/{digest[:16]}-{readable or 'artifact'}"
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageFailed(
            f"cannot store the result {name!r}: {os.strerror(error.errno or 0)}; free some space",
            path=path,
            errno=error.errno,
        ) from error
    write_private_file(path, content)
    return path
