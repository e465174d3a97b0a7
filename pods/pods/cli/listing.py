"""The list of pods, whether or not a supervisor runs.

Owns what "no supervisor" means to verbs that list: no pods, and no error; and the pages that a long
list comes in. Used by `ls`, `tree`, `stop --all` and `rm --all-ended`.
"""

from __future__ import annotations

from typing import Final

from pods.client.open import NoSupervisor, open_plain
from pods.client.plain import Json
from pods_protocol.order import tree_order

READER: Final = "cli"
"""Whose unread events are counted: those of `pods read`."""


def list_pods(supervisor: str | None, *, ended: bool) -> Json:
    """The answer to `list`, all pages in one and parents before children.

    With no supervisor there are no pods and `capacity` is null.

    Raises:
        PodsError: as the supervisor refuses it.
    """
    try:
        client = open_plain(supervisor)
    except NoSupervisor:
        return {"pods": [], "capacity": None}
    params: Json = {"ended": ended, "reader": READER}
    with client:
        answer = client.call("list", params)
        rows: list[Json] = answer["pods"]
        # A supervisor of an earlier version knows no pages.
        while (after := answer.get("next")) is not None:
            answer = client.call("list", {**params, "after": after})
            rows += answer["pods"]
    answer["pods"] = tree_order(rows, lambda pod: (pod["id"], pod["parent_id"]))
    return answer
