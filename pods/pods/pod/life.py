"""What a pod's life is to those who begin it: the types of the ways to start one, and an example.

Owns no more than that, so that the keeper stands without the pod's runtime.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeAlias

from pods_protocol.process_messages import PodSpec
from pods_protocol.values import ScopeGrant

RunPod: TypeAlias = Callable[[PodSpec, socket.socket, socket.socket | None], int]
"""Lives as this pod, listening there, and telling its keeper of its turns at the second socket
where it has one (`turn_marks`); returns the exit code."""

TakeSpec: TypeAlias = Callable[[], tuple[PodSpec, socket.socket, socket.socket | None] | int]
"""Waits for what to be; an exit code where there is nothing to be, or the pod cannot start."""

RunSparePod: TypeAlias = Callable[[TakeSpec], int]
"""Lives as a pod that is named late."""


def example_spec(directory: str) -> PodSpec:
    """The spec of a pod that never will be, to rehearse with.

    Args:
        directory: is given as both of its own.
    """
    return PodSpec(
        id="0" * 12,
        name="rehearsal",
        agent="shell",
        parent=None,
        cwd="/",
        grant=ScopeGrant(),
        python=None,
        call_back=False,
        supervisor="",
        supervisor_socket="",
        pod_socket="",
        keeper_socket="",
        state_directory=directory,
        runtime_directory=directory,
        token="",
        owner_digest="",
    )
