"""Judges a spawn request before anything is touched.

Owns every check that needs no lock and no process: name, agent's form, directory, limits, size of
the prompt, caps, scope rules made canonical. Changes nothing. Used by `spawn`.
"""

from __future__ import annotations

import json
import os
import re
import resource
from typing import Final

import orjson
from attrs import frozen

from pods.descriptors import no_descriptors
from pods.lifecycle import Life
from pods.paths import check_name, check_socket_path
from pods.records.record import PodRecord
from pods.scope.doors import Above, settle
from pods.scope.registry import normalise_rules
from pods.supervisor.authority import Caller, sees
from pods.supervisor.ceilings import attenuate, check_limits
from pods.supervisor.core import Supervisor
from pods.supervisor.own_use import OwnUse, used_by
from pods_protocol.bounds import MAX_LINE_BYTES, MAX_RESTARTS
from pods_protocol.codec import to_json
from pods_protocol.errors import (
    AgentError,
    CapacityReached,
    InvalidParams,
    InvalidScope,
    NameTaken,
    TooLarge,
)
from pods_protocol.supervisor_messages import SpawnPod
from pods_protocol.values import Doors, Limits, ParentExit, ScopeGrant, ScopeRule

ENVELOPE_BYTES: Final = 1024
"""What stands around a prompt in its `run` request and in its journal line."""

MAX_DESCRIPTION_CHARACTERS: Final = 1000
"""A sentence or two. It stands in every row of `list`, which has to fit a line with all others."""

MAX_GRANT_BYTES: Final = 128 * 1024
"""Encoded: some hundred paths of the usual length, asked for, denied and lent. It too stands in
every row, and a single row has to fit a line."""

_AGENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z|[A-Za-z_][\w.]*:[A-Za-z_][\w.]*\Z")

SPARE_DESCRIPTORS: Final = 24
"""Have to be free before a spawn begins: for the registry's and the journal's files, and for the
connections that a stop needs. A roll back or a stop must never lack one."""

DESCRIPTORS_PER_SPAWN: Final = 4
"""One that has begun may still take these: two for good, two in passing."""

OWN_DESCRIPTORS: Final = "/proc/self/fd"

GIVE_UP: Final = "do not retry: stop a pod or finish the work yourself"
"""What a model that hits a cap has to be told, or it tries again for ever."""


@frozen(kw_only=True)
class Plan:
    """A request that may be carried out."""

    parent: str | None
    parent_id: str | None
    grant: ScopeGrant
    doors: Doors
    limits: Limits
    cwd: str
    on_parent_exit: ParentExit
    replaces: str | None
    session: str


def make_plan(
    supervisor: Supervisor, caller: Caller, request: SpawnPod, parents_use: OwnUse
) -> Plan:
    """Check a request and settle its defaults.

    Args:
        supervisor, caller, request: who is asked for what by whom.
        parents_use: what the caller's own processes take of its limits.

    Raises:
        InvalidName, NameTaken, AgentError, InvalidParams, TooLarge, CapacityReached, InvalidScope,
        ScopeNotDelegable.
    """
    check_name(request.name)
    _check_agent(request)
    _check_restart(request)
    check_prompt(request.prompt)
    _check_description(request)
    parent = None if caller.pod_id is None else supervisor.known(caller.pod_id)
    _check_wake(request, parent)
    check_socket_path(supervisor.places.keeper_socket("0" * 12))
    if parent is not None and parent.life is not Life.RUNNING:
        raise CapacityReached(
            f"cannot spawn pod {request.name}: its parent {parent.name} is "
            f"{'paused' if parent.life is Life.PAUSED else 'being stopped'}; "
            f"{GIVE_UP}",
            limit_name="children",
            limit=0,
            in_use=0,
        )
    cwd = check_directory(request.cwd, None if parent is None else parent.cwd)
    replaces = _check_free(supervisor, caller, request)
    check_caps(supervisor, caller.pod_id, request.name)
    limits = _limits_of(supervisor, request, parent, parents_use)
    check_descriptors(supervisor, request.name)
    places = supervisor.places.places
    roots = (places.runtime, places.state)
    allow = normalise_rules(request.allow, forbidden_roots=roots, what="allow")
    if parent is None and request.cwd is not None:
        allow += _reading_of(cwd, allow, roots)
    deny = normalise_rules(request.deny, what="deny")
    delegable = (
        allow
        if request.delegable is None
        else normalise_rules(request.delegable, forbidden_roots=roots, what="delegable")
    )
    grant = ScopeGrant(allow=allow, deny=deny, delegable=delegable)
    _check_grant(grant)
    return Plan(
        parent=None if parent is None else parent.name,
        parent_id=caller.pod_id,
        grant=grant,
        doors=_doors_of(request, parent),
        limits=limits,
        cwd=cwd,
        on_parent_exit=request.on_parent_exit or ("keep" if parent is None else "stop"),
        replaces=replaces,
        session=caller.owner_session if parent is None else parent.session,
    )


