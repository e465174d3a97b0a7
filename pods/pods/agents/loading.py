"""From the name of a kind to an agent.

Owns the search: the built-in table, `module:attribute`, then the entry points of the group
`pods.agents`. An attribute may be a class, an object with `run_turn`, or a coroutine function that
takes a turn. For `module:attribute` the pod's working directory is put at the end of `sys.path`, so
that an agent can lie beside the work it does and can shadow nothing that is installed.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

from pods.agents.base import Agent, TurnEnd
from pods.agents.kinds import BUILT_IN
from pods.agents.turn import Turn
from pods_protocol.errors import AgentError
from pods_protocol.values import StopReason

ENTRY_POINT_GROUP: Final = "pods.agents"

MAX_DETAIL_CHARACTERS: Final = 500
"""Of somebody else's exception in an answer; all of it is in the pod's `stderr.log`."""

_NOT_THEIRS: Final = frozenset({__file__, importlib.__file__})
"""Frames between somebody else's code and us."""

TurnFunction = Callable[[Turn], Awaitable[StopReason | TurnEnd | None]]


class FunctionAgent:
    """An agent that is one coroutine function."""

    def __init__(self, function: TurnFunction) -> None:
        self._function = function

    async def run_turn(self, turn: Turn) -> StopReason | TurnEnd | None:
        """Call it."""
        return await self._function(turn)


def load_agent(
    kind: str,
    options: Mapping[str, Any],
    *,
    cwd: str,
    secrets: Mapping[str, str] = MappingProxyType({}),
) -> Agent:
    """Find, import and make the agent.

    Args:
        kind: a built-in name, `module:attribute`, or the name of an entry point.
        options: for the agent; a class that has a parameter `options` gets them, and one that has
            a parameter `kind` gets the name it was asked for by.
        cwd: where `module:attribute` is looked for after everything that is installed.
        secrets: for the agent alone; a class that has a parameter `secrets` gets them.

    Raises:
        AgentError: with `agent` and `detail`; the traceback of what somebody else's code raised is
            printed to standard error, and the supervisor says where it keeps that.
    """
    try:
        return _make(kind, _find(kind, cwd), options, secrets)
    except AgentError:
        raise
    except (Exception, SystemExit) as error:
        # Somebody else's module or class: its words go to the asker, the rest to the log.
        traceback.print_exc()
        detail = describe_error(error)
        where = _place_of(error)
        raise AgentError(
            f"cannot load agent {kind!r}: {detail}{where}; correct it and try again",
            agent=kind,
            detail=detail,
        ) from error


def _place_of(error: BaseException) -> str:
    """The line that raised, in brackets; empty where it is none of the module's."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and frame.filename not in _NOT_THEIRS
    ]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def describe_error(error: BaseException, limit: int = MAX_DETAIL_CHARACTERS) -> str:
    """An exception in a line: its class and its words. A group of one is that one."""
    while (inner := _only_inner(error)) is not None:
        error = inner
    words = str(error).strip()
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return text if len(text) <= limit else text[:limit] + "..."


def _only_inner(error: BaseException) -> BaseException | None:
    if not isinstance(error, BaseExceptionGroup):
        return None
    inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
    return inner[0] if len(inner) == 1 else None


def _find(kind: str, cwd: str) -> object:
    built_in = BUILT_IN.get(kind)
    if built_in is not None:
        # Not by the import system where it is there already: in a forked pod each step through
        # that copies pages.
        module = sys.modules.get(built_in[0]) or importlib.import_module(built_in[0])
        return getattr(module, built_in[1])
    if ":" in kind:
        return _find_attribute(kind, cwd)
    return _find_entry_point(kind)


def _find_attribute(kind: str, cwd: str) -> object:
    module_name, _, attribute = kind.partition(":")
    if not all(part.isidentifier() for part in f"{module_name}.{attribute}".split(".")):
        raise _cannot(
            kind, "it is not of the form module:attribute", "write for example my_agents:Greeter"
        )
    if cwd not in sys.path:
        sys.path.append(cwd)
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # it is there, and imports something that is not
        raise _cannot(
            kind,
            f"there is no module {error.name!r}",
            f"put it into {cwd}, or install it where the pod's Python is",
        ) from error
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise _cannot(
                kind,
                f"{module_name} has no attribute {attribute!r}",
                _did_you_mean(name, [known for known in dir(found) if not known.startswith("_")]),
            ) from error
    return found


def _find_entry_point(kind: str) -> object:
    # Imported here: it takes as long as a whole pod's start, and the built-in kinds need it not.
    from importlib.metadata import entry_points

    found = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    point = found.get(kind)
    if point is not None:
        return point.load()
    raise _cannot(kind, "there is no such kind", _did_you_mean(kind, sorted({*BUILT_IN, *found})))


def _did_you_mean(word: str, known: list[str]) -> str:
    from difflib import get_close_matches  # for this message alone

    near = get_close_matches(word, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    if not known:
        return "check its name"
    return f"there are {', '.join(known[:20])}; your own is `module:attribute`"


def _make(
    kind: str, found: object, options: Mapping[str, Any], secrets: Mapping[str, str]
) -> Agent:
    made = found
    if inspect.isclass(found):
        takes = _parameters(found)
        for name, value in (("options", options), ("secrets", secrets)):
            if value and name not in takes:
                raise _cannot(
                    kind,
                    f"it takes no {name}",
                    f"leave them out, or give its class a parameter {name}",
                )
        factory = cast("Callable[..., object]", found)
        given = {"options": options, "kind": kind, "secrets": secrets}
        made = factory(**{name: given[name] for name in given if name in takes})
    run_turn: object = getattr(made, "run_turn", None)
    if run_turn is None and inspect.iscoroutinefunction(made):
        return FunctionAgent(cast("TurnFunction", made))
    if not inspect.iscoroutinefunction(run_turn):
        raise _cannot(
            kind,
            f"{type(made).__name__} has no `async def run_turn(self, turn)`",
            "give it one, or name a coroutine function that takes a turn",
        )
    return cast("Agent", made)


def _parameters(kind: type) -> frozenset[str]:
    """Which of `options`, `kind` and `secrets` a class takes."""
    if not any({"__init__", "__new__"} & vars(base).keys() for base in kind.__mro__[:-1]):
        # The built-in kinds. `inspect.signature` would read `object`'s from its docstring, and
        # compile a tokenizer's pattern for that: nine milliseconds of each pod's start.
        return frozenset()
    try:
        parameters = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):  # a class in C without a signature
        return frozenset()
    names = {one.name for one in parameters} & {"options", "kind", "secrets"}
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        names.add("options")
    return frozenset(names)


def _cannot(kind: str, detail: str, advice: str) -> AgentError:
    return AgentError(f"cannot load agent {kind!r}: {detail}; {advice}", agent=kind, detail=detail)
