"""Who holds pods to their scopes on this machine, as spawn, list and doctor tell it.

Owns one honest answer. Until the kernel's part is built it is `none`, with the reason; pods' own
tools and the registry check, the kernel does not.
"""

from __future__ import annotations

from typing import Final

from pods_protocol.errors import NotEnforceable
from pods_protocol.values import Enforcement

ENFORCEMENT: Final = Enforcement(
    backend="none",
    summary="none: the registry keeps write scopes apart, the kernel does not hold pods to them",
    gaps=("a process of a pod can read and write whatever its user can",),
    reason="this version does not use Landlock",
)


def require_enforcement(required: bool) -> Enforcement:
    """The enforcement that a new pod gets.

    Raises:
        NotEnforceable: it was required and there is none.
    """
    if required and ENFORCEMENT.backend == "none":
        raise NotEnforceable(
            f"cannot enforce the scope: {ENFORCEMENT.reason}; spawn without requiring enforcement, "
            "or run pods in a container of their own",
            enforcement=ENFORCEMENT.backend,
            reason=ENFORCEMENT.reason,
        )
    return ENFORCEMENT