def _check_agent(request: SpawnPod) -> None:
    if not _AGENT.match(request.agent):
        shown = request.agent[:80]
        raise AgentError(
            f"cannot start agent {shown!r}: an agent is a kind such as `shell` or `command`, or "
            "`module:attribute`; name one of these",
            agent=shown,
            detail="not the form of an agent",
        )
    if request.python is not None and not (
        os.path.isabs(request.python) and os.access(request.python, os.X_OK)
    ):
        raise InvalidParams(
            f"cannot run the agent in {request.python!r}: it is not the absolute path of a "
            "program; give the `bin/python` of a virtual environment",
            path="python",
        )
    for name, value in request.env.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise InvalidParams(
                f"cannot set the variable {name!r}: a variable's name has no `=`, and neither name "
                "nor value holds a zero byte; rename it",
                path="env",
            )


def _limits_of(
    supervisor: Supervisor, request: SpawnPod, parent: PodRecord | None, parents_use: OwnUse
) -> Limits:
    """The pod's limits: what it asks for, within what its parent has left."""
    check_limits(request.limits)
    if parent is None or parent.limits == Limits():
        return request.limits
    used = used_by(supervisor, parent, parents_use)
    return attenuate(request.name, request.limits, parent.name, parent.limits, used)


def _doors_of(request: SpawnPod, parent: PodRecord | None) -> Doors:
    return settle(
        request.name,
        network=request.network,
        unix_sockets=request.unix_sockets,
        pty=request.pty,
        call_back=request.call_back,
        parent=None if parent is None else Above(parent.name, parent.doors),
    )


def _check_restart(request: SpawnPod) -> None:
    limit = request.restart.limit
    if not 0 <= limit <= MAX_RESTARTS:
        raise InvalidParams(
            f"cannot limit restarts to {limit}: it is 0 to {MAX_RESTARTS}; choose a number in that "
            "range",
            path="restart.limit",
        )


