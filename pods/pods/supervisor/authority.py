"""Who asks, and what that caller may see.

Owns the judgement of a `hello` and the finding of pods by name or id. A pod's token sees that
pod's descendants alone; everything else is unknown to it, never forbidden. Used by every method.
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Final

from attrs import define

from pods.lifecycle import Life
from pods.paths import check_name
from pods.records.record import PodRecord
from pods.rpc.server import Session, check_token
from pods.rpc.welcome import welcome
from pods.supervisor.core import Supervisor, token_digest
from pods.supervisor.recognise import pod_above
from pods_protocol.bounds import MAX_NAME_LENGTH
from pods_protocol.errors import AmbiguousPod, NotAuthorized, UnknownPod
from pods_protocol.pod_messages import Hello, HelloResult

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_NAMES_SHOWN: Final = 20
"""Names in an `unknown_pod` answer: enough to find the typing error in."""

MIN_PREFIX_LENGTH: Final = 4
"""Shorter id prefixes collide too soon to be worth typing."""

LONGEST_TOKEN: Final = 256
"""Characters; ours have 64. Longer ones are not worth hashing."""


@define(kw_only=True)
class Caller:
    """Whom a connection speaks for: a pod, or with None the owner.

    Attributes:
        owner_session: of the owner's the one session that it speaks for; empty for all that the
            owner has, and for pods.
    """

    pod_id: str | None
    session: Session
    owner_session: str = ""
    subscribed: bool = False

    @property
    def is_owner(self) -> bool:
        """Whether it may do what concerns everybody."""
        return self.pod_id is None and not self.owner_session

    @property
    def reader(self) -> str:
        """The caller's own name for cursors."""
        if self.pod_id is not None:
            return self.pod_id
        return f"session/{self.owner_session}" if self.owner_session else "owner"


def authenticator(supervisor: Supervisor) -> Callable[[Session, Hello], HelloResult]:
    """The judge of `hello` on the control socket."""

    def authenticate(session: Session, hello: Hello) -> HelloResult:
        if check_token(hello.token, supervisor.token):
            name = check_name(hello.session, "session") if hello.session else ""
            session.caller = Caller(pod_id=None, session=session, owner_session=name)
        else:
            pod_id = (
                _pod_of_token(supervisor, hello.token)
                if hello.token
                else _recognise(supervisor, session)
            )
            if hello.session:
                raise NotAuthorized(
                    "cannot speak for a session in a pod's name: sessions are the owner's; "
                    "leave `session` out, the pod has its own children"
                )
            session.caller = Caller(pod_id=pod_id, session=session)
        return welcome("supervisor", supervisor.places.name)

    return authenticate


def _pod_of_token(supervisor: Supervisor, token: str) -> str:
    known = len(token) <= LONGEST_TOKEN
    pod_id = supervisor.callers.get(token_digest(token)) if known else None
    if pod_id is None:
        raise NotAuthorized(
            "cannot take this token: it is not the owner's and not that of a living pod; "
            f"people's clients read it from {supervisor.places.owner_token}"
        )
    return pod_id


def _recognise(supervisor: Supervisor, session: Session) -> str:
    """The pod in whose name a process may speak that brings no token: its own.

    Raises:
        NotAuthorized: it is no process of a pod that may call back, or nobody can say whose it is.
    """
    descriptor = session.peer_process()
    if descriptor is None:
        raise NotAuthorized(
            "cannot take a hello without a token: whose process asks is told by Linux 6.5 and "
            "newer, while it lives; send the token, in pods that of PODS_TOKEN_FILE"
        )
    keepers = {
        live.keeper_identity.pid: (live.keeper_identity, pod_id)
        for pod_id, live in supervisor.pods.items()
        if live.keeper_identity is not None
    }
    try:
        pod_id = pod_above(descriptor, keepers)
    finally:
        os.close(descriptor)
    if pod_id is None:
        raise NotAuthorized(
            "cannot take a hello without a token: the process that asks is none of a living pod; "
            f"people's clients read a token from {supervisor.places.owner_token}"
        )
    record = supervisor.known(pod_id)
    if not record.call_back:
        raise NotAuthorized(
            f"cannot let a process of pod {record.name} speak for it: the pod was spawned without "
            "`call_back`; ask whoever spawned it"
        )
    return pod_id


def check_caller(supervisor: Supervisor, caller: Caller) -> None:
    """Make sure that the caller is still there to ask.

    Raises:
        NotAuthorized: it is a pod that has ended.
    """
    if caller.pod_id is not None and caller.pod_id not in supervisor.pods:
        raise NotAuthorized(
            "cannot take this request: the pod that asks has ended; ask as its parent"
        )


def visible(supervisor: Supervisor, caller: Caller) -> list[PodRecord]:
    """Every pod that the caller may know of, parents before children."""
    below = supervisor.table.descendants(caller.pod_id)
    if not caller.owner_session:
        return below
    return [record for record in below if record.session == caller.owner_session]


def find_pod(supervisor: Supervisor, caller: Caller, wanted: str) -> PodRecord:
    """The pod of that name or unique id prefix, if the caller may know of it.

    Raises:
        UnknownPod: none; with the nearest name and the names there are.
        AmbiguousPod: a prefix of several ids.
    """
    named = supervisor.table.named(wanted)
    if named is not None and sees(supervisor, caller, named):
        return named
    if len(wanted) >= MIN_PREFIX_LENGTH:
        matches = [record for record in visible(supervisor, caller) if record.id.startswith(wanted)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            ids = sorted(record.id for record in matches)[:MAX_NAMES_SHOWN]
            raise AmbiguousPod(
                f"cannot tell which pod {wanted!r} is: several ids begin so: {', '.join(ids)}; "
                "give more of it, or the name",
                pod=wanted,
                matches=ids,
            )
    raise unknown_pod(supervisor, caller, wanted)


def unknown_pod(supervisor: Supervisor, caller: Caller, wanted: str) -> UnknownPod:
    """The error that names what the caller could have meant."""
    names = [record.name for record in visible(supervisor, caller)]
    shown = sorted(names)[:MAX_NAMES_SHOWN]
    asked = wanted if len(wanted) <= MAX_NAME_LENGTH else wanted[:MAX_NAME_LENGTH] + "..."
    near = difflib.get_close_matches(asked, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    there = (
        f"{hint}there are: {', '.join(shown)}{more}; `pods ls -a` shows them"
        if shown
        else "you have no pods; `pods spawn NAME` starts one"
    )
    return UnknownPod(
        f"cannot find pod {asked!r}: {there}",
        pod=asked,
        known=shown,
        nearest=near[0] if near else None,
    )


def sees(supervisor: Supervisor, caller: Caller, record: PodRecord) -> bool:
    """Whether the caller may know of this pod."""
    if caller.pod_id is None:
        return caller.is_owner or record.session == caller.owner_session
    return caller.pod_id in supervisor.table.ancestors(record.id)


def is_settled(record: PodRecord) -> bool:
    """Whether the pod has ended with all that follows from it."""
    return record.life is Life.ENDED


def known_as(supervisor: Supervisor, caller: Caller) -> str:
    """What a caller is called towards pods and people: nothing that it says of itself."""
    if caller.pod_id is not None:
        return f"pod {supervisor.known(caller.pod_id).name}"
    return f"session {caller.owner_session}" if caller.owner_session else "owner"
