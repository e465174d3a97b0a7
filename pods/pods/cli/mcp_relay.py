"""The tools for `pods mcp`: calls in, results out, over plain connections to the supervisor.

Owns the connections, the deadline of each call, its cancellation, and whose authority it all has:
inside a pod that pod's own, outside a session of the owner's. The tools are `BlockingToolset`; one
lock makes their steps follow each other as on an event loop, and only waiting for an answer
happens outside of it. Without trio; what calls alone need is imported at the first. Used by
`mcp_stdio`, which has one thread a call.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
import zlib
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pods.client.address import find_address
from pods.client.open import WhenAbsent, open_plain
from pods.client.plain import Json, PlainClient
from pods.paths import SupervisorPlaces, check_name
from pods_protocol.bounds import DEFAULT_GRACE_SECONDS, MAX_NAME_LENGTH
from pods_protocol.errors import Busy, NotConnected, NotSupported, PodsError, StorageFailed

if TYPE_CHECKING:
    from pods_protocol.pod_messages import Request, Run, RunResult
    from pods_tools.result import ToolResult
    from pods_tools.toolset import BlockingToolset

    R = TypeVar("R")

CALL_SECONDS: Final = 48.0
"""A call ends within this: hosts give up at 60 s, we promise 50, and the longest wait of a read is
45. `pods_tools.toolset.MAX_CALL_SECONDS` is the same, and costs an import to ask."""

MAX_IDLE_CONNECTIONS: Final = 4
"""Kept for the next call; a host makes few at once."""

FLUSH_SECONDS: Final = 1.0
"""At the end, to say how far was read: a host kills us soon after it has hung up."""

STOP_SECONDS: Final = 3 * DEFAULT_GRACE_SECONDS + 5.0
"""At the end, for the stop of all pods of the session. It goes on without us, too."""

CLAIM_SECONDS: Final = 1.0
"""How long a session may be somebody else's: so long a host takes to end the one before."""

CLAIM_AGAIN_SECONDS: Final = 0.05
MAX_TWINS: Final = 9
"""Sessions beside each other in one directory that get a name without being told one."""

CLIENT: Final = "pods mcp"

