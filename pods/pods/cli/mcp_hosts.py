"""How each host is told of `pods mcp`: a table.

Owns what the configuration of each looks like, where it goes, and the command of the host that
writes it, where it has one: files of others are never edited here. Used by `mcp`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pods.cli import render
from pods_protocol.errors import NotSupported

NAME: Final = "pods"
"""What the server is called in every host: Claude Code's tools are `mcp__pods__SpawnPod` then."""

PASSED_VARIABLES: Final = (
    "PODS_RUNTIME_DIR",
    "PODS_STATE_DIR",
    "PODS_SUPERVISOR",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "XDG_CONFIG_HOME",
)
"""They decide where the supervisor is found. Codex and the SDKs start servers with a few variables
of their own choice, and the tools would then speak to another supervisor than `pods ls`."""

POD_VARIABLES: Final = ("PODS_SOCKET", "PODS_TOKEN_FILE")
"""The authority of a pod that the host runs in: two paths."""

CLAUDE_MORE: Final[Mapping[str, Any]] = {"type": "stdio", "alwaysLoad": True}
"""Claude Code asks its model at once and takes a server's tools along once it has connected; with
`alwaysLoad` it waits for ours. Seen with 2.1.197: without it the first request had no tools."""

Words = Sequence[str]
Environment = Mapping[str, str]


class Host(NamedTuple):
    """One host.

    Attributes:
        place: where its configuration goes, for people.
        text: the configuration, from the command and its environment.
        add: the host's own command that writes it; None where it has none.
        rest: writes, by other means of the host's, what its command has no flag for; from its
            program and the environment. What to do by hand where that failed, else None.
    """

    place: str
    text: Callable[[Words, Environment], str]
    add: Callable[[Words, Environment], list[str]] | None = None
    rest: Callable[[str, Environment], str | None] | None = None


def command_of(supervisor: str | None, session: str | None, on_exit: str) -> list[str]:
    """The command that a host is to run.

    By the interpreter's own path, for a host has another PATH; with `-P`, so that a directory
    `pods` in the user's project is not taken for this package.
    """
    words = [sys.executable, "-P", "-m", "pods", "mcp"]
    if supervisor is not None:
        words += ["--supervisor", supervisor]
    if session is not None:
        words += ["--session", session]
    if on_exit != "keep":
        words += ["--on-exit", on_exit]
    return words


def environment_of(environ: Mapping[str, str]) -> dict[str, str]:
    """What of the environment the server has to have."""
    names: tuple[str, ...] = PASSED_VARIABLES
    if all(environ.get(name) for name in POD_VARIABLES):
        names += POD_VARIABLES
    return {name: environ[name] for name in names if environ.get(name)}


def install(name: str, host: Host, words: Words, environment: Environment) -> int:
    """Run the host's own command; its exit code. What is left to do by hand is a note.

    Raises:
        NotSupported: it has none, or is not installed.
    """
    by_hand = f"`pods mcp --config {name}` prints what goes into {host.place}"
    if host.add is None:
        raise NotSupported(f"cannot install into {name}: it has no command for it; {by_hand}")
    import shutil
    import subprocess

    command = host.add(words, environment)
    program = shutil.which(command[0])
    if program is None:
        raise NotSupported(f"cannot install into {name}: no `{command[0]}` on the PATH; {by_hand}")
    code = subprocess.run([program, *command[1:]], check=False).returncode
    if code == 0 and host.rest is not None and (left := host.rest(program, environment)):
        render.note(f"{left}; {by_hand}")
    return code


def _json(key: str, words: Words, environment: Environment, **more: Any) -> str:
    return json.dumps({key: {NAME: _entry(words, environment, **more)}}, indent=2)


def _entry(words: Words, environment: Environment, **more: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {**more, "command": words[0], "args": list(words[1:])}
    if environment:
        entry["env"] = dict(environment)
    return entry


def _plain(words: Words, environment: Environment) -> str:
    return _json("mcpServers", words, environment)


def _claude(words: Words, environment: Environment) -> str:
    return _json("mcpServers", words, environment, **CLAUDE_MORE)


def _copilot(words: Words, environment: Environment) -> str:
    return _json("mcpServers", words, environment, type="local", tools=["*"])


def _opencode(words: Words, environment: Environment) -> str:
    entry: dict[str, Any] = {"type": "local", "command": list(words), "enabled": True}
    if environment:
        entry["environment"] = dict(environment)
    return json.dumps(
        {"$schema": "https://opencode.ai/config.json", "mcp": {NAME: entry}}, indent=2
    )


def _codex(words: Words, environment: Environment) -> str:
    # Of TOML only strings and lists of them, which JSON writes alike.
    lines = [
        f"[mcp_servers.{NAME}]",
        f"command = {json.dumps(words[0])}",
        f"args = {json.dumps(list(words[1:]))}",
    ]
    if forwarded := _forwarded(environment):
        lines.append(f"env_vars = {json.dumps(forwarded)}")
    if environment:
        lines += ["", f"[mcp_servers.{NAME}.env]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in environment.items()]
    return "\n".join(lines)


def _forwarded(environment: Environment) -> list[str]:
    """Variables that Codex is to hand on where it runs in a pod itself."""
    return [name for name in POD_VARIABLES if name not in environment]


def _flags(flag: str, environment: Environment) -> list[str]:
    return [word for name, value in environment.items() for word in (flag, f"{name}={value}")]


def _add_claude(words: Words, environment: Environment) -> list[str]:
    entry = json.dumps(_entry(words, environment, **CLAUDE_MORE))
    return ["claude", "mcp", "add-json", "--scope", "user", NAME, entry]


def _rest_codex(program: str, environment: Environment) -> str | None:
    from pods.cli.codex_settings import write_setting

    forwarded = _forwarded(environment)
    key = f"mcp_servers.{NAME}.env_vars"
    if not forwarded or write_setting(program, key, forwarded):
        return None
    return f"codex did not take `{key} = {json.dumps(forwarded)}`, which it needs in pods"


def _add_plain(program: str) -> Callable[[Words, Environment], list[str]]:
    def add(words: Words, environment: Environment) -> list[str]:
        return [program, "mcp", "add", NAME, *_flags("--env", environment), "--", *words]

    return add


def _add_gemini(program: str) -> Callable[[Words, Environment], list[str]]:
    def add(words: Words, environment: Environment) -> list[str]:
        flags = _flags("--env", environment)
        head = [program, "mcp", "add", "--scope", "user", *flags, NAME, words[0]]
        return [*head, "--", *words[1:]]

    return add


HOSTS: Final[Mapping[str, Host]] = {
    "claude": Host(".mcp.json of a project, or a file for `--mcp-config`", _claude, _add_claude),
    "codex": Host("~/.codex/config.toml", _codex, _add_plain("codex"), _rest_codex),
    "opencode": Host(
        "opencode.json of a project, or ~/.config/opencode/opencode.json",
        _opencode,
        _add_plain("opencode"),
    ),
    "gemini": Host("~/.gemini/settings.json", _plain, _add_gemini("gemini")),
    "qwen": Host("~/.qwen/settings.json", _plain, _add_gemini("qwen")),
    "copilot": Host("~/.copilot/mcp-config.json", _copilot, _add_plain("copilot")),
    "json": Host("the configuration of any host that knows `mcpServers`", _plain),
}
"""Host -> how to tell it. `os.environ` and files of theirs are not looked at."""
