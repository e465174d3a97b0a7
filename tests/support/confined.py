"""Runs a piece of a test in a process that is thrown away, because a restriction is for ever."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import traceback
from collections.abc import Callable
from typing import Any

CHILD_SECONDS = 30.0
"""A child that says nothing for this long is stuck."""


def in_child(act: Callable[[], Any], *, seconds: float = CHILD_SECONDS) -> Any:
    """What `act` returns in a forked child, by way of JSON; an exception there is one here.

    Args:
        seconds: how long the child may say nothing.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                told = json.dumps({"value": act()})
            except BaseException:
                told = json.dumps({"error": traceback.format_exc()})
            os.write(writer, told.encode())
        finally:
            os._exit(0)
    os.close(writer)
    chunks: list[bytes] = []
    try:
        while select.select([reader], [], [], seconds)[0]:
            chunk = os.read(reader, 65536)
            if not chunk:
                break
            chunks.append(chunk)
        else:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(reader)
        os.waitpid(pid, 0)
    told = json.loads(b"".join(chunks))
    assert "error" not in told, told["error"]
    return told["value"]


def outcome(act: Callable[[], object]) -> str:
    """`ok`, or the name of the error that the system gave."""
    try:
        act()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return "ok"
