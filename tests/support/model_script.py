"""What the scripted model says next: a script as data, and the one decision over it. Pure.

A script is a list of conversations, or one conversation alone:

    {"match": "build the api", "tool_less": false, "steps": [STEP, ...]}

A request belongs to the first conversation whose `match` is found in what its users said (not in
what tools gave back); without `match` to any. Agents also ask models beside the conversation, for
titles and the like, without tools: those get `SIDE_TEXT` and use up no step, unless `tool_less`.
A step is what the model does with one request:

    {"text": "hello"}                                       says something
    {"tool": "SpawnPod", "arguments": {...}, "text": "..."}    calls a tool, or several:
    {"tools": [{"name": "read_file", "arguments": {...}}, ...]}
    {"error": 429, "retry_after": 0.05}                     401, 500, ...: refuses
    {"text": "hel|lo", "cut": true}                         the stream breaks off in the middle
    {"text": "...", "fail": true}                           the stream ends with an error event
    {"text": "...", "hold": true}                           the stream stops until the caller leaves

What fails may say other `words`. Any step may have `thought` (in streams of the first two dialects
alone), `usage: [input, output]`,
`stop: "length"` or `"refusal"`, `repeat: N` (N times in all; 0 is for ever). `|` in a text is where
it is cut into pieces. A tool is found among those that were offered by its own name or by its end
(`mcp__pods__SpawnPod`, a namespace); one that is hidden behind a tool search is searched for first,
without using up the step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from attrs import define, field, frozen

Dialect: TypeAlias = Literal["anthropic", "chat", "responses", "gemini"]
Stop: TypeAlias = Literal["end", "tools", "length", "refusal"]
Ending: TypeAlias = Literal["whole", "cut", "fail", "hold"]

SIDE_TEXT: Final = "ok"
OVER_TEXT: Final = "(the script is over)"
ENDINGS: Final[tuple[Ending, ...]] = ("cut", "fail", "hold")
SEARCHES: Final = ("ToolSearch", "tool_search")
"""What Claude Code and Qwen Code call the search for tools they did not offer."""


@frozen(kw_only=True)
class Offered:
    """A tool that a request offers. `hidden`: known by name, to be searched for first."""

    name: str
    namespace: str | None = None
    custom: bool = False
    hidden: bool = False


@frozen(kw_only=True)
class Asked:
    """A request for what a model says next, of whichever dialect.

    Attributes:
        users: what users said, oldest first; what tools gave back is not in it.
        everything: the whole request as JSON text.
        schema: what the answer must be an instance of, where that was asked.
        results: how many results of tools it carries.
    """

    dialect: Dialect
    model: str
    stream: bool
    system: str
    users: tuple[str, ...]
    tools: tuple[Offered, ...]
    everything: str
    results: int = 0
    schema: Mapping[str, Any] | None = None
    with_usage: bool = True


@frozen(kw_only=True)
class Call:
    """One call of a tool; `arguments` is a text for a custom tool."""

    tool: Offered
    arguments: Mapping[str, Any] | str
    call_id: str


@frozen(kw_only=True)
class Answer:
    """What the model does with one request; `number` makes its ids differ from others'."""

    pieces: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    stop: Stop = "end"
    usage: tuple[int, int] = (10, 5)
    error: int | None = None
    retry_after: float | None = None
    words: str = ""
    ending: Ending = "whole"
    thought: str = ""
    kind: Literal["step", "search", "side", "over", "unmet"] = "step"
    number: int = 0

    @property
    def text(self) -> str:
        """All that it says."""
        return "".join(self.pieces)


@define
class _Conversation:
    match: str
    tool_less: bool
    steps: list[Mapping[str, Any]]
    at: int = 0
    uses: int = 0


