"""What is open to a pod besides files: what was asked, within what its parent has, and what became.

Owns the order of the doors (which is narrower) and the words about them. Pure: it closes nothing;
`confine` does. Used by the supervisor's `plan`, by the pod's process and by `pods explain`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from pods_protocol.errors import InvalidParams, ScopeNotDelegable
from pods_protocol.values import Doors, Enforcement, Network, UnixSockets

OPEN: Final = Doors()
"""As pods are unless something is asked."""

CLOSABLE: Final[Mapping[str, Doors]] = {
    "network=none": Doors(network="none"),
    "network=loopback": Doors(network="loopback"),
    "unix_sockets=none": Doors(unix_sockets="none"),
}
"""What `pods doctor` tries."""

_NETWORKS: Final[tuple[Network, ...]] = ("none", "loopback", "open")
_SOCKETS: Final[tuple[UnixSockets, ...]] = ("none", "any")


class Above(NamedTuple):
    """The parent of a pod that is to be."""

    name: str
    doors: Doors


def closes(doors: Doors) -> bool:
    """Whether something has to be closed, without which the pod may not run."""
    return doors.network != "open" or doors.unix_sockets != "any"


def settle(
    name: str,
    *,
    network: Network | None,
    unix_sockets: UnixSockets | None,
    pty: bool,
    call_back: bool,
    parent: Above | None,
) -> Doors:
    """What a new pod gets: what it asks for, or its parent's, and never more than that.

    Raises:
        ScopeNotDelegable: its parent has not so much.
        InvalidParams: `call_back` without Unix sockets, over which that goes.
    """
    had = OPEN if parent is None else parent.doors
    got = Doors(
        network=network or had.network, unix_sockets=unix_sockets or had.unix_sockets, pty=pty
    )
    if parent is not None:
        if _NETWORKS.index(got.network) > _NETWORKS.index(had.network):
            raise _more(name, parent, f"network={got.network}", f"network={had.network}")
        if _SOCKETS.index(got.unix_sockets) > _SOCKETS.index(had.unix_sockets):
            raise _more(name, parent, "unix_sockets=any", "unix_sockets=none")
        if got.pty and not had.pty:
            raise _more(name, parent, "pty=true", "pty=false")
    if call_back and got.unix_sockets == "none":
        raise InvalidParams(
            f"cannot let pod {name} call back without Unix sockets: the supervisor listens at one; "
            "leave one of the two out",
            path="unix_sockets",
        )
    return got


def _more(name: str, parent: Above, asked: str, had: str) -> ScopeNotDelegable:
    return ScopeNotDelegable(
        f"cannot spawn pod {name} with {asked}: its parent {parent.name} has {had}; leave it out, "
        "a child has what its parent has",
        parent=parent.name,
        requested=asked,
        delegable=had,
    )


def unmet(doors: Doors, got: Enforcement) -> str:
    """What was to be closed and is not, with the reason; empty where all is."""
    missing: list[str] = []
    if doors.network not in ("open", got.network):
        missing.append(f"network={doors.network}")
    if doors.unix_sockets not in ("any", got.unix_sockets):
        missing.append("unix_sockets=none")
    if not missing:
        return ""
    return f"{' and '.join(missing)} cannot be had: {got.reason or 'nothing holds pods here'}"


def in_words(doors: Doors) -> tuple[str, ...]:
    """What is not as usual, a few words each, for a table and for models."""
    found: list[str] = []
    if doors.network == "none":
        found.append("no network")
    elif doors.network == "loopback":
        found.append("loopback only")
    if doors.unix_sockets == "none":
        found.append("no Unix sockets")
    if doors.pty:
        found.append("terminals")
    return tuple(found)


def doors_of(record: Enforcement) -> Doors:
    """What a record says is open."""
    return Doors(network=record.network, unix_sockets=record.unix_sockets, pty=record.pty)
