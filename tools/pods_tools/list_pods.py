"""The tool ListPods: every pod of the caller and the room that is left.

Owns its texts, the compact table, and which rows are shown where there are too many for one answer.
"""

from __future__ import annotations

import time
from typing import Final

from attrs import field, frozen

from pods_protocol.order import tree_order
from pods_protocol.supervisor_messages import ListPods as ListRequest
from pods_protocol.values import (
    ENDED_STATES,
    Capacity,
    PodInfo,
    PodState,
    ScopeRule,
    TurnSummary,
)
from pods_tools.bookmarks import Bookmarks
from pods_tools.client import Plan, ask
from pods_tools.escape import escape
from pods_tools.fields import rule_text
from pods_tools.result import ToolResult
from pods_tools.schema import about, to_data
from pods_tools.tool import Annotations, Tool

MAX_ROWS: Final = 100
"""Rows in one answer: what a model can take in. Living pods come first and then the newest; the
summary says how many are left out and which `skip` shows them."""

MAX_CELL_LENGTH: Final = 80
"""Characters of a cell in the table; the data has it whole."""

_HEAD: Final = ("POD", "STATE", "TURN", "QUEUE", "UNREAD", "AGE", "LAST TURN", "WRITES")


@frozen(kw_only=True)
class ListPodsInput:
    """What ListPods takes."""

    skip: int = field(
        default=0,
        metadata=about(
            "Pods to pass over, living ones counted first and then the newest; to see those that "
            "an answer left out.",
            also=("offset", "after"),
            minimum=0,
        ),
    )


@frozen(kw_only=True)
class PodRow:
    """One pod."""

    pod: str
    id: str
    parent: str | None
    depth: int
    agent: str
    description: str
    state: PodState
    turn: int | None
    queue_length: int
    unread: int
    waiting_for: str | None
    last_turn: TurnSummary | None
    age_seconds: float
    scope: tuple[ScopeRule, ...]
    enforcement: str
    children: int
    memory_bytes: int | None


@frozen(kw_only=True)
class ListPodsOutput:
    """Data of a good ListPods."""

    pods: tuple[PodRow, ...]
    left_out: int
    capacity: Capacity


def plan(given: ListPodsInput, bookmarks: Bookmarks) -> Plan[ToolResult]:
    """List, and lay it out."""
    pods: list[PodInfo] = []
    after: str | None = None
    while True:
        page = yield from ask(ListRequest(ended=True, reader=bookmarks.reader, after=after))
        pods += page.pods
        after = page.next
        if after is None:
            break
    now = time.time()
    chosen = _choose(pods, given.skip)
    output = ListPodsOutput(
        pods=tuple(_row(pod, now) for pod in chosen),
        left_out=len(pods) - len(chosen),
        capacity=page.capacity,
    )
    return ToolResult(
        summary=_summary(pods, output, given.skip),
        content=_table(output.pods) if output.pods else None,
        data=to_data(output),
    )


def _choose(pods: list[PodInfo], skip: int) -> list[PodInfo]:
    """At most `MAX_ROWS`, living ones first and then the newest; shown parents before children."""
    ordered = tree_order(pods, lambda pod: (pod.id, pod.parent_id))
    if skip == 0 and len(ordered) <= MAX_ROWS:
        return ordered
    ranked = sorted(ordered, key=lambda pod: (pod.state in ENDED_STATES, -pod.created, pod.id))
    kept = {pod.id for pod in ranked[skip : skip + MAX_ROWS]}
    return [pod for pod in ordered if pod.id in kept]


def _row(pod: PodInfo, now: float) -> PodRow:
    last = pod.last_turn
    return PodRow(
        pod=pod.name,
        id=pod.id,
        parent=pod.parent,
        depth=pod.depth,
        agent=pod.agent,
        description=escape(pod.description),
        state=pod.state,
        turn=pod.turn,
        queue_length=pod.queue_length,
        unread=pod.unread,
        waiting_for=None if pod.waiting_for is None else escape(pod.waiting_for),
        last_turn=None
        if last is None
        else TurnSummary(
            turn=last.turn,
            stop_reason=last.stop_reason,
            message=escape(last.message),
            exit_status=last.exit_status,
        ),
        age_seconds=max(0.0, now - pod.created),
        scope=pod.scope.allow,
        enforcement=pod.enforcement.summary,
        children=pod.children,
        memory_bytes=pod.memory_bytes,
    )


def _summary(pods: list[PodInfo], output: ListPodsOutput, skip: int) -> str:
    room = output.capacity
    living = sum(pod.state not in ENDED_STATES for pod in pods)
    asking = [row.pod for row in output.pods if row.waiting_for is not None]
    unread = [row.pod for row in output.pods if row.unread]
    parts = [
        f"{living} living and {len(pods) - living} ended pods." if pods else "You have no pods.",
        f"Room: {room.children} of {room.children_limit} children and {room.pods} of "
        f"{room.pods_limit} pods in use; depth {room.depth} of {room.depth_limit}.",
    ]
    if output.left_out:
        parts.append(f"{output.left_out} of them are not shown.")
        shown = min(skip, len(pods)) + len(output.pods)
        if shown < len(pods):
            parts.append(f'`ListPods {{"skip": {shown}}}` shows the next ones.')
    if asking:
        parts.append(f"Waiting for an answer: {', '.join(asking)}.")
    if unread:
        parts.append(f"ReadPodOutput has news of: {', '.join(unread)}.")
    if not pods:
        parts.append("Next: SpawnPod makes one.")
    return " ".join(parts)


def _table(rows: tuple[PodRow, ...]) -> str:
    top = min(row.depth for row in rows)  # a pod that asks sees its own children at the margin
    cells = [_HEAD, *(_cells(row, row.depth - top) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _cells(row: PodRow, indent: int) -> tuple[str, ...]:
    last = row.last_turn
    outcome = "-" if last is None else f"{last.turn}: {last.stop_reason}"
    writes = ", ".join(rule_text(rule) for rule in row.scope if rule.permission == "write")
    state = row.state if row.waiting_for is None else f"{row.state}: {row.waiting_for}"
    return tuple(
        _short(cell)
        for cell in (
            "  " * indent + row.pod,
            state,
            "-" if row.turn is None else str(row.turn),
            str(row.queue_length),
            str(row.unread),
            age_text(row.age_seconds),
            outcome,
            writes or "-",
        )
    )


def _short(text: str) -> str:
    line = " ".join(text.split("\n"))
    return line if len(line) <= MAX_CELL_LENGTH else line[: MAX_CELL_LENGTH - 1] + "…"


def age_text(seconds: float) -> str:
    """A duration in its largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


LIST_PODS: Final = Tool(
    name="ListPods",
    title="List pods",
    description=(
        "Show every pod below you, also ended ones: state, running turn, queue, unread events, "
        "scope, age, how the last turn ended, and how much room you have. Use it to find a name, "
        "to see who holds a path, or after an error whose outcome is unclear; not to wait: "
        "ReadPodOutput does that."
    ),
    input=ListPodsInput,
    output=ListPodsOutput,
    annotations=Annotations(read_only=True, idempotent=True),
    example={},
    plan=plan,
)
