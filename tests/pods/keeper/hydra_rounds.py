"""Run inside a PID namespace of its own: start hydras, end them, count who is left.

unshare --fork --pid --mount-proc --kill-child python -P hydra_rounds.py HOW ROUNDS
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from pods_protocol.process_messages import KillKeeper, SignalTree
from process_support import ask_pod, ended, running_launcher

HEADS = 8


def others(launcher: int) -> set[int]:
    """Living processes of the namespace besides this one and the launcher."""
    found = {int(name) for name in os.listdir("/proc") if name.isdigit()} - {os.getpid(), launcher}
    living: set[int] = set()
    for pid in found:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] not in "ZX":
                living.add(pid)
    return living


def main(how: str, rounds: int) -> int:
    left: set[int] = set()
    with running_launcher(dict(os.environ)) as launcher, launcher.connect() as client:
        for _ in range(rounds):
            spec = launcher.spec("hydra", options={"heads": HEADS})
            keeper = launcher.launch(client, spec).keeper
            pod = ask_pod(spec)["pid"]
            assert len(others(launcher.pid)) > 2, "the hydra does not live"
            started = time.monotonic()
            if how == "kill":
                with launcher.connect_keeper(spec) as connection:
                    connection.ask(SignalTree(signal="kill"))
            elif how == "kill_keeper":
                client.ask(KillKeeper(pid=keeper.pid))
            else:
                os.kill(pod, signal.SIGKILL)
            ended(client, spec)
            print(f"{how}: {(time.monotonic() - started) * 1000:.1f} ms")
            left |= others(launcher.pid)
    print(f"{len(left)} left after {rounds} rounds")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
