"""The registry's file: how it is read, repaired and replaced without a torn moment.

Owns `registry.json`, `registry.json.previous` and `registry.json.broken-N`; what is in them is
`registry_format`. Must not know locks or laws: `registry` holds the lock around every call.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from typing import Final

from attrs import field, frozen

from pods.descriptors import is_out_of_descriptors, no_descriptors
from pods.private import fault_of_directory
from pods.scope.registry_format import Contents, Damaged, decode, encode
from pods.scope.table import Table
from pods_protocol.errors import PodsError, RegistryBroken, StorageFailed, UnsafeDirectory

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""A thousand leases are some 300 kB. A larger file is not ours, and must not take our memory."""

MAX_BROKEN_KEPT: Final = 5
"""Files set aside for whoever wants to know what happened; the oldest goes first."""

_HEAD_BYTES: Final = 256
"""One read that surely holds the first line."""


@frozen(kw_only=True)
class Snapshot:
    """One generation, as read or written; what the next reading compares with.

    Attributes:
        head: the first line. It has a random stamp, so no two writes share it, whatever the
            generation was repaired to.
        identity: inode, size and time of the file, against editors that leave the head alone.
        contents: what it says.
        fault: what is wrong with the file, where this is the previous generation, or none at all.
    """

    head: bytes
    identity: tuple[int, int, int]
    contents: Contents = field(repr=False)
    fault: str = ""

    @property
    def whole(self) -> bool:
        """Whether the file itself was read."""
        return not self.fault

    @property
    def generation(self) -> int:
        """How often the registry was written; 0 where nothing is there."""
        return self.contents.generation

    @property
    def table(self) -> Table:
        """Every lease in it."""
        return self.contents.table


NO_CONTENTS: Final = Contents(0, Table(), {})
EMPTY: Final = Snapshot(head=b"", identity=(0, 0, 0), contents=NO_CONTENTS)


def ensure_directory(path: str) -> None:
    """Make the registry's directory, or make sure that it is this user's alone.

    Raises:
        UnsafeDirectory: it is a symlink, another user's, or open to others.
        StorageFailed: the system refuses to make it.
    """
    try:
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
            found = os.lstat(path)
    except OSError as error:
        raise _failed("make the directory", path, error) from error
    fault = fault_of_directory(found)
    if fault is None:
        return
    raise UnsafeDirectory(
        f"cannot keep the scope registry in {path}: {fault}; give it to yourself with mode 0700, "
        "or set PODS_STATE_DIR to another directory",
        path=path,
        detail=fault,
    )


def load(path: str, known: Snapshot, *, or_nothing: bool = False) -> Snapshot:
    """The newest generation that can be read: the file, or else the one kept beside it.

    Changes nothing on disk.

    Args:
        path: of the registry.
        known: what was read or written last; unchanged parts are taken from it.
        or_nothing: whether the caller knows what to do where neither can be read: it gets an empty
            table then, which is not `whole`.

    Raises:
        RegistryBroken: neither can be read, or a newer pods wrote it.
        StorageFailed: the system refuses to read.
        CapacityReached: no descriptor is left to read with.
    """
    try:
        snapshot = _load_file(path, known)
        if snapshot is not None:
            return snapshot
        why = "it is missing"
    except Damaged as damage:
        why = str(damage)
    contents = NO_CONTENTS
    try:
        previous = _load_file(f"{path}.previous", known)
        if previous is not None:
            contents = previous.contents
        elif why == "it is missing":
            return EMPTY
        elif not or_nothing:
            raise _broken(path, why)
    except Damaged as damage:
        why = f"{why}; and the generation kept beside it: {damage}"
        if not or_nothing:
            raise _broken(path, why) from None
    # No file has this head: the next reading looks again.
    return Snapshot(head=b"", identity=(0, 0, 0), contents=contents, fault=why)


def write(path: str, table: Table, base: Snapshot) -> Snapshot:
    """Replace the file by the next generation: temp file, fsync, rename; the old one is kept.

    Args:
        path: of the registry.
        table: what it shall hold.
        base: the generation that was read under the same lock. If that was not the file itself,
            the damaged file is set aside first.

    Raises:
        StorageFailed, CapacityReached: the system refuses; the old generation stands.
    """
    content, contents = encode(
        table, base.contents, generation=base.generation + 1, stamp=secrets.token_hex(8)
    )
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    try:
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            try:
                _write_all(descriptor, content)
                os.fsync(descriptor)
                found = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            if base.whole:
                _keep_previous(path)
            else:
                _set_aside(path)
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise _failed("write the scope registry", path, error) from error
    # The directory is not synced: a power cut may bring the generation before back, and every
    # holder in either is of another boot then. The content is, so that neither is ever torn.
    return Snapshot(head=_head(content), identity=_identity(found), contents=contents)


