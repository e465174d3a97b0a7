"""What a supervisor is started with.

Owns the settings and delays that may differ between supervisors, with their defaults. Read by every
method; made by the daemon's command line and by `open_supervisor`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import frozen

from pods.config import DEFAULT, Config
from pods.paths import SupervisorPlaces


@frozen(kw_only=True)
class Options:
    """One supervisor's settings.

    Attributes:
        places: where its things lie.
        environ: what its launcher is started with; pods' agents get a short list of it.
        idle_exit_seconds: None never ends by itself.
        stop_pods: stop every pod on the way out. A daemon does not: its pods wait for the next.
        open_files: the soft limit on descriptors that the launcher and all pods get; None is what
            this process has. A daemon raises its own, and programs that use select() break above
            1024.
        ephemeral: nobody will ever ask for it by name again: leave no journals either.
        config: what the user has decided, as it was when this supervisor started.
        clock: seconds since the epoch, by which what outlives a supervisor is due; a test has its
            own.
    """

    places: SupervisorPlaces
    environ: dict[str, str]
    idle_exit_seconds: float | None = None
    stop_pods: bool = False
    ephemeral: bool = False
    open_files: int | None = None
    config: Config = DEFAULT
    clock: Callable[[], float] = time.time
