"""The options of the `model` agent, read and checked. Pure.

Owns their names and defaults. The key is not among them: options are journaled and shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from attrs import fields, frozen

from pods_protocol.errors import AgentError

Api: TypeAlias = Literal["anthropic", "openai"]

DEFAULT_URLS: Final[Mapping[Api, str]] = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
}

KEY_NAME: Final = "MODEL_KEY"
"""The secret that holds the key: `env` of the spawn has it as `PODS_SECRET_MODEL_KEY`."""

_MAX_SYSTEM_CHARACTERS: Final = 64 * 1024


@frozen(kw_only=True)
class Settings:
    """How the agent works.

    Attributes:
        model: the model's name, as the endpoint knows it.
        api: which of the two APIs the endpoint speaks; by the model's name where it is not given.
        base_url: what comes before `/v1/messages` or `/chat/completions`.
        system: instructions of the user's own, after what pods say.
        max_tokens: of one answer.
        max_requests: to the model, in one turn.
        max_attempts: of one request.
        context_tokens: of a conversation; beyond it, its oldest part is left out.
    """

    model: str
    api: Api
    base_url: str
    system: str = ""
    max_tokens: int | None = None
    max_requests: int = 100
    max_attempts: int = 6
    context_tokens: int = 120_000

    def inherited(self) -> dict[str, Any]:
        """What a child of this agent that asks a model gets where it is told nothing else."""
        return {"model": self.model, "api": self.api, "base_url": self.base_url}


def read_settings(options: Mapping[str, Any]) -> Settings:
    """The settings that these options say.

    Raises:
        AgentError: one is unknown or not as it must be.
    """
    known = [one.name for one in fields(Settings)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise cannot_load(f"there is no option `{unknown[0]}`; the options are {', '.join(known)}")
    for name in ("model", "api", "base_url", "system"):
        if name in options and not isinstance(options[name], str):
            raise cannot_load(f"`{name}` is not a text")
    model: str = options.get("model", "")
    if not model:
        raise cannot_load("no model is named")
    api = _api(options.get("api") or ("anthropic" if model.startswith("claude") else "openai"))
    base_url: str = options.get("base_url") or DEFAULT_URLS[api]
    if not base_url.startswith(("http://", "https://")):
        raise cannot_load(f"`base_url` is {base_url!r}, and no http:// or https:// address")
    if "@" in base_url.partition("://")[2].partition("/")[0]:
        raise cannot_load("`base_url` holds a user's name or password", "use --key-file")
    if len(system := options.get("system", "")) > _MAX_SYSTEM_CHARACTERS:
        raise cannot_load(f"`system` has more than {_MAX_SYSTEM_CHARACTERS} characters")
    numbers = {
        name: _positive(name, options[name])
        for name in ("max_tokens", "max_requests", "max_attempts", "context_tokens")
        if options.get(name) is not None
    }
    return Settings(model=model, api=api, base_url=base_url, system=system, **numbers)


def read_key(given: str) -> str:
    """The key as a header can carry it; empty is none.

    HTTP would refuse any other and show it whole in its error, which is journaled.

    Raises:
        AgentError: it is no word of ASCII; its own text is not in there.
    """
    key = given.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise cannot_load(
            f"the secret {KEY_NAME} is no key: one word of ASCII, and no more",
            "look into what was given as the key",
        )
    return key


def _api(word: str) -> Api:
    match word:
        case "anthropic" | "openai":
            return word
        case _:
            raise cannot_load(f"`api` is {word!r} and not one of {', '.join(DEFAULT_URLS)}")


def _positive(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise cannot_load(f"`{name}` is not a whole number above zero")
    return value


def cannot_load(detail: str, advice: str = "") -> AgentError:
    """Why the agent cannot be made."""
    what = advice or "give for example --model claude-sonnet-5 --key-file FILE"
    return AgentError(f"cannot load agent 'model': {detail}; {what}", agent="model", detail=detail)
