"""HTTP to a model's endpoint, on trio. The one file that needs httpx.

Owns the connection, its time limits and the translation of its failures into a `Fault`. What is
posted and what an answer means is the callers' affair. Kept for the agent's life, so that requests
share a connection.
"""

from __future__ import annotations

import contextlib
import errno
import json
import ssl
from collections.abc import Callable
from typing import Final, cast

import httpx
import trio

from pods import __version__
from pods.agents.model.faults import Fault, words_of, words_within
from pods.agents.model.talk import BrokenReply, HttpRequest, RefusedReply

CONNECT_SECONDS: Final = 15.0
SILENCE_SECONDS: Final = 300.0
"""Between two pieces of an answer, and before the first: models may think for minutes."""

MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
"""Of one answer with everything around its pieces."""

OK: Final = 200

MAX_REFUSAL_BYTES: Final = 64 * 1024
"""Of a refusal: what is beyond is not read."""

_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.ENETUNREACH, errno.EAFNOSUPPORT})
"""How a kernel refuses the network to a process: by a rule, or because it has none."""


class Endpoint:
    """One endpoint.

    Args:
        base_url: what comes before the API's own path.
        key: what of its words is never repeated.
    """

    def __init__(self, base_url: str, *, key: str = "") -> None:
        self._key = key
        self._base_url = base_url.rstrip("/")
        timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        # Without TLS there is nothing to verify, and to read all authorities takes 0.1 s; this
        # context trusts nobody at all.
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if base_url.startswith("http:") else True
        self._client = httpx.AsyncClient(
            verify=trust, timeout=timeout, headers={"user-agent": f"agent-pods/{__version__}"}
        )

    async def aclose(self) -> None:
        """Hang up."""
        await self._client.aclose()

    def url_of(self, request: HttpRequest) -> str:
        """Where a request goes: a base that names the version already is not given it twice."""
        path = request.path
        if self._base_url.endswith("/v1"):
            path = path.removeprefix("/v1")
        return self._base_url + path

    async def post(self, request: HttpRequest, take: Callable[[bytes], None]) -> None:
        """Post a request and hand on its answer as it comes.

        Args:
            request: what to post.
            take: gets the bytes of an answer with status 200. What it raises ends the reading.

        Raises:
            Fault: there was none, or it ended too early.
            BrokenReply, RefusedReply: as `take` raises them.
        """
        headers = {"content-type": "application/json", **request.headers}
        # As ASCII: what a model wrote may hold halves of characters that UTF-8 cannot carry.
        body = json.dumps(request.body).encode()
        try:
            async with self._client.stream(
                "POST", self.url_of(request), headers=headers, content=body
            ) as response:
                if response.status_code != OK:
                    raise await _refusal(response, self._key)
                await _read(response, take, MAX_REPLY_BYTES)
        except httpx.TimeoutException as error:
            waited = CONNECT_SECONDS if isinstance(error, httpx.ConnectTimeout) else SILENCE_SECONDS
            raise Fault("slow", f"nothing came for {waited:g} s") from error
        except httpx.ConnectError as error:
            number = _errno_of(error)
            raise Fault(
                "forbidden" if number in _FORBIDDEN else "unreachable",
                f"no connection ({str(error) or 'refused'})",
            ) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise Fault("refused", f"that is no address of an endpoint ({error})") from error
        except httpx.HTTPError as error:
            raise Fault("broken", f"the connection broke ({error})") from error


async def _read(response: httpx.Response, take: Callable[[bytes], None], limit: int) -> None:
    """Hand on the body as it comes, up to a limit.

    Nothing is awaited or raised between two pieces: the generators of httpx, one in the other, end
    well where the reading itself ends or is cancelled, and nowhere else.
    """
    size = 0
    failure: BrokenReply | RefusedReply | None = None
    with trio.CancelScope() as reading:
        async for data in response.aiter_bytes():
            size += len(data)
            try:
                if failure is None:
                    take(data)
                if size > limit:
                    raise BrokenReply(f"its answer has more than {limit} bytes")
            except (BrokenReply, RefusedReply) as error:
                failure = failure or error
                reading.cancel()
    if failure is not None:
        raise failure


async def _refusal(response: httpx.Response, key: str) -> Fault:
    body = bytearray()
    with contextlib.suppress(BrokenReply):
        await _read(response, body.extend, MAX_REFUSAL_BYTES)
    words = words_of(bytes(body[:MAX_REFUSAL_BYTES]), key) or words_within(
        response.reason_phrase, key
    )
    return Fault(
        "refused",
        f"it answered {response.status_code} ({words})",
        status=response.status_code,
        retry_after=_seconds(response.headers.get("retry-after")),
    )


def _seconds(value: str | None) -> float | None:
    """`retry-after` in seconds; dates, which no model's endpoint sends, say nothing."""
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _errno_of(error: BaseException | None) -> int | None:
    """The system's number for it, wherever it lies below."""
    if error is None:
        return None
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return _errno_of(inner[0])
    return _errno_of(error.__cause__ or error.__context__)
