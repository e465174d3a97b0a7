"""What becomes of an agent's `session/request_permission`: who decides, what is asked, the answer.

Owns the policies, the words that people and parents answer with, and how those become one of the
options that the agent offered. Where nobody answers, the answer is no. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast, get_args

from pods.agents.acp.updates import ToolCall, as_text
from pods.agents.text import shorten

Policy = Literal["ask", "allow-in-scope", "deny"]
"""`ask`: every request is a question. `allow-in-scope`: what stays within the pod's scope is
allowed unasked, the rest is a question. `deny`: nothing is allowed."""

POLICIES: Final[tuple[str, ...]] = get_args(Policy)

Verdict = Literal["allow", "deny", "ask"]

DENY: Final = "deny"
"""The answer that is always offered, and holds where nobody answers."""

ALLOW: Final = "allow"

WORDS: Final[Mapping[str, str]] = {
    "allow_once": ALLOW,
    "allow_always": "allow-always",
    "reject_once": DENY,
    "reject_always": "deny-always",
}
"""Kind of an option -> the word that chooses it."""

MAX_CHOICES: Final = 12
"""Of one request; a question takes sixteen options, and `deny` is one."""

MAX_INPUT_BYTES: Final = 2000
"""Of a call's arguments in a question: enough to see a command line."""

MAX_TITLE_BYTES: Final = 1000
MAX_PLACES_BYTES: Final = 2000
MAX_NAME_BYTES: Final = 100
"""Of what else the agent says in a question. All of it together stays below what a question holds
(`turn.MAX_PROMPT_BYTES`), so that no title pushes the arguments, or how to answer, out of sight."""

READS: Final = frozenset({"read", "search", "think"})
WRITES: Final = frozenset({"edit", "delete", "move"})

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")

MayTouch: TypeAlias = Callable[[str], bool]
Json: TypeAlias = dict[str, Any]


class Choice(NamedTuple):
    """One option of the agent's: the word for it, its id, its name, its kind."""

    word: str
    option_id: str
    name: str
    kind: str


def choices_of(params: Mapping[str, Any]) -> tuple[Choice, ...]:
    """What the agent offers, each under a word of its own."""
    options: object = params.get("options")
    found: list[Choice] = []
    for one in cast("list[object]", options) if isinstance(options, list) else []:
        if not isinstance(one, dict) or len(found) >= MAX_CHOICES:
            continue
        given = cast("Json", one)
        option_id, kind = given.get("optionId"), str(given.get("kind"))
        if not isinstance(option_id, str):
            continue
        name = str(given.get("name") or option_id)
        found.append(Choice(_word_for(kind, option_id, found), option_id, name, kind))
    return tuple(found)


def _word_for(kind: str, option_id: str, others: Sequence[Choice]) -> str:
    """A word that no other option has. Ours are for what they mean: no id of an agent's takes one.

    An option that allows and has the id `deny` would else be what nobody's answer chooses.
    """
    taken = {choice.word for choice in others}
    of_kind = WORDS.get(kind, "")
    if of_kind and of_kind not in taken:
        return of_kind
    taken.update(WORDS.values())
    own = _UNSAFE.sub("-", option_id).strip("-")[:60]
    if own and own not in taken:
        return own
    return next(word for at in count(len(others) + 1) if (word := f"choice-{at}") not in taken)


def judge(
    call: ToolCall,
    policy: Policy,
    *,
    may_read: MayTouch,
    may_write: MayTouch,
    held: bool,
) -> Verdict:
    """Who decides about a call.

    Args:
        call: what the agent wants to do.
        policy: the pod's.
        may_read, may_write: whether a path is within its scope.
        held: the kernel holds the pod to its scope, whatever the call really does.
    """
    if policy != "allow-in-scope":
        return "deny" if policy == "deny" else "ask"
    paths = [re.sub(r":\d+\Z", "", place) for place in call.locations]
    if call.kind in READS:
        inside = all(map(may_read, paths)) and (bool(paths) or held or call.kind == "think")
    elif call.kind in WRITES:
        inside = all(map(may_write, paths)) and (bool(paths) or held)
    else:
        # A command may do anything; where the kernel holds it, anything within the scope.
        inside = call.kind == "execute" and held and all(map(may_read, paths))
    return "allow" if inside else "ask"


def pick(choices: Sequence[Choice], verdict: Literal["allow", "deny"]) -> str | None:
    """The option that says so, the one for this once first; None where none does."""
    what = "allow" if verdict == "allow" else "reject"
    kinds = (f"{what}_once", f"{what}_always")
    for kind in kinds:
        for choice in choices:
            if choice.kind == kind:
                return choice.option_id
    return None


def offered(choices: Sequence[Choice]) -> tuple[str, ...]:
    """The words that may be answered with; what holds for this once comes first."""
    words = [choice.word for choice in choices]
    once = [word for word in (ALLOW, DENY) if word in words or word == DENY]
    return (*once, *(word for word in words if word not in once))


def option_for(choices: Sequence[Choice], word: str) -> str | None:
    """The option behind a word; None for a `deny` that the agent does not offer."""
    return next((choice.option_id for choice in choices if choice.word == word), None)


def outcome(option_id: str | None) -> Json:
    """The answer to the request; without an option it is that the request was cancelled."""
    if option_id is None:
        return {"outcome": {"outcome": "cancelled"}}
    return {"outcome": {"outcome": "selected", "optionId": option_id}}


def describe(
    agent: str, call: ToolCall, choices: Sequence[Choice], *, pod: str, seconds: float
) -> str:
    """The question in words; `seconds` after it was asked the answer is no."""
    title = _shown(call.title or call.kind, MAX_TITLE_BYTES)
    lines = [f"{agent} asks for permission: {title} ({_shown(call.kind, MAX_NAME_BYTES)})"]
    if call.locations:
        lines.append(f"files: {_shown(', '.join(call.locations), MAX_PLACES_BYTES)}")
    if call.raw_input:
        lines.append(f"arguments: {_shown(as_text(call.raw_input), MAX_INPUT_BYTES)}")
    lines += (
        f"{choice.word}: {_shown(choice.name, MAX_NAME_BYTES)}"
        for choice in choices
        if choice.word != choice.name.lower()
    )
    lines.append(
        f"Answer with one of {', '.join(offered(choices))}: `pods answer {pod} WORD`. "
        f"Unanswered it is {DENY} after {seconds:g} s."
    )
    return "\n".join(lines)


def _shown(text: str, max_bytes: int) -> str:
    """What an agent says, on one line: it can add none of its own, nor move a terminal's cursor."""
    cut = shorten(text, max_bytes)
    return "".join(char if char.isprintable() else " " for char in cut)
