"""What a pod has lent, kept from the programs that it starts: one more layer of the kernel's.

Owns the file that says what is lent (the supervisor writes it into the pod's state directory, where
the pod can read and not write it), and the layer that is made of it. A pod's own layer is for ever,
so what it lends stays in its rights; each program that it starts while something is lent gets a
layer without that. Landlock knows no exceptions: to leave `/p/a` out of `/p`, what else lies in
`/p` now is given entry by entry, and in `/p` itself nothing can be made, removed or moved. Used by
turns, by `pods explain`, and by the supervisor for the file.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
from attrs import frozen

from pods.scope.baseline import WRITE
from pods.scope.landlock import NOT_SCOPED, Access, Ruleset, abi_version
from pods.scope.regions import (
    POINT,
    TREE,
    Region,
    contains,
    has_path,
    intersect,
    region_of,
    tree_prefix,
)
from pods_protocol.codec import from_json, to_json
from pods_protocol.errors import PodsError
from pods_protocol.values import LentScope, ScopeGrant

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""A hundred children with as many rules as a spawn takes; what is bigger is no such file."""

MAX_RULES: Final = 4096
"""Of one layer, at 10 microseconds each. What lies beyond them is refused like what is lent."""

_READS: Final = Access.READ_FILE | Access.READ_DIR | Access.EXECUTE

WRITES: Final = (WRITE & ~_READS) | Access.MAKE_CHAR | Access.MAKE_BLOCK
"""What the layer refuses unless it is given: every change of a file, and no reading."""

_ALWAYS: Final = ("/dev", "/proc")
"""The pod's own layer bounds what may be done there; nothing in it is lent."""


@frozen(kw_only=True)
class Lending:
    """What a pod has lent at the moment.

    Attributes:
        held: the kernel holds the pod, so its programs can be held to less.
        places: what it may write besides its scope.
        to: who has what.
    """

    held: bool
    places: tuple[str, ...]
    to: tuple[LentScope, ...]

    def covers(self, path: str) -> str | None:
        """The pod that a canonical path is lent to, if it is."""
        for lent in self.to:
            if any(has_path(region_of(rule), path) for rule in lent.rules) and not any(
                has_path(region_of(rule), path) for rule in lent.deny
            ):
                return lent.pod
        return None


def write_lending(path: str, lending: Lending) -> None:
    """Leave the pod word of what it has lent; no file where that is nothing.

    Raises:
        OSError: the disk refuses. A pod's directory that is gone is no error.
    """
    with contextlib.suppress(FileNotFoundError):
        if not lending.to:
            os.unlink(path)
            return
        document = {
            "held": lending.held,
            "places": lending.places,
            "to": [to_json(lent) for lent in lending.to],
        }
        aside = f"{path}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(aside, flags, 0o600), "wb") as file:
            file.write(orjson.dumps(document))
        os.replace(aside, path)


def read_lending(path: str) -> Lending | None:
    """What a pod has lent; None where that is nothing, or cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            found: dict[str, Any] = orjson.loads(file.read(MAX_FILE_BYTES))
        return Lending(
            held=bool(found["held"]),
            places=tuple(found["places"]),
            to=tuple(from_json(LentScope, lent) for lent in found["to"]),
        )
    except (OSError, ValueError, LookupError, TypeError, PodsError):
        return None


def layer_without(grant: ScopeGrant, lending: Lending, places: Iterable[str] = ()) -> Ruleset:
    """The layer that leaves a pod's programs everything but what is lent.

    Args:
        grant: the pod's.
        lending: what is lent of it.
        places: what else may be written.

    Returns:
        The set of rules; whoever is to be held enters it, and somebody closes it.

    Raises:
        LandlockError: the kernel refuses it.
    """
    ruleset = Ruleset(WRITES, NOT_SCOPED, abi=abi_version())
    try:
        giver = _Giver(ruleset)
        for path in (*_ALWAYS, *lending.places, *places):
            giver.give(path, ())
        holes = [(lent, [region_of(rule) for rule in lent.rules]) for lent in lending.to]
        every = [region for _, regions in holes for region in regions]
        for rule in grant.allow:
            if rule.permission == "write":
                giver.give(rule.target, every)
        for lent, _ in holes:
            # What it was denied is not lent to it; it may be lent to another.
            others = [region for other, regions in holes if other is not lent for region in regions]
            for rule in lent.deny:
                if rule.recursive:
                    giver.give(rule.target, others)
    except BaseException:
        ruleset.close()
        raise
    return ruleset


class _Giver:
    """Gives trees less their holes, until there are too many rules."""

    def __init__(self, ruleset: Ruleset) -> None:
        self._ruleset = ruleset
        self._left = MAX_RULES

    def give(self, path: str, holes: Sequence[Region]) -> None:
        """Allow writing in a tree, or to a file, but for the holes."""
        if self._left <= 0:
            return
        try:
            target = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # what is not there needs no rule
            return
        try:
            mode = os.fstat(target).st_mode
            if stat.S_ISLNK(mode):
                return
            if not stat.S_ISDIR(mode):
                if not any(has_path(hole, path) for hole in holes):
                    self._allow(target, path)
                return
            own = Region(path, TREE)
            shared = [(hole, intersect(own, hole)) for hole in holes]
            # A hole that is this directory alone takes it as an entry of the one above.
            cutting = [hole for hole, part in shared if part is not None and part != (path, POINT)]
            if not cutting:
                self._allow(target, path)
            elif not any(contains(hole, own) for hole in cutting):
                self._give_entries(target, path, cutting)
        finally:
            os.close(target)

    def _give_entries(self, directory: int, path: str, holes: Sequence[Region]) -> None:
        prefix = tree_prefix(path)
        near = {hole.target.removeprefix(prefix).partition("/")[0] for hole in holes}
        flat = any(hole.target == path for hole in holes)
        names: list[str] = []
        with (
            contextlib.suppress(PermissionError),  # what cannot be listed cannot be given
            os.scandir(f"/proc/self/fd/{directory}") as entries,
        ):
            names += (entry.name for entry in entries if not entry.is_symlink())
        for name in names:
            if flat or name in near:
                self.give(prefix + name, holes)
            elif self._left > 0:
                try:
                    entry = os.open(
                        name, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=directory
                    )
                except OSError:  # it is gone since it was listed
                    continue
                try:
                    self._allow(entry, path)
                finally:
                    os.close(entry)

    def _allow(self, target: int, path: str) -> None:
        self._left -= 1
        self._ruleset.allow(target, path, WRITES)
