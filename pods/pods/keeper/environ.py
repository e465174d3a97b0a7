"""The environment of pods: what they see of the launcher's, and what each has of its own.

Owns the two lists. Imports next to nothing, because the supervisor asks what its launcher may have
before it has imported anything. Called for the launcher (`supervisor/launcher_process`, its own
`main`), by `pod_start` and `trial`, and by `pods explain`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pods.paths import places_from
from pods_protocol.bounds import SECRET_PREFIX

if TYPE_CHECKING:
    from pods_protocol.process_messages import PodSpec

INHERITED_VARIABLES: Final = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TERM", "TZ",
        "PODS_RUNTIME_DIR", "PODS_STATE_DIR", "XDG_STATE_HOME",
        "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG",
    }
)  # fmt: skip
"""What a pod sees of the launcher's environment. Not the rest: keys and sockets that lie in it were
not meant for every pod. Coverage's two carry the measurement of our own tests."""

INHERITED_PREFIX: Final = "LC_"


def inherited_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The short list of what pods see of the launcher's environment.

    Not `XDG_RUNTIME_DIR`, by which programs find the session bus and agents' sockets: what pods
    need of it is said by `PODS_RUNTIME_DIR`.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name in INHERITED_VARIABLES or name.startswith(INHERITED_PREFIX)
    }
    if environ.get("XDG_RUNTIME_DIR"):
        kept["PODS_RUNTIME_DIR"] = places_from(environ, os.getuid()).runtime
    return kept


def judging_environ(spec: PodSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment by which it is judged what a pod may read beside its scope.

    What stands in PATH may be read, and what holds HOME may not. A person may say so; a pod that
    spawns another may not give it by these what it could not lend.
    """
    judging = {**environ, **own_environ(spec)}
    if spec.parent is not None:
        judging.update((name, environ.get(name, "")) for name in ("PATH", "HOME"))
    return judging


def judging_python(spec: PodSpec) -> str | None:
    """The interpreter whose places a pod may read beside its scope; None where it is to have none.

    Its directories and path files say where those are, and a pod may have written them: what a
    child's interpreter needs is in the baseline, or in the scope that it was given.
    """
    return spec.python if spec.parent is None else None


def own_environ(spec: PodSpec) -> dict[str, str]:
    """What each pod has beside that."""
    temporary = f"{spec.runtime_directory}/tmp"
    caches = (
        {}
        if spec.enforce == "off"
        # The user's own caches are outside of every scope; programs want one that they can write.
        else {"XDG_CACHE_HOME": f"{temporary}/cache", "npm_config_cache": f"{temporary}/cache/npm"}
    )
    return {
        "TMPDIR": temporary,
        **caches,
        **{name: value for name, value in spec.env.items() if not name.startswith(SECRET_PREFIX)},
        "PODS_NAME": spec.name,
        "PODS_ID": spec.id,
    }
