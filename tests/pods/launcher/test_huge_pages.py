"""What the launcher shares lies in a row and in huge pages, where the kernel has them."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys

import pytest

from pods.launcher.huge_pages import HUGE_BYTES, MADV_COLLAPSE, ranges

PROGRAM = """
import sys

from pods.launcher.huge_pages import collapse, gather, ranges

if sys.argv[1] == "gathered":
    gathered = gather()

from pods.launcher.preload import preload

preload()
with open("/proc/self/maps") as maps:
    print(sum(size for _, size in ranges(maps)))
held = collapse()
with open("/proc/self/smaps_rollup") as rollup:
    print(next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("AnonHuge")))
"""


def run_program(how: str) -> tuple[int, int]:
    """How much could be made huge, and how much is."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=60, check=True
    )
    possible, huge = done.stdout.split()
    return int(possible), int(huge)


def kernel_collapses() -> bool:
    """Whether the kernel puts two megabytes that are written to into one page."""
    with mmap.mmap(-1, 2 * HUGE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.write(b"x" * len(memory))
        at = ctypes.c_char.from_buffer(memory)
        start = -(-ctypes.addressof(at) // HUGE_BYTES) * HUGE_BYTES
        del at
        call = ctypes.CDLL(None).madvise
        call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        return int(call(start, HUGE_BYTES, MADV_COLLAPSE)) == 0


def test_only_whole_huge_pages_of_a_programs_own_memory_are_named() -> None:
    maps = """\
555555400000-555555900000 r--p 00000000 fe:00 1                          /usr/bin/python3
555555b01000-555556000000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000600000 rw-p 00000000 00:00 0 
7f0000800000-7f0000900000 rw-p 00000000 00:00 0 
7f0000a00000-7f0000e00000 rw-p 00000000 fe:00 2                          /a library.so
7f0000e00000-7f0001200000 rw-s 00000000 00:00 3                          /memfd:x (deleted)
7ffc00000000-7ffc00400000 rw-p 00000000 00:00 0                          [stack]
""".splitlines(keepends=True)  # noqa: W291 - as the kernel writes them
    assert list(ranges(maps)) == [
        (0x555555C00000, 0x400000),
        (0x7F0000000000, 0x600000),
    ]


def test_what_was_gathered_lies_in_a_row_whatever_is_loaded_later() -> None:
    gathered, huge = run_program("gathered")
    scattered, _ = run_program("scattered")
    assert gathered >= scattered + 3 * HUGE_BYTES  # some of it goes into holes that there are
    if not kernel_collapses():
        pytest.skip("this kernel has no huge pages to give (MADV_COLLAPSE, Linux 6.1)")
    assert huge >= gathered
