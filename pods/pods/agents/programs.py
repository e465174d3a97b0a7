"""The programs of a turn: started as a pod's, streamed into its journal, judged by their end.

Owns what is done round `process.run_process` for a turn: the shell, the environment, the layer that
keeps a program off what is lent, and what the journal says besides its output. Called by `turn`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pods.agents import hints
from pods.agents.denials import Denials
from pods.agents.host import Host
from pods.agents.process import Output, ProcessEnd, TextOutput, run_process
from pods.agents.recorder import Recorder
from pods.agents.text import Coalescer
from pods_protocol.errors import StartFailed

if TYPE_CHECKING:
    from pods.scope.landlock import Ruleset

SHELLS: Final = ("/bin/bash", "/bin/sh")
"""What runs a command line: bash where there is one, because that is what models and people write
for."""


async def run_to_end(
    host: Host,
    recorder: Recorder,
    command: str | Sequence[str],
    *,
    stdin: str | bytes | None,
    cwd: str | None,
    env: Mapping[str, str] | None,
    output: Output | None,
) -> ProcessEnd:
    """Run a program to its end; see `Turn.run_process` for what is given.

    Raises:
        StartFailed: it could not be started, or not kept off what is lent.
    """
    argv = [find_shell(), "-c", command] if isinstance(command, str) else list(command)
    given = stdin.encode("utf-8", "replace") if isinstance(stdin, str) else stdin
    watched = Denials(output or TextOutput(Coalescer(recorder.output)))
    layer = _without_lent(host)
    try:
        end = await run_process(
            argv,
            watched,
            cwd=host.cwd if cwd is None else os.path.join(host.cwd, cwd),
            env={**host.environment(), **(env or {})},
            stdin=given,
            layer=layer,
        )
    finally:
        if layer is not None:
            layer.close()
        recorder.report_dropped()
    if watched.seen and end.status != 0:
        end.hint = hints.refused(host.name)
    if end.left_open:
        recorder.warning(
            "left_running",
            "the program has ended and something it started still holds its output; what that "
            "writes from now on is not read",
        )
    return end


def _without_lent(host: Host) -> Ruleset | None:
    """What keeps a program off what is lent; None where nothing is, or nothing can."""
    lending = host.lending()
    if lending is None or not lending.held:
        return None
    from pods.scope.lending import layer_without  # most pods lend nothing

    try:
        return layer_without(host.grant, lending)
    except OSError as error:
        lent = ", ".join(one.pod for one in lending.to)
        raise StartFailed(
            f"cannot keep a program off what is lent to {lent}: {error.strerror}; wait until "
            "that is back",
            step="lent",
            detail=str(error),
            errno=error.errno,
        ) from error


def find_shell() -> str:
    """The shell that runs command lines."""
    return next((path for path in SHELLS if os.access(path, os.X_OK)), SHELLS[-1])
