"""Whether journals keep what clients were promised: the invariants of issue 3, over plain JSON.

Owns every rule by which a round is judged, and nothing of the product: events are the dictionaries
that the files hold. Pure. Each function returns sentences; none means that all is well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from ledger import Ledger, Submission

Event: TypeAlias = Mapping[str, Any]

TOLD_KINDS: Final = frozenset({"turn_ended", "question", "restarted", "stopped"})
"""The events of a child that its parent is told of."""


def holes(events: Sequence[Event]) -> list[str]:
    """Seqs are 1, 2, 3 and so on."""
    for number, event in enumerate(events, 1):
        if event["seq"] != number:
            return [f"event {number} should be there, and it is {event['seq']}"]
    return []


def judge_turns(events: Sequence[Event], *, ended: bool) -> list[str]:
    """One turn at a time, each begun by one message and ended once; messages in their order.

    Args:
        events: a pod's journal.
        ended: the pod is said to be over, so nothing may be open.
    """
    wrong: list[str] = []
    queue: list[str] = []
    notes: list[str] = []
    fates: dict[str, list[str]] = {}
    running: int | None = None
    running_message = ""
    newest = 0
    stopped = 0
    for event in events:
        kind, data, turn = event["type"], event["data"], event["turn"]
        message = data.get("message_id", "")
        if kind == "message_accepted":
            if message in fates:
                wrong.append(f"message {message} was accepted twice")
            fates[message] = []
            if stopped:
                wrong.append(f"message {message} was accepted after the pod's end")
            if data["state"] == "started":
                if running is not None:
                    wrong.append(f"message {message} is to start while a turn runs")
                queue.insert(0, message)  # where a crash tore its turn away, it waits
            elif data.get("notify"):
                notes.append(message)
            elif data["if_busy"] == "interrupt":
                queue.insert(0, message)
            else:
                queue.append(message)
        elif kind == "turn_started":
            if running is not None:
                wrong.append(f"turn {turn} began while turn {running} ran")
            if turn != newest + 1:
                wrong.append(f"turn {turn} came after turn {newest}")
            if not queue or queue[0] != message:
                wrong.append(f"turn {turn} began with {message}; {queue} waited")
            if message in queue:
                queue.remove(message)
            running, newest, running_message = turn, turn, message
            for note in notes:
                fates[note].append("told")
            notes = []
        elif kind == "turn_ended":
            if turn != running:
                wrong.append(f"turn {turn} ended while {running} ran")
            fates.setdefault(running_message, []).append(data["stop_reason"])
            running = None
        elif kind == "message_withdrawn":
            if message not in queue and message not in notes:
                wrong.append(f"message {message} was {data['reason']} and did not wait")
            queue = [one for one in queue if one != message]
            notes = [one for one in notes if one != message]
            fates.setdefault(message, []).append(data["reason"])
        elif kind == "stopped":
            stopped += 1
            if stopped > 1:
                wrong.append("the pod ended twice")
        elif kind == "restarted":
            stopped = 0
        elif turn is not None and turn != running:
            wrong.append(f"event {event['seq']} ({kind}) of turn {turn} came while {running} ran")
    if ended:
        if not stopped:
            wrong.append("the pod is over and its journal does not say so")
        for message, fate in fates.items():
            if len(fate) != 1:
                wrong.append(f"message {message} was accepted and has the fates {fate}")
    return wrong


def judge_submission(events: Sequence[Event], sent: Submission) -> list[str]:
    """A message has one effect and was answered with what the journal says of it."""
    accepted = [
        event["data"]
        for event in events
        if event["type"] == "message_accepted" and event["data"]["message_id"] == sent.message_id
    ]
    name = f"message {sent.message_id}"
    wrong: list[str] = []
    if sent.answers:
        if not accepted:
            wrong.append(f"{name} was answered {sent.answers[0]} and is not in the journal")
        if len(set(sent.answers)) > 1:
            wrong.append(f"{name} was answered differently: {sent.answers}")
        for data in accepted:
            state, turn, _ = sent.answers[0]
            # A note is answered `noted`, which its event calls `queued`.
            if (data["state"] == "started") != (state == "started") or (
                state == "started" and data.get("turn") != turn
            ):
                wrong.append(f"{name} was answered {sent.answers[0]}; the journal has {data}")
    elif accepted and not sent.doubtful:
        wrong.append(f"{name} was refused ({sent.refused}) and is in the journal")
    return wrong


def judge_seen(events: Sequence[Event], seen: Sequence[Event]) -> list[str]:
    """What a subscriber got is in the journal, letter for letter."""
    for event in seen:
        seq = event["seq"]
        if seq > len(events):
            return [f"a subscriber got {event}; the journal has {len(events)} events"]
        if events[seq - 1] != event:
            return [f"a subscriber got {event}; the journal has {events[seq - 1]}"]
    return []


def judge_marks(events: Sequence[Event], marks: Sequence[str]) -> list[str]:
    """No message ran twice, and each that ended well ran."""
    wrong = [f"message {one} ran {marks.count(one)} times" for one in set(marks)
             if marks.count(one) > 1]  # fmt: skip
    begun: dict[int, str] = {}
    waking: set[str] = set()  # turns about children, whose message is none of ours
    for event in events:
        if event["type"] == "message_accepted" and not event["data"]["input"].startswith("{"):
            waking.add(event["data"]["message_id"])
        elif event["type"] == "turn_started":
            begun[event["turn"]] = event["data"]["message_id"]
        elif event["type"] == "turn_ended" and event["data"]["stop_reason"] == "end_turn":
            message = begun.get(event["turn"], "")
            if message not in marks and message not in waking:
                wrong.append(f"the turn of {message} ended well and it never ran")
    ran_unasked = set(marks) - set(begun.values())
    if ran_unasked:
        wrong.append(f"{sorted(ran_unasked)} ran without a turn")
    return wrong


def judge_children(journals: Mapping[str, Sequence[Event]], followed: Iterable[str]) -> list[str]:
    """Every event of a child that concerns its parents is in one of their journals, once.

    Args:
        journals: pod id -> events, of all pods.
        followed: ids of the pods that have somebody to be told of them now.
    """
    wrong: list[str] = []
    told: dict[str, list[int]] = {}
    for parent, events in journals.items():
        last: dict[str, int] = {}
        for event in events:
            if event["type"] != "child_event":
                continue
            data = event["data"]
            child, seq = data["id"], data["seq"]
            if seq <= last.get(child, 0):
                wrong.append(f"{parent} was told event {seq} of {child} after {last[child]}")
            last[child] = seq
            told.setdefault(child, []).append(seq)
            there = journals.get(child, ())
            if seq > len(there) or there[seq - 1]["type"] != data["type"]:
                wrong.append(f"{parent} was told of event {seq} of {child}, which is no such one")
    for child, seqs in told.items():
        twice = sorted({seq for seq in seqs if seqs.count(seq) > 1})
        if twice:
            wrong.append(f"the events {twice} of {child} were told twice")
    for child in followed:
        due = {event["seq"] for event in journals.get(child, ()) if event["type"] in TOLD_KINDS}
        missing = sorted(due - set(told.get(child, ())))
        if missing:
            wrong.append(f"the events {missing} of {child} were told to nobody")
    return wrong


_RUNS: Final = ("pod_spawned", "pod_restarted", "pod_resumed")
FOLLOWS: Final[Mapping[str, tuple[str, ...]]] = {
    "pod_reserved": ("",),
    "pod_spawned": ("pod_reserved",),
    "spawn_failed": ("pod_reserved",),
    "pod_paused": _RUNS,
    "pod_resumed": ("pod_paused",),
    "pod_crashed": (*_RUNS, "pod_paused", "pod_crashed"),
    "pod_restoring": ("pod_ended",),
    "pod_restarted": ("pod_crashed", "pod_restoring"),
    "pod_stopping": (*_RUNS, "pod_paused", "pod_crashed"),
    "pod_ended": (*_RUNS, "pod_paused", "pod_crashed", "pod_restoring", "pod_stopping"),
    "pod_removed": ("pod_ended",),
}
"""What may be written of a pod -> what was written of it last before that."""


def judge_lives(events: Sequence[Event], ledger: Ledger) -> list[str]:
    """The supervisor's journal: each pod has one life, and each spawn made one pod."""
    wrong = holes(events)
    life: dict[str, str] = {}
    by_message: dict[str, list[str]] = {}
    for event in events:
        kind, data = event["type"], event["data"]
        if kind not in FOLLOWS:
            continue
        pod_id = data["id"]
        before = life.get(pod_id, "")
        if before not in FOLLOWS[kind]:
            wrong.append(f"pod {pod_id}: {kind} came after {before or 'nothing'}")
        life[pod_id] = kind
        if kind == "pod_reserved" and data["message_id"] is not None:
            by_message.setdefault(data["message_id"], []).append(pod_id)
    for message_id, pod_ids in by_message.items():
        born = [one for one in pod_ids if life[one] != "spawn_failed"]
        if len(born) > 1:
            wrong.append(f"spawn {message_id} made {born}")
        told = set(ledger.spawned.get(message_id, ()))
        if not told <= set(born):
            wrong.append(f"spawn {message_id} was answered {told} and made {born}")
    for message_id in ledger.spawned.keys() - by_message.keys():
        wrong.append(f"spawn {message_id} was answered and is not in the supervisor's journal")
    return wrong


