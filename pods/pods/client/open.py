"""Opening a plain connection to the right supervisor, starting it where that is wanted.

Owns the decision of when a verb starts a supervisor. Standard library only on the path where one
runs; `start` is imported when nobody answers. Used by `pods.cli`.
"""

from __future__ import annotations

import os
import socket
from typing import Final, Literal

from pods.client.address import find_address, keeps_anything
from pods.client.plain import ANSWER_SECONDS, PlainClient
from pods.client.plain_connect import read_token
from pods_protocol.errors import NotConnected

WhenAbsent = Literal["start", "look", "fail"]
"""What to do when no supervisor runs. `start`: start one (spawn). `look`: start one if journals of
ended pods are kept here, so that they can be read (ls, read, logs). `fail`: NotConnected, so that
nothing is started (doctor, down)."""


START_ATTEMPTS: Final = 3
"""Tries to connect, with a start between them: the one that answered the first may have been on its
way out, and hung up."""


class NoSupervisor(NotConnected):
    """No supervisor runs, and there is nothing that a fresh one could tell. Never sent."""


def require_platform() -> None:
    """Refuse a system without what every connection needs, before anything that needs it is loaded.

    Raises:
        PlatformUnsupported: no Unix sockets here.
    """
    if not (hasattr(socket, "AF_UNIX") and hasattr(socket, "SO_PEERCRED")):
        from pods.rpc.unix import require_unix_sockets  # for its words alone

        require_unix_sockets()


def open_plain(
    supervisor: str | None = None,
    *,
    when_absent: WhenAbsent = "look",
    timeout: float = ANSWER_SECONDS,
    client: str = "pods",
    session: str = "",
) -> PlainClient:
    """A connection to the supervisor that the environment or `supervisor` names.

    Args:
        supervisor: its name; None takes what the environment says.
        when_absent: what to do where none runs.
        timeout: seconds for each request that brings no timeout of its own.
        client: what to be called in the supervisor's log.
        session: speak for this session of the owner's and no more.

    Raises:
        NoSupervisor: none runs, and none is to be started.
        NotConnected: the environment names a supervisor that is not there.
        StartFailed: it did not come up.
        PlatformUnsupported: no Unix sockets here.
        PodsError: hello was refused.
    """
    require_platform()
    address = find_address(os.environ, supervisor)
    for attempt in range(START_ATTEMPTS):
        try:
            return PlainClient(
                address.socket,
                read_token(address.token_file),
                timeout=timeout,
                client=client,
                session=session,
            )
        except NotConnected:
            if address.places is None or attempt + 1 == START_ATTEMPTS:
                raise
        if when_absent == "fail" or (when_absent == "look" and not keeps_anything(address.places)):
            break
        from pods.client.start import start_supervisor  # heavy, and needed once in a while

        start_supervisor(address.places, os.environ)
    raise NoSupervisor(
        f"cannot find a supervisor at {address.socket}: none runs; `pods spawn` or `pods up` "
        "starts one",
        socket=address.socket,
    )
