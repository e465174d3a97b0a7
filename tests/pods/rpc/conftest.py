"""A server that a test starts with handlers of its own."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import trio

from pods.rpc.server import Handler
from rpc_support import Server, StartServer


@pytest.fixture
def start_server(nursery: trio.Nursery, short_dir: str) -> StartServer:
    async def start(handlers: Mapping[str, Handler]) -> Server:
        server = Server(f"{short_dir}/s", handlers)
        await nursery.start(server.run)
        return server

    return start
