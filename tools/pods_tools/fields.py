"""Fields and patterns that several tools share.

Owns the forms of pod names, paths and cursors in inputs. A name is judged here, before it goes
anywhere, and by the supervisor again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import field, frozen

from pods_protocol.bounds import MAX_NAME_LENGTH
from pods_protocol.values import Permission, ScopeRule
from pods_tools.schema import about, input_schema

NAME_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9._-]*$"
ABSOLUTE_PATTERN: Final = "^/"
CURSOR_PATTERN: Final = "^[0-9]{1,15}(\\+[0-9]{1,15})?$"

PATTERN_WORDS: Final[Mapping[str, str]] = {
    NAME_PATTERN: "a name: letters, digits, `.`, `_` and `-`, beginning with a letter or digit",
    ABSOLUTE_PATTERN: "an absolute path (it begins with `/`)",
    CURSOR_PATTERN: "the `next` of an earlier answer",
}
"""Pattern -> what it asks for."""

MAX_PATH_LENGTH: Final = 4096
"""The kernel's own limit."""

MAX_RULES: Final = 256
"""Paths in one list: more is a scope that nobody reads; name their common directory."""

MAX_MESSAGE_LENGTH: Final = 1_000_000
"""Characters of one message, a little below the wire's line; more goes into a file."""

PATH_KEYWORDS: Final[Mapping[str, Any]] = {
    "pattern": ABSOLUTE_PATTERN,
    "maxLength": MAX_PATH_LENGTH,
}


@frozen(kw_only=True)
class PathRule:
    """A path that says whether what lies below it is meant too."""

    target: str = field(
        metadata=about("Absolute path.", also=("path",), **PATH_KEYWORDS),
    )
    recursive: bool = field(
        default=True, metadata=about("The whole tree below it; else its direct entries only.")
    )


def pod_field() -> dict[str, Any]:
    """Metadata of the field that addresses a pod."""
    return about(
        "Name of the pod, as given to SpawnPod, or its id.",
        also=("name", "target", "to", "agent_id", "pod_id", "id", "pod_name", "task_id"),
        pattern=NAME_PATTERN,
        minLength=1,
        maxLength=MAX_NAME_LENGTH,
    )


def path_list(description: str, *, also: tuple[str, ...] = ()) -> dict[str, Any]:
    """Metadata of a list of paths."""
    return about(
        description,
        also=also,
        maxItems=MAX_RULES,
        items={"anyOf": [{"type": "string", **PATH_KEYWORDS}, input_schema(PathRule)]},
    )


def rules(items: Iterable[str | PathRule], permission: Permission) -> tuple[ScopeRule, ...]:
    """The wire's rules for paths as a model gives them."""
    return tuple(
        ScopeRule(target=item, permission=permission)
        if isinstance(item, str)
        else ScopeRule(target=item.target, permission=permission, recursive=item.recursive)
        for item in items
    )


def rule_text(rule: ScopeRule) -> str:
    """A rule's path for a sentence."""
    return rule.target if rule.recursive else f"{rule.target} (direct entries only)"
