"""A setting of Codex that its command line has no flag for, written by Codex itself.

Owns the few lines of a conversation with `codex app-server`, by which its editors change settings.
Files of Codex are not touched here. Tried with 0.169.0. Used by `mcp_hosts`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from typing import IO, Any, Final, TypeAlias, cast

SECONDS: Final = 30.0
"""For all of it: a second where the machine is idle."""

WRITE_ID: Final = 1
HELLO: Final = {"clientInfo": {"name": "pods", "title": "pods", "version": "1"}}

Json: TypeAlias = dict[str, Any]


def write_setting(program: str, key: str, value: Any) -> bool:
    """Have Codex write one setting into the user's configuration.

    Args:
        program: the path of `codex`.
        key: where it goes, with dots between.
        value: what it is to be.

    Returns:
        Whether Codex says that it has.
    """
    with (
        contextlib.suppress(OSError, ValueError),
        subprocess.Popen(
            [program, "app-server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it complains of what is missing for other things
            bufsize=0,  # one that is gone fails the write, and no close after it
            start_new_session=True,
        ) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        # The group: what npm installs is a program that starts the real one.
        timer = threading.Timer(SECONDS, os.killpg, (server.pid, signal.SIGKILL))
        timer.start()
        try:
            server.stdin.write(_request(key, value))
            return _accepted(server.stdout)
        finally:
            server.stdin.close()
            server.wait()
            timer.cancel()
    return False


def _request(key: str, value: Any) -> bytes:
    """Greeting and wish: it answers in order."""
    write = {"keyPath": key, "value": value, "mergeStrategy": "replace"}
    messages: tuple[Json, ...] = (
        {"id": 0, "method": "initialize", "params": HELLO},
        {"method": "initialized"},
        {"id": WRITE_ID, "method": "config/value/write", "params": write},
    )
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def _accepted(answers: IO[bytes]) -> bool:
    """Whether the answer to the wish says that it is done; what else is told is passed over."""
    for line in answers:
        answer: object = json.loads(line)
        if isinstance(answer, dict) and cast("Json", answer).get("id") == WRITE_ID:
            return "result" in answer
    return False
