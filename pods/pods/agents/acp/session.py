"""An ACP agent's process with a session in it, made when a turn needs it and kept over the turns.

Owns the order: start, `initialize`, and a session: the one of an earlier life where the agent can
take it up again, else a new one. Its id is journaled, and kept in the pod's private directory for
the next process of the pod. Called by `agent`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias, cast

import trio

from pods import __version__
from pods.agents.acp.connection import AcpConnection, RefusedByAgent
from pods.agents.acp.settings import Settings
from pods.agents.turn import Turn
from pods.rpc.unix import write_private_file
from pods_protocol.errors import PodsError

PROTOCOL_VERSION: Final = 1

START_SECONDS: Final = 120.0
"""For each of `initialize` and the session: some agents take six seconds on an idle machine, and
took thirty where a dozen programs ran beside them."""

MAX_SESSION_FILE_BYTES: Final = 4096
"""Of our own file; it holds one id."""

MAX_SESSION_BYTES: Final = 512
"""Of a session's id: it goes with every prompt, and into that file whole, escaped as it may be."""

SESSION_FILE: Final = "session.json"
"""In the pod's private directory: the session to take up again after a crash."""

MCP_VARIABLES: Final = (
    "PODS_SOCKET", "PODS_TOKEN_FILE", "PODS_RUNTIME_DIR", "PODS_STATE_DIR", "PODS_SUPERVISOR",
)  # fmt: skip
"""The pod's own authority, and where its supervisor is: agents start servers with few variables."""

Json: TypeAlias = dict[str, Any]


class AcpSession:
    """The agent's one process and session, at any time.

    Args:
        settings: the agent's.

    Attributes:
        connection: to the newest process; None before the first.
        session_id: the session; None before the first.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._initialized: Json = {}
        self.connection: AcpConnection | None = None
        self.session_id: str | None = None

    async def ready(self, turn: Turn) -> tuple[AcpConnection, bool]:
        """A living connection with a session; whether the session is new.

        Raises:
            AgentError: it cannot be had.
            StartFailed: the program cannot be started.
            AgentGone, RefusedByAgent: the agent ended, or would not.
        """
        if self.connection is not None and self.connection.alive:
            return self.connection, False
        held = bool(turn.place().enforced)
        argv = self._settings.command(held=held, servers=servers(turn))
        connection = AcpConnection(argv, cwd=turn.cwd, env=turn.environment())
        self.connection = connection
        try:
            await turn.beside(connection.run)
            self._initialized = await self._initialize(connection)
            return connection, await self._open(turn, connection)
        except BaseException:
            # Half begun it is of no use to the next turn.
            if connection.alive:
                with trio.CancelScope(shield=True):
                    connection.kill()
                    await connection.ended.wait()
            raise

    async def close(self) -> None:
        """End the process politely, if there is one."""
        if self.connection is not None and self.connection.alive:
            await self.connection.close()

    async def _initialize(self, connection: AcpConnection) -> Json:
        files = self._settings.known is None or not self._settings.known.own_files
        answer = await self._in_time(
            connection,
            "initialize",
            {
                "protocolVersion": PROTOCOL_VERSION,
                "clientCapabilities": {
                    "fs": {"readTextFile": files, "writeTextFile": files},
                    "terminal": True,
                },
                "clientInfo": {"name": "pods", "title": "pods", "version": __version__},
            },
        )
        version = answer.get("protocolVersion")
        if version != PROTOCOL_VERSION:
            raise self._settings.problem(
                "protocol_version",
                f"it speaks version {version!r} of ACP and pods speaks {PROTOCOL_VERSION}",
                "install a version of it that does",
            )
        return answer

    async def _open(self, turn: Turn, connection: AcpConnection) -> bool:
        """Take the session of an earlier life up again, or begin one; whether it is new."""
        place: Json = {"cwd": turn.cwd, "mcpServers": servers(turn)}
        known = self.session_id or read_session(turn.private_directory)
        if known is not None and await self._take_up(turn, connection, known, place):
            self._keep(turn, known, "taken up again")
            return False
        answer = await self._in_time(connection, "session/new", place)
        session = answer.get("sessionId")
        if not isinstance(session, str) or not 0 < len(session.encode()) <= MAX_SESSION_BYTES:
            raise self._settings.problem(
                "protocol",
                f"its `session/new` names no session of at most {MAX_SESSION_BYTES} bytes",
                "update it",
            )
        self._keep(turn, session, "new")
        return True

    async def _take_up(
        self, turn: Turn, connection: AcpConnection, known: str, place: Json
    ) -> bool:
        """Whether the agent goes on with that session; what it repeats of it is not journaled."""
        how = way_back(self._initialized.get("agentCapabilities"))
        why = "it does not offer that"
        if how is not None:
            try:
                await self._in_time(connection, how, {"sessionId": known, **place})
            except RefusedByAgent as error:
                why = error.text
            else:
                return True
        turn.recorder.warning(
            "acp_session_lost",
            f"{self._settings.name} cannot take its session {known} up again ({why}): it begins a "
            "new one and knows nothing of the turns before",
        )
        return False

    def _keep(self, turn: Turn, session: str, how: str) -> None:
        self.session_id = session
        info = self._initialized.get("agentInfo")
        version = str(cast("Json", info).get("version", "")) if isinstance(info, dict) else ""
        who = f"{self._settings.name} {version}".rstrip()
        turn.recorder.progress(f"{who}: ACP session {session} ({how})")
        with suppress(PodsError, OSError):
            # Without it the next life begins a new session, and says so.
            os.makedirs(turn.private_directory, mode=0o700, exist_ok=True)
            content = json.dumps({"session_id": session}).encode()
            write_private_file(f"{turn.private_directory}/{SESSION_FILE}", content)

    async def _in_time(self, connection: AcpConnection, method: str, params: Json) -> Json:
        with trio.move_on_after(START_SECONDS):
            return await connection.request(method, params)
        words = f"; its last words: {connection.last_words}" if connection.last_words else ""
        raise self._settings.problem(
            "timed_out",
            f"it did not answer {method!r} in {START_SECONDS:g} s{words}",
            "try it by hand; the pod's stderr.log may tell more",
        )


def servers(turn: Turn) -> list[Json]:
    """Our tools as an MCP server with the pod's own authority, where it has one."""
    environ = turn.environment()
    if "PODS_TOKEN_FILE" not in environ:
        return []
    return [
        {
            "name": "pods",
            "command": sys.executable,
            "args": ["-P", "-m", "pods", "mcp"],
            "env": [
                {"name": name, "value": environ[name]} for name in MCP_VARIABLES if name in environ
            ],
        }
    ]


def way_back(capabilities: object) -> str | None:
    """The method that takes a session up again; sooner the one that does not repeat it all first.

    None where the agent offers neither.
    """
    given: Mapping[str, Any] = cast("Json", capabilities) if isinstance(capabilities, dict) else {}
    sessions = given.get("sessionCapabilities")
    if isinstance(sessions, dict) and cast("Json", sessions).get("resume") is not None:
        return "session/resume"
    return "session/load" if given.get("loadSession") is True else None


def read_session(directory: str) -> str | None:
    """The session that an earlier process of the pod has left, if it has."""
    try:
        with open(f"{directory}/{SESSION_FILE}", "rb") as file:
            found: Any = json.loads(file.read(MAX_SESSION_FILE_BYTES))
    except (OSError, ValueError):
        return None
    session: object = cast("Json", found).get("session_id") if isinstance(found, dict) else None
    return session if isinstance(session, str) and session else None
