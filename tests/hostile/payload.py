"""Programs that do all they can to outlive the pod that started them: `payload.py KIND READY`.

Run by a real pod's shell in `survivors --spares`. READY is a file that is made once the worst has
happened; after that this process waits for its end.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

DEAF_TO = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def disowned() -> None:
    """A job in a session of its own."""
    if os.fork() == 0:
        os.setsid()
        _sleep()


def daemon() -> None:
    """Two forks, a session of its own, deaf, and an empty environment."""
    between = os.fork()
    if between == 0:
        os.setsid()
        if os.fork() == 0:
            _be_deaf()
            _sleep()
        os._exit(0)
    os.waitpid(between, 0)


def hydra(heads: int) -> None:
    """Heads that fork, leave their session and end, over and over."""
    _be_deaf()
    for _ in range(heads):
        if os.fork() == 0:
            while True:
                try:
                    if os.fork():
                        os._exit(0)
                    os.setsid()
                except OSError:  # there are too many of us: go on
                    continue


def _be_deaf() -> None:
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)


def _sleep() -> None:
    os.execve("/bin/sleep", ["sleep", "1000"], {})


def main(kind: str, ready: str) -> None:
    """Do the worst, say so, wait."""
    if kind == "disowned":
        disowned()
    elif kind == "daemon":
        daemon()
    else:
        hydra(int(kind.removeprefix("hydra")))
    Path(ready).touch()
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
