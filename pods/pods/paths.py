"""Where everything lies: a pure function of the environment and the user's id.

Owns every path that pods uses and the 107-byte budget of socket paths. Makes nothing, checks
nothing on disk (`pods.rpc.unix` does). Everybody who needs a path asks here, the light command-line
verbs too: standard library only, and `hashlib` only where a name needs its digest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from pods_protocol.bounds import MAX_NAME_LENGTH
from pods_protocol.errors import InvalidName, InvalidParams, PathTooLong

MAX_SOCKET_PATH_BYTES: Final = 107
"""`sun_path` is 108 bytes with its final zero on Linux (103 usable on macOS)."""

POD_ID_LENGTH: Final = 12
"""Characters of a pod's id: random enough for one user's pods, short enough for socket paths."""

MAX_PLAIN_DIRECTORY_NAME: Final = 20
"""A supervisor's name up to this length is its directory's name; a longer one becomes a digest."""

JOURNAL_NAME: Final = "journal"
"""The directory of a pod's journal within the pod's state directory."""

SECRETS_NAME: Final = "secrets"
"""The file in a new pod's runtime directory with its token and the values of its `env`."""

ENFORCEMENT_NAME: Final = "enforcement.json"
"""In a pod's state directory: what the kernel held it to at its newest start."""

GUARD_NAME: Final = "guard.json"
"""In a pod's runtime directory: the process that ends its tree where its keeper is killed, while
there is one."""

POLLED_NAME: Final = "limits.polled"
"""In a pod's runtime directory, empty: its keeper cannot listen to the pod's cgroup, and counts."""

LENT_NAME: Final = "lent.json"
"""In a pod's state directory: what it has lent to its children, while that is something."""

ENVIRONMENT_NAME: Final = "environment"
"""The file in a pod's runtime directory with the values of its `env`, kept where the pod is to be
started again if it dies."""

NAME_RULE: Final = (
    "1 to 64 characters, letters, digits, '.', '_' and '-', beginning with a letter or digit"
)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def check_name(name: str, what: str = "pod") -> str:
    """Return `name` if it may name a pod or a supervisor; it will stand in paths and tables.

    Raises:
        InvalidName: with the rule.
    """
    if len(name) <= MAX_NAME_LENGTH and _NAME.match(name):
        return name
    shown = name if len(name) <= MAX_NAME_LENGTH else name[:MAX_NAME_LENGTH] + "..."
    raise InvalidName(
        f"cannot use {shown!r} as the name of a {what}: a name has {NAME_RULE}; choose another",
        name=shown,
        rule=NAME_RULE,
    )


def check_socket_path(path: str) -> str:
    """Return `path` if the kernel can bind it.

    Raises:
        PathTooLong: with the remedy.
    """
    size = len(path.encode())
    if size <= MAX_SOCKET_PATH_BYTES:
        return path
    raise PathTooLong(
        f"cannot use the socket path {path}: it has {size} bytes and the kernel takes "
        f"{MAX_SOCKET_PATH_BYTES}; set PODS_RUNTIME_DIR to a shorter directory",
        path=path,
        limit_bytes=MAX_SOCKET_PATH_BYTES,
    )


class Places(NamedTuple):
    """The three roots: `runtime` (sockets; gone at reboot), `state` (journals), `config`."""

    runtime: str
    state: str
    config: str

    @property
    def registry(self) -> str:
        """The scope registry, shared by every supervisor of the user."""
        return f"{self.state}/scopes/registry.json"

    def pod_state(self, pod_id: str) -> str:
        """The directory of a pod's journal and records."""
        return f"{self.state}/pods/{pod_id}"

    def supervisor(self, name: str) -> SupervisorPlaces:
        """The places of the supervisor called `name`.

        Raises:
            InvalidName: not a name.
        """
        return SupervisorPlaces(places=self, name=check_name(name, "supervisor"))


