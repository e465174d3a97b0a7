"""The journal's events as they go over the wire, and what each kind carries.

Owns the event line and the table of kinds. Producers build `data` as the TypedDict of the kind;
readers must pass kinds they do not know through untouched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NotRequired, TypedDict

from attrs import frozen


@frozen(kw_only=True)
class Event:
    """One journal line.

    Attributes:
        seq: 1 for the first; no holes; never restarts.
        time: seconds since the epoch when it was written.
        turn: the turn it belongs to, or None.
        type: one of `EVENT_KINDS`, or a kind this version does not know.
        data: what the kind carries.
    """

    seq: int
    time: float
    turn: int | None
    type: str
    data: dict[str, Any]


_new = object.__new__
_set_seq, _set_time, _set_turn, _set_type, _set_data = (
    vars(Event)[name].__set__ for name in ("seq", "time", "turn", "type", "data")
)


def checked_event(
    seq: int, time: float, turn: int | None, kind: str, data: dict[str, Any]
) -> Event:
    """The event of parts that are known to be of their types.

    A megabyte of `read` is thousands of these and nothing else; filling the slots directly takes a
    third of what the frozen class's own `__init__` does.
    """
    event = _new(Event)
    _set_seq(event, seq)
    _set_time(event, time)
    _set_turn(event, turn)
    _set_type(event, kind)
    _set_data(event, data)
    return event


class MessageAccepted(TypedDict):
    """A message was taken; from here on it has exactly one fate. `state`: `started` or `queued`.

    `sender`: what its sender called itself.
    """

    message_id: str
    input: str
    if_busy: str
    state: str
    position: NotRequired[int]
    turn: NotRequired[int]
    notify: NotRequired[bool]
    sender: NotRequired[str]


class MessageWithdrawn(TypedDict):
    """A queued message left the queue unanswered.

    `reason`: `withdrawn` by somebody, or `undelivered` because the pod ended first.
    """

    message_id: str
    reason: str


class TurnStarted(TypedDict):
    """A turn began with this message."""

    message_id: str


class TextDelta(TypedDict):
    """A piece of streamed output. The text of a turn is its pieces joined, `text` events included.

    `stream` is `stdout` or `stderr` where the text is a process's output.
    """

    text: str
    stream: NotRequired[str]


class Text(TypedDict):
    """A whole block of assistant text that was not streamed as deltas."""

    text: str


class Thought(TypedDict):
    """What the agent thinks, for people; not part of the answer."""

    text: str


class ToolCall(TypedDict):
    """The agent begins a tool call."""

    call_id: str
    name: str
    arguments: dict[str, Any]


class ToolResult(TypedDict):
    """A tool call ended."""

    call_id: str
    summary: str
    is_error: bool
    content: NotRequired[str]


class Progress(TypedDict):
    """How far the agent is: `step` of `of`."""

    message: str
    step: NotRequired[int]
    of: NotRequired[int]


class Question(TypedDict):
    """The agent waits for an answer; `default` holds when the deadline passes."""

    question_id: str
    prompt: str
    options: list[str]
    default: str | None
    deadline: float | None


class Answer(TypedDict):
    """A question was answered. `by`: `client`, `default`, or `cancelled`."""

    question_id: str
    answer: str | None
    by: str


class Artifact(TypedDict):
    """A result with a name: `text` inline where small, else `path`."""

    name: str
    media_type: str
    size: int
    sha256: str
    text: NotRequired[str]
    path: NotRequired[str]


class Usage(TypedDict, total=False):
    """What the turn cost so far."""

    input_tokens: int
    output_tokens: int
    cost_usd: float


class TurnEnded(TypedDict):
    """The turn's one end. `limit`: which of the pod's limits it crossed, if that ended it."""

    stop_reason: str
    limit: NotRequired[str]
    message: NotRequired[str]
    exit_status: NotRequired[int]
    seconds: NotRequired[float]


class ChildEvent(TypedDict):
    """Something happened to a child: its own event, with the child's name and seq.

    `since`: the child's journal after it has all that this stands for. `text`: the end of what the
    child said in there, after `omitted` characters. `wake`: an idle parent gets a turn for it.
    """

    pod: str
    id: str
    seq: int
    type: str
    data: dict[str, Any]
    turn: NotRequired[int]
    since: NotRequired[int]
    text: NotRequired[str]
    omitted: NotRequired[int]
    wake: NotRequired[bool]


class Status(TypedDict):
    """The pod's own life: `starting`, `idle`, `stopping`, and what it runs.

    `limit`, `message`: the limit that it is stopping for, and that in words.
    """

    state: str
    limit: NotRequired[str]
    message: NotRequired[str]
    agent: NotRequired[str]
    name: NotRequired[str]
    pid: NotRequired[int]


class Warning_(TypedDict):
    """Something to know that failed nothing."""

    code: str
    message: str


class Restarted(TypedDict):
    """A new process goes on with this journal.

    `reason`: how the life before it ended (`failed`, `lost`, `stopped`). `message`: why there is a
    new one. `attempt`: the number of restarts in a row, by the restart policy.
    """

    reason: str
    message: NotRequired[str]
    attempt: NotRequired[int]


class Stopped(TypedDict):
    """The pod's end, the last event. `reason`: `stopped`, `failed`, `lost` or `limit`.

    `limit`, as a reason: the pod has failed by crossing the limit that `limit` names.
    `undelivered`: ids of the messages and notes that it had taken and never gave its agent; of more
    than a hundred, `undelivered_omitted` are not named.
    """

    reason: str
    message: NotRequired[str]
    limit: NotRequired[str]
    undelivered: NotRequired[list[str]]
    undelivered_omitted: NotRequired[int]


class Gap(TypedDict):
    """Events between `first` and `last` were trimmed; made by the reader's side, never stored."""

    first: int
    last: int


EVENT_KINDS: Final[Mapping[str, type]] = {
    "message_accepted": MessageAccepted,
    "message_withdrawn": MessageWithdrawn,
    "turn_started": TurnStarted,
    "text_delta": TextDelta,
    "text": Text,
    "thought": Thought,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
    "progress": Progress,
    "question": Question,
    "answer": Answer,
    "artifact": Artifact,
    "usage": Usage,
    "turn_ended": TurnEnded,
    "child_event": ChildEvent,
    "status": Status,
    "warning": Warning_,
    "restarted": Restarted,
    "stopped": Stopped,
    "gap": Gap,
}
"""Kind -> what its `data` carries."""

ASSISTANT_TEXT_KINDS: Final = frozenset({"text_delta", "text"})
"""Joined in order, these are what the agent said."""
