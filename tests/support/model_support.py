"""A model agent in a pod in the test's process, over the scripted endpoint."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import trio

from model_endpoint import ModelEndpoint
from pod_support import PodFixture, connected, data, living_pod, until_idle
from pods.agents.model.agent import ModelAgent
from pods.rpc.client import RpcClient
from pods_protocol.pod_messages import Run

Json = dict[str, Any]
Api = Literal["anthropic", "openai"]
KEY = "sk-very-secret"


def agent_for(endpoint: ModelEndpoint, api: Api = "openai", **options: Any) -> ModelAgent:
    """A model agent that asks the endpoint in that API."""
    base = endpoint.url if api == "anthropic" else f"{endpoint.url}/v1"
    return ModelAgent(
        options={"model": "m", "api": api, "base_url": base, **options}, secrets={"MODEL_KEY": KEY}
    )


@asynccontextmanager
async def served(
    directory: str, agent: ModelAgent, **spec: Any
) -> AsyncGenerator[tuple[PodFixture, RpcClient], None]:
    """A pod with the agent, and a client; the agent hangs up at the end."""
    try:
        async with living_pod(directory, agent, **spec) as pod, connected(pod) as client:
            yield pod, client
    finally:
        with trio.CancelScope(shield=True):
            await agent.close()


async def one_turn(
    directory: str,
    script: Sequence[Json],
    message: str = "go",
    *,
    api: Api = "openai",
    spec: Json | None = None,
    **options: Any,
) -> tuple[PodFixture, ModelEndpoint]:
    """The pod and the endpoint after one turn."""
    with ModelEndpoint(script) as endpoint:
        agent = agent_for(endpoint, api, **options)
        async with served(directory, agent, **(spec or {})) as (pod, client):
            await client.request(Run(input=message))
            await until_idle(client)
    return pod, endpoint


def results(pod: PodFixture) -> list[str]:
    """What the tools gave back, in the order in which they ended."""
    return [one["content"] for one in data(pod, "tool_result")]


def call(name: str, **arguments: Any) -> Json:
    """A call for a script."""
    return {"name": name, "arguments": arguments}
