"""The agent of a pod that is an ACP agent: one process, one session, a prompt a turn.

Owns the turn: what the agent is told, its cancellation, how its end reads. Options:

- `argv`: the program and its arguments; required for the kind `acp`, else the table has it.
- `permissions`: `ask` (default), `allow-in-scope` or `deny`.
- `permission_seconds`: how long a question waits before the answer is `deny`; default 600.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias, cast

import trio

from pods.agents.acp.connection import (
    MAX_REASON_BYTES,
    AcpConnection,
    AgentGone,
    RefusedByAgent,
    Waiter,
)
from pods.agents.acp.peer import AUTH_REQUIRED
from pods.agents.acp.requests import Rules, TurnRequests
from pods.agents.acp.session import AcpSession
from pods.agents.acp.settings import Settings
from pods.agents.acp.updates import as_text
from pods.agents.base import TurnEnd
from pods.agents.briefing import briefing, prompt
from pods.agents.text import shorten
from pods.agents.turn import Turn
from pods_protocol.errors import AgentError, StartFailed
from pods_protocol.values import StopReason

CANCEL_SECONDS: Final = 2.0
"""After `session/cancel`, for the agent to end its turn; then its process is ended. As long as
other programs get when their turn is cancelled, and short of the grace of a stop (5 s)."""

STOP_REASONS: Final[Mapping[str, StopReason]] = {
    "end_turn": "end_turn",
    "max_tokens": "max_tokens",
    "max_turn_requests": "max_turn_requests",
    "refusal": "refusal",
    "cancelled": "cancelled",
}
"""ACP's words, which are ours."""

OUR_TOOLS: Final = ("SpawnPod", "SendToPod", "ReadPodOutput", "StopPod", "ListPods")
"""Offered to an agent whose pod may call back."""

Json: TypeAlias = dict[str, Any]


class AcpAgent:
    """Gives each message to an ACP agent.

    Args:
        kind: `acp`, or a name of the table.
        options: see the module.

    Raises:
        AgentError: the options are not as they must be, or the program is not installed.
    """

    def __init__(self, kind: str, options: Mapping[str, Any]) -> None:
        self._settings = Settings(kind, options)
        self._session = AcpSession(self._settings)

    async def run_turn(self, turn: Turn) -> TurnEnd:
        """Give the agent the message and journal what it does.

        That it cannot be used, or died in the middle, is an end with a reason and no fault of ours
        that would belong into the pod's log.
        """
        failure: AgentError | StartFailed
        try:
            return await self._run_turn(turn)
        except* AgentGone:
            failure = await self._died()
        except* RefusedByAgent as group:
            failure = self._refused(group)
        except* (AgentError, StartFailed) as group:
            failure = cast("AgentError | StartFailed", _only(group))
        return TurnEnd("error", failure.message)

    async def close(self) -> None:
        """End the agent's process politely."""
        await self._session.close()

    async def _run_turn(self, turn: Turn) -> TurnEnd:
        connection, fresh = await self._session.ready(turn)
        async with trio.open_nursery() as nursery:
            rules = Rules(
                agent=self._settings.name,
                policy=self._settings.policy,
                seconds=self._settings.seconds,
                held=bool(turn.place().enforced),
            )
            requests = TurnRequests(turn, nursery, connection, rules)
            connection.listener = requests
            try:
                end = await self._prompt(turn, connection, requests, fresh=fresh)
            finally:
                connection.listener = None
                connection.cost_usd = requests.updates.cost_usd
            nursery.cancel_scope.cancel()  # terminals that were not released
        return end

    async def _prompt(
        self, turn: Turn, connection: AcpConnection, requests: TurnRequests, *, fresh: bool
    ) -> TurnEnd:
        session = {"sessionId": self._session.session_id}
        waiter = connection.begin("session/prompt", {**session, "prompt": blocks(turn, fresh)})
        try:
            answer = await waiter.wait()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                connection.tell("session/cancel", session)
                await _until_cancelled(connection, waiter)
            raise
        finally:
            _report_strays(turn, connection)
        requests.updates.end(answer.get("usage"))
        said = str(answer.get("stopReason"))
        reason = STOP_REASONS.get(said)
        if reason is None:
            return TurnEnd("error", f"the agent ended the turn with {said[:80]!r}")
        return TurnEnd(reason)

    async def _died(self) -> AgentError:
        connection = self._session.connection
        assert connection is not None, "it was asked something"
        await connection.ended.wait()
        return self._settings.problem(
            "agent_died",
            connection.describe_end(),
            "send the message again: it is started anew with the next turn",
        )

    def _refused(self, group: BaseExceptionGroup[RefusedByAgent]) -> AgentError:
        error = cast("RefusedByAgent", _only(group))
        if error.code == AUTH_REQUIRED:
            return self._settings.login_required(error.text)
        more = "" if error.data is None else f" {shorten(as_text(error.data), MAX_REASON_BYTES)}"
        return self._settings.problem(
            "refused",
            f"it answered {error.text!r} (code {error.code}){more}",
            "the pod's stderr.log may tell more",
        )


def _only(error: BaseException) -> BaseException:
    """The first exception of a group, which has one but in the rarest cases."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


async def _until_cancelled(connection: AcpConnection, waiter: Waiter) -> None:
    """Wait for the agent to end its turn; one that does not is ended, and started with the next."""
    with trio.move_on_after(CANCEL_SECONDS):
        await waiter.settled.wait()
        return
    connection.kill()
    await connection.ended.wait()


def _report_strays(turn: Turn, connection: AcpConnection) -> None:
    if connection.strays:
        turn.recorder.warning(
            "acp_stray_line",
            "the agent wrote to the protocol's output what is no message: "
            f"{connection.strays[0]!r}; it was passed over",
        )
        connection.strays.clear()


def blocks(turn: Turn, fresh: bool) -> list[Json]:
    """The prompt: in a new session where the agent is, then what it is told and asked."""
    place = turn.place()
    tools = OUR_TOOLS if place.calls_back else ()
    texts = [briefing(place, tools=tools)] if fresh else []
    texts.append(
        prompt(turn.input, notes=turn.notes, child_events=turn.child_events, parent=place.parent)
    )
    return [{"type": "text", "text": text} for text in texts]
