"""The board on which a campaign writes its faults, and processes under test what became of them.

Owns the layout of one small file that everybody maps: slots for faults, and a census of the calls
at each point. A mapping outlives what pods do to themselves at their start: descriptors are closed,
the environment is cleared, Landlock and seccomp are entered. Knows nothing of pods. Used by
`sitecustomize` within the processes under test and by the campaign outside of them.
"""

from __future__ import annotations

import mmap
import struct
from typing import Final, NamedTuple

SLOTS: Final = 32
"""Faults that are armed at once: a phase has a handful."""

CENSUS: Final = 256
"""Pairs of role and point that are counted; a round meets some sixty."""

_SLOT: Final = struct.Struct("<BxxxIIIId40s48s16s")
"""State, countdown, repeats, pid, seed of the torn place, monotonic time; role, point, action."""

_COUNT: Final = struct.Struct("<I20s48s")
_HEADER: Final = 64
BYTES: Final = _HEADER + SLOTS * _SLOT.size + CENSUS * _COUNT.size

FREE, ARMED, FIRED = 0, 1, 2


class Slot(NamedTuple):
    """One fault.

    Attributes:
        state: `FREE`, `ARMED` or `FIRED` (it may still have repeats).
        countdown: calls at this point until it happens; 0 is the next one.
        repeats: how many calls in a row it happens to.
        pid: whom it happened to.
        part: decides where a write is torn.
        at: when it happened, by the monotonic clock.
        role, point, action: where and what; `pod:*` is the first pod that gets there, and `pod:` a
            spare one.
    """

    state: int
    countdown: int
    repeats: int
    pid: int
    part: int
    at: float
    role: str
    point: str
    action: str


class Board:
    """The mapped file.

    Args:
        path: made with `create`.
    """

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), BYTES)
        self._census: dict[tuple[str, str], int] = {}

    @staticmethod
    def create(path: str) -> Board:
        """Make an empty board."""
        with open(path, "wb") as file:
            file.write(bytes(BYTES))
        return Board(path)

    @property
    def version(self) -> int:
        """Changes with every change of the slots that the campaign makes; 0: nothing is armed."""
        return self._map[0]

    def arm(self, faults: list[Slot]) -> None:
        """Replace what is armed."""
        self._map[0] = 0
        for number in range(SLOTS):
            self._put(number, faults[number] if number < len(faults) else _NOTHING)
        self._map[0] = 1 if faults else 0

    def disarm(self) -> list[Slot]:
        """Take everything off; returns what has fired."""
        fired = self.fired()
        self.arm([])
        return fired

    def fired(self) -> list[Slot]:
        """What has happened."""
        return [slot for slot in map(self.slot, range(SLOTS)) if slot.state == FIRED]

    def slot(self, number: int) -> Slot:
        """One slot as it stands."""
        values = _SLOT.unpack_from(self._map, _HEADER + number * _SLOT.size)
        state, countdown, repeats, pid, part, at, role, point, action = values
        return Slot(state, countdown, repeats, pid, part, at, _text(role), _text(point),
                    _text(action))  # fmt: skip

    def _put(self, number: int, slot: Slot) -> None:
        _SLOT.pack_into(
            self._map, _HEADER + number * _SLOT.size,
            slot.state, slot.countdown, slot.repeats, slot.pid, slot.part, slot.at,
            slot.role.encode(), slot.point.encode(), slot.action.encode(),
        )  # fmt: skip

    # In the processes under test ----------------------------------------------------------------

    def due(self, role: str, point: str, pid: int, now: float) -> Slot | None:
        """The fault that happens to this call, if one does; counts the call."""
        for number in range(SLOTS):
            slot = self.slot(number)
            if slot.state == FREE:
                return None
            if slot.point != point or not slot.repeats or not _means(slot.role, role):
                continue
            if slot.countdown:
                self._put(number, slot._replace(countdown=slot.countdown - 1))
                continue
            self._put(number, slot._replace(state=FIRED, repeats=slot.repeats - 1, pid=pid, at=now))
            return slot
        return None

    def count(self, kind: str, point: str) -> None:
        """Count a call; two processes that count at once may lose one."""
        number = self._census.get((kind, point))
        if number is None:
            number = self._find(kind, point)
            if number is None:
                return
            self._census[kind, point] = number
        offset = _HEADER + SLOTS * _SLOT.size + number * _COUNT.size
        (calls,) = struct.unpack_from("<I", self._map, offset)
        _COUNT.pack_into(self._map, offset, calls + 1, kind.encode(), point.encode())

    def _find(self, kind: str, point: str) -> int | None:
        for number in range(CENSUS):
            offset = _HEADER + SLOTS * _SLOT.size + number * _COUNT.size
            calls, found_kind, found_point = _COUNT.unpack_from(self._map, offset)
            if not calls or (_text(found_kind), _text(found_point)) == (kind, point):
                return number
        return None

    def census(self) -> dict[tuple[str, str], int]:
        """Kind of process and point -> calls."""
        found: dict[tuple[str, str], int] = {}
        for number in range(CENSUS):
            offset = _HEADER + SLOTS * _SLOT.size + number * _COUNT.size
            calls, kind, point = _COUNT.unpack_from(self._map, offset)
            if calls:
                key = (_text(kind), _text(point))
                found[key] = found.get(key, 0) + calls
        return found


def armed(
    role: str, point: str, action: str, *, countdown: int = 0, repeats: int = 1, part: int = 0
) -> Slot:
    """A fault to arm."""
    return Slot(ARMED, countdown, repeats, 0, part, 0.0, role, point, action)


_NOTHING: Final = Slot(FREE, 0, 0, 0, 0, 0.0, "", "", "")


def _means(role: str, one: str) -> bool:
    kind, star, _ = role.partition(":*")
    return role == one or (bool(star) and one.startswith(f"{kind}:") and not one.endswith(":"))


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode()
