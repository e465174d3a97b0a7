"""Ends the counting of references to what the launcher shares with every pod it forks.

Owns the one place where an interpreter's own memory is written to. Whoever uses an object counts,
and the count lies in the object: so a pod that only *reads* what its launcher imported copies the
pages it lies on. CPython has objects that are never counted since 3.12 (PEP 683, which names
sharing between forks as a use), but no call that makes one; what it takes is the number that the
interpreter itself writes. It is written where all of this holds, and nowhere else: a version that
was tried, with its lock, and an object made for the purpose that behaves as it should. Elsewhere
pods are bigger and slower and otherwise the same. Knows nothing of pods. Called by the launcher
once, when it has forked its first.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import CodeType, FrameType
from typing import Any, Final, cast

TRIED: Final = ((3, 12), (3, 13))
"""Versions of CPython in which pods were forked and ended from such an image."""

NEVER: Final = 0xFFFFFFFF
"""The count of what is never counted (`_Py_IMMORTAL_REFCNT` on 64 bits). It is the lower half of
`ob_refcnt`, which comes first in every object; the interpreter looks at that half."""

ADDRESSES: Final = 2**48
"""A process has no memory from here on (x86-64: half of it); the kernel gives higher addresses
only to who asks for them."""

BATCH: Final = 4096
"""Objects whose references are taken at once; the call takes them as arguments."""

_attributes: Final[Callable[[type], Mapping[str, Any]]] = type.__dict__["__dict__"].__get__
"""A class's own attributes; `vars` would ask the class."""


def make_immortal(roots: Iterable[object]) -> int:
    """Stop counting references to everything that can be reached from here, for ever.

    None of it is ever freed, so it is for what lives as long as the process and its forks. Frames
    are left alone: they end.

    Args:
        roots: from where to look; the launcher gives its modules.

    Returns:
        How many objects; 0 where this interpreter is not known well enough.
    """
    if not is_possible():
        return 0
    found: dict[int, object] = {}
    fresh = list(roots)
    while fresh:
        found.update(zip(map(id, fresh), fresh, strict=True))
        referred: dict[int, object] = {}
        for start in range(0, len(fresh), BATCH):
            near = _referred(fresh[start : start + BATCH])
            referred.update(zip(map(id, near), near, strict=True))
        new = referred.keys() - found.keys()
        fresh = [one for one in map(referred.__getitem__, new) if type(one) is not FrameType]
    return _write(found)


def is_possible() -> bool:
    """Whether it can be done in this interpreter, by what it is and by trying it on one object."""
    if sys.implementation.name != "cpython" or sys.version_info[:2] not in TRIED:
        return False
    if "t" in sys.abiflags or sys.maxsize < 2**32:  # without the lock, or of 32 bits: other counts
        return False
    made = [object()]
    before = sys.getrefcount(made[0])
    if id(made[0]) >= ADDRESSES:
        return False
    if ctypes.c_uint32.from_address(id(made[0])).value != before - 1:
        return False
    _write({id(made[0]): made[0]})
    known = sys.getrefcount(made[0])
    held = [made[0]] * 3
    return len(held) == 3 and sys.getrefcount(made[0]) == known > before


def _referred(objects: Sequence[object]) -> list[object]:
    """What these refer to, also where the collector of garbage does not ask: types, and code."""
    found = gc.get_referents(*objects)
    for one in cast("Sequence[Any]", objects):
        if type(one) is CodeType:
            found += (one.co_consts, one.co_names, one.co_name, one.co_qualname, one.co_filename)
            found += (one.co_linetable, one.co_exceptiontable)
        elif issubclass(type(one), type):  # `isinstance` would ask the object, and a proxy lies
            found += gc.get_referents(_attributes(one))
    return found


def _write(objects: Mapping[int, object]) -> int:
    # A view of all memory in words of four bytes: ten times as fast as a call for each object.
    words = memoryview((ctypes.c_uint32 * (ADDRESSES // 4)).from_address(0)).cast("B").cast("I")
    for address in objects:
        words[address // 4] = NEVER
    return len(objects)
