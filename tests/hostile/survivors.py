"""Ends hostile pods over and over and counts who is left: `python tests/hostile/survivors.py`.

Four payloads, each the worst of its kind: a job that was disowned in a session of its own; a double
fork with an empty environment, deaf to every signal; and heads that fork, take a session of their
own and exit, thousands of times a second, one or sixteen at once. Real launcher and keepers. Makes
itself a PID namespace first, so that what gets loose, by the pods' fault or ours, ends with it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROOMS = [f"{ROOT}/{room}" for room in ("pods", "protocol", "tools", "tests/support")]
UNSHARE = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
INSIDE = "PODS_HOSTILE_INSIDE"

PAYLOADS: dict[str, tuple[str, dict[str, int]]] = {
    "disowned": ("disowned", {}),
    "double fork, env -i": ("serve_with_daemon", {}),
    "hydra x1": ("hydra", {"heads": 1}),
    "hydra x16": ("hydra", {"heads": 16}),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="End hostile pods, count survivors.")
    parser.add_argument("--runs", type=int, default=300, help="of each payload")
    parser.add_argument(
        "--no-landlock", action="store_true", help="the loop for kernels without signal domains"
    )
    arguments = parser.parse_args()
    if not os.environ.get(INSIDE):
        environ = {**os.environ, INSIDE: "1", "PYTHONPATH": os.pathsep.join(ROOMS)}
        command = [*UNSHARE, sys.executable, "-P", __file__, *sys.argv[1:]]
        return subprocess.run(command, env=environ, check=False).returncode
    assert os.getpid() == 1, "this belongs in a PID namespace of its own"
    directory = tempfile.mkdtemp(prefix="ph", dir="/tmp")
    try:
        return _run(directory, arguments.runs, no_landlock=arguments.no_landlock)
    finally:
        shutil.rmtree(directory)


def _run(directory: str, runs: int, *, no_landlock: bool) -> int:
    from process_support import running_launcher

    environ = {
        **os.environ,
        "PODS_RUNTIME_DIR": f"{directory}/r",
        "PODS_STATE_DIR": f"{directory}/s",
        "PODS_NO_LANDLOCK": "1" if no_landlock else "",
    }
    total = 0
    with running_launcher(environ) as launcher:
        for name, (do, options) in PAYLOADS.items():
            left, seconds, how = _rounds(launcher, do, options, runs)
            total += left
            times = [second * 1000 for second in seconds]
            print(
                f"{name:<20} {runs} runs, {left} survivors, {how}, request to proof "
                f"{statistics.median(times):.1f} ms median, {max(times):.1f} ms max",
                flush=True,
            )
    print(f"{total} survivors in {runs * len(PAYLOADS)} runs")
    return 1 if total else 0


def _rounds(
    launcher: object, do: str, options: dict[str, int], runs: int
) -> tuple[int, list[float], str]:
    from pods_protocol.process_messages import GetKeeperStatus, SignalTree
    from process_support import RunningLauncher, ask_pod, ended

    assert isinstance(launcher, RunningLauncher)
    left: set[int] = set()
    seconds: list[float] = []
    how = ""
    for _ in range(runs):
        # One connection a round: the launcher keeps what it tells, and so would we.
        with launcher.connect() as client:
            spec = launcher.spec(do, options=options, enforce="available")
            launcher.launch(client, spec)
            ask_pod(spec)
            with launcher.connect_keeper(spec) as keeper:
                record = keeper.ask(GetKeeperStatus()).enforcement
                how = "" if record is None else record.kill
                begun = time.monotonic()
                keeper.ask(SignalTree(signal="kill"))
            ended(client, spec)
            seconds.append(time.monotonic() - begun)
        left |= _others(launcher.pid) - left
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
