"""What programs share by names of their own, with no file: System V's three kinds, POSIX queues.

Made by a test and used by the pod that it is hostile with. No file rule is about any of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
from collections.abc import Generator
from typing import NamedTuple

_NEW = 0o1000 | 0o2000 | 0o600
_REMOVE = 0
_SET_VALUE = 16
_NO_WAIT = 0o4000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.shmat.restype = ctypes.c_void_p
_libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]

_LOST = ctypes.c_void_p(-1).value


class Shared(NamedTuple):
    """The keys of memory, a queue of messages and semaphores, and the name of a POSIX queue."""

    memory: int
    messages: int
    semaphores: int
    queue: str


@contextlib.contextmanager
def shared() -> Generator[Shared]:
    """One of each, of this process; removed at the end."""
    keys = Shared(_key(), _key(), _key(), f"/pods-test-{secrets.token_hex(8)}")
    with contextlib.ExitStack() as stack:
        memory = _checked(_libc.shmget(keys.memory, ctypes.c_size_t(4096), _NEW))
        stack.callback(_libc.shmctl, memory, _REMOVE, None)
        messages = _checked(_libc.msgget(keys.messages, _NEW))
        stack.callback(_libc.msgctl, messages, _REMOVE, None)
        semaphores = _checked(_libc.semget(keys.semaphores, 1, _NEW))
        stack.callback(_libc.semctl, semaphores, 0, _REMOVE)
        name = keys.queue.encode()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        queue = _checked(_libc.mq_open(name, flags, ctypes.c_uint(0o600), None))
        stack.callback(_libc.mq_unlink, name)
        stack.callback(os.close, queue)
        yield keys


def write_memory(keys: Shared) -> None:
    found = _checked(_libc.shmget(keys.memory, ctypes.c_size_t(0), 0))
    address = _libc.shmat(found, None, 0)
    if address == _LOST:
        raise OSError(ctypes.get_errno(), "")
    ctypes.memset(address, 1, 1)


def send_message(keys: Shared) -> None:
    found = _checked(_libc.msgget(keys.messages, 0))
    message = ctypes.create_string_buffer(bytes(ctypes.c_long(1)) + b"x")
    _checked(_libc.msgsnd(found, message, ctypes.c_size_t(1), _NO_WAIT))


def set_semaphore(keys: Shared) -> None:
    found = _checked(_libc.semget(keys.semaphores, 0, 0))
    _checked(_libc.semctl(found, 0, _SET_VALUE, ctypes.c_long(1)))


def send_to_queue(keys: Shared) -> None:
    queue = _checked(_libc.mq_open(keys.queue.encode(), os.O_WRONLY))
    _checked(_libc.mq_send(queue, b"x", ctypes.c_size_t(1), ctypes.c_uint(0)))


def _key() -> int:
    return secrets.randbelow(1 << 30) + 1


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result
