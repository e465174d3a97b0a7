"""One campaign's small world: directories, environment, processes, and their end.

Owns what a supervisor of the campaign is started with, who lives in it, and the clearing away.
Knows nothing of plans or models. A world's processes carry its runtime directory in their
environment, by which they are found; nothing else is ever signalled. Used by `rounds`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from fault_board import Board
from small_journals import allow_short_journals

from pods.client.start import start_supervisor
from pods.paths import SupervisorPlaces, places_from

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
PATH: Final = [
    *(str(ROOT / room) for room in ("pods", "protocol", "tools")),
    str(HERE),
    str(HERE / "injected"),
]

NAME: Final = "faults"
PR_SET_CHILD_SUBREAPER: Final = 36
START_SECONDS: Final = 20.0

DISK_BYTES: Final = 8 * 1024 * 1024
"""Of a small disk: what a round writes, several times over."""

BALLAST: Final = "ballast"
"""The file that fills it."""


def be_init() -> None:
    """Adopt and reap what loses its parent, as the first process of a machine does."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def reap() -> None:
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                time.sleep(0.02)  # there is no child to wait for, and nobody tells of the first

    threading.Thread(target=reap, name="init", daemon=True).start()


class World:
    """Directories and processes of one round.

    Args:
        directory: short, and not there yet.
        segment_bytes: at which a journal's file is full; None is as it usually is.
        kept_bytes: of each journal, as the user configures it; None is all of it.
        small_disk: state lies on a file system of its own, where one can be mounted.
    """

    def __init__(
        self,
        directory: str,
        *,
        segment_bytes: int | None = None,
        kept_bytes: int | None = None,
        small_disk: bool = False,
    ) -> None:
        self.directory = directory
        os.mkdir(directory, 0o700)
        self.reboots = 0
        self._boot = f"{directory}/boot"
        self._write_boot_id()
        self.disk = f"{directory}/s" if small_disk and _mount(f"{directory}/s") else None
        self.work = f"{directory}/w"
        os.mkdir(self.work)
        self.board = Board.create(f"{directory}/board")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PODS_", "XDG_", "COVERAGE_"))
        }
        self.environ = {
            **kept,
            "PYTHONPATH": os.pathsep.join(PATH),
            "PODS_FAULT_BOARD": f"{directory}/board",
            "PODS_FAULT_BOOT": self._boot,
            **({} if segment_bytes is None else {"PODS_FAULT_SEGMENT": str(segment_bytes)}),
            "PODS_RUNTIME_DIR": f"{directory}/r",
            "PODS_STATE_DIR": f"{directory}/s",
            "PODS_EXTRA_READ": str(HERE),
            "XDG_CONFIG_HOME": f"{directory}/c",
        }
        if kept_bytes is not None:
            allow_short_journals()  # clients read the configuration before they start a supervisor
            os.makedirs(f"{directory}/c/pods")
            settings = f"[journal]\nmax_bytes = {kept_bytes}\n"
            Path(f"{directory}/c/pods/config.toml").write_text(settings)
        self.places: SupervisorPlaces = places_from(self.environ, os.geteuid()).supervisor(NAME)

    @staticmethod
    def make(
        *,
        segment_bytes: int | None = None,
        kept_bytes: int | None = None,
        small_disk: bool = False,
    ) -> World:
        """A world in a directory of its own."""
        directory = f"/tmp/pf-{os.getpid()}-{secrets.token_hex(3)}"
        return World(
            directory, segment_bytes=segment_bytes, kept_bytes=kept_bytes, small_disk=small_disk
        )

    # Disasters ----------------------------------------------------------------------------------

    def reboot(self) -> None:
        """Start the machine anew: no process, nothing in the runtime directory, another boot id."""
        self._kill_all()
        shutil.rmtree(self.places.places.runtime, ignore_errors=True)
        self.reboots += 1
        self._write_boot_id()

    def _write_boot_id(self) -> None:
        Path(self._boot).write_text(f"boot-{self.reboots}\n")

    def fill_disk(self) -> None:
        """Leave no room where state lies, if that is a file system of its own."""
        if self.disk is None:
            return
        with (
            contextlib.suppress(OSError),
            open(f"{self.disk}/{BALLAST}", "ab", buffering=0) as file,
        ):
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    def empty_disk(self) -> None:
        """There is room again."""
        if self.disk is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.disk}/{BALLAST}")

    def ensure_supervisor(self) -> None:
        """Start a supervisor where none answers, as every client does."""
        start_supervisor(self.places, self.environ, timeout=START_SECONDS)

    @property
    def token(self) -> str:
        """The owner's."""
        return Path(self.places.owner_token).read_text().strip()

    def processes(self) -> dict[int, str]:
        """Every process of this world that is no zombie: pid -> command line."""
        mark = f"PODS_RUNTIME_DIR={self.environ['PODS_RUNTIME_DIR']}".encode()
        found: dict[int, str] = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if mark not in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                    continue
                command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ")
                name = Path(f"/proc/{entry}/comm").read_text().strip()
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                found[int(entry)] = (
                    f"{name}: {command.decode().strip()} (state {fields[0]}, child of {fields[1]})"
                )
        return found

    def pid_of(self, name: str) -> list[int]:
        """The processes of this world with that name (`pods-launcher`) or word in their command."""
        return [pid for pid, what in self.processes().items() if name in what]

    def pod_of(self, pid: int) -> str | None:
        """The id of the pod that a keeper or a pod's process is of: its log is in its directory."""
        with contextlib.suppress(OSError):
            path = Path(os.readlink(f"/proc/{pid}/fd/2"))
            if path.name == "stderr.log":
                return path.parent.name
        return None

    def wake_all(self) -> None:
        """Let everything go on that is stopped."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def leases(self, *, void: bool = False) -> dict[str, Any]:
        """Pod id -> lease, as the registry's file has it, without those that are void.

        A lease is void for every reader once its holder and who answers for that have ended.

        Args:
            void: these as well.
        """
        path = Path(self.places.places.registry)
        if not path.exists():
            return {}
        leases = json.loads(path.read_text())["leases"]
        return {
            lease["pod_id"]: lease
            for lease in leases
            if void
            or any(map(_lives, (lease["holder"], lease.get("spawner"), lease.get("guardian"))))
        }

    def log(self) -> str:
        """The end of what supervisors and launchers wrote."""
        with contextlib.suppress(OSError):
            return Path(self.places.log).read_text()[-6000:]
        return ""

    def pods_on_disk(self) -> set[str]:
        """The ids of the pods that have a directory among the state."""
        root = f"{self.places.places.state}/pods"
        return set(os.listdir(root)) if os.path.isdir(root) else set()

    def left_in_runtime(self) -> list[str]:
        """What lies in the runtime directory besides locks, which stay."""
        return sorted(
            f"{directory}/{name}"
            for directory, below, files in os.walk(self.places.places.runtime)
            for name in (*below, *files)
            if not name.endswith(".lock")
        )

    def clear(self, *, keep: bool = False) -> None:
        """Kill what lives and remove everything, or all but the files."""
        self._kill_all()
        if self.disk is not None and not keep:
            subprocess.run(["umount", "--lazy", self.disk], check=False)
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _kill_all(self) -> None:
        deadline = time.monotonic() + 10.0
        while (living := self.processes()) and time.monotonic() < deadline:
            for pid in living:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


def _mount(path: str) -> bool:
    """Whether a small file system was mounted there; only root may."""
    os.mkdir(path, 0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", path]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _lives(process: dict[str, Any] | None) -> bool:
    """Whether that very process lives, by its number and its start."""
    if process is None:
        return False
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{process['pid']}/stat").read_text().rpartition(")")[2].split()
        return fields[0] not in "ZX" and int(fields[19]) == process["start_ticks"]
    return False


def log_line(text: str) -> None:
    """Say something to whoever watches, at once."""
    print(text, file=sys.stderr, flush=True)
