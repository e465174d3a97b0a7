"""Which supervisor is meant, where it listens and what token speaks to it.

Owns that decision alone: the environment and a name in, paths out. Standard library only. Used by
the light verbs, by `start` and by `aio`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from pods.paths import SupervisorPlaces, places_from

DEFAULT_SUPERVISOR: Final = "default"
SUPERVISOR_VARIABLE: Final = "PODS_SUPERVISOR"
SOCKET_VARIABLE: Final = "PODS_SOCKET"
TOKEN_FILE_VARIABLE: Final = "PODS_TOKEN_FILE"


class Address(NamedTuple):
    """Where to go and with what.

    Attributes:
        socket: the supervisor's control socket.
        token_file: the file with the token; empty for a process of a pod that brings none, whom
            the supervisor recognises.
        places: the supervisor's places; None where the environment says that we are a pod's agent,
            which may talk to its own supervisor and start none.
    """

    socket: str
    token_file: str
    places: SupervisorPlaces | None


def find_address(environ: Mapping[str, str], supervisor: str | None = None) -> Address:
    """Decide which supervisor is meant.

    Args:
        environ: `PODS_SOCKET` (set in pods with `call_back`, beside `PODS_TOKEN_FILE`) wins, unless
            a supervisor is named; then `PODS_SUPERVISOR`; then `default`.
        supervisor: the name asked for, or None.

    Raises:
        InvalidName: not a name for a supervisor.
    """
    socket_path = environ.get(SOCKET_VARIABLE)
    token_file = environ.get(TOKEN_FILE_VARIABLE, "")
    if supervisor is None and socket_path:
        return Address(socket=socket_path, token_file=token_file, places=None)
    name = supervisor or environ.get(SUPERVISOR_VARIABLE) or DEFAULT_SUPERVISOR
    places = places_from(environ, os.geteuid()).supervisor(name)
    return Address(socket=places.socket, token_file=places.owner_token, places=places)


def keeps_anything(places: SupervisorPlaces) -> bool:
    """Whether a supervisor of this name has run here and journals are left.

    A verb that only looks starts a supervisor in this case alone: without a journal there is
    nothing that a fresh supervisor could tell.
    """
    if not os.path.isdir(places.state):
        return False
    try:
        with os.scandir(os.path.dirname(places.places.pod_state("-"))) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
