"""`list`: the pods of the caller, a page at a time, and the room that is left.

Owns the order of the pages, oldest first, and the cursor between them: the time and id of the row
before, not a place in the list, so that it holds whatever comes, goes or moves meanwhile.
"""

from __future__ import annotations

import orjson
from attrs import evolve

from pods.records.record import PodRecord
from pods.supervisor.authority import Caller, visible
from pods.supervisor.checks import check_count
from pods.supervisor.core import Supervisor
from pods.supervisor.enforcement import in_short
from pods.supervisor.info import capacity, current_info
from pods_protocol.bounds import MAX_LIST_BYTES, MAX_LIST_LIMIT
from pods_protocol.codec import to_json
from pods_protocol.errors import InvalidParams
from pods_protocol.supervisor_messages import ListPods, ListPodsResult
from pods_protocol.values import PodInfo


async def list_pods(supervisor: Supervisor, caller: Caller, request: ListPods) -> ListPodsResult:
    """A page of the pods that the caller may know of, oldest first.

    Raises:
        InvalidParams: a limit out of its bounds, or an `after` that no page gave.
    """
    limit = check_count(request.limit, "limit", lowest=1, highest=MAX_LIST_LIMIT)
    after = None if request.after is None else _place(request.after)
    wanted = sorted(
        (
            record
            for record in visible(supervisor, caller)
            if (request.ended or record.living) and (after is None or _key(record) > after)
        ),
        key=_key,
    )
    reader = request.reader or caller.reader
    children = supervisor.table.living_children()
    rows: list[PodInfo] = []
    size = 0
    for record in wanted[:limit]:
        info = await current_info(supervisor, record, reader, children=children.get(record.id, 0))
        row = _row(info)
        size += len(orjson.dumps(to_json(row))) + 1
        if rows and size > MAX_LIST_BYTES:
            break
        rows.append(row)
    return ListPodsResult(
        pods=tuple(rows),
        capacity=capacity(supervisor, caller),
        next=_cursor(wanted[len(rows) - 1]) if len(rows) < len(wanted) else None,
    )


def _row(info: PodInfo) -> PodInfo:
    return evolve(info, enforcement=in_short(info.enforcement))


def _key(record: PodRecord) -> tuple[float, str]:
    return record.created, record.id


def _cursor(record: PodRecord) -> str:
    return f"{record.created!r}/{record.id}"


def _place(cursor: str) -> tuple[float, str]:
    time, found, pod_id = cursor.partition("/")
    try:
        if found:
            return float(time), pod_id
    except ValueError:
        pass
    raise InvalidParams(
        f"cannot go on after {cursor[:80]!r}: no page of `list` gave that; give the `next` of the "
        "page before, or begin without `after`",
        path="after",
    )
