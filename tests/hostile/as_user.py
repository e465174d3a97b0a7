"""Runs pods as a user without any privilege: `python tests/hostile/as_user.py`, by root.

A whole life by the command line, under a real foreign uid and not a namespace's: a supervisor comes
up, a pod is spawned and held, others with each door closed, all is stopped, nothing is left. Root
alone can become another user; the interpreter must be one that such a user reaches, so this looks
for one. Exit code 77 where there is none, 1 where anything is not as promised.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
ROOMS: Final = [str(ROOT / room) for room in ("pods", "protocol", "tools")]
NOT_HERE: Final = 77
NEEDED: Final = "import pods.supervisor.service, pods.launcher.main, pods.cli"
COMMAND_SECONDS: Final = 60.0
NOBODY: Final = 65534


class Unlike(AssertionError):
    """Something is not as promised."""


class User:
    """Whose commands these are: a foreign uid with directories of its own."""

    def __init__(self, uid: int, python: str, directory: str) -> None:
        self._uid = uid
        self._python = python
        self.directory = directory
        self.environ = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": directory,
            "PODS_RUNTIME_DIR": f"{directory}/r",
            "PODS_STATE_DIR": f"{directory}/s",
            "PYTHONPATH": os.pathsep.join([*ROOMS, sysconfig.get_paths()["platlib"]]),
        }

    def run(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """One command as this user."""
        return subprocess.run(
            argv,
            user=self._uid,
            group=self._uid,
            extra_groups=[],
            env=self.environ,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def pods(self, *words: str, code: int = 0) -> str:
        """`pods WORDS`; what it said."""
        done = self.run([self._python, "-P", "-m", "pods", *words])
        if done.returncode != code:
            raise Unlike(f"pods {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def spawn(self, name: str, *words: str) -> dict[str, Any]:
        """Spawn a pod; what holds it."""
        told: dict[str, Any] = json.loads(self.pods("spawn", name, "--json", *words))["enforcement"]
        return told

    def processes(self) -> list[str]:
        """What runs as this user in these directories."""
        found: list[str] = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if place.stat().st_uid != self._uid:
                    continue
                if self.directory.encode() in (place / "environ").read_bytes():
                    found.append(f"{place.name} {(place / 'comm').read_text().strip()}")
            except OSError:  # it has ended
                continue
        return found


def find_python(uid: int, directory: str) -> str | None:
    """An interpreter of this version that such a user can use with what is installed for us."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    places = [sys.executable, shutil.which(version, path="/usr/local/bin:/usr/bin:/bin")]
    for python in filter(None, places):
        try:
            done = User(uid, python, directory).run([python, "-P", "-c", NEEDED])
        except OSError:
            continue
        if done.returncode == 0:
            return python
    return None


def live(user: User) -> None:
    """The whole life.

    Raises:
        Unlike: anything is not as promised.
    """
    work, outside = f"{user.directory}/work", f"{user.directory}/outside"
    for path in (work, outside):
        user.run(["mkdir", path])
    line = f"echo in > {work}/in; echo out > {outside}/out; id -u; kill -0 {os.getpid()}"
    held = user.spawn("one", "--write", work, "--require-enforcement")
    _expect("backend", held["backend"], "landlock")
    _expect("kill", held["kill"], "landlock_domain")
    _expect("powers of root", [gap for gap in held["gaps"] if "root" in gap], [])
    user.pods("send", "one", line, "--wait", code=1)
    said = user.pods("logs", "one")
    for words in (str(NOBODY), "Permission denied", "Operation not permitted"):
        _expect(f"{words!r} in the log", words in said, True)
    _expect(
        "what was written", [*os.listdir(work), "beside", *os.listdir(outside)], ["in", "beside"]
    )
    user.pods("send", "one", "setsid sleep 1000 >/dev/null 2>&1 & disown", "--wait")
    user.pods("stop", "one")
    print("held, refused, stopped with what it left")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        dial = f"exec 3<>/dev/tcp/127.0.0.1/{port}"
        for network, answer in (("none", "Permission denied"), ("loopback", "Connection refused")):
            held = user.spawn(network, "--write", work, "--network", network)
            _expect("network", held["network"], network)
            user.pods("send", network, dial, "--wait", code=1)
            _expect(f"{answer} in the log", answer in user.pods("logs", network), True)
            if network == "loopback":
                _expect("a warning", any("user namespace" in one for one in held["warnings"]), True)
                script = "grep -h -e CapEff -e CapBnd /proc/self/status; stat -c usr:%u /usr"
                user.pods("send", network, script, "--wait")
                powers = user.pods("logs", network).split()
                _expect("powers", powers.count("0000000000000000"), 2)
                _expect("files of root look like nobody's", f"usr:{NOBODY}" in powers, True)
            user.pods("stop", network)
            print(f"--network {network}: {answer}")
    user.pods("down")
    _expect("processes", user.processes(), [])
    print("nothing is left")


def _expect(what: str, found: object, promised: object) -> None:
    if found != promised:
        raise Unlike(f"{what}: {found!r}, and not {promised!r}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run pods as a user without any privilege.")
    parser.add_argument("--uid", type=int, default=NOBODY)
    uid = parser.parse_args().uid
    if os.geteuid() != 0:
        print("only root can become another user")
        return NOT_HERE
    # Short, for the sockets in it; by that user, or the pods' own directories would be refused.
    directory = tempfile.mkdtemp(prefix="pu", dir="/tmp")
    os.chown(directory, uid, uid)
    try:
        python = find_python(uid, directory)
        if python is None:
            print("no interpreter of this version that another user can reach")
            return NOT_HERE
        return _try(User(uid, python, directory))
    finally:
        shutil.rmtree(directory)


def _try(user: User) -> int:
    try:
        live(user)
    except Unlike as error:
        print(f"NOT AS PROMISED: {error}")
        user.pods("down", "--stop-pods")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
