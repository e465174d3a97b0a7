"""Removing directories of ours, whatever programs have left in them.

Owns that and nothing of which directory, or when. Called by `acts` and `leftovers`.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from typing import Final

import trio

from pods.paths import JOURNAL_NAME
from pods_protocol.errors import StorageFailed

MAX_ENTRIES_INLINE: Final = 16
"""A directory with fewer entries and no deep tree goes at once; a thread costs more than it."""


async def remove_tree(path: str) -> None:
    """Remove a directory of ours with all that is in it; one that is gone already is fine.

    Raises:
        StorageFailed: something in it cannot be removed; everything else is.
    """
    try:
        if _is_small(path):
            _remove(path)
        else:
            await trio.to_thread.run_sync(_remove, path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _failed(path, error) from error


def close_journal(state: str) -> None:
    """Give a pod's journal another name, before the pod is removed.

    A removal can fail in the middle, or be cut off; what is left of the journal then must never be
    taken for the whole of it, or for that of a pod which has done nothing yet.

    Raises:
        StorageFailed: the system refuses; nothing was removed.
    """
    journal = f"{state}/{JOURNAL_NAME}"
    with suppress(OSError):
        os.chmod(state, 0o700)  # a pod may have closed it
    try:
        os.rename(journal, f"{journal}.removed-{secrets.token_hex(4)}")
    except FileNotFoundError:
        return
    except OSError as error:
        raise _failed(state, error) from error


def _failed(path: str, error: OSError) -> StorageFailed:
    stuck = error.filename or path
    return StorageFailed(
        f"cannot remove {path}: {stuck}: {error.strerror or error}; see what holds it, remove "
        "it by hand, then try again",
        path=path,
        errno=error.errno,
    )


def _remove(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):
        _open_up(path)
        shutil.rmtree(path)  # says what is stuck


def _open_up(path: str) -> None:
    """Let the directories below be emptied: programs (Go's, for one) keep caches read-only.

    Nobody puts links there meanwhile: whoever could write there has ended.
    """
    waiting = [path]
    while waiting:
        directory = waiting.pop()
        with suppress(OSError):
            os.chmod(directory, 0o700)
            with os.scandir(directory) as entries:
                waiting += (one.path for one in entries if one.is_dir(follow_symlinks=False))


def _is_small(path: str) -> bool:
    entries = 0
    for name in os.listdir(path):
        entries += 1
        full = f"{path}/{name}"
        if os.path.isdir(full) and not os.path.islink(full):
            try:
                if os.listdir(full):
                    return False
            except PermissionError:
                return False
    return entries <= MAX_ENTRIES_INLINE
