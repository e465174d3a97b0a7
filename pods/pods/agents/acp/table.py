"""The agents that are known by a name: what starts each, what it needs, how to log in. Data.

Owns the table and nothing else. Every agent lives with a home of its own (see `home`), so paths of
logins are the same below the user's home and below the pod's. A variable's value may name that
home as `{home}`. What stands here was tried, or is what the vendor documents; the README says
which is which. Used by `home`, `settings` and `pods agents`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class KnownAgent(NamedTuple):
    """One agent.

    Attributes:
        title: what people call it.
        command: the program, and the arguments that make it speak ACP.
        held: arguments beside those where the kernel holds the pod. An agent that puts its commands
            into a sandbox of its own cannot set that up within ours, and then runs none.
        tools_flag: the argument before the one that is our tools' server as JSON, for an agent that
            takes no servers with its session.
        install: the command that installs it.
        login: how a person logs in, once, outside of any pod.
        logins: files below the user's home that are copied into the pod's own: logins, and the
            settings that say which service is used.
        keys: variables of which any holds a login, for `--env`.
        environment: variables it is started with: its own directories, no telemetry, no updates.
        root_environment: those that it needs where it runs as root.
        own_files: it is not offered to read and write files through us, and does so by itself.
        quirks: what to know, in words for people.
    """

    title: str
    command: tuple[str, ...]
    install: str
    login: str
    held: tuple[str, ...] = ()
    tools_flag: str | None = None
    logins: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    environment: Mapping[str, str] = MappingProxyType({})
    root_environment: Mapping[str, str] = MappingProxyType({})
    own_files: bool = False
    quirks: tuple[str, ...] = ()


_STAYS: Final = "it does not end when its input does; it is ended by a signal"

KNOWN: Final[Mapping[str, KnownAgent]] = MappingProxyType(
    {
        "claude": KnownAgent(
            title="Claude Code",
            command=("claude-agent-acp",),
            install="npm install -g @agentclientprotocol/claude-agent-acp",
            login="`claude` and then /login; or give ANTHROPIC_API_KEY",
            logins=(".claude/.credentials.json",),
            keys=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
            environment={
                "CLAUDE_CONFIG_DIR": "{home}/.claude",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                "DISABLE_AUTOUPDATER": "1",
                "DISABLE_TELEMETRY": "1",
                "DISABLE_ERROR_REPORTING": "1",
            },
            root_environment={"IS_SANDBOX": "1"},
            quirks=("as root it starts no session unless it is told that it is in a sandbox",),
        ),
        "codex": KnownAgent(
            title="Codex",
            command=("codex-acp",),
            # Its own sandbox off, its questions on: `untrusted` asks for all but reading commands.
            held=("-c", 'sandbox_mode="danger-full-access"', "-c", 'approval_policy="untrusted"'),
            install="npm install -g @zed-industries/codex-acp",
            login="`codex login`; or give OPENAI_API_KEY",
            logins=(".codex/auth.json", ".codex/config.toml"),
            keys=("OPENAI_API_KEY", "CODEX_API_KEY"),
            environment={"CODEX_HOME": "{home}/.codex"},
            quirks=(_STAYS, "it refuses helper programs below /tmp"),
        ),
        "gemini": KnownAgent(
            title="Gemini CLI",
            command=("gemini", "--acp"),
            install="npm install -g @google/gemini-cli",
            login="`gemini` and then /auth; or give GEMINI_API_KEY",
            logins=(
                ".gemini/settings.json",
                ".gemini/oauth_creds.json",
                ".gemini/google_accounts.json",
            ),
            keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            environment={
                "GEMINI_CLI_TRUST_WORKSPACE": "true",
                "GEMINI_TELEMETRY_ENABLED": "false",
            },
            # It cannot tell a client's "there is no such file" from a failure, and so would never
            # make one (tried with 0.61.0).
            own_files=True,
            quirks=(
                _STAYS,
                "its usage statistics are switched off by `privacy.usageStatisticsEnabled` in "
                "~/.gemini/settings.json alone",
                "its shell wants a terminal: spawn it with --pty, or set "
                "`tools.shell.enableInteractiveShell` to false there",
            ),
        ),
        "opencode": KnownAgent(
            title="opencode",
            command=("opencode", "acp"),
            install="npm install -g opencode-ai",
            login="`opencode auth login`",
            logins=(
                ".local/share/opencode/auth.json",
                ".config/opencode/opencode.json",
                ".config/opencode/opencode.jsonc",
            ),
            keys=("ANTHROPIC_API_KEY", "OPENAI_API_KEY"),
            environment={
                "XDG_CONFIG_HOME": "{home}/.config",
                "XDG_DATA_HOME": "{home}/.local/share",
                "XDG_STATE_HOME": "{home}/.local/state",
                "OPENCODE_DISABLE_MODELS_FETCH": "1",
                "OPENCODE_DISABLE_AUTOUPDATE": "1",
            },
            quirks=(
                "it asks for no permission unless its settings say so: the kernel holds it",
                "at its first start in a home it installs a package of its own by npm, if it can",
            ),
        ),
        "qwen": KnownAgent(
            title="Qwen Code",
            command=("qwen", "--acp"),
            install="npm install -g @qwen-code/qwen-code",
            login="`qwen` and then /auth; or give OPENAI_API_KEY and OPENAI_BASE_URL",
            logins=(".qwen/settings.json", ".qwen/oauth_creds.json"),
            keys=("OPENAI_API_KEY",),
            environment={"GEMINI_TELEMETRY_ENABLED": "false"},
            quirks=("it finds our tools by its own tool_search",),
        ),
        "copilot": KnownAgent(
            title="GitHub Copilot CLI",
            command=("copilot", "--acp"),
            install="npm install -g @github/copilot",
            login="`copilot` and then /login; or give GH_TOKEN",
            logins=(".copilot/config.json",),
            keys=("COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN", "COPILOT_PROVIDER_API_KEY"),
            # It is not offered what `session/new` brings (tried with 1.0.102).
            tools_flag="--additional-mcp-config",
            environment={"COPILOT_AUTO_UPDATE": "false"},
        ),
        "vibe": KnownAgent(
            title="Mistral Vibe",
            command=("vibe-acp",),
            install="uv tool install mistral-vibe",
            login="`vibe --setup`; or give MISTRAL_API_KEY",
            logins=(".vibe/config.toml", ".vibe/.env"),
            keys=("MISTRAL_API_KEY",),
            environment={"VIBE_HOME": "{home}/.vibe"},
        ),
        "fast-agent": KnownAgent(
            title="fast-agent",
            command=("fast-agent-acp", "--shell"),  # else it runs no commands
            install="uv tool install fast-agent-mcp",
            login="keys in fastagent.secrets.yaml beside the work; or give them with --env",
            keys=("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GENERIC_API_KEY"),
            quirks=("it starts in six seconds",),
        ),
    }
)
"""Name -> agent; the name is the pod's `--agent`."""
