"""What a pod of a given spec is held to, and the refusal to start one that is not.

Owns the pod's own places (its journal with its artifacts, its private temporary directory) and what
is forbidden to the baseline: every directory of pods' own, where other pods' tokens and journals
lie.
Runs in the pod's process, before any code of its agent. Used by `pod_start`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

import orjson
from attrs import evolve

from pods.descriptors import is_out_of_descriptors, no_descriptors
from pods.keeper.environ import judging_python
from pods.paths import ENFORCEMENT_NAME
from pods.scope.confine import OwnPlaces, prepare, shortfall
from pods.scope.doors import closes, unmet
from pods.scope.grants import TargetChanged
from pods.scope.landlock import LandlockError
from pods.scope.regions import has_path, is_below, region_of
from pods.scope.seccomp import SeccompError
from pods_protocol.codec import from_json_lenient, to_json
from pods_protocol.errors import PodsError
from pods_protocol.process_messages import PodSpec
from pods_protocol.values import Enforcement

if TYPE_CHECKING:
    from pods.agents.acp.home import Guest

Kill = Literal["landlock_domain", "subreaper_loop"]

MAX_RECORD_BYTES: Final = 4 * 1024 * 1024
"""A few hundred rules with paths of a few thousand bytes; what is bigger is no record."""


class PodNotHeld(Exception):
    """The pod may not start: the kernel does not hold it to what it has to."""


def hold(
    spec: PodSpec,
    environ: Mapping[str, str],
    *,
    switches: Mapping[str, str],
    kill: Kill,
    guest: Guest | None = None,
) -> None:
    """Hold this process to the spec's grant, for ever, and leave the record of what was given.

    The record lies where the process cannot write any more once it is held.

    Args:
        environ: the pod's.
        switches: what the launcher was told.
        kill: how the keeper would end the tree.
        guest: what its agent gets besides, where that is a vendor's.

    Raises:
        PodNotHeld: a rule cannot be given, a door cannot be closed, or all of it was required and
            is not to be had.
    """
    if spec.enforce == "off" and not closes(spec.doors):
        return
    own = own_places(spec, guest)
    try:
        for path in own.write:
            os.makedirs(path, mode=0o700, exist_ok=True)
        with prepare(
            spec.grant,
            own,
            environ=environ,
            switches=switches,
            python=judging_python(spec),
            doors=spec.doors,
        ) as confinement:
            outside = _outside(spec) if confinement.enforcement.backend != "none" else ()
            missing = shortfall(confinement.enforcement)
            if spec.enforce == "required" and missing:
                raise PodNotHeld(
                    f"enforcement is required and the kernel does not hold it: {missing}; change "
                    "the rule, or spawn without requiring enforcement"
                )
            still_open = unmet(spec.doors, confinement.enforcement)
            if still_open:
                raise PodNotHeld(f"{still_open}; spawn it without")
            with open(_new_record(spec.state_directory), "wb", buffering=0) as file:
                record = confinement.enter()
                record = evolve(
                    record,
                    kill=kill,
                    warnings=record.warnings + outside,
                    besides=() if guest is None else guest.said,
                )
                file.write(orjson.dumps(to_json(record)))
    except TargetChanged as error:
        raise PodNotHeld(
            f"{error.filename} of its scope: {error.strerror}; spawn it again with the scope as "
            "it is now"
        ) from error
    except (LandlockError, SeccompError) as error:
        where = f" for {error.filename}" if error.filename else ""
        raise PodNotHeld(
            f"{error.strerror}{where}; `pods doctor` says what this machine can"
        ) from (error)
    except OSError as error:
        raise PodNotHeld(f"{error}; check the disk and its directories") from error


def read_enforcement(state_directory: str) -> Enforcement | None:
    """What the pod was held to at its newest start; None where nothing was asked, or not yet.

    Raises:
        CapacityReached: no descriptor is left to read it with.
    """
    try:
        with open(f"{state_directory}/{ENFORCEMENT_NAME}", "rb", buffering=0) as file:
            return from_json_lenient(Enforcement, orjson.loads(file.read(MAX_RECORD_BYTES)))
    except (OSError, ValueError, PodsError) as error:
        if is_out_of_descriptors(error):
            raise no_descriptors("read what a pod is held to", error) from error
        return None


def _outside(spec: PodSpec) -> tuple[str, ...]:
    """A warning where the pod works in a directory that it may not even list."""
    cwd = os.path.realpath(spec.cwd)
    if any(has_path(region_of(rule), cwd) for rule in spec.grant.allow):
        return ()
    return (
        f"its working directory {cwd} is outside of its scope: it can neither list nor write it",
    )


def _new_record(state_directory: str) -> int:
    path = f"{state_directory}/{ENFORCEMENT_NAME}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def own_places(spec: PodSpec, guest: Guest | None = None) -> OwnPlaces:
    """What a pod has besides its scope and the baseline.

    Not its whole directories: the record of its end, its log and its sockets are its keeper's.
    """
    token = (f"{spec.runtime_directory}/token",) if spec.call_back else ()
    forbidden = forbidden_roots(spec.state_directory, spec.runtime_directory)
    module, listed = _agent_module(spec, forbidden)
    return OwnPlaces(
        write=(
            f"{spec.state_directory}/journal",
            f"{spec.runtime_directory}/tmp",
            *(() if guest is None else (guest.directory,)),
        ),
        read=(spec.state_directory, *token, *(() if guest is None else guest.read)),
        modules=module,
        listed=listed,
        forbidden=forbidden,
    )


def _agent_module(
    spec: PodSpec, forbidden: tuple[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The agent's own code where it may lie in the working directory, and what must be listed.

    `module:attribute` is looked for there last (`pods.agents.loading`), and an import lists the
    directory first. What else that code imports from there needs a rule of the scope.
    """
    top, colon, _ = spec.agent.partition(":")
    if not colon:
        return (), ()
    cwd = os.path.realpath(spec.cwd)
    if any(is_below(os.path.realpath(root), cwd) for root in forbidden):
        return (), ()
    top = top.partition(".")[0]
    return (f"{cwd}/{top}.py", f"{cwd}/{top}"), (cwd,)


def forbidden_roots(state_directory: str, runtime_directory: str) -> tuple[str, str]:
    """The roots of all pods' directories, from those of one (`pods.paths`)."""
    return (
        os.path.dirname(os.path.dirname(state_directory)),
        os.path.dirname(os.path.dirname(runtime_directory)),
    )
