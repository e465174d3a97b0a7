"""Coverage of processes that are forked and that end by `os._exit`: keepers and most pods.

Put into site-packages by `.ci/run`, with a `.pth` line that imports it in every process. coverage's
own patches `fork` and `_exit` do the same job at 0.1 to 0.3 s a process (a suite of forking tests:
118 s; 36 s with this): each generation starts one more collector, all of them are saved at the end,
each with a line for every file of every package. Here a child keeps the collector that it was born
with, forgets what its parent did, and writes once what it has run itself. It must know nothing of
pods; it knows inner names of coverage, whose version is therefore pinned.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, NoReturn

_exit_at_once = os._exit


def _running() -> Any:
    """The coverage that measures this process, if one does."""
    coverage = sys.modules.get("coverage")
    return None if coverage is None else coverage.Coverage.current()


def _tell_only_what_ran() -> None:
    """Leave the list of files that nobody ran to the first process: it takes 0.1 s in each."""
    measuring = _running()
    if measuring is not None:
        measuring._post_save_work = lambda: None


def _begin_anew() -> None:
    """In a new child: what is in the collector is the parent's, and the parent will tell of it."""
    _tell_only_what_ran()
    measuring = _running()
    if measuring is not None and measuring._collector is not None:
        measuring._collector._clear_data()


def _save_and_exit(status: int) -> NoReturn:
    """What `os._exit` is here: an end without `atexit`, that is counted all the same."""
    with contextlib.suppress(Exception):
        measuring = _running()
        if measuring is not None:
            measuring.save()
    _exit_at_once(status)


# Measured already, so early: a process that a measured one started.
_tell_only_what_ran()
os.register_at_fork(after_in_child=_begin_anew)
os._exit = _save_and_exit
