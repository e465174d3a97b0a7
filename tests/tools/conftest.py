"""The five tools without an event loop, over a supervisor in memory."""

from __future__ import annotations

import pytest

from pods_tools import BlockingToolset
from tools_clients import BlockingFakeClient
from tools_support import FakePod, FakeSupervisor


@pytest.fixture
def supervisor() -> FakeSupervisor:
    return FakeSupervisor()


@pytest.fixture
def pod(supervisor: FakeSupervisor) -> FakePod:
    return supervisor.add("api")


@pytest.fixture
def tools(supervisor: FakeSupervisor) -> BlockingToolset:
    return BlockingToolset(BlockingFakeClient(supervisor))
