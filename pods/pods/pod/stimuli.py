"""What may happen to a pod, and what the turn machine tells the server to do about it.

Owns the words between `turns` (which decides) and `server` (which performs). Pure data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from attrs import frozen

from pods.journal.ending import Item
from pods_protocol.errors import PodsError
from pods_protocol.pod_messages import RunResult
from pods_protocol.process_messages import Revival
from pods_protocol.values import IfBusy, LimitName, StopReason

# Stimuli ------------------------------------------------------------------------------------------


@frozen
class Opened:
    """This process has opened the journal and goes on with it.

    Attributes:
        agent, name, pid: what it is, for the `status` event.
        revival: why there is another process, where the supervisor said so.
    """

    agent: str
    name: str
    pid: int
    revival: Revival | None = None


@frozen
class Run:
    """A client gives a message."""

    input: str
    if_busy: IfBusy
    message_id: str | None
    sender: str = ""


@frozen
class Notify:
    """A client tells something that needs no turn of its own, unless it wakes."""

    message: str
    wake: bool
    message_id: str | None
    sender: str = ""


@frozen
class Cancel:
    """A client ends the running turn."""


@frozen
class Withdraw:
    """A client takes a queued message back."""

    message_id: str


@frozen
class Answered:
    """A client answers a question."""

    question_id: str
    answer: str


@frozen
class Shutdown:
    """The pod is to end: after the running turn, or at once."""

    mode: Literal["finish", "now"]


@frozen
class Hold:
    """A client pauses or resumes the pod.

    `whole`: the supervisor is about to stop the whole tree, so that it matters not whether the
    agent can hold itself.
    """

    feature: Literal["pause", "resume"]
    whole: bool = False


@frozen
class Asked:
    """The agent asks. `deadline` is seconds since the epoch, for readers; the server keeps it."""

    turn: int
    prompt: str
    options: tuple[str, ...]
    default: str | None
    deadline: float | None


@frozen
class ChildTold:
    """The supervisor tells of an event of a child.

    Attributes:
        child, seq: whose, and which.
        data: what is journaled of it.
        wake: it starts a turn where nothing else does.
    """

    child: str
    seq: int
    data: dict[str, Any]
    wake: bool


@frozen
class QuestionClosed:
    """A question's deadline passed, or its asker no longer waits. `by`: which of the two."""

    question_id: str
    by: Literal["default", "cancelled"]


@frozen
class Finished:
    """The agent is done with its turn, however it ended."""

    turn: int
    stop_reason: StopReason
    message: str = ""
    exit_status: int | None = None
    seconds: float | None = None
    limit: LimitName | None = None


@frozen
class LimitReached:
    """The pod has crossed a limit that ends it. `message`: in words."""

    limit: LimitName
    message: str


Stimulus: TypeAlias = (
    Opened
    | Run
    | Notify
    | Cancel
    | Withdraw
    | Answered
    | Shutdown
    | Hold
    | ChildTold
    | Asked
    | QuestionClosed
    | Finished
    | LimitReached
)


# Decisions ----------------------------------------------------------------------------------------


@frozen
class StartTurn:
    """Let the agent run.

    Attributes:
        notes: what it is told besides the message.
        child_events: what became of its children since its last turn; in words, they are among the
            notes, or they are the message.
    """

    turn: int
    message_id: str
    input: str
    notes: tuple[str, ...] = ()
    child_events: tuple[Mapping[str, Any], ...] = ()


@frozen
class CancelTurn:
    """Cancel the agent's task; `Finished` follows when it is out.

    Attributes:
        limit: the limit of the pod that ends it, where that is the reason.
        message: in words.
    """

    turn: int
    reason: Literal["cancel", "interrupt", "shutdown", "limit"]
    limit: LimitName | None = None
    message: str = ""


@frozen
class GiveAnswer:
    """Let the agent that asked go on; None where there is no answer."""

    question_id: str
    answer: str | None


@frozen
class HoldTurn:
    """Hold the running turn, if there is one, and its clocks; or let them go on."""

    held: bool


@frozen
class EndPod:
    """Nothing runs and nothing waits: end the process."""


Command: TypeAlias = StartTurn | CancelTurn | GiveAnswer | HoldTurn | EndPod
Reply: TypeAlias = RunResult | str | int | None


@frozen
class Decision:
    """What follows from one stimulus: write the events, then reply, then perform the commands.

    Attributes:
        events: to be journaled with one write, or the whole decision is void.
        durable: whether they must be on disk before anything else.
        reply: what the asker gets (see the machine's methods), or the error it gets.
        commands: what to perform, in order.
    """

    events: tuple[Item, ...] = ()
    durable: bool = False
    reply: Reply | PodsError = None
    commands: tuple[Command, ...] = ()
