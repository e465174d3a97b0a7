"""Tells pods what they have lent, by a file in their own directory (`pods.scope.lending`).

Owns when it is written: after a lease below a pod was taken or given back, and before anybody is
told of it. Used where leases change.
"""

from __future__ import annotations

from collections.abc import Iterable

from pods.paths import LENT_NAME
from pods.scope.confine import extra_places, switches_from
from pods.scope.lending import Lending, read_lending, write_lending
from pods.scope.table import Table
from pods.supervisor.core import Supervisor
from pods_protocol.values import LentScope


def tell_lent(supervisor: Supervisor, pod_ids: Iterable[str | None]) -> None:
    """Leave each of these pods word of what it has lent now; no checkpoint.

    A disk that refuses keeps no child from starting or ending: the log says so.
    """
    table = supervisor.registry.known
    for pod_id in {pod_id for pod_id in pod_ids if pod_id is not None}:
        record = supervisor.table.get(pod_id)
        if record is None or not record.living:
            continue
        places = supervisor.places
        state = places.places.pod_state(pod_id)
        held = record.enforcement is not None and record.enforcement.backend == "landlock"
        roots = (places.places.runtime, places.places.state)
        lending = Lending(
            held=held,
            places=(
                f"{state}/journal",
                places.pod_tmp(pod_id),
                *(
                    path
                    for path, permission in extra_places(
                        switches_from(supervisor.options.environ), roots
                    )
                    if permission == "write"
                ),
            ),
            to=lent_by(table, pod_id),
        )
        try:
            write_lending(f"{state}/{LENT_NAME}", lending)
        except OSError as error:
            supervisor.log(f"cannot tell pod {record.name} what it has lent: {error}")


def lent_by(table: Table, pod_id: str) -> tuple[LentScope, ...]:
    """What the direct children of a pod hold for writing: all below them holds a part of that."""
    return tuple(
        LentScope(
            pod=lease.name, rules=tuple(dict.fromkeys(lease.territory)), deny=lease.grant.deny
        )
        for lease in table.children(pod_id)
        if lease.territory
    )


def lent_now(directory: str) -> tuple[LentScope, ...]:
    """What a pod was last told that it has lent, from its directory."""
    lending = read_lending(f"{directory}/{LENT_NAME}")
    return () if lending is None else lending.to
