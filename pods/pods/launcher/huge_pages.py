"""Puts what the launcher shares into huge pages, so that a fork and its end are short.

A fork writes an entry for each page that it shares, and its end takes each back: with pages of
4 KiB that is some 6,000 entries, twice a pod, and most of the time that the kernel takes for
either. A page of 2 MiB, and what is left of one where something was written to, counts as one. The
interpreter takes its memory in pieces of 1 MiB, and libraries come to lie between those as they are
loaded. So `gather` takes what it will need in a row before anything is imported, and `collapse`
makes it huge once it is full (`MADV_COLLAPSE`, Linux 6.1; what cannot be had stays as it is).

Owns both. Knows nothing of pods. Called by the launcher alone.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from typing import Final

GATHERED_BYTES: Final = 16 * 1024 * 1024
"""What the interpreter's own allocator holds once all is imported and warm (3.11 to 3.13: 12 to 14
MB), with two for both ends. What does not fit lies elsewhere and stays in small pages."""

BLOCK_BYTES: Final = 512
"""The largest that comes from the interpreter's own pieces."""

PIECE_BYTES: Final = 1024 * 1024
"""Of these (`ARENA_SIZE` since 3.10)."""

BLOCKS_HELD: Final = 4
"""Of each piece: one is enough to keep it, and where one begins cannot be seen."""

HUGE_BYTES: Final = 2 * 1024 * 1024
"""On x86-64, and on aarch64 with pages of 4 KiB; where they are bigger the kernel refuses."""

HEAP: Final = "[heap]"
"""What it is called in `/proc/PID/maps`."""

HEAP_BLOCK_BYTES: Final = 64 * 1024
"""Comes from there: what has twice as much is mapped by itself (`M_MMAP_THRESHOLD`)."""

MADV_COLLAPSE: Final = 25
"""Of `<linux/mman.h>`; `mmap` does not name it."""


def gather() -> object:
    """Take the interpreter's next pieces of memory in a row; call it before anything is imported.

    Returns:
        What must be held until they are in use: one that is empty is given back.
    """
    header = bytes(0).__sizeof__()
    blocks = [bytes(BLOCK_BYTES - header) for _ in range(GATHERED_BYTES // BLOCK_BYTES)]
    return blocks[:: PIECE_BYTES // BLOCK_BYTES // BLOCKS_HELD]


def collapse() -> object:
    """Put the memory of this process into huge pages, as far as the kernel goes along.

    Returns:
        What must be held as long as pods are forked.
    """
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    held = _fill_heap(_maps())
    for start, size in ranges(_maps()):
        madvise(start, size, MADV_COLLAPSE)
    return held


def ranges(maps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Start and size of what can be made huge, by the lines of `/proc/PID/maps` (proc(5))."""
    for first, last, _ in _writable(maps):
        start = -(-first // HUGE_BYTES) * HUGE_BYTES
        end = last // HUGE_BYTES * HUGE_BYTES
        if start < end:
            yield start, end - start


def _maps() -> list[str]:
    with open("/proc/self/maps") as maps:
        return maps.readlines()


def _writable(maps: Iterable[str]) -> Iterator[tuple[int, int, str]]:
    """First and last address and name of what a program has for its data, and nothing else has."""
    for line in maps:
        addresses, rights, _, _, _, *names = line.split(maxsplit=5)
        name = "".join(names).strip()
        if rights == "rw-p" and name in ("", HEAP):
            first, _, last = addresses.partition("-")
            yield int(first, 16), int(last, 16), name


def _fill_heap(maps: Iterable[str]) -> object:
    """Let the heap of C go on to where a huge page ends: its last would be left out otherwise."""
    ends = [last for _, last, name in _writable(maps) if name == HEAP]
    missing = sum(-end % HUGE_BYTES for end in ends)
    return [bytes(HEAP_BLOCK_BYTES) for _ in range(-(-missing // HEAP_BLOCK_BYTES))]
