"""What the audit says of an act or a refusal.

Owns the choice: names, ids, process ids, paths, numbers and codes. Never a message, a prompt, the
value of a variable or a token, and no sentence of an error, which may repeat what it was given.
Called by `service` for what is asked, by `acts` and `restart` for what follows, by `findings` for
what a doctor releases.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from pods.lifecycle import Life
from pods.records.record import PodRecord
from pods.rpc.server import Session
from pods.scope.leases import Lease
from pods.supervisor.audit import Audit
from pods.supervisor.authority import Caller
from pods.supervisor.core import Supervisor
from pods_protocol.codec import to_json
from pods_protocol.errors import (
    AgentError,
    Busy,
    ExitCode,
    InvalidScope,
    PodsError,
    StartFailed,
    UnknownPod,
)
from pods_protocol.supervisor_messages import Doctor, RestorePod, SpawnPod, SpawnPodResult
from pods_protocol.values import Limits, ScopeRule

ACTS: Final = frozenset(
    {"spawn", "stop", "pause", "resume", "restore", "remove", "prune", "shutdown", "doctor"}
)
"""Methods that use authority over pods; the rest reads, or says something to a pod, whose own
journal has it."""

MAX_RULES: Final = 50
"""Rules that a line names; of more it says how many there are."""

_FACTS: Final = frozenset(
    {
        "limit_name", "limit", "in_use", "asked", "left", "retry_after_seconds", "owner",
        "owner_id", "state", "path", "parent", "feature",
    }
)  # fmt: skip
"""What is taken over from the data of an error: numbers, and names that we made or checked."""

_OF_ANSWERS: Final = ("step", "stopped_descendants", "removed", "stopped")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


def allowed(
    supervisor: Supervisor, session: Session, method: str, message: object, answer: object
) -> None:
    """An act that was asked for is done."""
    if isinstance(message, Doctor) and not message.fix:
        return
    by = _who(supervisor, session)
    data: dict[str, Any] = {"method": method, "pod": _pod(message), "by": by}
    answered = getattr(answer, "pod", None)
    if isinstance(answered, str):  # the pod's name, where it was asked for by its id
        data["pod"] = answered
    for name in _OF_ANSWERS:
        value: str | tuple[str, ...] | None = getattr(answer, name, None)
        if value is not None:
            data[name] = value if isinstance(value, str) else list(value[:MAX_RULES])
    if isinstance(message, SpawnPod):
        record = supervisor.table.named(data["pod"])
        if record is not None:
            _began(supervisor, data, record, lender=record.asked_by)
            return
    elif isinstance(answer, SpawnPodResult):  # a restore, which may name its pod by an id
        record = supervisor.table.get(answer.pod.id)
        if record is not None:
            data["pod"] = record.name
            _began(supervisor, data, record, lender=record.parent_id)
            return
    supervisor.audit.note("allowed", data, durable=method in ("remove", "prune", "shutdown"))


def restarted(supervisor: Supervisor, record: PodRecord) -> None:
    """A pod runs again because its policy asks for it; nobody else did."""
    by = {"who": "supervisor", "pid": supervisor.identity.pid}
    data = {"method": "restart", "pod": record.name, "by": by}
    _began(supervisor, data, record, lender=record.parent_id)


def _began(
    supervisor: Supervisor, data: dict[str, Any], record: PodRecord, *, lender: str | None
) -> None:
    """A pod runs, and holds its scope: who let it, with what, and from whom it has that."""
    data |= {
        "id": record.id,
        "agent": record.agent,
        "cwd": record.cwd,
        "allow": _rules(record.grant.allow),
        "deny": _rules(record.grant.deny),
        "env_names": list(record.env_names[:MAX_RULES]),
    }
    if record.limits != Limits():
        limits = to_json(record.limits)
        data["limits"] = {name: value for name, value in limits.items() if value is not None}
    supervisor.audit.note("allowed", data)
    if lender is not None and record.grant.allow:
        supervisor.audit.note(
            "lent",
            {
                "id": record.id,
                "pod": record.name,
                "by": data["by"],
                "rules": _rules(record.grant.allow),
                "delegable": _rules(record.grant.delegable),
            },
        )


def refused(
    supervisor: Supervisor, session: Session, method: str, message: object, error: PodsError
) -> None:
    """Something that was asked for is refused; what is merely wrong or too late is none of it.

    A pod that was let begin and did not come up is `failed`: it may have held a scope meanwhile.
    """
    if session.caller is None:
        by: dict[str, Any] = {"who": "nobody", "pid": session.peer_pid, "uid": session.peer_uid}
        supervisor.audit.note_refusal(
            "token_refused", session.peer_pid, {"by": by, "code": error.CODE}
        )
        return
    hidden = isinstance(error, UnknownPod) and not session.caller.is_owner
    failed = isinstance(message, SpawnPod | RestorePod) and isinstance(
        error, AgentError | StartFailed
    )
    if error.EXIT_CODE != ExitCode.REFUSED and not (
        failed or hidden or isinstance(error, Busy | InvalidScope)
    ):
        return
    by = _who(supervisor, session)
    data = {
        "method": method,
        "pod": _pod(message),
        "by": by,
        "code": error.CODE,
        **{name: value for name, value in error.data.items() if name in _FACTS},
    }
    kind = "failed" if failed else "refused"
    supervisor.audit.note_refusal(kind, session.caller.pod_id or session.peer_pid, data)


def reclaimed(supervisor: Supervisor, leases: Iterable[Lease], code: str = "") -> None:
    """Scopes of this supervisor's pods are free again, or their parents'.

    Args:
        supervisor, leases: whose scopes.
        code: of what failed a spawn.
    """
    for lease in leases:
        if not lease.grant.allow:
            continue
        record = supervisor.table.get(lease.pod_id)
        never_ran = record is not None and record.life in (Life.RESERVED, Life.LAUNCHING)
        supervisor.audit.note(
            "reclaimed",
            {
                "id": lease.pod_id,
                "pod": lease.name,
                "why": "spawn_failed" if never_ran else "ended",
                **({"code": code} if never_ran and code else {}),
                "rules": _rules(lease.grant.allow),
            },
        )


def reclaimed_from_the_dead(audit: Audit, leases: Iterable[Lease]) -> None:
    """Scopes whose pods and whoever answers for them are dead, which an act made free.

    Also those of a supervisor's own pods: whoever buries those finds nothing to give back.
    """
    for lease in leases:
        if lease.grant.allow:
            audit.note(
                "reclaimed",
                {
                    "id": lease.pod_id,
                    "pod": lease.name,
                    "supervisor": lease.supervisor,
                    "why": "lapsed" if lease.is_pending else "dead",
                    "rules": _rules(lease.grant.allow),
                },
            )


def ended(supervisor: Supervisor, record: PodRecord, data: dict[str, Any]) -> None:
    """A pod has ended; `data` is that of the `pod_ended` event."""
    live = supervisor.pods.get(record.id)
    limit = None if live is None else live.fold.limit
    supervisor.audit.note(
        "ended",
        {
            "id": record.id,
            "pod": record.name,
            "state": data["state"],
            "step": data["step"],
            "exit": data["exit"],
            **({} if limit is None else {"limit": limit}),
        },
    )


def _who(supervisor: Supervisor, session: Session) -> dict[str, Any]:
    caller: Caller = session.caller
    if caller.pod_id is None:
        named = {"session": caller.owner_session} if caller.owner_session else {}
        return {"who": "owner", **named, "pid": session.peer_pid}
    record = supervisor.table.get(caller.pod_id)
    name = "" if record is None else record.name
    return {"who": "pod", "pod": name, "id": caller.pod_id, "pid": session.peer_pid}


def _pod(message: object) -> str:
    """The pod that a request names; what cannot be a name is not repeated."""
    given = getattr(message, "pod", getattr(message, "name", ""))
    return given if isinstance(given, str) and _NAME.match(given) else ""


def _rules(rules: tuple[ScopeRule, ...]) -> list[str]:
    words = [
        f"{rule.permission} {rule.target}{'' if rule.recursive else ' (flat)'}"
        for rule in rules[:MAX_RULES]
    ]
    more = len(rules) - MAX_RULES
    return [*words, f"and {more} more"] if more > 0 else words
