"""The room's README is made from the schemas, and importing the room is cheap."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import pods_tools
from pods_tools import reference
from pods_tools.catalogue import TOOLS
from pods_tools.schema import input_schema


def test_the_table_in_the_readme_is_that_of_the_schemas() -> None:
    readme = reference.README.read_text("utf-8")
    assert reference.fill(readme) == readme, "after a change: python -m pods_tools.reference"


def test_every_field_of_every_tool_is_in_the_table() -> None:
    section = reference.section()
    for tool in TOOLS.values():
        part = section.partition(f"### `{tool.name}`")[2].partition("###")[0]
        for name in input_schema(tool.input)["properties"]:
            assert f"| `{name}` |" in part


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="begin tools"):
        reference.fill("# nothing")


def test_importing_the_tools_loads_neither_jsonschema_nor_an_event_loop() -> None:
    code = "import sys, json, pods_tools.toolset; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-P", "-c", code], text=True))
    assert not {"jsonschema", "trio", "cattrs", "orjson", "pods", "psutil", "filelock"} & set(
        loaded
    )


def test_what_a_host_waits_for_is_loaded_without_attrs() -> None:
    code = "import sys, json, pods_tools.mcp; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-P", "-c", code], text=True))
    assert not {"attrs", "attr", "jsonschema", "pods_tools.toolset", "asyncio"} & set(loaded)


def test_the_list_for_mcp_hosts_is_the_one_that_the_tools_give() -> None:
    written = reference.MCP_TOOLS.read_text("utf-8")
    assert written == reference.mcp_tools(), "after a change: python -m pods_tools.reference"


def test_the_room_has_what_it_names_and_nothing_else() -> None:
    assert {*pods_tools.__all__} <= {*dir(pods_tools)}
    for name in pods_tools.__all__:
        assert getattr(pods_tools, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        pods_tools.nonsense  # noqa: B018  # asking is the test
