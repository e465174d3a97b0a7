"""Whether pods live and die as they were promised to: supervisors' journals, leases, waits.

Owns those rules of issue 3's that are about whole pods, over plain JSON; `verdict` has those about
what is in a pod's journal. Pure. Each function returns sentences; none means that all is well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ledger import Ledger
from verdict import Event, holes

ENDED: Final = ("stopped", "failed", "lost")


def judge_wait(
    until: str,
    ready: Sequence[str],
    pending: Sequence[str],
    *,
    timed_out: bool,
    over: bool,
) -> list[str]:
    """A wait for all of some pods says what it waited for.

    Args:
        until: what for.
        ready, pending: the states of those that got there, and of those that did not.
        timed_out: what it says of itself.
        over: the pods had ended before it was asked.
    """
    enough = {"idle": ("idle", *ENDED), "question": ("waiting", *ENDED), "ended": ENDED}[until]
    wrong = [f"a wait until {until} says {one} is enough" for one in ready if one not in enough]
    if timed_out != bool(pending):
        wrong.append(f"a wait until {until} left {list(pending)}, timed out: {timed_out}")
    if over and pending:
        wrong.append(f"a wait until {until} missed an end before it: {list(pending)}")
    return wrong


def judge_restarts(events: Iterable[Event], restores: Mapping[str, int]) -> list[str]:
    """Nobody is started again against his policy, above its limit, or unasked once he has ended.

    Args:
        events: the supervisor's journal.
        restores: pod id -> how often a client asked for it.
    """
    wrong: list[str] = []
    policies: dict[str, Mapping[str, Any]] = {}
    attempts: dict[str, int] = {}
    restored: dict[str, int] = {}
    for event in events:
        kind, data = event["type"], event["data"]
        if kind == "pod_reserved":
            policies[data["id"]] = data["restart"]
        elif kind == "pod_restoring":
            restored[data["id"]] = restored.get(data["id"], 0) + 1
            attempts[data["id"]] = 0
        elif kind == "pod_crashed":
            one, policy = data["id"], policies[data["id"]]
            attempts[one] = attempts.get(one, 0) + 1  # no life in a round lasts
            if policy["when"] == "never":
                wrong.append(f"pod {one} is never to be started again and was")
            elif data["attempt"] > policy["limit"]:
                wrong.append(f"pod {one}: attempt {data['attempt']} of {policy['limit']}")
            if data["attempt"] != attempts[one]:
                wrong.append(f"pod {one}: attempt {data['attempt']} is number {attempts[one]}")
    wrong += [
        f"pod {one} was restored {count} times and asked for {restores.get(one, 0)} times"
        for one, count in restored.items()
        if count > restores.get(one, 0)
    ]
    return wrong


def judge_second_lives(events: Iterable[Event], restores: int) -> list[str]:
    """A pod's own journal goes on after its end only as often as it was asked for."""
    over, begun = False, 0
    for event in events:
        if event["type"] == "stopped":
            over = True
        elif event["type"] == "restarted" and over:
            over = False
            begun += 1
    if begun > restores:
        return [f"it was started again {begun} times after its end and asked for {restores} times"]
    return []


def judge_undelivered(events: Iterable[Event], told: Sequence[str]) -> list[str]:
    """What `inspect` says an ended pod never got is what its journal says.

    Args:
        events: the pod's journal.
        told: the ids in the answer, of the newest messages.
    """
    never = [
        event["data"]["message_id"]
        for event in events
        if event["type"] == "message_withdrawn" and event["data"]["reason"] == "undelivered"
    ]
    if never[len(never) - len(told) :] != list(told) or bool(never) != bool(told):
        return [f"{never} were never delivered; `inspect` says {list(told)}"]
    return []


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
