from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest

from pods_tools import FORMATS, Format, Toolset, export
from pods_tools.catalogue import TOOLS
from pods_tools.schema import input_schema, output_schema
from tools_clients import FakeClient
from tools_support import FakeSupervisor

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_exported_definitions_are_those_of_the_golden_file(format_name: Format) -> None:
    golden = json.loads((GOLDEN / f"{format_name}.json").read_text())
    assert export(format_name) == golden


@pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
def test_every_schema_is_a_valid_json_schema_without_references(tool: Any) -> None:
    for schema in (input_schema(tool.input), output_schema(tool.output)):
        jsonschema.Draft202012Validator.check_schema(schema)
        assert "$ref" not in json.dumps(schema)


@pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
def test_every_field_of_an_input_is_described_and_no_other_is_taken(tool: Any) -> None:
    schema = input_schema(tool.input)
    assert schema["additionalProperties"] is False
    for name, field in schema["properties"].items():
        assert field.get("description"), name


@pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
def test_the_example_of_a_tool_is_a_right_call(tool: Any) -> None:
    jsonschema.validate(dict(tool.example), input_schema(tool.input))


def test_models_read_what_a_tool_is_for_in_a_few_sentences() -> None:
    for tool in TOOLS.values():
        assert 100 < len(tool.description) < 700


def test_real_hosts_accept_the_annotations_and_show_the_tools_at_once() -> None:
    for definition in export("mcp"):
        annotations = cast("dict[str, Any]", definition["annotations"])
        assert annotations["destructiveHint"] is False
        assert annotations["openWorldHint"] is False
        assert definition["_meta"] == {"anthropic/alwaysLoad": True}
    read_only = {one["name"] for one in export("mcp") if one["annotations"]["readOnlyHint"]}
    assert read_only == {"ReadPodOutput", "ListPods"}


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="anthropic, openai, mcp"):
        export(cast("Format", "xml"))


def test_a_toolset_has_the_definitions_too() -> None:
    assert Toolset(FakeClient(FakeSupervisor())).definitions("mcp") == export("mcp")


def test_what_is_exported_may_be_changed_by_its_owner() -> None:
    export("openai")[0]["function"]["parameters"]["properties"].clear()
    assert export("openai")[0]["function"]["parameters"]["properties"]
