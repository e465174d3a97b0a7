"""A pod that talks to its supervisor with its own authority."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from pod_support import TOKEN, WAIT_SECONDS, connected, living_pod, until_idle
from pods.agents.turn import Turn
from pods.rpc.server import Session, check_token, serve_connection, serve_unix
from pods.rpc.stream import UnixStream
from pods.rpc.unix import bind_unix
from pods_protocol import errors
from pods_protocol.pod_messages import Empty, Hello, HelloResult, Ping, Run
from pods_protocol.supervisor_api import SUPERVISOR_API


class Supervisor:
    """Knows one token, answers `ping`, counts who came."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []

    def authenticate(self, session: Session, hello: Hello) -> HelloResult:
        if not check_token(hello.token, TOKEN):
            raise errors.NotAuthorized("cannot: wrong token")
        self.sessions.append(session)
        return HelloResult(
            protocol=hello.protocol, server="supervisor", version="0", name="x", id="", pid=1
        )

    async def serve_one(self, stream: UnixStream) -> None:
        def ping(_: Session, __: Any) -> Empty:
            return Empty()

        await serve_connection(
            stream,
            SUPERVISOR_API,
            authenticate=self.authenticate,
            handlers={"ping": ping},
            log=print,
        )


@asynccontextmanager
async def supervisor(directory: str) -> AsyncGenerator[Supervisor, None]:
    served = Supervisor()
    with bind_unix(f"{directory}/s") as listener:
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await serve_unix(listener, served.serve_one, log=print)

            nursery.start_soon(serve)
            yield served
            nursery.cancel_scope.cancel()


async def asks_home(turn: Turn) -> None:
    client = await turn.client()
    await client.request(Ping())
    await turn.text("answered")


async def test_one_connection_serves_all_turns_and_a_broken_one_is_made_again(
    short_dir: str,
) -> None:
    async with supervisor(short_dir) as home, living_pod(short_dir, asks_home) as pod:
        async with connected(pod) as client:
            for _ in range(2):
                await client.request(Run(input="x"))
                await until_idle(client)
            assert len(home.sessions) == 1
            home.sessions[0].close()
            await client.request(Run(input="x"))
            await until_idle(client)
            assert len(home.sessions) == 2
        assert [end["stop_reason"] for end in pod.ends()] == ["end_turn"] * 3, pod.ends()


async def test_without_a_supervisor_the_turn_fails_and_the_pod_lives(short_dir: str) -> None:
    async with living_pod(short_dir, asks_home) as pod, connected(pod) as client:
        for _ in range(2):
            await client.request(Run(input="x"))
            await until_idle(client)
        assert "cannot connect to" in pod.ends()[1]["message"]


async def test_a_pod_that_the_supervisor_refuses_is_told(short_dir: str) -> None:
    async with supervisor(short_dir), living_pod(short_dir, asks_home, token="old") as pod:
        async with connected(pod, token="old") as client:
            await client.request(Run(input="x"))
            await until_idle(client)
        assert "wrong token" in pod.ends()[0]["message"]


async def test_the_tools_are_bound_to_the_pod(short_dir: str) -> None:
    tools = pytest.importorskip("pods_tools")

    seen: list[object] = []

    async def agent(turn: Turn) -> None:
        toolset = await turn.toolset()
        assert isinstance(toolset, tools.Toolset)
        seen.append(toolset)

    async with supervisor(short_dir), living_pod(short_dir, agent) as pod:
        async with connected(pod) as client:
            with trio.fail_after(WAIT_SECONDS):
                for _ in range(2):
                    await client.request(Run(input="x"))
                    await until_idle(client)
        assert [end["stop_reason"] for end in pod.ends()] == ["end_turn", "end_turn"], pod.ends()
    # One for all turns: what a turn has read is not shown to the next.
    assert seen[0] is seen[1]
