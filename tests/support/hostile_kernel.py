"""What a hostile pod tries with the rest of the kernel: the rows and their functions."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket

from hostile_ground import (
    NOT_OURS,
    OK,
    REFUSED,
    SIGNALS,
    UNTRIED,
    Attempt,
    Ground,
    checked,
    libc,
    number,
    syscall,
)
from hostile_ipc import send_message, send_to_queue, set_semaphore, write_memory

ABSENT = ("ENOSYS",)

_WATCH_ALL = 0xFFF

_GETPID_BY_INTERRUPT = bytes.fromhex("b814000000cd80c3")
"""x86: put 20, by which 32-bit programs ask their pid, into eax; int 0x80; return."""


def _connect(address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(address)


def _by_interrupt(_: Ground) -> None:
    """A call as 32-bit programs make it, from a program of 64 bits."""
    if os.uname().machine != "x86_64":
        raise OSError(errno.ENOSYS, "this machine has no such way in")
    pid = os.fork()
    if pid == 0:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(_GETPID_BY_INTERRUPT)
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        answer = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
        os._exit(0 if answer > 0 else -answer)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:  # a kernel without that way in ends it by a signal
        raise OSError(errno.ENOSYS if status < 0 else status, "")


def _watch(ground: Ground) -> None:
    watching = checked(libc.inotify_init())
    checked(libc.inotify_add_watch(watching, ground.victim().encode(), _WATCH_ALL))


def _semaphore(ground: Ground) -> None:
    import multiprocessing

    multiprocessing.get_context("fork").Semaphore(1)


def _open_terminal(_: Ground) -> None:
    os.close(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))


KERNEL: tuple[Attempt, ...] = (
    Attempt(
        "sockets", "an abstract socket", lambda g: _connect("\0" + g.abstract), NOT_OURS,
        since=SIGNALS,
    ),
    Attempt(
        "kernel", "send to a queue with a name (POSIX)", lambda g: send_to_queue(g.shared), REFUSED
    ),
    Attempt("kernel", "open a new terminal", _open_terminal, REFUSED),
    Attempt(
        "kernel", "keyctl", lambda g: syscall(number(250, 219), 0, -3, 0), NOT_OURS, UNTRIED
    ),
    Attempt(
        "kernel", "add_key",
        lambda g: syscall(number(248, 217), b"user\0", b"pods\0", b"x", 1, -3), NOT_OURS, UNTRIED,
    ),
    Attempt(
        "kernel", "request_key",
        lambda g: syscall(number(249, 218), b"user\0", b"pods\0", 0, 0), NOT_OURS, UNTRIED,
    ),
    Attempt("kernel", "bpf", lambda g: syscall(number(321, 280), 0, 0, 0), NOT_OURS, UNTRIED),
    Attempt("kernel", "userfaultfd", lambda g: syscall(number(323, 282), 0), NOT_OURS, UNTRIED),
    Attempt(
        "kernel", "perf_event_open",
        lambda g: syscall(number(298, 241), 0, 0, -1, -1, 0), NOT_OURS, UNTRIED,
    ),
    Attempt(
        "kernel", "open_by_handle_at",
        lambda g: syscall(number(304, 265), -100, 0, 0), NOT_OURS, UNTRIED,
    ),
    Attempt("kernel", "io_uring", lambda g: syscall(425, 8, 0), ABSENT, UNTRIED),
    Attempt(
        "kernel", "calls of the x32 convention", lambda g: syscall(0x40000000 | 39), ABSENT, UNTRIED
    ),
    Attempt("kernel", "calls of 32-bit programs (int 0x80)", _by_interrupt, ABSENT, UNTRIED),
)  # fmt: skip

GAPS: tuple[Attempt, ...] = (
    Attempt("gaps", "see size and owner of a file outside", lambda g: os.stat(g.victim()), OK),
    Attempt("gaps", "chmod a file outside", lambda g: os.chmod(g.victim(), 0o600), OK),
    Attempt("gaps", "touch a file outside", lambda g: os.utime(g.victim()), OK),
    Attempt("gaps", "learn when a file outside is used (inotify)", _watch, OK),
    Attempt("gaps", "connect to a socket that has a path", lambda g: _connect(g.listener), OK),
    Attempt(
        "gaps", "write memory shared by a key (System V)", lambda g: write_memory(g.shared), OK
    ),
    Attempt(
        "gaps", "send to a queue with a key (System V)", lambda g: send_message(g.shared), OK
    ),
    Attempt(
        "gaps", "set a semaphore with a key (System V)", lambda g: set_semaphore(g.shared), OK
    ),
)  # fmt: skip

WORKING: tuple[Attempt, ...] = (
    Attempt("must work", "a semaphore in /dev/shm", _semaphore, OK),
)  # fmt: skip