def temporaries(path: str) -> list[str]:
    """Files of writes that were cut off; while the lock is held, nobody writes to them any more."""
    directory, name = os.path.split(path)
    with contextlib.suppress(FileNotFoundError):
        return sorted(
            f"{directory}/{entry}"
            for entry in os.listdir(directory)
            if entry.startswith(f"{name}.") and entry.endswith(".tmp")
        )
    return []


def remove_temporaries(path: str) -> None:
    """Remove what writes left that were cut off. Only under the lock.

    Raises:
        StorageFailed: the system refuses.
    """
    try:
        for temporary in temporaries(path):
            os.unlink(temporary)
    except OSError as error:
        raise _failed("tidy up", os.path.dirname(path), error) from error


def set_all_aside(path: str) -> None:
    """Keep both generations for people, where neither can be read: there is no registry then.

    Raises:
        StorageFailed: the system refuses.
    """
    try:
        _set_aside(path)
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}.previous", path)
        _set_aside(path)
    except OSError as error:
        raise _failed("set aside", path, error) from error


def _load_file(path: str, known: Snapshot) -> Snapshot | None:
    """One file; None if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if is_out_of_descriptors(error):
            raise _failed("read the scope registry", path, error) from error  # it may be whole
        raise Damaged(f"it cannot be opened ({os.strerror(error.errno or 0)})") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Damaged("it is not a plain file")
        if found.st_uid != os.geteuid():
            raise Damaged(f"it belongs to user {found.st_uid}")
        if found.st_size > MAX_FILE_BYTES:
            raise Damaged(f"it has {found.st_size} bytes")
        head = _head(os.pread(descriptor, _HEAD_BYTES, 0))
        if head and head == known.head and _identity(found) == known.identity:
            return known
        content = _read_all(descriptor, found.st_size)
    except OSError as error:
        raise _failed("read the scope registry", path, error) from error
    finally:
        os.close(descriptor)
    if not content:
        return Snapshot(head=b"", identity=_identity(found), contents=NO_CONTENTS)
    contents = decode(path, content, known.contents)
    return Snapshot(head=head, identity=_identity(found), contents=contents)


def _keep_previous(path: str) -> None:
    """Give the file its second name; at no moment is it without its first."""
    spare = f"{path}.{secrets.token_hex(4)}.tmp"
    with contextlib.suppress(FileNotFoundError):
        try:
            os.link(path, spare)
        except FileNotFoundError:
            raise
        except OSError:
            # No hard links on this file system. For a moment there is only the previous
            # generation, and a reader of that moment takes it.
            spare = path
        os.rename(spare, f"{path}.previous")


def _set_aside(path: str) -> None:
    """Keep a damaged file for people, a few of them at most."""
    directory, name = os.path.split(path)
    prefix = f"{name}.broken-"
    numbers = sorted(
        int(entry.removeprefix(prefix))
        for entry in os.listdir(directory)
        if entry.startswith(prefix) and entry.removeprefix(prefix).isdecimal()
    )
    for number in numbers[: max(0, len(numbers) - MAX_BROKEN_KEPT + 1)]:
        with contextlib.suppress(OSError):
            os.unlink(f"{directory}/{prefix}{number}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, f"{directory}/{prefix}{numbers[-1] + 1 if numbers else 1}")


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _read_all(descriptor: int, size: int) -> bytes:
    parts: list[bytes] = []
    at = 0
    while at <= size:
        part = os.pread(descriptor, size - at + 1, at)
        if not part:
            break
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _head(content: bytes) -> bytes:
    return content[:_HEAD_BYTES].partition(b"\n")[0]


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _broken(path: str, why: str) -> RegistryBroken:
    return RegistryBroken(
        f"cannot read the scope registry {path}: {why}; leave both files where they are and run "
        "`pods doctor --fix`: it builds the registry anew from what the supervisors have on "
        "record, or sets it aside where no pod can be alive",
        path=path,
        detail=why,
    )


def _failed(verb: str, path: str, error: OSError) -> PodsError:
    if is_out_of_descriptors(error):
        return no_descriptors(f"{verb} {path}", error)
    return StorageFailed(
        f"cannot {verb} {path}: {os.strerror(error.errno or 0)}; free some space or check the "
        "permissions of its directory, then try again",
        path=path,
        errno=error.errno,
    )