class SupervisorPlaces(NamedTuple):
    """Where one supervisor keeps its things."""

    places: Places
    name: str

    @property
    def directory_name(self) -> str:
        """The name, or a digest of it where it would eat the budget of the socket paths."""
        if len(self.name) <= MAX_PLAIN_DIRECTORY_NAME:
            return self.name
        import hashlib  # costs two milliseconds that ordinary names need not pay

        return "_" + hashlib.blake2b(self.name.encode(), digest_size=8).hexdigest()

    @property
    def runtime(self) -> str:
        """Sockets and tokens; removed when the supervisor ends."""
        return f"{self.places.runtime}/{self.directory_name}"

    @property
    def socket(self) -> str:
        """The control socket."""
        return f"{self.runtime}/ctl.sock"

    @property
    def launcher_socket(self) -> str:
        """The launcher's socket."""
        return f"{self.runtime}/launcher.sock"

    @property
    def owner_token(self) -> str:
        """The file with the owner's token."""
        return f"{self.runtime}/owner.token"

    @property
    def cgroup_note(self) -> str:
        """The file with the directory of the cgroup in which pods get theirs, where they do."""
        return f"{self.runtime}/cgroup"

    @property
    def start_lock(self) -> str:
        """Held by the client that starts the supervisor; never unlinked, to not split waiters."""
        return f"{self.places.runtime}/{self.directory_name}.start.lock"

    @property
    def life_lock(self) -> str:
        """Held by the supervisor while it lives. Never unlinked."""
        return f"{self.places.runtime}/{self.directory_name}.lock"

    def session_lock(self, session: str) -> str:
        """Held by the `pods mcp` that speaks for this session. Never unlinked."""
        return f"{self.places.runtime}/{self.directory_name}.session-{session}.lock"

    @property
    def state(self) -> str:
        """The supervisor's own journal and log."""
        return f"{self.places.state}/supervisors/{self.directory_name}"

    @property
    def audit(self) -> str:
        """The journal of who was allowed what."""
        return f"{self.state}/audit"

    @property
    def log(self) -> str:
        """Where the supervisor and its launcher write what went wrong."""
        return f"{self.state}/supervisor.log"

    def pod_runtime(self, pod_id: str) -> str:
        """A pod's sockets, token and private temporary directory."""
        return f"{self.runtime}/{pod_id}"

    def pod_socket(self, pod_id: str) -> str:
        """The pod's own socket."""
        return f"{self.pod_runtime(pod_id)}/pod.sock"

    def keeper_socket(self, pod_id: str) -> str:
        """The keeper's socket."""
        return f"{self.pod_runtime(pod_id)}/keeper.sock"

    def pod_token(self, pod_id: str) -> str:
        """The file with the pod's token, for a supervisor that comes after this one."""
        return f"{self.pod_runtime(pod_id)}/token"

    def check_socket_paths(self) -> None:
        """Make sure that every socket of this supervisor can be bound, those of its pods too.

        Raises:
            PathTooLong: with the remedy. Asked before anything is made, so that nothing is left.
        """
        check_socket_path(self.keeper_socket("0" * POD_ID_LENGTH))

    def pod_tmp(self, pod_id: str) -> str:
        """The pod's private TMPDIR."""
        return f"{self.pod_runtime(pod_id)}/tmp"


def places_from(environ: Mapping[str, str], uid: int) -> Places:
    """Decide the three roots (DESIGN.md section 10).

    Args:
        environ: the process's environment; `PODS_RUNTIME_DIR`, `PODS_STATE_DIR`,
            `XDG_RUNTIME_DIR`, `XDG_STATE_HOME`, `XDG_CONFIG_HOME` and `HOME` are read.
        uid: of the user, for `/tmp/pods-UID` where there is no runtime directory.

    Raises:
        InvalidParams: one of ours is a relative path: another place for each process.
    """
    home = environ.get("HOME") or "/"
    shared = _absolute(environ, "XDG_RUNTIME_DIR")
    runtime = _own(environ, "PODS_RUNTIME_DIR") or (
        f"{shared}/pods" if shared else f"/tmp/pods-{uid}"
    )
    state = _own(environ, "PODS_STATE_DIR") or (
        f"{_absolute(environ, 'XDG_STATE_HOME') or home + '/.local/state'}/pods"
    )
    config = f"{_absolute(environ, 'XDG_CONFIG_HOME') or home + '/.config'}/pods/config.toml"
    return Places(runtime=_plain(runtime), state=_plain(state), config=config)


def _plain(path: str) -> str:
    """Without slashes that mean nothing: the kernel gives a path back with one at the beginning."""
    return f"/{path.strip('/')}"


def _absolute(environ: Mapping[str, str], name: str) -> str:
    """A directory of the user's; empty where there is none, or, as XDG wants it, a relative one."""
    path = environ.get(name, "")
    return path if path.startswith("/") else ""


def _own(environ: Mapping[str, str], name: str) -> str:
    path = environ.get(name, "")
    if path and not path.startswith("/"):
        raise InvalidParams(
            f"cannot use {name}={path!r}: it is a relative path, another place for each directory "
            "that pods is run in; give the whole path",
            path=name,
        )
    return path
