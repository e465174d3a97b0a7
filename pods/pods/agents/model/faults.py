"""What went wrong between the agent and its endpoint, and whether to ask again. Pure.

Owns the words for people and the pauses between attempts. `endpoint` raises a `Fault`; `agent`
goes by the `Judgement` and tells of it.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal, cast

from attrs import frozen

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
"""Between attempts it doubles from the one to the other."""

LONGEST_WISH_SECONDS: Final = 120.0
"""An endpoint that wants to be left alone for longer has a quota that is used up: the turn ends and
says so, rather than stand still."""

RETRYABLE: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
STATUS_OF_KIND: Final = {"rate_limit_error": 429, "overloaded_error": 529, "api_error": 500}
"""What a stream says when it fails, as the status that it would have been."""

_TOO_LONG: Final = ("context_length", "prompt is too long", "maximum context", "context window")
"""Of a 400: how endpoints say that a conversation does not fit."""

MAX_WORDS: Final = 400
"""Characters of an endpoint's own words."""


class Fault(Exception):
    """A request that brought no answer.

    Attributes:
        kind: `refused`: by a status; `broken`: the stream ended or made no sense; `unreachable`:
            no connection; `forbidden`: this process may not connect; `slow`: nothing came in time.
        status: where it was refused.
        retry_after: seconds, where the endpoint said.
    """

    def __init__(
        self,
        kind: Literal["refused", "broken", "unreachable", "forbidden", "slow"],
        words: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(words)
        self.kind = kind
        self.words = words
        self.status = status
        self.retry_after = retry_after

    @property
    def too_long(self) -> bool:
        """Whether the conversation did not fit."""
        return self.status == 413 or (
            self.status == 400 and any(sign in self.words.lower() for sign in _TOO_LONG)
        )


@frozen
class Judgement:
    """Ask again after `pause` seconds; None is not at all."""

    pause: float | None


def judge(fault: Fault, *, attempt: int, max_attempts: int, chance: float) -> Judgement:
    """Whether and when to ask again.

    Args:
        fault: what happened.
        attempt: which one failed, from 1.
        max_attempts: how often to try in all.
        chance: from 0 to 1, so that many agents do not come back at the same moment.
    """
    transient = fault.kind in ("broken", "unreachable", "slow") or fault.status in RETRYABLE
    if not transient or attempt >= max_attempts:
        return Judgement(None)
    if fault.retry_after is not None:
        if fault.retry_after > LONGEST_WISH_SECONDS:
            return Judgement(None)
        return Judgement(fault.retry_after)
    pause = min(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS)
    return Judgement(pause * (0.5 + chance / 2))


def words_of(body: bytes, key: str = "") -> str:
    """What an endpoint says in the body of a refusal, in a line; without the key, if it says it."""
    text = body.decode("utf-8", "replace").strip()
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    while isinstance(found, dict):
        told = cast("dict[str, Any]", found)
        found = told.get("error") or told.get("message") or told.get("detail")
    return words_within(found if isinstance(found, str) else text, key)


def words_within(text: str, key: str = "") -> str:
    """Words of an endpoint as they may be journaled: in a line, bounded, without the key in them.

    Some endpoints, and proxies before them, repeat what they were sent.
    """
    words = " ".join((text.replace(key, "[the key]") if key else text).split())
    return words if len(words) <= MAX_WORDS else f"{words[:MAX_WORDS]}..."


def explain(fault: Fault, url: str, *, attempts: int, has_key: bool) -> str:
    """The end of a turn in words: what failed, and what to do."""
    tried = f" ({attempts} attempts)" if attempts > 1 else ""
    what = f"cannot ask the model at {url}{tried}: {fault.words}"
    match fault.kind, fault.status:
        case _, 401 | 403:
            advice = (
                "the key was not taken; spawn the pod again with the right --key-file"
                if has_key
                else "it wants a key; spawn the pod again with --key-file"
            )
        case _, 404:
            advice = "check --base-url, --api and the model's name"
        case _, 429:
            advice = "the quota is used up; send the message again later"
        case "forbidden", _:
            advice = "the pod may not use the network; spawn it again with the network open"
        case "unreachable" | "slow", _:
            advice = "check --base-url, and that the pod may use the network"
        case _ if fault.too_long:
            advice = "the conversation does not fit; spawn a new pod, or lower context_tokens"
        case _:
            advice = "send the message again to try once more"
    return f"{what}; {advice}"
