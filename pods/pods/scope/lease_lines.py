"""One lease as one line of the registry file, and back.

Owns the fast way in: a process that opens a registry of a thousand leases for the first time
decodes them all, perhaps with others waiting. What looks exactly as we write it is built straight
away; anything else goes to the strict codec, which accepts it or says what is wrong. So this file
never refuses and never lets through what the codec would not. `storage` calls it.
"""

from __future__ import annotations

from typing import Any, Final, TypeGuard, cast

import attrs
import orjson

from pods.scope.leases import Lease
from pods_protocol import codec
from pods_protocol.values import ProcessIdentity, ScopeGrant, ScopeRule


def _names(kind: type[attrs.AttrsInstance]) -> frozenset[str]:
    return frozenset(attribute.name for attribute in attrs.fields(kind))


_LEASE: Final = _names(Lease)
_GRANT: Final = _names(ScopeGrant)
_RULE: Final = _names(ScopeRule)
_PROCESS: Final = _names(ProcessIdentity)
_PERMISSIONS: Final = frozenset({"read", "write"})
_TEXTS: Final = ("pod_id", "name", "supervisor")
_TEXTS_OR_NONE: Final = ("parent_id", "pending_nonce")


class _Unusual(Exception):
    """Not as we write it; the codec knows whether it will do."""


def encode_lease(lease: Lease) -> bytes:
    """A lease as one line of the file, without comma and newline."""
    return orjson.dumps(codec.to_json(lease))


def decode_lease(line: bytes) -> Lease:
    """The lease in a line.

    Raises:
        JSONDecodeError: it is not JSON.
        InvalidParams: it is no lease.
    """
    data = orjson.loads(line)
    try:
        return _lease(data)
    except _Unusual:
        return codec.from_json(Lease, data)


def _object(data: Any, names: frozenset[str]) -> dict[str, Any]:
    if type(data) is not dict or cast("dict[str, Any]", data).keys() != names:
        raise _Unusual
    return cast("dict[str, Any]", data)


def _lease(data: Any) -> Lease:
    item = _object(data, _LEASE)
    deadline = item["pending_deadline"]
    if (
        any(type(item[name]) is not str for name in _TEXTS)
        or any(item[name] is not None and type(item[name]) is not str for name in _TEXTS_OR_NONE)
        or (deadline is not None and type(deadline) is not float)
    ):
        raise _Unusual
    grant = _object(item["grant"], _GRANT)
    parts: dict[str, Any] = {
        "grant": ScopeGrant(**{name: _rules(grant[name]) for name in _GRANT}),
        "holder": _process(item["holder"]),
        "spawner": _process(item["spawner"]),
        "guardian": _process(item["guardian"]),
    }
    return Lease(**{**item, **parts})


def _rules(data: Any) -> tuple[ScopeRule, ...]:
    if not _is_list(data):
        raise _Unusual
    return tuple(map(_rule, data))


def _is_list(data: Any) -> TypeGuard[list[Any]]:
    return type(data) is list


def _rule(data: Any) -> ScopeRule:
    item = _object(data, _RULE)
    if (
        type(item["target"]) is not str
        or type(item["permission"]) is not str
        or item["permission"] not in _PERMISSIONS
        or type(item["recursive"]) is not bool
    ):
        raise _Unusual
    return ScopeRule(**item)


def _process(data: Any) -> ProcessIdentity | None:
    if data is None:
        return None
    item = _object(data, _PROCESS)
    if (
        type(item["pid"]) is not int
        or type(item["start_ticks"]) is not int
        or type(item["boot_id"]) is not str
    ):
        raise _Unusual
    return ProcessIdentity(**item)
