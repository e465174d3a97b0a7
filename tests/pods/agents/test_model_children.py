"""What a child that asks a model gets from its parent, and what it never does."""

from __future__ import annotations

from typing import Any

import pytest

from pods.agents.model.children import Endowing
from pods.agents.model.settings import Settings, read_settings
from pods_protocol.pod_messages import Empty, Request, Run
from pods_protocol.supervisor_messages import SpawnPod

OWN: Settings = read_settings({"model": "m", "base_url": "https://models/v1", "system": "mine"})
VARIABLE = "PODS_SECRET_MODEL_KEY"


class Supervisor:
    """Takes requests and keeps them."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    async def request(self, message: Request[Any], /) -> Any:
        self.taken.append(message)
        return Empty()

    async def send(self, pod: str, message: Run, /) -> Any:
        self.taken.append((pod, message))


async def endowed(message: SpawnPod, key: str = "sk-1") -> SpawnPod:
    """The request as it reaches the supervisor."""
    supervisor = Supervisor()

    async def client() -> Any:
        return supervisor

    await Endowing(client, OWN, key).request(message)
    (taken,) = supervisor.taken
    assert isinstance(taken, SpawnPod)
    return taken


async def test_a_child_that_asks_a_model_gets_model_endpoint_and_key() -> None:
    taken = await endowed(SpawnPod(name="kid", agent="model", options={"max_requests": 3}))
    assert taken.options == {
        "model": "m", "api": "openai", "base_url": "https://models/v1", "max_requests": 3,
    }  # fmt: skip
    assert taken.env == {VARIABLE: "sk-1"}
    assert taken.call_back


async def test_its_own_options_come_first() -> None:
    taken = await endowed(SpawnPod(name="kid", agent="model", options={"model": "small"}))
    assert (taken.options["model"], taken.env) == ("small", {VARIABLE: "sk-1"})


@pytest.mark.parametrize("url", ["https://elsewhere/v1", "https://models/v1/", "", None, 3])
async def test_the_key_never_goes_to_another_address(url: object) -> None:
    taken = await endowed(SpawnPod(name="kid", agent="model", options={"base_url": url}))
    assert taken.env == {}


@pytest.mark.parametrize("agent", ["shell", "command", "my_agents:model", "claude"])
async def test_children_of_other_kinds_get_nothing(agent: str) -> None:
    asked = SpawnPod(name="kid", agent=agent)
    assert await endowed(asked) == asked


async def test_without_a_key_there_is_none_to_give() -> None:
    assert (await endowed(SpawnPod(name="kid", agent="model"), key="")).env == {}


async def test_messages_to_children_go_as_they_are() -> None:
    supervisor = Supervisor()

    async def client() -> Any:
        return supervisor

    await Endowing(client, OWN, "sk-1").send("kid", Run(input="go"))
    assert supervisor.taken == [("kid", Run(input="go"))]
