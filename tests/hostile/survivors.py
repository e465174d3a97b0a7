"""Ends hostile pods over and over and counts who is left: `python tests/hostile/survivors.py`.

Four payloads, each the worst of its kind: a job that was disowned in a session of its own; a double
fork with an empty environment, deaf to every signal; and heads that fork, take a session of their
own and exit, thousands of times a second, one or sixteen at once. Real launcher and keepers; with
`--spares` real pods too, each of them the launcher's spare, and the payload run by its shell. Makes
itself a PID namespace first, so that what gets loose, by the pods' fault or ours, ends with it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pods_protocol.process_messages import PodSpec
    from process_support import BlockingClient, RunningLauncher

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROOMS = [f"{ROOT}/{room}" for room in ("pods", "protocol", "tools", "tests/support")]
UNSHARE = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
INSIDE = "PODS_HOSTILE_INSIDE"

HOSTILE = f"{ROOT}/tests/hostile"


class Payload(NamedTuple):
    """What a pod does: as a test's own life (with options), and as a word of `payload.py`."""

    life: str
    options: dict[str, int]
    word: str


PAYLOADS = {
    "disowned": Payload("disowned", {}, "disowned"),
    "double fork, env -i": Payload("serve_with_daemon", {}, "daemon"),
    "hydra x1": Payload("hydra", {"heads": 1}, "hydra1"),
    "hydra x16": Payload("hydra", {"heads": 16}, "hydra16"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="End hostile pods, count survivors.")
    parser.add_argument("--runs", type=int, default=300, help="of each payload")
    parser.add_argument(
        "--no-landlock", action="store_true", help="the loop for kernels without signal domains"
    )
    parser.add_argument("--spares", action="store_true", help="pods that were forked ahead")
    arguments = parser.parse_args()
    if not os.environ.get(INSIDE):
        environ = {**os.environ, INSIDE: "1", "PYTHONPATH": os.pathsep.join(ROOMS)}
        command = [*UNSHARE, sys.executable, "-P", __file__, *sys.argv[1:]]
        return subprocess.run(command, env=environ, check=False).returncode
    assert os.getpid() == 1, "this belongs in a PID namespace of its own"
    directory = tempfile.mkdtemp(prefix="ph", dir="/tmp")
    try:
        return _run(
            directory, arguments.runs, no_landlock=arguments.no_landlock, spares=arguments.spares
        )
    finally:
        shutil.rmtree(directory)


def _run(directory: str, runs: int, *, no_landlock: bool, spares: bool) -> int:
    from process_support import RunningLauncher, end_keepers

    environ = {
        **os.environ,
        "PODS_RUNTIME_DIR": f"{directory}/r",
        "PODS_STATE_DIR": f"{directory}/s",
        "PODS_NO_LANDLOCK": "1" if no_landlock else "",
        "PODS_EXTRA_READ": HOSTILE,
    }
    total = 0
    command = [sys.executable, "-P", "-m", "pods.launcher"] if spares else None
    launcher = RunningLauncher(environ, command=command)
    try:
        for name, payload in PAYLOADS.items():
            start = (_start_spare if spares else _start)(launcher, payload)
            left, seconds, how = _rounds(launcher, start, runs)
            total += left
            times = [second * 1000 for second in seconds]
            print(
                f"{name:<20} {runs} runs, {left} survivors, {how}, request to proof "
                f"{statistics.median(times):.1f} ms median, {max(times):.1f} ms max",
                flush=True,
            )
    finally:
        end_keepers(launcher)
        launcher.close()
    print(f"{total} survivors in {runs * len(PAYLOADS)} runs")
    return 1 if total else 0


def _start(launcher: RunningLauncher, payload: Payload) -> Callable[[BlockingClient], PodSpec]:
    """How to start a pod whose own life is the payload."""
    from process_support import ask_pod

    def start(client: BlockingClient) -> PodSpec:
        spec = launcher.spec(payload.life, options=payload.options, enforce="available")
        launcher.launch(client, spec)
        ask_pod(spec)
        return spec

    return start


def _start_spare(
    launcher: RunningLauncher, payload: Payload
) -> Callable[[BlockingClient], PodSpec]:
    """How to start a real pod, from the spare where there is one, whose shell runs the payload."""
    from attrs import evolve

    from pods_protocol.api import POD_API
    from pods_protocol.pod_messages import Run
    from process_support import BlockingClient, wait_for

    def start(client: BlockingClient) -> PodSpec:
        first = launcher.spec()
        spec = evolve(first, agent="shell", options={}, enforce="available")
        waiting = _spares(launcher.pid)
        keeper = launcher.launch(client, spec).keeper.pid
        assert not waiting or keeper in waiting, "the spare was not used"
        ready = f"{spec.runtime_directory}/tmp/ready"
        line = shlex.join([sys.executable, f"{HOSTILE}/payload.py", payload.word, ready])
        with BlockingClient(spec.pod_socket, POD_API, spec.token) as pod:
            pod.ask(Run(input=line))
            wait_for(lambda: os.path.exists(ready), "the payload does not come up")
        return spec

    def start_with_spare(client: BlockingClient) -> PodSpec:
        spec = start(client)
        wait_for(lambda: _spares(launcher.pid), "no spare was made")
        return spec

    return start_with_spare


def _spares(launcher: int) -> set[int]:
    """The keepers that wait, and their pods."""
    from pods.keeper.spare import SPARE_NAME
    from pods.keeper.tree import children_of

    found: set[int] = set()
    for keeper in children_of(launcher):
        for pid in (keeper, *children_of(keeper)):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as file:
                if file.read().strip() == SPARE_NAME:
                    found.add(pid)
    return found


def _rounds(
    launcher: RunningLauncher, start: Callable[[BlockingClient], PodSpec], runs: int
) -> tuple[int, list[float], str]:
    from pods_protocol.process_messages import GetKeeperStatus, SignalTree
    from process_support import ended

    left: set[int] = set()
    seconds: list[float] = []
    how = ""
    for _ in range(runs):
        # One connection a round: the launcher keeps what it tells, and so would we.
        with launcher.connect() as client:
            spec = start(client)
            with launcher.connect_keeper(spec) as keeper:
                record = keeper.ask(GetKeeperStatus()).enforcement
                how = "" if record is None else record.kill
                begun = time.monotonic()
                keeper.ask(SignalTree(signal="kill"))
            ended(client, spec)
            seconds.append(time.monotonic() - begun)
        # Whom we see first and who is a spare by then: one that is made meanwhile is in neither.
        others = _others(launcher.pid)
        left |= others - _spares(launcher.pid) - left
    return len(left), seconds, how


def _others(launcher: int) -> set[int]:
    """Living processes of the namespace besides this one and the launcher."""
    living: set[int] = set()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (os.getpid(), launcher):
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] not in "ZX":
                    living.add(int(name))
    return living


if __name__ == "__main__":
    sys.exit(main())
