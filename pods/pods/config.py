"""The user's configuration: one TOML file, read whole, judged strictly, turned into numbers.

Owns the file's shape, its bounds and what is said of a fault in it. A file that is wrong anywhere
counts for nothing: it is refused with the place and what to write instead, never half obeyed. The
supervisor reads it once, when it starts, and hands each pod its part; the command line reads it
before it starts a supervisor, and for `pods doctor`. Knows no supervisor and no pod.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve, field, frozen

from pods.journal.retention import Retention
from pods_protocol.bounds import (
    MAX_CHILDREN,
    MAX_DEPTH,
    MAX_PODS,
    MAX_QUEUE_LENGTH,
    MAX_SAME_MESSAGES_PER_MINUTE,
    MAX_SPAWNS_PER_MINUTE,
    MAX_WAIT_SECONDS,
)
from pods_protocol.codec import from_json
from pods_protocol.errors import InvalidParams
from pods_protocol.faults import find_fault
from pods_protocol.process_messages import PodSettings
from pods_protocol.shapes import shape_of

MAX_CONFIG_BYTES: Final = 64 * 1024
"""A configuration is a dozen lines; what is bigger is another file."""

LONGEST_SECONDS: Final = 100 * 365 * 86400.0
"""An age to keep things for; above it somebody has mixed up units."""

MIN_JOURNAL_BYTES: Final = 4 * 1024 * 1024
"""The two newest segments always stay, and a segment has a mebibyte at least."""

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)([smhdw])\Z")

_WHOLE_NUMBERS: Final[Mapping[str, tuple[int, int]]] = {
    "bounds.depth": (1, 100),
    "bounds.children": (1, 100_000),
    "bounds.total": (1, 100_000),
    "bounds.queue": (1, 10_000),
    "bounds.spawns_per_minute": (1, 100_000),
    "bounds.same_messages_per_minute": (1, 100_000),
    "journal.max_bytes": (MIN_JOURNAL_BYTES, 2**50),
}
"""The lowest and the highest that each may be: what is outside is a slip of the pen."""

_DURATIONS: Final[Mapping[str, tuple[float, float]]] = {
    "bounds.wait": (1.0, MAX_WAIT_SECONDS),
    "journal.max_age": (60.0, LONGEST_SECONDS),
    "pods.keep_ended_for": (0.0, LONGEST_SECONDS),
}


@frozen(kw_only=True)
class _Bounds:
    depth: int = MAX_DEPTH
    children: int = MAX_CHILDREN
    total: int = MAX_PODS
    queue: int = MAX_QUEUE_LENGTH
    spawns_per_minute: int = MAX_SPAWNS_PER_MINUTE
    same_messages_per_minute: int = MAX_SAME_MESSAGES_PER_MINUTE
    wait: str | None = None


@frozen(kw_only=True)
class _Journal:
    max_bytes: int | None = None
    max_age: str | None = None


@frozen(kw_only=True)
class _Pods:
    keep_ended_for: str | None = None


@frozen(kw_only=True)
class _File:
    """The file as it is written."""

    bounds: _Bounds = field(factory=_Bounds)
    journal: _Journal = field(factory=_Journal)
    pods: _Pods = field(factory=_Pods)


@frozen(kw_only=True)
class Config:
    """What the user has decided; the default is what holds without a file.

    Attributes:
        max_depth, max_children, max_pods: the caps on the tree.
        max_queue_length: messages that wait in one pod.
        max_spawns: of one pod in a minute.
        max_same_messages: equal ones of one sender to one child in a minute.
        longest_wait_seconds: after which a wait answers that time is up; clients ask again.
        retention: how much of each journal is kept.
        keep_ended_seconds: ended pods older than this are forgotten, journals and all; None never.
    """

    max_depth: int = MAX_DEPTH
    max_children: int = MAX_CHILDREN
    max_pods: int = MAX_PODS
    max_queue_length: int = MAX_QUEUE_LENGTH
    max_spawns: int = MAX_SPAWNS_PER_MINUTE
    max_same_messages: int = MAX_SAME_MESSAGES_PER_MINUTE
    longest_wait_seconds: float = MAX_WAIT_SECONDS
    retention: Retention = field(factory=Retention)
    keep_ended_seconds: float | None = None

    @property
    def for_pods(self) -> PodSettings:
        """The part that each pod is handed."""
        return PodSettings(
            max_queue_length=self.max_queue_length,
            max_same_messages=self.max_same_messages,
            longest_wait_seconds=self.longest_wait_seconds,
            journal_max_bytes=self.retention.max_bytes,
            journal_max_age_seconds=self.retention.max_age_seconds,
        )


DEFAULT: Final = Config()


def with_caps(
    config: Config,
    *,
    max_depth: int | None = None,
    max_children: int | None = None,
    max_pods: int | None = None,
) -> Config:
    """The configuration with the caps that a program or a command line gave instead."""
    return evolve(
        config,
        max_depth=config.max_depth if max_depth is None else max_depth,
        max_children=config.max_children if max_children is None else max_children,
        max_pods=config.max_pods if max_pods is None else max_pods,
    )


def load_config(path: str) -> Config:
    """What the file says; the defaults where there is none.

    Raises:
        InvalidParams: it cannot be read, or something in it is wrong; `data` has `file`, and
            `path` and `nearest` where they are known.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_CONFIG_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return DEFAULT
    except OSError as error:
        raise _refused(path, f"it cannot be read ({os.strerror(error.errno or 0)})") from error
    if len(content) > MAX_CONFIG_BYTES:
        raise _refused(path, f"it has more than {MAX_CONFIG_BYTES} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _refused(path, f"it is not UTF-8 (byte {error.start})") from None
    return parse_config(text, path)


def parse_config(text: str, path: str) -> Config:
    """What the text of a configuration file means.

    Args:
        text: TOML.
        path: of the file, for errors.

    Raises:
        InvalidParams: as `load_config`.
    """
    import tomllib  # most users have no such file

    try:
        data: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _refused(path, f"it is not TOML: {error}") from None
    fault = find_fault(shape_of(_File), data, strict=True)
    if fault is not None:
        raise _refused(path, fault.describe(), at=fault.path, nearest=fault.nearest)
    file = from_json(_File, data)
    for at, (low, high) in _WHOLE_NUMBERS.items():
        number = _value(file, at)
        if number is not None and not low <= number <= high:
            raise _refused(path, f"`{at}` must be from {low} to {high}, not {number}", at=at)
    seconds = {at: _seconds(path, file, at) for at in _DURATIONS}
    wait = seconds["bounds.wait"]
    return Config(
        max_depth=file.bounds.depth,
        max_children=file.bounds.children,
        max_pods=file.bounds.total,
        max_queue_length=file.bounds.queue,
        max_spawns=file.bounds.spawns_per_minute,
        max_same_messages=file.bounds.same_messages_per_minute,
        longest_wait_seconds=MAX_WAIT_SECONDS if wait is None else wait,
        retention=Retention(
            max_bytes=file.journal.max_bytes, max_age_seconds=seconds["journal.max_age"]
        ),
        keep_ended_seconds=seconds["pods.keep_ended_for"],
    )


def _value(file: _File, at: str) -> Any:
    table, _, key = at.partition(".")
    return getattr(getattr(file, table), key)


def _seconds(path: str, file: _File, at: str) -> float | None:
    text = _value(file, at)
    if text is None:
        return None
    low, high = _DURATIONS[at]
    match = _DURATION.match(text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else -1.0
    if not low <= seconds <= high:
        raise _refused(
            path,
            f'`{at}` must be a duration such as "90s", "5m", "2h", "7d" or "4w", from {low:g} to '
            f"{high:g} seconds",
            at=at,
        )
    return seconds


def _refused(path: str, why: str, *, at: str = "", nearest: str | None = None) -> InvalidParams:
    data: dict[str, Any] = {"file": path, "path": at}
    if nearest is not None:
        data["nearest"] = nearest
    return InvalidParams(
        f"cannot use the configuration {path}: {why}; correct it, or move it away to go by the "
        "defaults",
        **data,
    )
