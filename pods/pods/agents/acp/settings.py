"""What an ACP agent was asked to be, and what its failures are called.

Owns the reading of the options and the words of every error of such an agent. Each has a `problem`,
a stable code that stands in the data and, in brackets, in the message, since the end of a turn has
the message alone: `options`, `not_installed`, `login_required`, `protocol_version`, `protocol`,
`timed_out`, `agent_died`, `refused`. Called by `session` and `agent`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from pods.agents.acp.permissions import POLICIES, Policy
from pods.agents.acp.program import find
from pods.agents.acp.table import KNOWN, KnownAgent
from pods.agents.kinds import GENERIC
from pods_protocol.errors import AgentError

PERMISSION_SECONDS: Final = 600.0
"""A person who is near sees the question; one who is not must not find an agent that did as it
liked, nor one that waits for ever."""

MAX_PERMISSION_SECONDS: Final = 24 * 3600.0
"""As the longest wait for any question."""

OPTIONS: Final = ("argv", "permissions", "permission_seconds")


class Settings:
    """One agent's options, checked.

    Args:
        kind: `acp`, or a name of the table.
        options: `argv`, `permissions`, `permission_seconds`; see `agent`.

    Attributes:
        known: its row of the table; None for the kind `acp`.
        argv: the program and its arguments, without those that only a held pod gives.
        policy: who decides what it may do.
        seconds: how long a question waits.

    Raises:
        AgentError: the options are not as they must be, or the program is not installed.
    """

    def __init__(self, kind: str, options: Mapping[str, Any]) -> None:
        self.kind = kind
        self.known: KnownAgent | None = KNOWN.get(kind)
        unknown = sorted(set(options) - set(OPTIONS))
        if unknown:
            raise self._bad(
                f"there is no option `{unknown[0]}`", f"the options are {', '.join(OPTIONS)}"
            )
        self.argv = self._read_argv(options.get("argv"))
        self.policy: Policy = self._read_policy(options.get("permissions", "ask"))
        self.seconds = self._read_seconds(options.get("permission_seconds", PERMISSION_SECONDS))

    def command(self, *, held: bool, servers: Sequence[Mapping[str, Any]] = ()) -> list[str]:
        """The program and its arguments; a program of the user's own gets those given alone.

        Args:
            held: the kernel holds the pod to its scope.
            servers: of our tools, as ACP has them. What becomes an argument has no secret in it.
        """
        if self.known is None or self.argv != list(self.known.command):
            return list(self.argv)
        words = [*self.argv, *(self.known.held if held else ())]
        if self.known.tools_flag is not None and servers:
            words += [self.known.tools_flag, json.dumps({"mcpServers": _by_name(servers)})]
        return words

    @property
    def name(self) -> str:
        """What to call the agent."""
        return self.known.title if self.known else os.path.basename(self.argv[0])

    def problem(self, problem: str, detail: str, advice: str) -> AgentError:
        """The error for what went wrong: its code, what it is, what to do."""
        what = f"agent {self.kind!r}" if self.kind == GENERIC else f"the agent {self.kind}"
        return AgentError(
            f"cannot use {what} [{problem}]: {detail}; {advice}",
            agent=self.kind,
            problem=problem,
            detail=detail,
        )

    def login_required(self, words: str) -> AgentError:
        """The error of an agent that wants a login."""
        login = self.known.login if self.known else "see its own documentation"
        return self.problem(
            "login_required",
            f"it wants a login ({words})",
            f"log in outside of the pod ({login}) and spawn the pod again: logins are copied at "
            "its start; keys are given with --env NAME",
        )

    def _read_argv(self, value: object) -> list[str]:
        if value is None and self.known is not None:
            argv = list(self.known.command)
        elif isinstance(value, list) and value:
            given = cast("list[object]", value)
            argv = [word for word in given if isinstance(word, str) and "\0" not in word]
            if len(argv) != len(given) or not argv[0]:
                raise self._bad("`argv` is not a list of words", 'give {"argv": ["my-agent"]}')
        else:
            raise self._bad(
                "`argv` is missing: the program that speaks ACP",
                f"use `--agent 'acp: COMMAND ...'`, or one of {', '.join(KNOWN)}",
            )
        if find(argv[0], os.environ.get("PATH", "")) is None:
            raise self._not_installed(argv[0])
        return argv

    def _read_policy(self, value: object) -> Policy:
        if value not in POLICIES:
            raise self._bad(f"`permissions` is {value!r}", f"use one of {', '.join(POLICIES)}")
        return cast("Policy", value)

    def _read_seconds(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._bad("`permission_seconds` is no number", "give for example 600")
        if not 0 < value <= MAX_PERMISSION_SECONDS:
            raise self._bad(
                f"`permission_seconds` is {value:g}", "give more than 0 and at most a day"
            )
        return float(value)

    def _not_installed(self, program: str) -> AgentError:
        if os.sep in program:
            detail = f"there is no program {program!r}"
            return self.problem("not_installed", detail, "install it, or correct the path")
        detail = f"there is no program {program!r} on the PATH that the supervisor was started with"
        known = self.known is not None and program == self.known.command[0]
        install = f"`{self.known.install}` installs it" if self.known and known else "install it"
        return self.problem(
            "not_installed",
            detail,
            f"{install}; where your own PATH has it (`pods agents` looks there), end the "
            "supervisor with `pods down` and spawn again, or give its absolute path",
        )

    def _bad(self, detail: str, advice: str) -> AgentError:
        return self.problem("options", detail, advice)


def _by_name(servers: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Servers as files of settings have them, from what ACP has."""
    return {
        server["name"]: {
            "type": "local",
            "command": server["command"],
            "args": server["args"],
            "env": {one["name"]: one["value"] for one in server["env"]},
            "tools": ["*"],
        }
        for server in servers
    }
