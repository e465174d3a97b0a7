"""What clients were told during a round: the promises that the journals must keep.

Owns no judgement (`verdict` does) and no connection (`actors` fills it). Pure.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field, frozen


@define
class Submission:
    """One message as its sender knows it.

    Attributes:
        answers: what came back, each time that something did: `(state, turn, position)`.
        refused: the codes of refusals.
        doubtful: whether an attempt went without an answer.
    """

    pod_id: str
    message_id: str
    answers: list[tuple[str, int | None, int | None]] = field(factory=list)
    refused: list[str] = field(factory=list[str])
    doubtful: bool = False


@frozen
class Page:
    """One answer to a read without kinds: what was asked for and what came."""

    since: int
    events: list[dict[str, Any]]
    next: int
    truncated: bool


@frozen
class Tape:
    """A pod's journal as its files had it when they were read, with what retention took.

    Attributes:
        events: all there ever were.
        kept: the seq of the first that is still there for the product's readers.
        torn: what is wrong with its lines.
    """

    events: list[dict[str, Any]]
    kept: int = 1
    torn: list[str] = field(factory=list[str])


@define
class Ledger:
    """All that was acknowledged.

    Attributes:
        submissions: by pod id and message id.
        withdrawn: `(pod id, message id)` whose withdrawal was answered.
        answered: `(pod id, question id)` -> the answer that was taken.
        spawned: message id of the spawn -> the pod ids that were answered.
        names: pod id -> name, of every pod that a client was ever told of.
        directories: pod id -> its directory.
        seen: pod id -> events that a subscriber got, in the order in which they came.
        pages: pod id -> what readers got.
        restores: pod id -> how often it was asked to be started again.
        over: pod id -> the restores that had been asked for when a client was told of its end.
        removals: the pods whose removal was asked for; `removed`: and answered.
        prunes: how often everything that has ended was to be removed.
        tapes: pod id -> its journal, read before its removal was asked for.
        sent_to: message id -> the name of the pod that it was sent to first.
        complaints: what was wrong at once, without a look at any journal.
    """

    submissions: dict[tuple[str, str], Submission] = field(factory=dict)
    withdrawn: set[tuple[str, str]] = field(factory=set)
    answered: dict[tuple[str, str], str] = field(factory=dict)
    spawned: dict[str, list[str]] = field(factory=dict)
    names: dict[str, str] = field(factory=dict)
    directories: dict[str, str] = field(factory=dict)
    seen: dict[str, list[dict[str, Any]]] = field(factory=dict)
    pages: dict[str, list[Page]] = field(factory=dict)
    restores: dict[str, int] = field(factory=dict)
    over: dict[str, int] = field(factory=dict)
    removals: set[str] = field(factory=set)
    removed: set[str] = field(factory=set)
    prunes: int = 0
    tapes: dict[str, Tape] = field(factory=dict)
    sent_to: dict[str, str] = field(factory=dict)
    complaints: list[str] = field(factory=list[str])

    def submission(self, pod_id: str, message_id: str) -> Submission:
        """The record of a message to a pod."""
        key = (pod_id, message_id)
        found = self.submissions.get(key)
        if found is None:
            found = self.submissions[key] = Submission(pod_id, message_id)
        return found

    def saw(self, pod_id: str, event: dict[str, Any]) -> None:
        """A subscriber got an event; it must be the one after the last."""
        events = self.seen.setdefault(pod_id, [])
        after = events[-1]["seq"] if events else 0
        first = event["data"]["first"] if event["type"] == "gap" else event["seq"]
        if first != after + 1:
            self.complaints.append(
                f"a subscriber of {self.names.get(pod_id, pod_id)} got event {event['seq']} "
                f"after {after}"
            )
        events.append(event)

    # Ends ---------------------------------------------------------------------------------------

    def end(self, pod_id: str) -> None:
        """A client was told that a pod is over."""
        self.over.setdefault(pod_id, self.restores.get(pod_id, 0))

    def begin(self, pod_id: str) -> None:
        """A client was told that it lives."""
        self.over.pop(pod_id, None)

    def is_over(self, pod_id: str) -> bool:
        """Whether it is over as far as anybody was told."""
        return pod_id in self.over

    def is_surely_over(self, pod_id: str) -> bool:
        """Whether it is over and nobody has asked for it since."""
        return self.over.get(pod_id) == self.restores.get(pod_id, 0)
