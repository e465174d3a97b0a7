"""The algebra of paths that scopes stand on: what a rule covers, what two rules share.

Pure. A region is a set of paths seen from one target: the target alone, the target with its direct
entries, or the whole tree. Paths are canonical absolute strings (no `..`, no symlink, no slash at
the end) and are compared by components. Every answer is exact for the infinite tree of possible
names, so an overlap that is denied here cannot be made by a file that is created later. Must not
know what a lease is; `rules`, `leases`, `grounds` and `table` call it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from pods_protocol.values import ScopeRule

POINT: Final = 0
"""The target alone. No rule asks for it; it is what a tree and a list of entries can share."""

ENTRIES: Final = 1
"""The target and its direct entries, not what those contain."""

TREE: Final = 2
"""The target and everything below it."""


class Region(NamedTuple):
    """A set of paths: `reach` is `POINT`, `ENTRIES` or `TREE`, seen from `target`."""

    target: str
    reach: int


def is_canonical(path: str) -> bool:
    """Whether a path is written in the one form that may be compared.

    Says nothing about symlinks, which only the file system knows.
    """
    if path == "/":
        return True
    if not path.startswith("/") or "\0" in path:
        return False
    return all(part not in ("", ".", "..") for part in path[1:].split("/"))


def parent_of(path: str) -> str | None:
    """The directory that a canonical path stands in; None for `/`."""
    if path == "/":
        return None
    return path.rpartition("/")[0] or "/"


def ancestors_of(path: str) -> Iterator[str]:
    """The path itself, its directory, and so on up to `/`."""
    at: str | None = path
    while at is not None:
        yield at
        at = parent_of(at)


def is_below(path: str, ancestor: str) -> bool:
    """Whether `path` is `ancestor` or stands in the tree below it, by whole components."""
    return path == ancestor or path.startswith(tree_prefix(ancestor))


def tree_prefix(path: str) -> str:
    """What every path below `path` begins with, and no other.

    The slash makes the comparison one of components: `/a/bc` is not below `/a/b`.
    """
    return "/" if path == "/" else path + "/"


def region_of(rule: ScopeRule) -> Region:
    """The paths that a rule is about, whatever it permits."""
    return Region(rule.target, TREE if rule.recursive else ENTRIES)


def has_path(region: Region, path: str) -> bool:
    """Whether the path is in the region."""
    if region.reach == TREE:
        return is_below(path, region.target)
    if path == region.target:
        return True
    return region.reach == ENTRIES and parent_of(path) == region.target


def contains(outer: Region, inner: Region) -> bool:
    """Whether every path of `inner`, those not made yet too, is in `outer`."""
    if outer.reach == TREE:
        return is_below(inner.target, outer.target)
    if inner.reach == POINT:
        return has_path(outer, inner.target)
    # Entries have names without end, so only the same list of entries holds them.
    return outer.reach == ENTRIES and inner.reach == ENTRIES and inner.target == outer.target


def intersect(first: Region, second: Region) -> Region | None:
    """What two regions share, or None if that is nothing."""
    if first.target == second.target:
        return first if first.reach <= second.reach else second
    if is_below(second.target, first.target):
        upper, lower = first, second
    elif is_below(first.target, second.target):
        upper, lower = second, first
    else:
        return None
    if upper.reach == TREE:
        return lower
    if upper.reach == ENTRIES and parent_of(lower.target) == upper.target:
        return Region(lower.target, POINT)
    return None


def is_cut(region: Region, holes: Iterable[Region]) -> bool:
    """Whether one of the holes swallows the region whole.

    Asking them one by one loses nothing: a region has paths under names that no hole mentions, and
    only a hole that contains the whole region has those. A point has only itself.
    """
    return any(contains(hole, region) for hole in holes)
