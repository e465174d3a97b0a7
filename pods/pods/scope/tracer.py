"""Watches a program's system calls and keeps those that were refused: ptrace, through ctypes.

Owns the tracing of a process and all that it starts, and the reading of what a refused call was
about. Decides nothing about why: `pods.scope.refusals` does. Needs nothing installed. Knows the
numbers of x86-64 alone, and `why_not` says so elsewhere. Called by `pods explain` in a process that
has one thread and no other children; a tracer that ends takes the traced with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from attrs import evolve

from pods.scope.refusals import MAX_REFUSALS, Need, Refused

_CONTINUE_TO_CALL: Final = 24
_SEIZE: Final = 0x4206
_INTERRUPT: Final = 0x4207
_LISTEN: Final = 0x4208
_GET_CALL: Final = 0x420E

_MARK_CALLS: Final = 0x01
_FOLLOW: Final = 0x02 | 0x04 | 0x08 | 0x10
_KILL_WITH_TRACER: Final = 0x100000

_CALL_STOP: Final = signal.SIGTRAP | 0x80
_EVENT_STOP: Final = 128
_STOPPING: Final = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)

_WAIT_ALL: Final = 0x40000000
"""Of `waitpid`: threads too."""

_INFO_BYTES: Final = 88
_ENTRY: Final = 1
_EXIT: Final = 2
_AUDIT_X86_64: Final = 0xC000003E

_HERE: Final = -100
"""AT_FDCWD: from the working directory."""

_REFUSALS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EXDEV})
"""What the kernel says where a rule stands in the way; EXDEV is Landlock's word for a move between
directories that may not be."""

MAX_PATH_BYTES: Final = 4096

MAX_TASKS: Final = 4096
"""Processes and threads followed at once; a program that starts more is ended."""

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long


class _Path(NamedTuple):
    """Where a call has a path: the argument of its directory, if any, and its own."""

    directory: int | None
    path: int
    need: Need = "write"


class _Call(NamedTuple):
    name: str
    paths: tuple[_Path, ...] = ()
    flags: int | None = None
    """The argument with the flags of an open, which say what it needs."""


_CALLS: Final[Mapping[int, _Call]] = {
    2: _Call("open", (_Path(None, 0),), flags=1),
    257: _Call("openat", (_Path(0, 1),), flags=2),
    437: _Call("openat2", (_Path(0, 1),), flags=2),
    85: _Call("creat", (_Path(None, 0),)),
    76: _Call("truncate", (_Path(None, 0),)),
    83: _Call("mkdir", (_Path(None, 0),)),
    84: _Call("rmdir", (_Path(None, 0),)),
    87: _Call("unlink", (_Path(None, 0),)),
    133: _Call("mknod", (_Path(None, 0),)),
    88: _Call("symlink", (_Path(None, 1),)),
    82: _Call("rename", (_Path(None, 0), _Path(None, 1))),
    86: _Call("link", (_Path(None, 0), _Path(None, 1))),
    258: _Call("mkdirat", (_Path(0, 1),)),
    259: _Call("mknodat", (_Path(0, 1),)),
    263: _Call("unlinkat", (_Path(0, 1),)),
    266: _Call("symlinkat", (_Path(1, 2),)),
    264: _Call("renameat", (_Path(0, 1), _Path(2, 3))),
    316: _Call("renameat2", (_Path(0, 1), _Path(2, 3))),
    265: _Call("linkat", (_Path(0, 1), _Path(2, 3))),
    59: _Call("execve", (_Path(None, 0, "read"),)),
    322: _Call("execveat", (_Path(0, 1, "read"),)),
    42: _Call("connect"),
    49: _Call("bind"),
    44: _Call("sendto"),
    41: _Call("socket"),
    53: _Call("socketpair"),
    62: _Call("kill"),
    200: _Call("tkill"),
    234: _Call("tgkill"),
    16: _Call("ioctl"),
    **{
        number: _Call(name)
        for number, name in (
            (101, "ptrace"), (141, "setpriority"), (142, "sched_setparam"),
            (144, "sched_setscheduler"), (161, "chroot"), (165, "mount"), (166, "umount2"),
            (155, "pivot_root"), (248, "add_key"), (249, "request_key"), (250, "keyctl"),
            (251, "ioprio_set"), (272, "unshare"), (298, "perf_event_open"), (302, "prlimit64"),
            (304, "open_by_handle_at"), (308, "setns"), (310, "process_vm_readv"),
            (311, "process_vm_writev"), (314, "sched_setattr"), (321, "bpf"), (323, "userfaultfd"),
            (434, "pidfd_open"), (438, "pidfd_getfd"), (424, "pidfd_send_signal"),
        )
    },
}  # fmt: skip
"""The calls that rules are about."""

_TIOCSTI: Final = (0x5412, 0x541C)


class Traced(NamedTuple):
    """What came of a program.

    Attributes:
        status: its exit status, or the negative of the signal that ended it.
        refused: what was refused, in order, each once with the number of times.
        truncated: more was refused than `refused` holds.
    """

    status: int
    refused: tuple[Refused, ...]
    truncated: bool


def why_not() -> str:
    """Why nothing can be traced here; empty where it can."""
    machine = os.uname().machine
    if machine != "x86_64" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return f"the numbers of {machine}'s system calls are not known here, x86-64's alone"
    return ""


def trace(run: Callable[[], object]) -> Traced:
    """Fork, run something that ends in an exec, and watch it and all that it starts to its end.

    What it leaves running when it ends is killed.

    Args:
        run: called in the child; an OSError of it is told on standard error, with status 126.

    Raises:
        OSError: this kernel lets nobody trace (Yama), or the fork fails.
    """
    gate, opener = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(gate, run)
    os.close(gate)
    try:
        _ptrace(_SEIZE, pid, 0, _MARK_CALLS | _FOLLOW | _KILL_WITH_TRACER)
        _ptrace(_INTERRUPT, pid)
        os.write(opener, b"1")
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(opener)
    return _Tracer(pid).run()


def _become(gate: int, run: Callable[[], object]) -> None:
    try:
        if os.read(gate, 1):
            run()
    except OSError as error:
        os.write(2, f"pods: cannot run it: {error.strerror}\n".encode("utf-8", "replace"))
    finally:
        os._exit(126)


class _Tracer:
    def __init__(self, pid: int) -> None:
        self._main = pid
        self._status = 0
        self._tasks = {pid}
        self._entries: dict[int, tuple[int, ...]] = {}
        self._found: dict[Refused, int] = {}
        self._truncated = False
        self._ending = False
        self._info = ctypes.create_string_buffer(_INFO_BYTES)

    def run(self) -> Traced:
        while True:
            try:
                pid, status = os.waitpid(-1, _WAIT_ALL)
            except ChildProcessError:
                break
            if os.WIFSTOPPED(status):
                self._stopped(pid, status)
                continue
            self._tasks.discard(pid)
            self._entries.pop(pid, None)
            if pid == self._main:
                self._status = os.waitstatus_to_exitcode(status)
                self._end_all()
        return Traced(
            self._status,
            tuple(evolve(refused, times=times) for refused, times in self._found.items()),
            self._truncated,
        )

    def _end_all(self) -> None:
        self._ending = True
        for task in self._tasks:
            _kill(task)

    def _stopped(self, pid: int, status: int) -> None:
        self._tasks.add(pid)
        if len(self._tasks) > MAX_TASKS:
            self._end_all()
        if self._ending:
            _kill(pid)
            return
        number, event = os.WSTOPSIG(status), status >> 16
        request, deliver = _CONTINUE_TO_CALL, 0
        if number == _CALL_STOP:
            self._call(pid)
        elif event == _EVENT_STOP and number in _STOPPING:
            request = _LISTEN
        elif not event:
            deliver = number
        try:
            _ptrace(request, pid, 0, deliver)
        except OSError as error:
            if error.errno != errno.ESRCH:  # it was killed while it was stopped
                raise

    def _call(self, pid: int) -> None:
        try:
            _ptrace(_GET_CALL, pid, _INFO_BYTES, ctypes.addressof(self._info))
        except OSError:
            return
        raw = self._info.raw
        if raw[0] == _ENTRY:
            (machine,) = struct.unpack_from("=I", raw, 4)
            if machine == _AUDIT_X86_64:
                self._entries[pid] = struct.unpack_from("=7Q", raw, 24)
            return
        entry = self._entries.pop(pid, None)
        if raw[0] != _EXIT or entry is None:
            return
        (result,) = struct.unpack_from("=q", raw, 24)
        call = _CALLS.get(entry[0])
        if call is not None and -result in _REFUSALS:
            self._refused(pid, call, entry[1:], -result)

    def _refused(self, pid: int, call: _Call, arguments: tuple[int, ...], error: int) -> None:
        if error == errno.EXDEV and len(call.paths) < 2:
            return
        if call.name == "ioctl" and arguments[1] & 0xFFFFFFFF not in _TIOCSTI:
            return
        wanted = _about(pid, call, arguments)
        for need, target in wanted:
            refused = Refused(
                call=call.name,
                need=need,
                target=target,
                error=errno.errorcode.get(error, str(error)),
                beside=next((other for _, other in wanted if other != target), ""),
            )
            if refused in self._found or len(self._found) < MAX_REFUSALS:
                self._found[refused] = self._found.get(refused, 0) + 1
            else:
                self._truncated = True


def _about(pid: int, call: _Call, arguments: tuple[int, ...]) -> list[tuple[Need, str]]:
    """What a refused call wanted of what."""
    if call.paths:
        found: list[tuple[Need, str]] = []
        for where in call.paths:
            need = where.need if call.flags is None else _open_need(pid, call, arguments)
            directory = None if where.directory is None else arguments[where.directory]
            follow = call.flags is not None or need == "read"
            path = _path(pid, directory, arguments[where.path], follow=follow)
            found.append((need, path))
        return found
    if call.name in ("connect", "bind", "sendto"):
        at, size = (4, 5) if call.name == "sendto" else (1, 2)
        return [_address(pid, call.name, arguments[at], arguments[size])]
    if call.name in ("socket", "socketpair"):
        return [("socket", _family(arguments[0] & 0xFFFFFFFF))]
    if call.name in ("kill", "tkill", "tgkill"):
        target = ctypes.c_int(arguments[1 if call.name == "tgkill" else 0]).value
        return [("signal", f"process {target}")]
    return [("call", call.name)]


def _open_need(pid: int, call: _Call, arguments: tuple[int, ...]) -> Need:
    flags = arguments[call.flags or 0]
    if call.name == "openat2":
        flags = int.from_bytes(_memory(pid, flags, 8), "little")
    writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_CREAT)
    return "write" if writes else "read"


def _path(pid: int, directory: int | None, address: int, *, follow: bool) -> str:
    """The canonical path that a call named; what cannot be resolved stays as it was written."""
    name = os.fsdecode(_memory(pid, address, MAX_PATH_BYTES).split(b"\0", 1)[0])
    number = None if directory is None else ctypes.c_int(directory & 0xFFFFFFFF).value
    base = f"/proc/{pid}/cwd" if number in (None, _HERE) else f"/proc/{pid}/fd/{number}"
    try:
        if not name.startswith("/"):
            name = os.path.join(os.readlink(base), name)
        if name.startswith("/proc/self/"):
            return name  # the tracer's own would be another
        if follow:
            return os.path.realpath(name)
        above, last = os.path.split(name.rstrip("/") or "/")
        return os.path.join(os.path.realpath(above), last)
    except (OSError, ValueError):
        return name


def _address(pid: int, call: str, address: int, size: int) -> tuple[Need, str]:
    raw = _memory(pid, address, min(size & 0xFFFFFFFF, 128))
    family = int.from_bytes(raw[:2], "little")
    if family != socket.AF_UNIX:
        return "socket", _family(family)
    name = raw[2:]
    if name.startswith(b"\0"):
        return "abstract", "@" + name[1:].decode("utf-8", "replace")
    path = os.fsdecode(name.split(b"\0", 1)[0])
    if not path.startswith("/"):
        try:
            path = os.path.join(os.readlink(f"/proc/{pid}/cwd"), path)
        except OSError:
            return "connect", path
    above, last = os.path.split(path)
    path = os.path.join(os.path.realpath(above), last)
    return ("write" if call == "bind" else "connect"), path


def _family(number: int) -> str:
    try:
        return f"a socket of {socket.AddressFamily(number).name}"
    except ValueError:
        return f"a socket of family {number}"


def _memory(pid: int, address: int, size: int) -> bytes:
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            # A read across the end of a mapping gives what there is.
            return memory.read(size) or b""
    except (OSError, ValueError, OverflowError):
        return b""


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # traced by us and not waited for: the number is its own


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> None:
    result = _libc.ptrace(
        ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_void_p(address), ctypes.c_void_p(data)
    )
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"ptrace: {os.strerror(code)}")
