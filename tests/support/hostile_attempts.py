"""What a hostile pod tries, and what becomes of it at each level of enforcement.

Each attempt is a function that does one thing against its ground and lets the system's error out.
The table of attempts is the promise of `pods/README.md`: `tests/hostile` tries it row by row, and
it is written from here. A row whose outcome is `ok` under Landlock is a gap that the record names.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
import stat
from collections.abc import Callable
from typing import NamedTuple

from attrs import frozen

from confined import in_child, outcome

PRECIOUS = "precious\n"


class Ground(NamedTuple):
    """Where an attempt is made: all paths are absolute.

    Attributes:
        name: of the attempt; each has files of its own by that name everywhere.
        write, read: the pod's scopes. `outside`: no scope of it.
        state, runtime: the pod's own directories.
        bystander: a process of the user that is no part of the pod.
        launcher, keeper: the pod's forebears.
        listener: the path of a socket that somebody else listens at; `abstract`: without a path.
    """

    name: str
    write: str
    read: str
    outside: str
    state: str
    runtime: str
    bystander: int
    launcher: int
    keeper: int
    listener: str
    abstract: str

    def inside(self) -> str:
        return f"{self.write}/{self.name}"

    def readable(self) -> str:
        return f"{self.read}/{self.name}"

    def victim(self) -> str:
        return f"{self.outside}/{self.name}"


@frozen
class Attempt:
    """One row: what is tried, how, and what the system answers.

    Attributes:
        group, what: for the table.
        act: the trial.
        held: the answer under Landlock and seccomp, any of these words.
        open: the answer where nothing holds the pod; empty where it is not tried then, because it
            would do harm or depends on the machine.
    """

    group: str
    what: str
    act: Callable[[Ground], object]
    held: tuple[str, ...]
    open: tuple[str, ...] = ("ok",)

    @property
    def name(self) -> str:
        return "".join(letter if letter.isalnum() else "_" for letter in self.what)


_libc = ctypes.CDLL(None, use_errno=True)
_LONG = ctypes.c_long


def _syscall(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char]) -> int:
    passed = [_LONG(item) if isinstance(item, int) else item for item in arguments]
    result = int(_libc.syscall(_LONG(number), *passed))
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def _numbers(x86: int, arm: int) -> int:
    return x86 if os.uname().machine == "x86_64" else arm


def _write(path: str) -> None:
    with open(path, "w") as file:
        file.write("clobbered\n")


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _close(descriptor: int) -> None:
    os.close(descriptor)


# --- paths ---


def _dots(ground: Ground) -> None:
    _write(f"{ground.write}/../{os.path.basename(ground.outside)}/{ground.name}")


def _symlink(ground: Ground) -> None:
    link = f"{ground.inside()}.link"
    os.symlink(ground.victim(), link)
    _write(link)


def _swapped(ground: Ground) -> None:
    path = f"{ground.inside()}.swap"
    _write(path)
    assert os.path.realpath(path).startswith(ground.write)  # the check that a tool would make
    os.unlink(path)
    os.symlink(ground.victim(), path)
    _write(path)


def _hard_link(ground: Ground) -> None:
    os.link(ground.victim(), f"{ground.inside()}.hard")
    _write(f"{ground.inside()}.hard")


def _hard_link_of_readable(ground: Ground) -> None:
    os.link(ground.readable(), f"{ground.inside()}.hard")
    _write(f"{ground.inside()}.hard")


def _reopen(ground: Ground) -> None:
    descriptor = os.open(ground.readable(), os.O_RDONLY)
    _write(f"/proc/self/fd/{descriptor}")


def _by_directory(ground: Ground) -> None:
    directory = os.open(ground.outside, os.O_PATH | os.O_DIRECTORY)
    _close(os.open(ground.name, os.O_WRONLY | os.O_TRUNC, dir_fd=directory))


def _relative(ground: Ground) -> None:
    os.chdir(ground.outside)
    _write(ground.name)


def _rename_in(ground: Ground) -> None:
    os.rename(ground.victim(), f"{ground.inside()}.taken")


def _rename_out(ground: Ground) -> None:
    os.rename(ground.inside(), ground.victim())


def _read_only_truncate(ground: Ground) -> None:
    _close(os.open(ground.readable(), os.O_RDONLY | os.O_TRUNC))


def _truncate(ground: Ground) -> None:
    os.truncate(ground.victim(), 0)


def _device(ground: Ground) -> None:
    os.mknod(f"{ground.inside()}.dev", stat.S_IFCHR | 0o600, os.makedev(1, 1))


def _nameless(ground: Ground) -> None:
    _close(os.open(ground.outside, os.O_TMPFILE | os.O_WRONLY, 0o600))


def _chroot(ground: Ground) -> None:
    os.chroot(ground.outside)
    _write(f"/{ground.name}")


def _mount(ground: Ground) -> None:
    if _libc.mount(ground.outside.encode(), ground.write.encode(), None, 4096, None):
        raise OSError(ctypes.get_errno(), "")


def _own_namespace(ground: Ground) -> None:
    if _libc.unshare(0x10000000 | 0x00020000):
        raise OSError(ctypes.get_errno(), "")
    _mount(ground)


def _inherited(ground: Ground) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                flags = _read(f"/proc/self/fdinfo/{name}").split("flags:")[1].split()[0]
                found = os.readlink(f"/proc/self/fd/{name}")
            except OSError:  # the listing's own
                continue
            if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY and found.startswith("/"):
                os.write(int(name), b"clobbered\n")
                return
    raise OSError(errno.EBADF, "there is none")


# --- processes ---


def _pidfd_signal(ground: Ground) -> None:
    signal.pidfd_send_signal(os.pidfd_open(ground.bystander), 0)


def _trace(ground: Ground) -> None:
    _syscall(_numbers(101, 117), 0x4206, ground.bystander, 0, 0)


def _limits(ground: Ground) -> None:
    resource.prlimit(ground.bystander, resource.RLIMIT_CPU, (3600, 3600))


# --- sockets ---


def _connect(address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(address)


# --- what must go on working ---


def _save(ground: Ground) -> None:
    os.mkdir(f"{ground.inside()}.dir")
    _write(f"{ground.inside()}.dir/new")
    os.rename(f"{ground.inside()}.dir/new", ground.inside())


def _temporary(ground: Ground) -> None:
    import tempfile

    with tempfile.TemporaryFile() as file:
        file.write(b"x")


def _own_child(ground: Ground) -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _semaphore(ground: Ground) -> None:
    import multiprocessing

    multiprocessing.get_context("fork").Semaphore(1)


REFUSED = ("EACCES",)
NOT_MOVED = ("EXDEV", "EACCES")
NOT_OURS = ("EPERM",)
OK = ("ok",)

ATTEMPTS: tuple[Attempt, ...] = (
    Attempt("files", "write outside of the scope", lambda g: _write(g.victim()), REFUSED),
    Attempt("files", "read outside of the scope", lambda g: _read(g.victim()), REFUSED),
    Attempt("files", "list a directory outside", lambda g: os.listdir(g.outside), REFUSED),
    Attempt("files", "create a file outside", lambda g: _write(f"{g.victim()}.new"), REFUSED),
    Attempt("files", "make a directory outside", lambda g: os.mkdir(f"{g.victim()}.d"), REFUSED),
    Attempt("files", "delete a file outside", lambda g: os.unlink(g.victim()), REFUSED),
    Attempt("files", "write in a read scope", lambda g: _write(g.readable()), REFUSED),
    Attempt("files", "delete in a read scope", lambda g: os.unlink(g.readable()), REFUSED),
    Attempt("files", "`..` out of the scope", _dots, REFUSED),
    Attempt("files", "a symlink that leads out", _symlink, REFUSED),
    Attempt("files", "a symlink swapped in after a check", _swapped, REFUSED),
    Attempt("files", "a hard link to a file outside", _hard_link, NOT_MOVED),
    Attempt("files", "a hard link to a readable file", _hard_link_of_readable, NOT_MOVED),
    Attempt("files", "reopen by /proc/self/fd to write", _reopen, REFUSED),
    Attempt("files", "open below a descriptor outside", _by_directory, REFUSED),
    Attempt("files", "go there and use a relative path", _relative, REFUSED),
    Attempt("files", "move a file in from outside", _rename_in, NOT_MOVED),
    Attempt("files", "move a file over one outside", _rename_out, NOT_MOVED),
    Attempt("files", "empty a readable file by O_TRUNC", _read_only_truncate, REFUSED),
    Attempt("files", "empty a file outside by truncate", _truncate, REFUSED),
    Attempt("files", "a file without a name outside", _nameless, REFUSED),
    Attempt("files", "make a device node in the scope", _device, REFUSED, ()),
    Attempt("files", "chroot, then write", _chroot, ("EACCES", "EPERM"), ()),
    Attempt("files", "mount over the scope", _mount, NOT_OURS, ()),
    Attempt("files", "mount in a namespace of its own", _own_namespace, NOT_OURS, ()),
    Attempt("files", "write by an inherited descriptor", _inherited, ("EBADF",), ("EBADF",)),
    Attempt(
        "pods' own", "read the supervisor's token",
        lambda g: _read(f"{os.path.dirname(g.runtime)}/owner.token"), REFUSED,
    ),
    Attempt(
        "pods' own", "list the pods' sockets",
        lambda g: os.listdir(os.path.dirname(g.runtime)), REFUSED,
    ),
    Attempt(
        "pods' own", "read another pod's journal",
        lambda g: os.listdir(os.path.dirname(g.state)), REFUSED,
    ),
    Attempt(
        "pods' own", "forge the record of its end",
        lambda g: _write(f"{g.state}/exit.json"), REFUSED,
    ),
    Attempt(
        "pods' own", "put a socket in its keeper's place",
        lambda g: os.unlink(f"{g.runtime}/keeper.sock"), REFUSED, (),
    ),
    Attempt("processes", "signal a bystander", lambda g: os.kill(g.bystander, 0), NOT_OURS),
    Attempt("processes", "signal it by descriptor", _pidfd_signal, NOT_OURS),
    Attempt("processes", "signal the launcher", lambda g: os.kill(g.launcher, 0), NOT_OURS),
    Attempt("processes", "signal its keeper", lambda g: os.kill(g.keeper, 0), NOT_OURS),
    Attempt("processes", "trace a bystander", _trace, NOT_OURS, ()),
    Attempt(
        "processes", "read a bystander's environment",
        lambda g: _read(f"/proc/{g.bystander}/environ"), REFUSED,
    ),
    Attempt(
        "processes", "see a bystander's descriptors",
        lambda g: os.listdir(f"/proc/{g.bystander}/fd") and os.readlink(
            f"/proc/{g.bystander}/fd/0"), REFUSED,
    ),
    Attempt("processes", "limit a bystander (prlimit)", _limits, NOT_OURS),
    Attempt(
        "processes", "change a bystander's priority",
        lambda g: os.setpriority(os.PRIO_PROCESS, g.bystander, 5), NOT_OURS,
    ),
    Attempt("sockets", "an abstract socket", lambda g: _connect("\0" + g.abstract), NOT_OURS),
    Attempt("kernel", "open a new terminal", lambda g: _close(
        os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)), REFUSED),
    Attempt("kernel", "keyctl", lambda g: _syscall(_numbers(250, 219), 0, -3, 0), NOT_OURS, ()),
    Attempt("kernel", "bpf", lambda g: _syscall(_numbers(321, 280), 0, 0, 0), NOT_OURS, ()),
    Attempt("kernel", "userfaultfd", lambda g: _syscall(_numbers(323, 282), 0), NOT_OURS, ()),
    Attempt(
        "kernel", "perf_event_open",
        lambda g: _syscall(_numbers(298, 241), 0, 0, -1, -1, 0), NOT_OURS, (),
    ),
    Attempt(
        "kernel", "open_by_handle_at",
        lambda g: _syscall(_numbers(304, 265), -100, 0, 0), NOT_OURS, (),
    ),
    Attempt("kernel", "io_uring", lambda g: _syscall(425, 8, 0), ("ENOSYS",), ()),
    Attempt("kernel", "calls of the x32 convention", lambda g: _syscall(
        0x40000000 | 39), ("ENOSYS",), ()),
    Attempt("gaps", "see size and owner of a file outside", lambda g: os.stat(g.victim()), OK),
    Attempt("gaps", "chmod a file outside", lambda g: os.chmod(g.victim(), 0o600), OK),
    Attempt("gaps", "touch a file outside", lambda g: os.utime(g.victim()), OK),
    Attempt("gaps", "connect to a socket that has a path", lambda g: _connect(g.listener), OK),
    Attempt(
        "gaps", "move a bystander to another processor",
        lambda g: os.sched_setaffinity(g.bystander, os.sched_getaffinity(g.bystander)), OK,
    ),
    Attempt("must work", "write in the scope", lambda g: _write(g.inside()), OK),
    Attempt("must work", "replace a file from another directory", _save, OK),
    Attempt("must work", "read in a read scope", lambda g: _read(g.readable()), OK),
    Attempt("must work", "a temporary file", _temporary, OK),
    Attempt("must work", "signal a child of its own", _own_child, OK),
    Attempt("must work", "a semaphore in /dev/shm", _semaphore, OK),
)  # fmt: skip


def _try(attempt: Attempt, ground: Ground) -> str:
    return str(in_child(lambda: outcome(lambda: attempt.act(ground))))


def try_all(ground: Ground, *, held: bool) -> dict[str, str]:
    """Every attempt that belongs to the level, each in a child of its own: name -> answer."""
    return {
        attempt.name: _try(attempt, ground._replace(name=attempt.name))
        for attempt in ATTEMPTS
        if held or attempt.open
    }


def table() -> str:
    """The promise, as Markdown."""

    def words(answers: tuple[str, ...]) -> str:
        if not answers:
            return "not tried"
        return "works" if answers == OK else " or ".join(answers)

    lines = ["| | a process of a pod tries to | held by Landlock and seccomp | `none` |"]
    lines.append("|---|---|---|---|")
    group = ""
    for attempt in ATTEMPTS:
        shown = attempt.group if attempt.group != group else ""
        group = attempt.group
        lines.append(
            f"| {shown} | {attempt.what} | {words(attempt.held)} | {words(attempt.open)} |"
        )
    return "\n".join(lines) + "\n"
