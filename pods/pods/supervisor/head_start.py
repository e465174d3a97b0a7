"""What a daemon does before its imports: it takes its lock and starts its launcher.

Supervisor and launcher each import for a quarter of a second; on two cores they do it side by side
instead of one after the other. Owns the conditions: only who holds the life lock may start a
launcher, and only where none answers. Where anything stands in the way nothing is done, and
`service` goes its ordinary way, with its ordinary errors. Called by `__main__`; used up by
`service` and `launcher_link`. Imports next to nothing.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pods.client.start import answers
from pods.rpc.unix import ensure_private_directory, write_private_file
from pods.supervisor.launcher_process import LauncherProcess, start_launcher
from pods_protocol.errors import PodsError

if TYPE_CHECKING:
    from pods.paths import SupervisorPlaces

MAX_TOKEN_BYTES: Final = 4096
"""A token has some sixty characters; a bigger file is not one."""

_TOKEN: Final = re.compile(r"[0-9a-f]{64}\Z")


class HeadStart:
    """A life lock and a launcher that comes up; each is taken once, by whoever owns it from then.

    Args:
        lock: the descriptor that holds the life lock; None where it was not taken.
        launcher: a launcher on its way; None where one answered, or nobody looked.
        fresh: as below.

    Attributes:
        fresh: this start has made the owner's token, so nobody alive obeys it.
    """

    def __init__(
        self,
        lock: int | None = None,
        launcher: LauncherProcess | None = None,
        *,
        fresh: bool = False,
    ) -> None:
        self._lock = lock
        self._launcher = launcher
        self.fresh = fresh

    @property
    def begun(self) -> bool:
        """Whether a launcher is on its way that nobody has taken yet."""
        return self._launcher is not None

    def take_lock(self) -> int | None:
        """The life lock's descriptor, the first time."""
        lock, self._lock = self._lock, None
        return lock

    def take_launcher(self) -> LauncherProcess | None:
        """The launcher on its way, the first time."""
        launcher, self._launcher = self._launcher, None
        return launcher

    def token(self, places: SupervisorPlaces) -> str:
        """The owner's token; takes note where it has to be made.

        Raises:
            OSError, StorageFailed: it cannot be written.
        """
        self.fresh = self.fresh or not os.path.lexists(places.owner_token)
        return owner_token(places)

    def give_up(self, places: SupervisorPlaces) -> None:
        """End and close what nobody has taken; a start that was not even tried leaves nothing."""
        lock = self.take_lock()
        if lock is None:
            self._end_launcher(places)
        else:
            self.undo(places)
            os.close(lock)

    def undo(self, places: SupervisorPlaces) -> None:
        """Take back what this start has begun, where it is refused; the life lock is held.

        What an earlier supervisor has left in there stays.
        """
        import shutil  # for a refused start alone, as below

        from pods.pod.cgroup import read, remove_home

        self._end_launcher(places)
        if self.fresh:
            home = read(places.cgroup_note)
            if home:
                remove_home(home)
            shutil.rmtree(places.runtime, ignore_errors=True)

    def _end_launcher(self, places: SupervisorPlaces) -> None:
        launcher = self.take_launcher()
        if launcher is not None:
            import shutil

            launcher.kill()
            launcher.wait()
            os.close(launcher.ready)
            # It may have been in the middle of its rehearsals.
            shutil.rmtree(f"{places.runtime}/rehearsal-{launcher.pid}", ignore_errors=True)


def take_head_start(
    places: SupervisorPlaces, environ: Mapping[str, str], open_files: int | None
) -> HeadStart:
    """Hold the life lock and start a launcher where none answers.

    Args:
        places: of the supervisor that this process becomes.
        environ: what the launcher is started with.
        open_files: the soft limit on descriptors for it.

    Returns:
        An empty one where another supervisor still lives, or anything is not as it should be.
    """
    begun = HeadStart()
    try:
        prepare(places)
        lock = os.open(places.life_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (OSError, PodsError):
        return HeadStart()
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Only now: a supervisor that ended a moment ago takes its directory along.
        ensure_private_directory(places.runtime)
        begun.token(places)
        alone = not answers(places.launcher_socket)
        launcher = start_launcher(places, environ, open_files) if alone else None
        return HeadStart(lock, launcher, fresh=begun.fresh)
    except (OSError, PodsError):
        os.close(lock)
        return begun
    except BaseException:
        os.close(lock)
        raise


def prepare(places: SupervisorPlaces) -> None:
    """Make the directories that a supervisor works in, and see that its sockets can be bound.

    Raises:
        PathTooLong: a socket's path has more bytes than the kernel takes.
        UnsafeDirectory: one of them is somebody else's.
        OSError: one cannot be made.
    """
    places.check_socket_paths()
    for directory in (places.places.runtime, places.runtime, places.places.state, places.state):
        ensure_private_directory(directory)
    ensure_private_directory(os.path.dirname(places.places.pod_state("-")))


def owner_token(places: SupervisorPlaces) -> str:
    """The owner's token: the one that living keepers and the launcher obey, else a new one.

    Raises:
        OSError: it cannot be written.
    """
    with suppress(OSError, UnicodeDecodeError), open(places.owner_token, "rb") as file:
        found = file.read(MAX_TOKEN_BYTES).decode("ascii").strip()
        if _TOKEN.match(found):
            return found
    token = secrets.token_hex(32)
    write_private_file(places.owner_token, token.encode(), durable=False)
    return token