def open_lives(events: Iterable[Event]) -> set[str]:
    """The pods that the supervisor's journal takes for living."""
    living: set[str] = set()
    for event in events:
        if event["type"] in ("spawn_failed", "pod_ended", "pod_removed"):
            living.discard(event["data"]["id"])
        elif event["type"] in FOLLOWS:
            living.add(event["data"]["id"])
    return living


def judge_leases(leases: Mapping[str, Any], living: Mapping[str, str]) -> list[str]:
    """Each living pod holds a lease, each lease has a living pod, and no two write one place.

    Args:
        leases: pod id -> lease, as the registry has it.
        living: pod id -> name, of the pods whose processes live.
    """
    wrong = [f"pod {living[one]} lives without a lease" for one in living.keys() - leases.keys()]
    wrong += [
        f"the lease of {leases[one]['name']} has no living pod" for one in leases.keys() - living
    ]
    for one in leases.values():
        for other in leases.values():
            if one["pod_id"] < other["pod_id"] and not _related(leases, one, other):
                clash = [
                    (a, b) for a in _written(one) for b in _written(other) if _overlap(a, b)
                ]  # fmt: skip
                if clash:
                    wrong.append(f"{one['name']} and {other['name']} both write {clash[0]}")
    return wrong


def _related(leases: Mapping[str, Any], one: Any, other: Any) -> bool:
    def above(lease: Any) -> set[str]:
        found: set[str] = set()
        while lease is not None and lease["parent_id"] is not None:
            found.add(lease["parent_id"])
            lease = leases.get(lease["parent_id"])
        return found

    return one["pod_id"] in above(other) or other["pod_id"] in above(one)


def _written(lease: Any) -> list[str]:
    return [
        rule["target"] for rule in lease["grant"]["allow"] if rule["permission"] == "write"
    ]  # fmt: skip


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")