def check_prompt(prompt: str | None) -> None:
    """Refuse a first message that no line takes.

    Raises:
        TooLarge: with the remedy.
    """
    limit = MAX_LINE_BYTES - ENVELOPE_BYTES
    if prompt is None or len(prompt) * 6 <= limit:  # no character takes more than six bytes
        return
    size = len(json.dumps(prompt, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size > limit:
        raise TooLarge(
            f"cannot send this prompt: it has {size} bytes and a line takes {limit}; put it in a "
            "file inside the pod's scope and name the file in the prompt",
            limit_bytes=limit,
            size_bytes=size,
        )


def _check_wake(request: SpawnPod, parent: PodRecord | None) -> None:
    if request.wake_on == "none":
        return
    if parent is None:
        why = "it has no parent pod; leave `wake_on` out, and use `wait` or `subscribe`"
    elif parent.agent == "shell":
        why = (
            f"its parent {parent.name} is a shell, which would run the news as a command; leave "
            "`wake_on` out: they come in PODS_NOTES with its next message"
        )
    else:
        return
    raise InvalidParams(
        f"cannot wake anybody on events of pod {request.name}: {why}", path="wake_on"
    )


def _check_description(request: SpawnPod) -> None:
    size = len(request.description)
    if size > MAX_DESCRIPTION_CHARACTERS:
        raise InvalidParams(
            f"cannot use a description of {size} characters: {MAX_DESCRIPTION_CHARACTERS} is the "
            "most; say what the pod is for in a sentence, the rest belongs into its prompt",
            path="description",
            limit=MAX_DESCRIPTION_CHARACTERS,
        )


def _check_grant(grant: ScopeGrant) -> None:
    size = len(orjson.dumps(to_json(grant)))
    if size > MAX_GRANT_BYTES:
        raise InvalidScope(
            f"cannot use this scope: its rules take {size} bytes and {MAX_GRANT_BYTES} is the "
            "most; name directories that contain several of the targets",
            target="",
            hint=f"at most {MAX_GRANT_BYTES} bytes of rules",
        )


def check_directory(asked: str | None, parents: str | None) -> str:
    """Where a pod is to work: what was asked, its parent's, or the supervisor's own.

    Raises:
        InvalidParams: it is not absolute, or not there.
    """
    cwd = asked if asked is not None else parents if parents is not None else os.getcwd()
    if "\0" in cwd or not os.path.isabs(cwd):
        hint = "" if "\0" in cwd else f", for example {os.path.abspath(cwd)}"
        raise InvalidParams(
            f"cannot start a pod in {cwd!r}: it is not an absolute path; give an absolute one"
            f"{hint}",
            path="cwd",
        )
    if not os.path.isdir(cwd):
        raise InvalidParams(
            f"cannot start a pod in {cwd}: there is no such directory; make it first, or give "
            "another",
            path="cwd",
        )
    return cwd


def _reading_of(
    cwd: str, allow: tuple[ScopeRule, ...], roots: tuple[str, ...]
) -> tuple[ScopeRule, ...]:
    """What a person's pod may read where nothing was said of reading: where it works.

    A parent agent says what its children may read; a person who types `pods spawn api --write src`
    in a project means a pod that works on that project.
    """
    if any(rule.permission == "read" for rule in allow):
        return ()
    try:
        rule = ScopeRule(target=cwd, permission="read")
        return normalise_rules((rule,), forbidden_roots=roots, what="cwd")
    except InvalidScope:
        return ()  # it holds our own directories, or is `/`: that has to be asked for in pieces


def _check_free(supervisor: Supervisor, caller: Caller, request: SpawnPod) -> str | None:
    """The ended pod that makes way, if one has to."""
    holder = supervisor.table.named(request.name)
    if holder is None:
        return None
    if not sees(supervisor, caller, holder):
        # Names are unique, so that one is taken cannot be hidden; whose it is and how it fares can,
        # and its journal is not the caller's to replace.
        raise NameTaken(
            f"cannot spawn pod {request.name}: a pod outside your own has that name; choose "
            "another",
            name=request.name,
        )
    state = supervisor.state_of(holder)
    if (
        request.replace
        and holder.life is Life.ENDED
        and not is_being_replaced(supervisor, holder.id)
    ):
        return holder.id
    if holder.life is Life.ENDED:
        remedy = f"`pods rm {holder.name}` or spawn with replace=true forgets it; or choose another"
    else:
        remedy = f"choose another, or stop it first: `pods stop {holder.name}`"
    raise NameTaken(
        f"cannot spawn pod {request.name}: pod {holder.id} has that name and is {state}; {remedy}",
        name=request.name,
        id=holder.id,
        state=state,
    )


def is_being_replaced(supervisor: Supervisor, pod_id: str) -> bool:
    """Whether a pod that is starting takes this one's name over."""
    return any(record.replaces == pod_id for record in supervisor.table.living())


def check_descriptors(supervisor: Supervisor, name: str, *, verb: str = "spawn") -> None:
    """Make sure that this start, and those under way, will find descriptors.

    Where the kernel does not count them, or they come near to an end, by taking them.

    Raises:
        CapacityReached: there are too few.
    """
    starting = sum(not live.started.is_set() for live in supervisor.pods.values())
    wanted = SPARE_DESCRIPTORS + DESCRIPTORS_PER_SPAWN * (starting + 1)
    used = os.stat(OWN_DESCRIPTORS).st_size  # their number; 0 before Linux 6.2
    if used and used + wanted < resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
        return
    taken: list[int] = []
    try:
        taken.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        for _ in range(wanted - 1):
            taken.append(os.dup(taken[0]))
    except OSError as error:
        raise no_descriptors(f"{verb} pod {name}", error) from error
    finally:
        for descriptor in taken:
            os.close(descriptor)


def check_caps(
    supervisor: Supervisor, parent_id: str | None, name: str, *, verb: str = "spawn"
) -> None:
    """Refuse a pod for which there is no room below that parent.

    Raises:
        CapacityReached: with the cap.
    """
    config, table = supervisor.options.config, supervisor.table
    in_all = len(table.living())
    caps = [("pods", in_all, config.max_pods)]
    if parent_id is not None:
        depth = table.depth(parent_id)
        children = len(table.living_below(parent_id))
        caps += [
            ("depth", depth, config.max_depth),
            ("children", children, config.max_children),
        ]
    for limit_name, in_use, limit in caps:
        if in_use >= limit:
            raise CapacityReached(
                f"cannot {verb} pod {name}: the cap on {limit_name} is {limit} and {in_use} are in "
                f"use; {GIVE_UP}",
                limit_name=limit_name,
                limit=limit,
                in_use=in_use,
            )
