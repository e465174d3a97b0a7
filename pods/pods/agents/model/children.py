"""The five tools for pods, with this pod's own authority, and what its children inherit.

Owns the one addition to them: a child that asks a model, too, gets this pod's model, endpoint and
key where it is told nothing else. The key goes with the request, as a secret of the child's `env`;
never to another address than this pod's own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import trio
from attrs import evolve

from pods.agents.model.settings import KEY_NAME, Settings
from pods.agents.model.talk import Call, ToolSpec
from pods.agents.model.tool import Outcome
from pods_protocol.bounds import SECRET_PREFIX
from pods_protocol.errors import PodsError
from pods_protocol.pod_messages import Request, Run, RunResult
from pods_protocol.supervisor_messages import SpawnPod

if TYPE_CHECKING:
    from pods.client.aio import PodsClient

R = TypeVar("R")

KIND: Final = "model"
"""What this agent is called in a spawn."""

HINT: Final = (
    'SpawnPod with `"agent": "model"` starts a pod with a model like yourself in it: your own '
    "model, endpoint and key, unless its `options` say another `model`."
)


class Endowing:
    """What a toolset needs of a client; children that ask a model get what this pod has.

    Args:
        client: gives the pod's client.
        settings, key: this pod's.
    """

    def __init__(
        self, client: Callable[[], Awaitable[PodsClient]], settings: Settings, key: str
    ) -> None:
        self._client = client
        self._settings = settings
        self._key = key

    async def request(self, message: Request[R], /) -> R:
        """Ask the supervisor."""
        given = message
        if isinstance(message, SpawnPod) and message.agent == KIND:
            given = cast("Request[R]", self._endow(message))
        return await (await self._client()).request(given)

    async def send(self, pod: str, message: Run, /) -> RunResult:
        """Give a message to a child."""
        return await (await self._client()).send(pod, message)

    def _endow(self, message: SpawnPod) -> SpawnPod:
        options: dict[str, Any] = {**self._settings.inherited(), **message.options}
        env = dict(message.env)
        if self._key and options.get("base_url") == self._settings.base_url:
            env.setdefault(f"{SECRET_PREFIX}{KEY_NAME}", self._key)
        return evolve(message, options=options, env=env, call_back=True)


class Children:
    """The tools for pods; one for the agent's life, since it knows what the model was shown."""

    def __init__(
        self, client: Callable[[], Awaitable[PodsClient]], settings: Settings, key: str
    ) -> None:
        from pods_tools import Toolset  # jsonschema comes with it, and many pods have no children

        self._toolset = Toolset(Endowing(client, settings, key), time_limit=trio.move_on_after)

    def specs(self) -> list[ToolSpec]:
        """The tools as the model is offered them."""
        return [
            ToolSpec(one["name"], one["description"], one["input_schema"])
            for one in self._toolset.definitions("anthropic")
        ]

    async def call(self, call: Call) -> Outcome:
        """Run one."""
        arguments: Mapping[str, Any] | str = call.raw if call.arguments is None else call.arguments
        try:
            result = await self._toolset.call(call.name, arguments)
        except PodsError as error:  # the way to the supervisor, not what it says
            return Outcome(f"{call.name} failed: {error.message}", error.message, True)
        return Outcome(result.text, result.summary, result.is_error)