KEPT_OUT: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""What the system says where a process may not write, however it is kept from it."""


class RunningCall:
    """One call: its deadline and, while it runs, its connection."""

    def __init__(self, seconds: float = CALL_SECONDS) -> None:
        self._deadline = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._client: PlainClient | None = None
        self._cancelled = False

    @property
    def seconds_left(self) -> float:
        """What is left of it, a little at least."""
        return max(0.01, self._deadline - time.monotonic())

    def cancel(self) -> None:
        """End it from another thread; what it has asked for may still happen."""
        with self._lock:
            self._cancelled = True
            if self._client is not None:
                self._client.abort()

    @contextlib.contextmanager
    def using(self, client: PlainClient) -> Generator[None]:
        """While the block runs, `cancel` hangs this connection up.

        Raises:
            NotConnected: it was cancelled before.
        """
        with self._lock:
            if self._cancelled:
                raise NotConnected("cannot go on: the call was cancelled")
            self._client = client
        try:
            yield
        finally:
            with self._lock:
                self._client = None


class Session:
    """Which session of the owner's a bridge speaks for, once it had to know.

    Args:
        places: of the supervisor.
        wanted: its name; None is one after the directory that the host works in.
    """

    def __init__(self, places: SupervisorPlaces, wanted: str | None) -> None:
        self._places = places
        self._wanted = wanted
        self._held: int | None = None
        self._claiming = threading.Lock()
        self.name = default_session(os.getcwd()) if wanted is None else wanted

    def claim(self) -> str:
        """Hold the session, or the first free one of its twins; again is nothing.

        Raises:
            Busy: another `pods mcp` speaks for it.
            NotSupported: this process may not write where supervisors are, as in a pod that is held
                to its scope and may not call back.
            StorageFailed: the disk refuses.
        """
        with self._claiming:
            if self._held is None:
                try:
                    self._held = self._hold()
                except OSError as error:
                    raise _no_session(error) from error
            return self.name

    def _hold(self) -> int:
        deadline = time.monotonic() + CLAIM_SECONDS
        while (held := self._try(self.name)) is None and time.monotonic() < deadline:
            time.sleep(CLAIM_AGAIN_SECONDS)
        if held is not None:
            return held
        if self._wanted is None:
            for number in range(2, MAX_TWINS + 1):
                twin = f"{self.name}-{number}"
                if (held := self._try(twin)) is not None:
                    self.name = twin
                    return held
        raise Busy(
            f"cannot speak for the session {self.name}: another `pods mcp` does; give this one a "
            "name of its own with --session, or end the other",
            limit_name="session",
            limit=1,
        )

    def _try(self, name: str) -> int | None:
        os.makedirs(self._places.places.runtime, mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._places.session_lock(name), flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor


def _no_session(error: OSError) -> PodsError:
    """Why there is no session, for the model whose call it is.

    That it is kept out is no fault: the configuration of a user's host names this server, and is
    copied to where the user's pods may not be reached from.
    """
    if error.errno in KEPT_OUT:
        return NotSupported(
            f"cannot use pods from here: {error.strerror} ({error.filename}); a pod that was "
            "spawned without --call-back may have no pods of its own",
            feature="call_back",
        )
    return StorageFailed(
        f"cannot begin a session: {error.strerror} ({error.filename}); `pods doctor` tells what is "
        "wrong there",
        path=error.filename,
        errno=error.errno,
    )


def default_session(directory: str) -> str:
    """A name for what is done in `directory`: its own, and a digest that tells it from others."""
    digest = f"{zlib.crc32(os.fsencode(directory)):08x}"  # `hashlib` costs as much as all of this
    kept = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-"
        for letter in os.path.basename(directory)
    ).strip("._-")
    room = MAX_NAME_LENGTH - len(digest) - len("--9")
    return check_name(f"{kept[:room]}-{digest}" if kept else digest, "session")


class Relay:
    """The tools, with the authority that this process has.

    Args:
        supervisor: its name; None takes what the environment says.
        session: the name that the host's session was given; None is its directory's.
    """

    def __init__(self, supervisor: str | None, session: str | None) -> None:
        places = find_address(os.environ, supervisor).places
        self.session = None if places is None else Session(places, session)
        self._supervisor = supervisor
        self._step = threading.Lock()
        self._pool_lock = threading.Lock()
        self._idle: list[PlainClient] = []
        self._local = threading.local()
        self._toolset: BlockingToolset | None = None
        self._when_absent: WhenAbsent = "start"

    def call(self, name: str, arguments: Any, running: RunningCall) -> ToolResult:
        """Call a tool; never raises for what a model did or a supervisor refused."""
        self._local.running = running
        with self._step:
            return self._tools().call(name, arguments)

    def unshown(self, result: ToolResult) -> None:
        """The host never got this result: what it read is read again, by whoever reads next."""
        pod_id = result.data.get("id")
        if self._toolset is not None and "last_seq" in result.data and isinstance(pod_id, str):
            with self._step:
                self._toolset.bookmarks.forget(pod_id)

    def close(self, *, shown: bool) -> None:
        """Say how far was read, and hang up. What fails is shown again to the next session.

        Args:
            shown: the host got what was sent to it, as far as can be known.
        """
        self._when_absent = "fail"  # whoever ended the supervisor does not want another one
        if shown and self._toolset is not None and self._idle:
            self._local.running = RunningCall(FLUSH_SECONDS)
            with contextlib.suppress(PodsError), self._step:
                self._toolset.flush()
        with self._pool_lock:
            while self._idle:
                self._idle.pop().close()

    def stop_pods(self) -> list[str]:
        """Stop every pod of the session, all at once, if a supervisor runs.

        Returns:
            The names of those that were asked to stop.

        Raises:
            PodsError: it cannot be asked.
        """
        if self.session is None:
            return []
        with contextlib.suppress(NotConnected), self._open("fail") as client:
            roots = list(_roots(client))
            stops = [{"pod": pod_id} for pod_id in roots]
            client.call_many("stop", stops, timeout=STOP_SECONDS)
            return roots
        return []

    # --- as `BlockingPodsClient`; with the lock held, and released while an answer is awaited ---

    def request(self, message: Request[R]) -> R:
        """Ask the supervisor."""
        from pods_protocol.codec import from_json_lenient, to_json
        from pods_protocol.supervisor_api import SUPERVISOR_API

        params = to_json(message)
        if message.METHOD == "spawn" and params["cwd"] is None and self.session is not None:
            params["cwd"] = os.getcwd()  # as `pods spawn`: where the person works
        answer = self._exchange(message.METHOD, params)
        result: R = from_json_lenient(SUPERVISOR_API.methods[message.METHOD].result, answer)
        return result

    def send(self, pod: str, message: Run) -> RunResult:
        """Give a message to a pod."""
        from pods_protocol.supervisor_messages import SendMessage

        return self.request(
            SendMessage(
                pod=pod,
                input=message.input,
                if_busy=message.if_busy,
                message_id=message.message_id,
                sender=message.sender,
            )
        )

    # --- parts ---

    def _tools(self) -> BlockingToolset:
        if self._toolset is None:
            from pods_tools.toolset import BlockingToolset

            self._toolset = BlockingToolset(self)
        return self._toolset

    def _exchange(self, method: str, params: Json) -> Json:
        running: RunningCall = self._local.running
        self._step.release()
        try:
            with self._connection() as client, running.using(client):
                return client.call(method, params, timeout=running.seconds_left)
        finally:
            self._step.acquire()

    @contextlib.contextmanager
    def _connection(self) -> Generator[PlainClient]:
        """One of its own for the block. Kept for the next where no answer is outstanding."""
        client = self._take() or self._open(self._when_absent)
        try:
            yield client
        except NotConnected:
            client.close()
            raise
        except PodsError as error:
            if error.CODE in ("timed_out", "too_large", "parse_error"):
                client.close()
            raise
        except BaseException:
            client.close()
            raise
        finally:
            self._give_back(client)

    def _take(self) -> PlainClient | None:
        with self._pool_lock:
            while self._idle:
                client = self._idle.pop()
                if client.idle:
                    return client
                client.close()
        return None

    def _give_back(self, client: PlainClient) -> None:
        with self._pool_lock:
            if client.idle and len(self._idle) < MAX_IDLE_CONNECTIONS:
                self._idle.append(client)
                return
        client.close()

    def _open(self, when_absent: WhenAbsent) -> PlainClient:
        return open_plain(
            self._supervisor,
            when_absent=when_absent,
            client=CLIENT,
            session="" if self.session is None else self.session.claim(),
        )


def _roots(client: PlainClient) -> Iterator[str]:
    """The ids of the living pods that no other pod of the session is above."""
    rows: list[Json] = []
    after: str | None = None
    while True:
        page = client.call("list", {"ended": False, "after": after})
        rows += page["pods"]
        after = page["next"]
        if after is None:
            break
    ids = {row["id"] for row in rows}
    return (row["id"] for row in rows if row["parent_id"] not in ids)
