"""The MCP project's own conformance suite against `pods mcp`, as far as it is about servers' tools.

It tries servers over HTTP, so ours is behind `mcp_over_http`. README.md says which of its scenarios
are not run, and why.
"""

from __future__ import annotations

import pytest

from end_to_end_support import PODS, open_door
from mcp_over_http import served_over_http
from vendors import VENDOR_SECONDS, find_node, find_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * VENDOR_SECONDS)]

SCENARIOS = (
    "server-initialize",
    "ping",
    "tools-list",
    "tools-call-error",
)


def test_what_the_conformance_suite_says_of_tools_holds() -> None:
    program = find_program("conformance", "@modelcontextprotocol/conformance")
    node = find_node()
    with (
        open_door() as door,
        served_over_http([*PODS, "mcp"], door.environ, door.work) as url,
    ):
        for scenario in SCENARIOS:
            words = ["server", "--url", url, "--scenario", scenario, "--verbose"]
            done = door.run([node, program, *words], seconds=VENDOR_SECONDS)
            assert done.code == 0, (scenario, done)
            assert '"SUCCESS"' in done.out, (scenario, done)
            assert '"FAILURE"' not in done.out, (scenario, done)