@define
class ModelScript:
    """A script and how far it is.

    Attributes:
        problems: what did not go by the script: tools that were not offered, requests beyond the
            end. Empty after a conversation that went as written.
    """

    _conversations: list[_Conversation] = field(alias="conversations")
    problems: list[str] = field(factory=list[str])
    _calls: int = 0

    @classmethod
    def of(cls, data: Sequence[Mapping[str, Any]]) -> ModelScript:
        """Read a script; a list of steps is one conversation."""
        if data and "steps" not in data[0]:
            data = [{"steps": data}]
        return cls(
            [
                _Conversation(one.get("match", ""), one.get("tool_less", False), [*one["steps"]])
                for one in data
            ]
        )

    @property
    def left(self) -> int:
        """Steps that nobody has asked for yet; one that repeats for ever counts until it ran."""
        return sum(
            len(one.steps)
            - one.at
            - (1 if one.uses and not one.steps[one.at].get("repeat", 1) else 0)
            for one in self._conversations
        )

    def answer(self, asked: Asked) -> Answer:
        """Decide what the model does with a request, and go on in the script."""
        if asked.schema is not None:
            return Answer(pieces=(json.dumps(instance_of(asked.schema)),), kind="side")
        conversation = next(
            (one for one in self._conversations if any(one.match in said for said in asked.users)),
            None,
        )
        if conversation is None or (not asked.tools and not conversation.tool_less):
            return Answer(pieces=(SIDE_TEXT,), kind="side")
        if conversation.at == len(conversation.steps):
            self.problems.append(f"one more request than {conversation.match!r} has steps")
            return Answer(pieces=(OVER_TEXT,), kind="over")
        step = conversation.steps[conversation.at]
        self._calls += 1
        answer = self._perform(step, asked)
        if answer.kind != "search":
            conversation.uses += 1
            if conversation.uses == step.get("repeat", 1):
                conversation.at, conversation.uses = conversation.at + 1, 0
        return answer

    def _perform(self, step: Mapping[str, Any], asked: Asked) -> Answer:
        if "error" in step:
            return Answer(
                error=step["error"],
                retry_after=step.get("retry_after"),
                words=step.get("words", ""),
            )
        wanted: list[Mapping[str, Any]] = list(step.get("tools", ()))
        if "tool" in step:
            wanted.append({"name": step["tool"], "arguments": step.get("arguments", {})})
        calls: list[Call] = []
        for one in wanted:
            tool = find_tool(one["name"], asked.tools)
            if tool is None:
                return self._search(one["name"], asked)
            calls.append(self._call(tool, one.get("arguments", {})))
        said: str = step.get("text", "")
        input_tokens, output_tokens = step.get("usage", (10, 5))
        return Answer(
            pieces=tuple(said.split("|")) if said else (),
            calls=tuple(calls),
            stop=step.get("stop", "tools" if calls else "end"),
            usage=(input_tokens, output_tokens),
            words=step.get("words", ""),
            ending=_ending_of(step),
            thought=step.get("thought", ""),
            number=self._calls,
        )

    def _call(self, tool: Offered, arguments: Mapping[str, Any] | str) -> Call:
        self._calls += 1
        return Call(tool=tool, arguments=arguments, call_id=f"call_{self._calls}")

    def _search(self, name: str, asked: Asked) -> Answer:
        """Search for a tool that was not offered, once; else say that it is not there."""
        search = next((one for one in asked.tools if one.name in SEARCHES), None)
        named = re.search(rf"[A-Za-z0-9]+[\w.-]*?_{re.escape(name)}\b", asked.everything)
        whole = named.group() if named else name
        already = f"select:{whole}" in asked.everything
        if search is not None and not already:
            call = self._call(search, {"query": f"select:{whole}"})
            return Answer(calls=(call,), stop="tools", kind="search")
        offered = ", ".join(one.name for one in asked.tools)
        self.problems.append(f"the tool {name} is not offered; there are {offered}")
        return Answer(pieces=(f"(there is no tool {name})",), kind="unmet")


def _ending_of(step: Mapping[str, Any]) -> Ending:
    for ending in ENDINGS:
        if step.get(ending):
            return ending
    return "whole"


def find_tool(name: str, tools: Sequence[Offered]) -> Offered | None:
    """The offered tool of that name, or whose name ends with it after a separator."""
    usable = [one for one in tools if not one.hidden]
    for one in usable:
        if one.name == name:
            return one
    return next((one for one in usable if re.search(rf"[_./-]{re.escape(name)}$", one.name)), None)


def instance_of(schema: Mapping[str, Any]) -> Any:
    """Some instance of a JSON schema: enough for the routers and title makers of agents."""
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return instance_of(schema[union][0])
    kind: Any = schema.get("type", "object")
    match str(kind if isinstance(kind, str) else kind[0]).lower():
        case "object":
            return {name: instance_of(one) for name, one in schema.get("properties", {}).items()}
        case "array":
            return []
        case "string":
            return SIDE_TEXT
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return schema.get("minimum", 1)
