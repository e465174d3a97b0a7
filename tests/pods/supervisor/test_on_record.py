"""What the journals say of the leases of living pods."""

from __future__ import annotations

import os
import time

import pytest
from attrs import evolve

from leftover_support import plant_row
from pods.journal.store import Journal
from pods.paths import Places
from pods.records.events import POD_CRASHED
from pods.restarts import LONGEST_PAUSE_SECONDS
from pods.scope.leases import LEASE_PENDING_SECONDS
from pods.supervisor.on_record import leases_on_record
from pods_protocol.codec import to_json
from pods_protocol.values import ExitRecord
from scope_support import me

POD = "0123456789ab"


@pytest.mark.parametrize(
    ("due_in", "kept"), [(-5.0, 0.0), (40.0, 40.0), (1e6, LONGEST_PAUSE_SECONDS)]
)
def test_between_two_processes_a_lease_is_kept_for_the_pause_and_for_the_start_after_it(
    places: Places, due_in: float, kept: float
) -> None:
    plant_row(places, "one", POD, "worker", keeper=evolve(me(), start_ticks=1))
    began = time.time()
    with Journal.open(f"{places.supervisor('one').state}/journal") as journal:
        journal.append(
            POD_CRASHED,
            {
                "id": POD,
                "pod": "worker",
                "attempt": 3,
                "due": began + due_in,
                "reason": "it was killed",
                "exit": to_json(ExitRecord(status=-9, reason="signalled")),
            },
        )
    (one,) = leases_on_record(places).leases
    assert one.lease.pending_deadline is not None
    left = one.lease.pending_deadline - began - LEASE_PENDING_SECONDS
    assert left == pytest.approx(kept, abs=5.0)


def test_what_cannot_be_read_is_told_by_where_it_is(places: Places) -> None:
    plant_row(places, "one", POD, "worker", keeper=me())
    torn = places.supervisor("two").state
    os.makedirs(f"{torn}/journal")
    with open(f"{torn}/journal/{1:020}.jsonl", "w") as file:
        file.write("torn\ntorn\n")
    found = leases_on_record(places)
    assert found.unread == [torn]
    assert found.supervisors == {"one"}
    assert [one.lease.holder for one in found.leases] == [me()]
