"""Every error that crosses a socket: its stable code, its numbers, its Python class.

Owns the one table of codes. Standard library only, because the light command-line verbs import it
and must start in a few milliseconds. Raised by every room; turned to and from JSON-RPC error
objects here and nowhere else.

Messages begin "cannot <verb> <thing>: <why>" and go on with what to do. `data` carries what a
program needs to act: the owner of a conflicting path, a position in a queue, a capacity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pods_protocol.base_error import ExitCode, PodsError

__all__ = ["ERROR_CLASSES", "ExitCode", "PodsError", "error_from_wire", "error_to_wire"]


class ParseError(PodsError):
    """A line that is not JSON, not an object, or not UTF-8."""

    CODE = "parse_error"
    NUMBER = -32700
    EXIT_CODE = ExitCode.USAGE


class InvalidRequest(PodsError):
    """JSON, but not a request of this protocol, or not one that is legal now."""

    CODE = "invalid_request"
    NUMBER = -32600
    EXIT_CODE = ExitCode.USAGE


class UnknownMethod(PodsError):
    """No such method on this socket. `data`: `method`, `nearest`."""

    CODE = "unknown_method"
    NUMBER = -32601
    EXIT_CODE = ExitCode.USAGE


class InvalidParams(PodsError):
    """A field is missing, unknown or of the wrong type. `data`: `path`, and `nearest` if any is."""

    CODE = "invalid_params"
    NUMBER = -32602
    EXIT_CODE = ExitCode.USAGE


class InternalError(PodsError):
    """A bug of ours; the details are in the log of the process named in `data`."""

    CODE = "internal_error"
    NUMBER = -32603


class NotAuthorized(PodsError):
    """A wrong or missing token, or a peer of another user."""

    CODE = "not_authorized"
    NUMBER = -32001
    EXIT_CODE = ExitCode.REFUSED


class UnsupportedProtocol(PodsError):
    """The two sides speak different protocol versions. `data`: `offered`, `supported`."""

    CODE = "unsupported_protocol"
    NUMBER = -32002


class TooLarge(PodsError):
    """A line or a value is over its cap. `data`: `limit_bytes`, `size_bytes` where known."""

    CODE = "too_large"
    NUMBER = -32003
    EXIT_CODE = ExitCode.USAGE


class UnknownPod(PodsError):
    """No such pod, or none that the caller may know of. `data`: `pod`, `known`."""

    CODE = "unknown_pod"
    NUMBER = -32004
    EXIT_CODE = ExitCode.NO_SUCH_POD


class AmbiguousPod(PodsError):
    """An id prefix that fits several pods. `data`: `pod`, `matches`."""

    CODE = "ambiguous_pod"
    NUMBER = -32005
    EXIT_CODE = ExitCode.NO_SUCH_POD


class PodEnded(PodsError):
    """The pod has ended; what it left can be read. `data`: `pod`, `state`."""

    CODE = "pod_ended"
    NUMBER = -32006


class NameTaken(PodsError):
    """Another pod has the name. `data`: `name`; `id` and `state` of a pod the asker may know."""

    CODE = "name_taken"
    NUMBER = -32007
    EXIT_CODE = ExitCode.REFUSED


class InvalidName(PodsError):
    """A name that may not be one. `data`: `name`, `rule`."""

    CODE = "invalid_name"
    NUMBER = -32008
    EXIT_CODE = ExitCode.USAGE


class AlreadyRunning(PodsError):
    """The pod is busy. `data`: `turn`, `since`, `queue_length`."""

    CODE = "already_running"
    NUMBER = -32009
    RETRYABLE = True


class QueueFull(PodsError):
    """The pod's queue is at its bound. `data`: `queue_length`, `limit`."""

    CODE = "queue_full"
    NUMBER = -32010
    RETRYABLE = True


class UnknownMessage(PodsError):
    """No queued message of that id, or its turn has begun. `data`: `message_id`, `state`."""

    CODE = "unknown_message"
    NUMBER = -32011


class UnknownQuestion(PodsError):
    """No open question of that id. `data`: `question_id`, `open`."""

    CODE = "unknown_question"
    NUMBER = -32012


class InvalidScope(PodsError):
    """A scope target that cannot be one. `data`: `target`, `hint` where there is one."""

    CODE = "invalid_scope"
    NUMBER = -32013
    EXIT_CODE = ExitCode.USAGE


class ScopeConflict(PodsError):
    """Another pod holds it. `data`: `owner`, `owner_id`, `owner_rule`, `requested`."""

    CODE = "scope_conflict"
    NUMBER = -32014
    EXIT_CODE = ExitCode.REFUSED


class ScopeNotDelegable(PodsError):
    """The parent may not lend it. `data`: `parent`, `requested`, `delegable`."""

    CODE = "scope_not_delegable"
    NUMBER = -32015
    EXIT_CODE = ExitCode.REFUSED


class CapacityReached(PodsError):
    """A cap on depth, children, pods or open files, or a limit that the pod or its parent has.

    `data`: `limit_name`, `limit`, `in_use`; where a child was to get more of a limit than its
    parent has left, also `asked` and `left`.
    """

    CODE = "capacity_reached"
    NUMBER = -32016
    EXIT_CODE = ExitCode.REFUSED


