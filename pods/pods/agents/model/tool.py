"""What a tool of the model agent is, and the checking of its arguments. Pure but for what it runs.

Owns the one table a tool is made of: its parameters make the schema that the model sees and the
check of what it gives. An error says what would be right, for the model's next call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

from attrs import frozen

from pods.agents.model.talk import Call, ToolSpec
from pods.agents.turn import Turn

Kind: TypeAlias = Literal["string", "integer", "number", "boolean"]

_TYPES: Final[Mapping[Kind, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}

MAX_RESULT_BYTES: Final = 48 * 1024
"""Of what one call tells the model: some twelve thousand tokens. What has more says how to go
on."""


@frozen
class Outcome:
    """What a call gave back: for the model, and a line for people."""

    text: str
    summary: str
    is_error: bool = False


class ToolError(Exception):
    """A call that cannot be done; the words tell the model what to do instead."""


Arguments: TypeAlias = Mapping[str, Any]


@frozen(kw_only=True)
class Param:
    """A parameter; `least` is of a number."""

    name: str
    kind: Kind
    about: str
    required: bool = False
    least: int | None = None


@frozen(kw_only=True)
class OwnTool:
    """A tool.

    Attributes:
        alone: it changes files: never side by side with another.
        run: does it; ToolError where it cannot.
    """

    name: str
    description: str
    params: Sequence[Param]
    run: Callable[[Turn, Arguments], Awaitable[Outcome]]
    alone: bool = False

    def spec(self) -> ToolSpec:
        """As the model is offered it."""
        properties: dict[str, Any] = {
            one.name: {
                "type": one.kind,
                "description": one.about,
                **({} if one.least is None else {"minimum": one.least}),
            }
            for one in self.params
        }
        return ToolSpec(
            self.name,
            self.description,
            {
                "type": "object",
                "properties": properties,
                "required": [one.name for one in self.params if one.required],
                "additionalProperties": False,
            },
        )


def checked(tool: OwnTool, call: Call) -> Arguments:
    """The arguments of a call, as the tool wants them; nulls are left out.

    Raises:
        ToolError: they are not as they must be.
    """
    if call.arguments is None:
        raise ToolError(
            f"cannot call {tool.name}: its arguments are no JSON object: {call.raw[:200]!r}; call "
            "it again with an object"
        )
    given = {name: value for name, value in call.arguments.items() if value is not None}
    known = {one.name: one for one in tool.params}
    fields = ", ".join(f"`{name}`" for name in known)
    for name in given:
        if name not in known:
            raise _wrong(tool, f"there is no field `{name}`; the fields are {fields}")
    for one in tool.params:
        if one.name not in given:
            if one.required:
                raise _wrong(tool, f"`{one.name}` is missing; the fields are {fields}")
            continue
        value = given[one.name]
        right = isinstance(value, _TYPES[one.kind])
        if not right or (isinstance(value, bool) and one.kind != "boolean"):
            raise _wrong(tool, f"`{one.name}` must be of type {one.kind}")
        if one.least is not None and cast("float", value) < one.least:
            raise _wrong(tool, f"`{one.name}` must be at least {one.least}")
    return given


def _wrong(tool: OwnTool, what: str) -> ToolError:
    return ToolError(
        f"cannot call {tool.name}: {what}. Nothing was done; correct it and call again"
    )
