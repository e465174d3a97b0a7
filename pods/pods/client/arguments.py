"""From what a program says to the request that goes out.

Owns the convenience of `spawn`'s arguments: paths of any kind, relative to the program's directory,
plain mappings where the wire has objects; and the check of times that the client itself waits by.
Checks nothing else that the supervisor checks. Used by `aio`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, TypedDict

from pods_protocol.codec import from_json
from pods_protocol.errors import InvalidParams
from pods_protocol.supervisor_messages import SpawnPod
from pods_protocol.values import (
    Limits,
    Network,
    ParentExit,
    Permission,
    RestartPolicy,
    RestartWhen,
    ScopeRule,
    UnixSockets,
    WakeOn,
)

ScopePath: TypeAlias = "str | os.PathLike[str] | ScopeRule"
"""A path stands for its whole tree; a `ScopeRule` says exactly what is meant."""


class SpawnOptions(TypedDict, total=False):
    """Everything that `spawn` and `session` take beside the name; all of it has a default.

    Attributes:
        agent: `shell` (default), `command`, `echo`, an entry point, or `module:attribute`.
        options: for the agent.
        prompt: the first message.
        write: paths it may read and write.
        read: paths it may read.
        deny: paths taken out of that altogether.
        delegable: what it may lend on, for reading and writing; None is everything.
        cwd: where it works; the program's own directory if not given.
        env: variables for its processes.
        limits: its ceilings: `Limits`, or a mapping with its fields.
        description: for lists.
        on_parent_exit: `stop` or `keep`.
        wake_on: which of its events start a turn of the pod that asks for it: `none` (default),
            `ended` (its turns' ends and its own), or `question` (those and its questions).
        restart: whether it is started again when it dies: a `RestartPolicy`, a mapping
            with its fields, or its `when`.
        python: another interpreter for its agent.
        call_back: its processes may use pods as this pod.
        replace: remove an ended pod of this name first.
        require_enforcement: refuse where the kernel cannot hold it to its scope.
        network: `open`, `loopback` (its own, nothing else), `none`; its parent's if not given.
        unix_sockets: `any`, or `none`: it connects to no socket that has a path.
        pty: it may open terminals.
        message_id: idempotency key.
    """

    agent: str
    options: Mapping[str, Any]
    prompt: str | None
    write: Iterable[ScopePath]
    read: Iterable[ScopePath]
    deny: Iterable[ScopePath]
    delegable: Iterable[ScopePath] | None
    cwd: str | os.PathLike[str] | None
    env: Mapping[str, str]
    limits: Limits | Mapping[str, float]
    description: str
    on_parent_exit: ParentExit | None
    wake_on: WakeOn
    restart: RestartPolicy | Mapping[str, object] | RestartWhen
    python: str | None
    call_back: bool
    replace: bool
    require_enforcement: bool
    network: Network | None
    unix_sockets: UnixSockets | None
    pty: bool
    message_id: str | None


def rules(paths: Iterable[ScopePath], permission: Permission) -> tuple[ScopeRule, ...]:
    """Scope rules for paths; relative ones count from the current directory.

    Raises:
        TypeError: one string where several paths are wanted.
    """
    if isinstance(paths, str | bytes | os.PathLike):
        raise TypeError(f"cannot take {paths!r} as several paths: put it in a list")
    return tuple(
        path
        if isinstance(path, ScopeRule)
        else ScopeRule(target=absolute(path), permission=permission)
        for path in paths
    )


def absolute(path: str | os.PathLike[str]) -> str:
    """The path from the root; an empty one stays empty, so that the supervisor refuses it."""
    given = os.fspath(path)
    return os.path.abspath(given) if given else given


def check_seconds(value: object, name: str) -> float:
    """Return `value` if it is a time that somebody can wait for.

    Raises:
        InvalidParams: it is negative, infinite or no number.
    """
    if isinstance(value, int | float) and math.isfinite(value) and value >= 0:
        return value
    raise InvalidParams(
        f"cannot use {value!r} as {name}: it must be a number of seconds, 0 or more; give such a "
        "one, or leave it out",
        path=name,
    )


def _limits(given: Limits | Mapping[str, float]) -> Limits:
    return given if isinstance(given, Limits) else from_json(Limits, dict(given))


def _policy(given: RestartPolicy | Mapping[str, object] | RestartWhen) -> RestartPolicy:
    if isinstance(given, RestartPolicy):
        return given
    return RestartPolicy(when=given) if isinstance(given, str) else _policy_of(given)


def _policy_of(given: Mapping[str, object]) -> RestartPolicy:
    return from_json(RestartPolicy, dict(given))


def spawn_request(name: str, given: SpawnOptions) -> SpawnPod:
    """The request for `spawn(name, **given)`.

    Raises:
        TypeError: one string where several paths are wanted.
        InvalidParams: a mapping has other fields than the object that it stands for.
    """
    delegable = given.get("delegable")
    return SpawnPod(
        name=name,
        agent=given.get("agent", "shell"),
        options=dict(given.get("options", {})),
        prompt=given.get("prompt"),
        allow=rules(given.get("write", ()), "write") + rules(given.get("read", ()), "read"),
        deny=rules(given.get("deny", ()), "read"),
        delegable=None if delegable is None else rules(delegable, "write"),
        cwd=absolute(given.get("cwd") or os.getcwd()),
        env=dict(given.get("env", {})),
        limits=_limits(given.get("limits", Limits())),
        description=given.get("description", ""),
        on_parent_exit=given.get("on_parent_exit"),
        wake_on=given.get("wake_on", "none"),
        restart=_policy(given.get("restart", "never")),
        python=given.get("python"),
        call_back=given.get("call_back", False),
        replace=given.get("replace", False),
        require_enforcement=given.get("require_enforcement", False),
        network=given.get("network"),
        unix_sockets=given.get("unix_sockets"),
        pty=given.get("pty", False),
        message_id=given.get("message_id"),
    )
