"""The list of pods, whether or not a supervisor runs.

Owns what "no supervisor" means to verbs that list: no pods, and no error. Used by `ls`, `tree`,
`stop --all` and `rm --all-ended`.
"""

from __future__ import annotations

from typing import Final

from pods.client.open import NoSupervisor, open_plain
from pods.client.plain import Json

READER: Final = "cli"
"""Whose unread events are counted: those of `pods read`."""


def list_pods(supervisor: str | None, *, ended: bool) -> Json:
    """The answer to `list`; with no supervisor, no pods and a `capacity` of null.

    Raises:
        PodsError: as the supervisor refuses it.
    """
    try:
        client = open_plain(supervisor)
    except NoSupervisor:
        return {"pods": [], "capacity": None}
    with client:
        return client.call("list", {"ended": ended, "reader": READER})
