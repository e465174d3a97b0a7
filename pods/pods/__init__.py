"""Supervise many agents on one machine, each in a process, a socket, a journal and a scope.

The public API, loaded when it is used: `import pods` costs nothing, so that `pods ls` starts at
once.

    with pods.connect() as p:
        with p.session("worker", write=["src/api"]) as s:
            print(s.turn("make -C src/api").text)

On trio the same with `pods.aio.connect()`; a supervisor inside your own program is
`pods.open_supervisor()`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pods.client import aio as aio
    from pods.client.results import TurnResult as TurnResult
    from pods.client.sync import connect as connect
    from pods.supervisor.embedded import open_supervisor as open_supervisor
    from pods_protocol.errors import PodsError as PodsError
    from pods_protocol.values import Limits as Limits
    from pods_protocol.values import PodInfo as PodInfo
    from pods_protocol.values import ScopeRule as ScopeRule

__version__ = "0.1.0"

__all__ = [
    "connect",
    "aio",
    "open_supervisor",
    "PodsError",
    "Limits",
    "PodInfo",
    "ScopeRule",
    "TurnResult",
]

_HOMES = {
    "connect": "pods.client.sync",
    "aio": "pods.client",
    "open_supervisor": "pods.supervisor.embedded",
    "PodsError": "pods_protocol.errors",
    "Limits": "pods_protocol.values",
    "PodInfo": "pods_protocol.values",
    "ScopeRule": "pods_protocol.values",
    "TurnResult": "pods.client.results",
}
"""Public name -> the module that has it."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'pods' has no attribute {name!r}")
    if name == "aio":
        return importlib.import_module("pods.client.aio")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
