"""What a hostile pod tries with files, and with what is pods' own: the rows and their functions."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat

from hostile_ground import (
    NOT_OURS,
    OK,
    REFUSED,
    TRUNCATION,
    UNTRIED,
    Attempt,
    Ground,
    libc,
    number,
    read,
    syscall,
    write,
)

NOT_MOVED = ("EXDEV", "EACCES")

_HERE, _FOLLOW = -100, 0x400


def _dots(ground: Ground) -> None:
    write(f"{ground.write}/../{os.path.basename(ground.outside)}/{ground.name}")


def _symlink(ground: Ground) -> None:
    link = f"{ground.inside()}.link"
    os.symlink(ground.victim(), link)
    write(link)


def _swapped(ground: Ground) -> None:
    path = f"{ground.inside()}.swap"
    write(path)
    assert os.path.realpath(path).startswith(ground.write)  # the check that a tool would make
    os.unlink(path)
    os.symlink(ground.victim(), path)
    write(path)


def _hard_link(ground: Ground) -> None:
    os.link(ground.victim(), f"{ground.inside()}.hard")
    write(f"{ground.inside()}.hard")


def _hard_link_of_readable(ground: Ground) -> None:
    os.link(ground.readable(), f"{ground.inside()}.hard")
    write(f"{ground.inside()}.hard")


def _reopen(ground: Ground) -> None:
    descriptor = os.open(ground.readable(), os.O_RDONLY)
    write(f"/proc/self/fd/{descriptor}")


def _by_directory(ground: Ground) -> None:
    directory = os.open(ground.outside, os.O_PATH | os.O_DIRECTORY)
    os.close(os.open(ground.name, os.O_WRONLY | os.O_TRUNC, dir_fd=directory))


def _relative(ground: Ground) -> None:
    os.chdir(ground.outside)
    write(ground.name)


def _rename_in(ground: Ground) -> None:
    os.rename(ground.victim(), f"{ground.inside()}.taken")


def _rename_out(ground: Ground) -> None:
    os.rename(ground.inside(), ground.victim())


def _read_only_truncate(ground: Ground) -> None:
    os.close(os.open(ground.readable(), os.O_RDONLY | os.O_TRUNC))


def _truncate(ground: Ground) -> None:
    os.truncate(ground.victim(), 0)


def _device(ground: Ground) -> None:
    os.mknod(f"{ground.inside()}.dev", stat.S_IFCHR | 0o600, os.makedev(1, 1))


def _nameless(ground: Ground) -> None:
    os.close(os.open(ground.outside, os.O_TMPFILE | os.O_WRONLY, 0o600))


def _chroot(ground: Ground) -> None:
    os.chroot(ground.outside)
    write(f"/{ground.name}")


def _mount(ground: Ground) -> None:
    if libc.mount(ground.outside.encode(), ground.write.encode(), None, 4096, None):
        raise OSError(ctypes.get_errno(), "")


def _own_namespace(ground: Ground) -> None:
    if libc.unshare(0x10000000 | 0x00020000):
        raise OSError(ctypes.get_errno(), "")
    _mount(ground)


def _inherited(ground: Ground) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                flags = read(f"/proc/self/fdinfo/{name}").split("flags:")[1].split()[0]
                found = os.readlink(f"/proc/self/fd/{name}")
            except OSError:  # the listing's own
                continue
            if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY and found.startswith("/"):
                os.write(int(name), b"clobbered\n")
                return
    raise OSError(errno.EBADF, "there is none")


def _bind(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(path)


def _bind_by_descriptor(ground: Ground) -> None:
    directory = os.open(ground.outside, os.O_PATH | os.O_DIRECTORY)
    _bind(f"/proc/self/fd/{directory}/{ground.name}.s")


def _link_by_descriptor(ground: Ground) -> None:
    descriptor = os.open(ground.victim(), os.O_PATH)
    taken = f"{ground.inside()}.taken"
    # Python's own `os.link` does not follow the link that this is.
    by = f"/proc/self/fd/{descriptor}"
    syscall(number(265, 37), _HERE, os.fsencode(by), _HERE, os.fsencode(taken), _FOLLOW)
    write(taken)


FILES: tuple[Attempt, ...] = (
    Attempt("files", "write outside of the scope", lambda g: write(g.victim()), REFUSED),
    Attempt("files", "read outside of the scope", lambda g: read(g.victim()), REFUSED),
    Attempt("files", "list a directory outside", lambda g: os.listdir(g.outside), REFUSED),
    Attempt("files", "create a file outside", lambda g: write(f"{g.victim()}.new"), REFUSED),
    Attempt("files", "make a directory outside", lambda g: os.mkdir(f"{g.victim()}.d"), REFUSED),
    Attempt(
        "files", "make a symlink outside", lambda g: os.symlink("x", f"{g.victim()}.l"), REFUSED
    ),
    Attempt("files", "make a named pipe outside", lambda g: os.mkfifo(f"{g.victim()}.p"), REFUSED),
    Attempt("files", "put a socket outside (bind)", lambda g: _bind(f"{g.victim()}.s"), REFUSED),
    Attempt("files", "put it there by /proc/self/fd", _bind_by_descriptor, REFUSED),
    Attempt("files", "delete a file outside", lambda g: os.unlink(g.victim()), REFUSED),
    Attempt("files", "write in a read scope", lambda g: write(g.readable()), REFUSED),
    Attempt("files", "delete in a read scope", lambda g: os.unlink(g.readable()), REFUSED),
    Attempt("files", "`..` out of the scope", _dots, REFUSED),
    Attempt("files", "a symlink that leads out", _symlink, REFUSED),
    Attempt("files", "a symlink swapped in after a check", _swapped, REFUSED),
    Attempt("files", "a hard link to a file outside", _hard_link, NOT_MOVED),
    Attempt("files", "a hard link to a readable file", _hard_link_of_readable, NOT_MOVED),
    Attempt("files", "a hard link by /proc/self/fd", _link_by_descriptor, NOT_MOVED),
    Attempt("files", "reopen by /proc/self/fd to write", _reopen, REFUSED),
    Attempt("files", "open below a descriptor outside", _by_directory, REFUSED),
    Attempt("files", "go there and use a relative path", _relative, REFUSED),
    Attempt("files", "move a file in from outside", _rename_in, NOT_MOVED),
    Attempt("files", "move a file over one outside", _rename_out, NOT_MOVED),
    Attempt(
        "files", "empty a readable file by O_TRUNC", _read_only_truncate, REFUSED, since=TRUNCATION
    ),
    Attempt("files", "empty a file outside by truncate", _truncate, REFUSED, since=TRUNCATION),
    Attempt("files", "a file without a name outside", _nameless, REFUSED),
    Attempt("files", "make a device node in the scope", _device, REFUSED, UNTRIED),
    Attempt("files", "chroot, then write", _chroot, ("EACCES", "EPERM"), UNTRIED),
    Attempt("files", "mount over the scope", _mount, NOT_OURS, UNTRIED),
    Attempt("files", "mount in a namespace of its own", _own_namespace, NOT_OURS, UNTRIED),
    Attempt("files", "write by an inherited descriptor", _inherited, ("EBADF",), ("EBADF",)),
    Attempt(
        "pods' own", "read the supervisor's token",
        lambda g: read(f"{os.path.dirname(g.runtime)}/owner.token"), REFUSED,
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
        lambda g: write(f"{g.state}/exit.json"), REFUSED,
    ),
    Attempt(
        "pods' own", "put a socket in its keeper's place",
        lambda g: os.unlink(f"{g.runtime}/keeper.sock"), REFUSED, UNTRIED,
    ),
)  # fmt: skip


def _save(ground: Ground) -> None:
    os.mkdir(f"{ground.inside()}.dir")
    write(f"{ground.inside()}.dir/new")
    os.rename(f"{ground.inside()}.dir/new", ground.inside())


def _temporary(ground: Ground) -> None:
    import tempfile

    with tempfile.TemporaryFile() as file:
        file.write(b"x")


WORKING: tuple[Attempt, ...] = (
    Attempt("must work", "write in the scope", lambda g: write(g.inside()), OK),
    Attempt("must work", "replace a file from another directory", _save, OK),
    Attempt("must work", "read in a read scope", lambda g: read(g.readable()), OK),
    Attempt("must work", "a temporary file", _temporary, OK),
)
