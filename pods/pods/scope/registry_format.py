"""The registry's file as bytes: one JSON object, written with one lease a line.

Pure. Owns the layout and what is accepted of others: a reader that has seen a line before need not
decode it again, and a file that somebody has laid out otherwise is read all the same. Must not know
files or locks; `storage` reads and writes what is decoded and encoded here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

import orjson
from attrs import frozen

from pods.scope.lease_lines import decode_lease, encode_lease
from pods.scope.leases import Lease
from pods.scope.table import Table
from pods_protocol import codec
from pods_protocol.errors import PodsError, RegistryBroken

FORMAT_VERSION: Final = 2
"""Raised when an older pods would misread the file; it then refuses and touches nothing. 2: leases
have guardians, which an older one would not wait for."""

_TAIL: Final = b"\n]}\n"


class Damaged(Exception):
    """Why a file cannot be used; the caller decides whether another one can."""


@frozen(kw_only=True)
class RegistryFile:
    """The whole file, as its strict codec takes it."""

    version: int
    generation: int
    stamp: str
    leases: tuple[Lease, ...]


class Contents(NamedTuple):
    """What a file says; `lines` is pod id to the lease's line."""

    generation: int
    table: Table
    lines: Mapping[str, bytes]


def encode(table: Table, base: Contents, *, generation: int, stamp: str) -> tuple[bytes, Contents]:
    """A file with this table, and what there is to know of it for the next one.

    Args:
        table: what it shall say.
        base: what was read or written before; lines of leases that are the same are taken from it.
        generation, stamp: of the file.

    Returns:
        The whole file, and what decoding it would give.
    """
    old = base.table.leases
    lines = {
        pod_id: base.lines[pod_id] if old.get(pod_id) is lease else encode_lease(lease)
        for pod_id, lease in table.leases.items()
    }
    head = b'{"version":%d,"generation":%d,"stamp":"%b","leases":[' % (
        FORMAT_VERSION,
        generation,
        stamp.encode(),
    )
    whole = b"%b\n%b%b" % (head, b",\n".join(lines.values()), _TAIL)
    return whole, Contents(generation, table, lines)


def decode(path: str, content: bytes, known: Contents) -> Contents:
    """What a file says.

    Args:
        path: of the file, for errors.
        content: all of it.
        known: what was read or written last; unchanged lines are taken from it.

    Raises:
        Damaged: it is no registry.
        RegistryBroken: a newer pods wrote it.
    """
    head, _, rest = content.partition(b"\n")
    body = rest.removesuffix(_TAIL)
    try:
        # Anything else than our own layout fails here, or below, and is read as any JSON.
        header = orjson.loads(head + b"]}") if len(body) < len(rest) else None
        raw = body.split(b",\n") if body else []
    except orjson.JSONDecodeError:
        header, raw = None, []
    try:
        if header is None:
            return _decode_foreign(path, content)
        _check_version(path, header)
        file = codec.from_json(RegistryFile, header)
        table, lines = _patch(raw, known)
    except orjson.JSONDecodeError as error:
        raise Damaged(f"it is not JSON ({error})") from None
    except ValueError as error:
        raise Damaged(str(error)) from None
    except PodsError as error:
        if isinstance(error, RegistryBroken):
            raise
        raise Damaged(error.message) from None
    return Contents(file.generation, table, lines)


def _patch(raw: list[bytes], known: Contents) -> tuple[Table, dict[str, bytes]]:
    """The table of these lines; those that `known` has are not decoded again."""
    ids = {line: pod_id for pod_id, line in known.lines.items()}
    lines: dict[str, bytes] = {}
    come: list[Lease] = []
    for line in raw:
        pod_id = ids.get(line)
        if pod_id is None:
            lease = decode_lease(line)
            come.append(lease)
            pod_id = lease.pod_id
        if pod_id in lines:
            raise ValueError(f"two leases have the id {pod_id}")
        lines[pod_id] = line
    gone = [pod_id for pod_id, line in known.lines.items() if lines.get(pod_id) != line]
    return known.table.patched(gone, come), lines


def _decode_foreign(path: str, content: bytes) -> Contents:
    data = orjson.loads(content)
    _check_version(path, data)
    file = codec.from_json(RegistryFile, data)
    lines = {lease.pod_id: encode_lease(lease) for lease in file.leases}
    return Contents(file.generation, Table.of(file.leases), lines)


def _check_version(path: str, data: Any) -> None:
    version = cast("dict[str, Any]", data).get("version") if isinstance(data, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise RegistryBroken(
            f"cannot read the scope registry {path}: a newer pods wrote it (format {version}, this "
            f"one knows {FORMAT_VERSION}); upgrade, or set PODS_STATE_DIR to another directory",
            path=path,
            detail=f"format {version}",
        )
