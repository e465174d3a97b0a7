"""One turn of an ACP agent, seen from the connection: what it says is journaled, what it asks done.

Owns the table of the methods that we serve as its client, and how each is answered; an answer that
fails is an error to the agent and never one of the turn. `permissions` decides, `files` and
`terminals` do. Made by `agent` for each turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, Literal, TypeAlias, cast

import trio
from attrs import frozen

from pods.agents.acp import permissions
from pods.agents.acp.connection import AcpConnection
from pods.agents.acp.files import FileRefused, read_text, write_text
from pods.agents.acp.peer import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    NOT_FOUND,
    Asked,
    Told,
)
from pods.agents.acp.terminals import NoTerminal, Terminals
from pods.agents.acp.updates import ToolCall, Updates
from pods.agents.turn import Turn
from pods_protocol.errors import Busy, PodsError

Json: TypeAlias = dict[str, Any]
Serve: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Json]]


class _Bad(Exception):
    """The request's params are not as they must be."""


@frozen(kw_only=True)
class Rules:
    """How permissions are decided in this pod.

    Attributes:
        agent: what to call the agent in a question.
        policy: who decides.
        seconds: how long a question waits; then the answer is `deny`.
        held: the kernel holds the pod to its scope.
    """

    agent: str
    policy: permissions.Policy
    seconds: float
    held: bool


class TurnRequests:
    """Serves an agent during one turn.

    Args:
        turn: the turn.
        nursery: of the turn.
        connection: to the agent.
        rules: for permissions.
    """

    def __init__(
        self, turn: Turn, nursery: trio.Nursery, connection: AcpConnection, rules: Rules
    ) -> None:
        self._turn = turn
        self._nursery = nursery
        self._connection = connection
        self._rules = rules
        self._terminals = Terminals(turn, nursery)
        self.updates = Updates(turn.recorder, self._terminals.text_of, cost_usd=connection.cost_usd)
        self._serve: Final[Mapping[str, Serve]] = {
            "session/request_permission": self._permission,
            "fs/read_text_file": self._read,
            "fs/write_text_file": self._write,
            "terminal/create": self._create,
            "terminal/output": self._output,
            "terminal/wait_for_exit": self._terminals.wait,
            "terminal/kill": self._terminals.kill,
            "terminal/release": self._terminals.release,
        }

    # --- as `Listener` ---

    def told(self, told: Told) -> None:
        """Journal what the agent says."""
        if told.method == "session/update" and isinstance(told.params.get("update"), dict):
            self.updates.take(cast("Json", told.params["update"]))

    def asked(self, asked: Asked) -> None:
        """Serve a request in a task of its own."""
        serve = self._serve.get(asked.method)
        if serve is None:
            self._connection.refuse(
                asked, METHOD_NOT_FOUND, f"this client has no {asked.method[:80]!r}"
            )
            return
        self.updates.flush()
        self._nursery.start_soon(self._answer, asked, serve)

    def pause(self) -> None:
        """Journal the text that was joined."""
        self.updates.flush()

    # --- serving ---

    async def _answer(self, asked: Asked, serve: Serve) -> None:
        try:
            result = await serve(asked.params)
        except (_Bad, NoTerminal) as error:
            self._connection.refuse(asked, INVALID_PARAMS, str(error))
        except RecursionError:
            self._connection.refuse(asked, INVALID_PARAMS, "it is nested too deeply")
        except FileRefused as error:
            self._connection.refuse(
                asked, NOT_FOUND if error.missing else INVALID_PARAMS, str(error)
            )
        except PodsError as error:
            self._connection.refuse(asked, INTERNAL_ERROR, error.message)
        except trio.Cancelled:
            # The turn is being cancelled; ACP wants open permissions answered so.
            if asked.method == "session/request_permission":
                self._connection.answer(asked, permissions.outcome(None))
            else:
                self._connection.refuse(asked, INTERNAL_ERROR, "the turn was cancelled")
            raise
        else:
            self._connection.answer(asked, result)

    async def _permission(self, params: Mapping[str, Any]) -> Json:
        given: object = params.get("toolCall")
        call = self.updates.permission_asked(cast("Json", given) if isinstance(given, dict) else {})
        choices = permissions.choices_of(params)
        verdict = permissions.judge(
            call,
            self._rules.policy,
            may_read=self._turn.may_read,
            may_write=self._turn.may_write,
            held=self._rules.held,
        )
        if verdict == "allow" and permissions.pick(choices, "allow") is None:
            verdict = "ask"
        if verdict == "ask":
            word = await self._ask(call, choices)
            return permissions.outcome(permissions.option_for(choices, word))
        self._note(call, verdict)
        return permissions.outcome(permissions.pick(choices, verdict))

    async def _ask(self, call: ToolCall, choices: tuple[permissions.Choice, ...]) -> str:
        rules = self._rules
        try:
            return await self._turn.ask(
                permissions.describe(
                    rules.agent, call, choices, pod=self._turn.name, seconds=rules.seconds
                ),
                options=permissions.offered(choices),
                default=permissions.DENY,
                timeout_seconds=rules.seconds,
            )
        except Busy:
            self._note(call, "deny")
            return permissions.DENY

    def _note(self, call: ToolCall, verdict: Literal["allow", "deny"]) -> None:
        """Leave in the journal what was decided without a question."""
        what = "allowed" if verdict == "allow" else "denied"
        self._turn.recorder.progress(
            f"{what} without asking ({self._rules.policy}): {call.title or call.kind}"
        )

    async def _read(self, params: Mapping[str, Any]) -> Json:
        path = _word(params, "path")
        line, limit = _count(params, "line"), _count(params, "limit")
        read = partial(read_text, path, self._turn.may_read, line=line, limit=limit)
        return {"content": await trio.to_thread.run_sync(read)}

    async def _write(self, params: Mapping[str, Any]) -> Json:
        path, content = _word(params, "path"), _word(params, "content")
        await trio.to_thread.run_sync(write_text, path, content, self._turn.may_write)
        return {}

    async def _create(self, params: Mapping[str, Any]) -> Json:
        return self._terminals.create(params)

    async def _output(self, params: Mapping[str, Any]) -> Json:
        return self._terminals.output(params)


def _word(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str):
        raise _Bad(f"`{name}` must be a string")
    return value


def _count(params: Mapping[str, Any], name: str) -> int | None:
    value = params.get(name)
    if value is not None and (type(value) is not int or value < 0):
        raise _Bad(f"`{name}` must be a whole number")
    return value