class NotEnforceable(PodsError):
    """Enforcement was required and cannot be had. `data`: `enforcement`, `reason`."""

    CODE = "not_enforceable"
    NUMBER = -32017
    EXIT_CODE = ExitCode.REFUSED


class AgentError(PodsError):
    """The agent could not be loaded or started. `data`: `agent`, `detail`."""

    CODE = "agent_error"
    NUMBER = -32018


class StartFailed(PodsError):
    """A process of ours did not come up. `data`: `step`, `detail`."""

    CODE = "start_failed"
    NUMBER = -32019


class TimedOut(PodsError):
    """A deadline passed. `data`: `timeout_seconds`."""

    CODE = "timed_out"
    NUMBER = -32020
    EXIT_CODE = ExitCode.TIMED_OUT
    RETRYABLE = True


class PodRunning(PodsError):
    """The pod still runs, and this wants one that has ended. `data`: `pod`, `state`."""

    CODE = "pod_running"
    NUMBER = -32021
    EXIT_CODE = ExitCode.REFUSED


class NotSupported(PodsError):
    """Understood, and not offered by this pod or this version. `data`: `feature`."""

    CODE = "not_supported"
    NUMBER = -32022


class StorageFailed(PodsError):
    """The disk refused: full, read-only, torn. `data`: `path`, `errno`."""

    CODE = "storage_failed"
    NUMBER = -32023
    RETRYABLE = True


class RegistryBroken(PodsError):
    """The scope registry can neither be read nor repaired. `data`: `path`, `detail`."""

    CODE = "registry_broken"
    NUMBER = -32024


class UnsafeDirectory(PodsError):
    """A directory of ours is somebody else's or open to others. `data`: `path`, `detail`."""

    CODE = "unsafe_directory"
    NUMBER = -32025
    EXIT_CODE = ExitCode.REFUSED


class PathTooLong(PodsError):
    """A socket path is over the kernel's 107 bytes. `data`: `path`, `limit_bytes`."""

    CODE = "path_too_long"
    NUMBER = -32026


class NotConnected(PodsError):
    """Nobody answers at the socket, or the connection broke. `data`: `socket`."""

    CODE = "not_connected"
    NUMBER = -32027
    RETRYABLE = True


class ClientClosed(PodsError):
    """This client was closed; raised locally, never sent."""

    CODE = "client_closed"
    NUMBER = -32028


class PlatformUnsupported(PodsError):
    """This Python or system lacks what pods needs. `data`: `feature`."""

    CODE = "platform_unsupported"
    NUMBER = -32029


class Busy(PodsError):
    """Too many requests or connections at once, or too many of one kind in a short time.

    `data`: `limit_name`, `limit`; and `retry_after_seconds` where it is a matter of time.
    """

    CODE = "busy"
    NUMBER = -32030
    RETRYABLE = True


class Undelivered(PodsError):
    """A message that was accepted never got its turn. `data`: `message_id`, `reason`.

    `reason` is `undelivered` (the pod ended first) or `withdrawn` (somebody took it back).
    """

    CODE = "undelivered"
    NUMBER = -32031


class PodPaused(PodsError):
    """The pod is paused and takes no more than what may wait. `data`: `pod`."""

    CODE = "pod_paused"
    NUMBER = -32032
    RETRYABLE = True


ERROR_CLASSES: Mapping[str, type[PodsError]] = {
    kind.CODE: kind
    for kind in (
        ParseError,
        InvalidRequest,
        UnknownMethod,
        InvalidParams,
        InternalError,
        NotAuthorized,
        UnsupportedProtocol,
        TooLarge,
        UnknownPod,
        AmbiguousPod,
        PodEnded,
        NameTaken,
        InvalidName,
        AlreadyRunning,
        QueueFull,
        UnknownMessage,
        UnknownQuestion,
        InvalidScope,
        ScopeConflict,
        ScopeNotDelegable,
        CapacityReached,
        NotEnforceable,
        AgentError,
        StartFailed,
        TimedOut,
        PodRunning,
        NotSupported,
        StorageFailed,
        RegistryBroken,
        UnsafeDirectory,
        PathTooLong,
        NotConnected,
        ClientClosed,
        PlatformUnsupported,
        Busy,
        Undelivered,
        PodPaused,
    )
}
"""Stable code -> class. The only place where a code gets its numbers."""


def error_to_wire(error: PodsError) -> dict[str, Any]:
    """The JSON-RPC error object: `{code: number, message, data: {code, retryable, ...}}`."""
    return {
        "code": error.NUMBER,
        "message": error.message,
        "data": {**error.data, "code": error.CODE, "retryable": error.RETRYABLE},
    }


def error_from_wire(wire: Mapping[str, Any]) -> PodsError:
    """The typed error for a JSON-RPC error object; of an unknown code, a plain `PodsError`."""
    raw = wire.get("data")
    data: dict[str, Any] = dict(raw) if isinstance(raw, dict) else {}  # pyright: ignore[reportUnknownArgumentType]  # JSON's
    code = data.pop("code", None)
    data.pop("retryable", None)
    kind = ERROR_CLASSES.get(code, PodsError) if isinstance(code, str) else PodsError
    if kind is PodsError and code is not None:
        data["remote_code"] = code
    return kind(str(wire.get("message", "the other side gave no message")), **data)
