"""Small files of a pod: its token, its secrets, the end of its error log.

Owns their reading and writing on the supervisor's side. The token lies in the pod's runtime
directory for the supervisor that comes after this one; so do the values of its variables where the
pod is to be started again if it dies.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

import orjson

from pods_protocol.errors import StorageFailed


def write_token(path: str, token: str) -> None:
    """Write a token where only this user reads it; not synced: it is worthless after a reboot."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, token.encode())
    finally:
        os.close(descriptor)


def write_secrets(path: str, token: str, env: Mapping[str, str]) -> None:
    """Leave a new pod its token and the values of its `env`; it removes the file as it starts."""
    content = orjson.dumps({"token": token, "env": dict(env)})
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)


def write_environment(path: str, env: Mapping[str, str]) -> None:
    """Keep the values of a pod's `env` for its next process; as short-lived as its token."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(orjson.dumps(dict(env)))


def read_environment(path: str) -> dict[str, str]:
    """The values that were kept for a pod's next process.

    Raises:
        StorageFailed: they cannot be read.
    """
    try:
        with open(path, "rb") as file:
            found = orjson.loads(file.read())
    except (OSError, ValueError) as error:
        raise StorageFailed(
            f"cannot read the pod's variables in {path}: {error}; spawn the pod anew",
            path=path,
            errno=getattr(error, "errno", None),
        ) from error
    return {str(name): str(value) for name, value in found.items()}


def read_token(path: str) -> str | None:
    """The token in that file; None where there is none."""
    with suppress(OSError, UnicodeDecodeError), open(path, "rb") as file:
        return file.read(1024).decode().strip() or None
    return None


MAX_ERROR_TAIL_BYTES = 2000
"""Of a failed start: the end of one traceback."""


MAX_TRACEBACK_BYTES = 16 * 1024
"""Of an agent that could not be loaded: a deep one, with what it was raised from."""


def last_traceback(path: str) -> str:
    """What was written to a log from a traceback on; empty where there is none."""
    _, found, rest = error_tail(path, MAX_TRACEBACK_BYTES).partition("Traceback (most recent")
    return found + rest


def error_tail(path: str, limit_bytes: int = MAX_ERROR_TAIL_BYTES) -> str:
    """The end of what was written to a log; empty where it cannot be read."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit_bytes))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
