"""Stimuli with the usual parts, and machines in the usual states."""

from __future__ import annotations

from typing import Any

from pod_support import MachineRig, opened_rig
from pods.pod.stimuli import (
    Asked,
    Hold,
    HoldTurn,
    Notify,
    Run,
)


def run(text: str = "do", if_busy: Any = "fail", message_id: str | None = None) -> Run:
    return Run(text, if_busy, message_id)


def note(text: str = "by the way", message_id: str | None = None, *, wake: bool = False) -> Notify:
    return Notify(text, wake, message_id)


def ask(turn: int = 1, options: tuple[str, ...] = (), default: str | None = None) -> Asked:
    return Asked(turn, "really?", options, default, None)


def state(rig: MachineRig) -> str:
    return rig.machine.state


def working_rig(**options: Any) -> MachineRig:
    rig = opened_rig(**options)
    rig.give(run("first"))
    return rig


def paused_rig(**options: Any) -> MachineRig:
    """A pod whose whole tree is paused in the middle of its first turn."""
    rig = working_rig(**options)
    assert rig.give(Hold("pause", whole=True)).commands == (HoldTurn(True),)
    assert state(rig) == "paused"
    return rig
