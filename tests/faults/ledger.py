"""What clients were told during a round: the promises that the journals must keep.

Owns no judgement (`verdict` does) and no connection (`actors` fills it). Pure.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field


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


@define
class Ledger:
    """All that was acknowledged.

    Attributes:
        submissions: by pod id and message id.
        withdrawn: `(pod id, message id)` whose withdrawal was answered.
        spawned: message id of the spawn -> the pod ids that were answered.
        names: pod id -> name, of every pod that a client was ever told of.
        directories: pod id -> its directory.
        seen: pod id -> events that a subscriber got, in the order in which they came.
        complaints: what was wrong at once, without a look at any journal.
    """

    submissions: dict[tuple[str, str], Submission] = field(factory=dict)
    withdrawn: set[tuple[str, str]] = field(factory=set)
    spawned: dict[str, list[str]] = field(factory=dict)
    names: dict[str, str] = field(factory=dict)
    directories: dict[str, str] = field(factory=dict)
    seen: dict[str, list[dict[str, Any]]] = field(factory=dict)
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
        if event["seq"] != after + 1:
            self.complaints.append(
                f"a subscriber of {self.names.get(pod_id, pod_id)} got event {event['seq']} "
                f"after {after}"
            )
        events.append(event)
