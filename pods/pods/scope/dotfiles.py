"""What a write scope lets out of a pod by the user's home: files that run, or let in, without it.

Owns the list of those files and the looking for them in a grant, by names alone: what is not there
can be made. Warnings for people; nothing is refused. Used by `confine`, for the record; `baseline`
asks where home is.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final

from pods.scope.regions import is_below
from pods_protocol.values import ScopeGrant, ScopeRule

MAX_NAMED: Final = 3
"""Files that a warning names: who gives all of `~/.config` learns what is meant from these."""

_SHELLS: Final = (
    ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases", ".profile",
    ".zshrc", ".zshenv", ".zprofile", ".zlogin", ".zlogout", ".zsh", ".oh-my-zsh", ".kshrc",
    ".mkshrc", ".cshrc", ".tcshrc", ".login", ".logout", ".inputrc", ".config/bash", ".config/zsh",
    ".config/fish", ".config/nushell", ".config/powershell", ".config/direnv", ".direnvrc",
    ".config/starship.toml",
)  # fmt: skip

_SESSIONS: Final = (
    ".pam_environment", ".config/environment.d", ".config/autostart", ".config/systemd",
    ".local/share/systemd", ".config/plasma-workspace", ".local/share/applications",
    ".local/share/dbus-1", ".xprofile", ".xsession", ".xsessionrc", ".xinitrc", ".xserverrc",
    ".config/i3", ".config/sway", ".config/hypr", ".config/awesome", ".config/openbox", ".forward",
    ".mailcap",
)  # fmt: skip

_DOORS: Final = (".ssh", ".gnupg", ".rhosts", ".shosts", ".config/pods")

_TOOLS: Final = (
    ".gitconfig", ".config/git", ".hgrc", ".config/hg", ".vimrc", ".gvimrc", ".exrc", ".vim",
    ".config/nvim", ".config/helix", ".emacs", ".emacs.d", ".config/emacs", ".nanorc", ".tmux.conf",
    ".config/tmux", ".screenrc", ".lessfilter", ".gdbinit", ".config/gdb", ".lldbinit", ".psqlrc",
    ".sqliterc", ".irbrc", ".pryrc", ".pdbrc", ".pythonrc.py", ".ipython", ".jupyter", ".Rprofile",
    ".npmrc", ".yarnrc", ".yarnrc.yml", ".config/pip", ".pip", ".gradle", ".m2", ".ripgreprc",
    ".config/mise", ".asdfrc", ".tool-versions", ".kube", ".aws", ".docker", ".mutt", ".muttrc",
    ".config/kitty", ".config/wezterm", ".wezterm.lua", ".config/alacritty",
)  # fmt: skip

_EDITORS_AND_AGENTS: Final = (
    ".vscode", ".vscode-server", ".config/Code", ".cursor", ".config/Cursor", ".config/JetBrains",
    ".config/zed", ".claude", ".claude.json", ".codex", ".gemini", ".qwen", ".copilot", ".vibe",
    ".config/opencode", ".mcp.json",
)  # fmt: skip

_PROGRAMS: Final = (
    "bin", ".bin", ".local/bin", ".local/lib", ".local/share/mise", ".cargo", ".rustup", ".pyenv",
    ".rbenv", ".asdf", ".nvm", ".volta", ".bun", ".deno", ".gem", ".luarocks", ".npm-packages",
    ".npm-global", "go/bin", ".nix-profile", ".dotfiles", "dotfiles", ".homesick",
)  # fmt: skip
"""Where programs and libraries of the user's own PATH lie, and where all of the above is kept."""

DOTFILES: Final = (
    *_SHELLS, *_SESSIONS, *_DOORS, *_TOOLS, *_EDITORS_AND_AGENTS, *_PROGRAMS,
)  # fmt: skip
"""What runs, or lets in, on behalf of the user outside of any pod. Collected from what sandboxes
for the desktop and for agents keep read-only; none is complete."""


def _by_directory() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name in DOTFILES:
        above = os.path.dirname(name)
        while above:
            found[above] = (*found.get(above, ()), name)
            above = os.path.dirname(above)
    return found


_KNOWN: Final = frozenset(DOTFILES)
_WITHIN: Final = _by_directory()
"""A directory of a home -> what it holds of these: a spawn asks once a rule, not once a file."""


def homes(switches: Mapping[str, str]) -> tuple[str, ...]:
    """The user's own homes, canonical: the launcher's, and the one on record where that differs.

    Not the pod's `HOME`: that is what somebody said with `--env`, and the user's shell does not
    obey it.
    """
    told = (switches.get("HOME", ""), home_on_record())
    found = dict.fromkeys(os.path.realpath(home) for home in told if os.path.isabs(home))
    return tuple(home for home in found if home != "/")


@cache
def home_on_record() -> str:
    """The home that the system knows of this user; empty where it knows none.

    Asked once, in the process that all pods fork from: it may come from another machine.
    """
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def home_warnings(grant: ScopeGrant, at: Iterable[str]) -> tuple[str, ...]:
    """What the write rules of a grant hold of these homes that runs outside of the pod."""
    return tuple(
        warning
        for rule in grant.allow
        if rule.permission == "write"
        for home in at
        if (warning := _of_rule(rule, home))
    )


def _of_rule(rule: ScopeRule, home: str) -> str:
    scope = f"the write scope {rule.target}"
    if rule.target == home:
        return f"{scope} is the home directory"
    if is_below(home, rule.target):
        return f"{scope} holds the home directory {home}" if rule.recursive else ""
    if not is_below(rule.target, home):
        return ""
    place = rule.target.removeprefix(f"{home}/")
    above = place
    while above:
        if above in _KNOWN:
            return f"{scope} is of {home}/{above}, which runs or lets in outside of the pod"
        above = os.path.dirname(above)
    held = [
        f"{home}/{name}"
        for name in _WITHIN.get(place, ())
        if rule.recursive or os.path.dirname(name) == place
    ]
    if not held:
        return ""
    more = len(held) - MAX_NAMED
    named = ", ".join(held[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{scope} holds {named}: what runs or lets in outside of the pod"
