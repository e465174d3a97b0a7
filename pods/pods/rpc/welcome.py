"""What each of our servers says to a good hello. Run in keepers too: it imports little."""

from __future__ import annotations

import os
from typing import Literal

from pods import __version__
from pods_protocol.bounds import PROTOCOL_VERSION
from pods_protocol.pod_messages import HelloResult


def welcome(
    server: Literal["pod", "supervisor", "keeper", "launcher"],
    name: str,
    id: str = "",  # noqa: A002 - the field's name
) -> HelloResult:
    """The answer of this process.

    Args:
        server: what it is.
        name: the pod's, or the supervisor's.
        id: the pod's; a supervisor and its launcher have none.
    """
    return HelloResult(
        protocol=PROTOCOL_VERSION,
        server=server,
        version=__version__,
        name=name,
        id=id,
        pid=os.getpid(),
    )
