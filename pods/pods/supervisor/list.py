"""`list`: every pod of the caller, and the room that is left."""

from __future__ import annotations

from attrs import evolve

from pods.supervisor.authority import Caller, visible
from pods.supervisor.core import Supervisor
from pods.supervisor.enforcement import in_short
from pods.supervisor.info import capacity, pod_info
from pods_protocol.supervisor_messages import ListPods, ListPodsResult
from pods_protocol.values import PodInfo


def list_pods(supervisor: Supervisor, caller: Caller, request: ListPods) -> ListPodsResult:
    """Every pod that the caller may know of, parents before children."""
    reader = request.reader or caller.reader
    children = supervisor.table.living_children()
    return ListPodsResult(
        pods=tuple(
            _row(pod_info(supervisor, record, reader, children=children.get(record.id, 0)))
            for record in visible(supervisor, caller)
            if request.ended or record.living
        ),
        capacity=capacity(supervisor, caller),
    )


def _row(info: PodInfo) -> PodInfo:
    return evolve(info, enforcement=in_short(info.enforcement))
