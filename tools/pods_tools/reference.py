"""What is generated from the tools: the README's part with their fields, and MCP's list of them.

Owns both texts, made from the schemas that models get. `python -m pods_tools.reference` puts the
one between the README's marks and writes the other; tests compare. Nothing at run time imports it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pods_tools.catalogue import TOOLS
from pods_tools.definitions import export
from pods_tools.mcp import TOOLS_FILE
from pods_tools.schema import Schema, input_schema, output_schema
from pods_tools.tool import Tool

README = Path(__file__).parents[1] / "README.md"
MCP_TOOLS = Path(__file__).with_name(TOOLS_FILE)
BEGIN = "<!-- begin tools -->"
END = "<!-- end tools -->"


def section() -> str:
    """The generated part."""
    return "\n".join(_tool(tool) for tool in TOOLS.values())


def mcp_tools() -> str:
    """The definitions in MCP's shape as the file has them: a tool a line, short to read in."""
    lines = (json.dumps(tool, separators=(",", ":")) for tool in export("mcp"))
    return "[\n" + ",\n".join(lines) + "\n]\n"


def fill(readme: str) -> str:
    """The README with its generated part made anew.

    Raises:
        ValueError: its marks are missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"cannot fill in the tools: the README has no `{BEGIN}` and `{END}`")
    return f"{before}{BEGIN}\n\n{section()}\n{END}{after}"


def _tool(tool: Tool) -> str:
    schema = input_schema(tool.input)
    rows = [_row(name, field, name in schema["required"]) for name, field in _fields(schema)]
    table = ["| field | takes | meaning |", "|---|---|---|", *rows] if rows else ["No fields."]
    answer = ", ".join(f"`{name}`" for name in output_schema(tool.output)["properties"])
    return "\n".join(
        [
            f"### `{tool.name}`",
            "",
            tool.description,
            "",
            *table,
            "",
            f"Data: {answer}.",
            "",
            f"Example: `{json.dumps(tool.example)}`",
            "",
        ]
    )


def _fields(schema: Schema) -> list[tuple[str, Schema]]:
    """The fields, and below an object its own."""
    found: list[tuple[str, Schema]] = []
    for name, field in schema["properties"].items():
        found.append((name, field))
        found += [(f"{name}.{inner}", one) for inner, one in field.get("properties", {}).items()]
    return found


def _row(name: str, field: Schema, required: bool) -> str:
    what = _takes(field)
    if required:
        what += ", required"
    elif "default" in field:
        what += f", default `{json.dumps(field['default'])}`"
    return f"| `{name}` | {what} | {field['description']} |"


def _takes(field: Schema) -> str:
    if "enum" in field:
        return " / ".join(f"`{word}`" for word in field["enum"])
    if "anyOf" in field:
        return " or ".join(_takes(branch) for branch in field["anyOf"])
    if field["type"] == "array":
        return f"list of {_takes(field['items'])}"
    return f"{field['type']}{_bounds(field)}"


def _bounds(field: Schema) -> str:
    low: Any = field.get("minimum")
    high: Any = field.get("maximum")
    if low is not None and high is not None:
        return f" {low} to {high}" if high < 10**9 else f" from {low}"
    if "exclusiveMinimum" in field:
        return f" above {field['exclusiveMinimum']:g} to {high:g}"
    if "maxLength" in field and "pattern" not in field:
        return f" of at most {field['maxLength']} characters"
    return ""


if __name__ == "__main__":  # pragma: no cover
    README.write_text(fill(README.read_text("utf-8")), "utf-8")
    MCP_TOOLS.write_text(mcp_tools(), "utf-8")
