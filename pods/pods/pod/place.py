"""Where a pod is, for what its agent tells a model: its spec, and what the kernel holds it to.

Owns the reading of the record that the pod's process left as it was confined; the words are
`pods.agents.briefing`'s. Called by `server`, once a turn of the agents that ask models.
"""

from __future__ import annotations

from typing import Final

import orjson

from pods.agents.briefing import Place
from pods.paths import ENFORCEMENT_NAME
from pods_protocol.codec import from_json_lenient
from pods_protocol.errors import PodsError
from pods_protocol.process_messages import PodSpec
from pods_protocol.values import Enforcement

MAX_RECORD_BYTES: Final = 4 * 1024 * 1024
"""As the keeper reads it: a few hundred rules with long paths."""


def place_of(spec: PodSpec) -> Place:
    """Where this pod is."""
    enforcement = _enforcement(spec)
    held = enforcement is not None and enforcement.backend != "none"
    return Place(
        name=spec.name,
        cwd=spec.cwd,
        grant=spec.grant,
        parent=spec.parent,
        limits=spec.limits,
        enforced=enforcement.summary if held and enforcement is not None else "",
        open=enforcement.gaps if held and enforcement is not None else (),
        network=spec.doors.network,
        calls_back=spec.call_back,
    )


def _enforcement(spec: PodSpec) -> Enforcement | None:
    if spec.enforce == "off":
        return None
    try:
        with open(f"{spec.state_directory}/{ENFORCEMENT_NAME}", "rb", buffering=0) as file:
            return from_json_lenient(Enforcement, orjson.loads(file.read(MAX_RECORD_BYTES)))
    except (OSError, ValueError, PodsError):
        return None
