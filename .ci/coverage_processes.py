"""Measures coverage in every process of a test run, at little more than the tracer's own cost.

Put into site-packages by `.ci/run`, with a `.pth` line that imports it in every interpreter. It
does something where `COVERAGE_PROCESS_START` is `DIRECTORY:ROOT:ROOT...`: what runs below the roots
is told in one file a process, in the directory; `coverage_merge.py` makes coverage's data of them.

coverage can do this itself (`patch = subprocess, fork, _exit`), at 0.1 s of imports in each of the
hundreds of interpreters of a run and more in every fork, where each generation starts one more
collector. Here only its C tracer is loaded: it is most of the work and all of the precision. A
forked child keeps the tracer that it was born with and forgets what its parent did. It must know
nothing of pods; it knows the tracer's attributes, so coverage's version is pinned.
"""

from __future__ import annotations

import atexit
import contextlib
import marshal
import os
import signal
import sys
import threading
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from types import FrameType
from typing import Any, NoReturn

_exit_at_once = os._exit

Arcs = dict[str, set[int]]
"""File -> pairs of lines, each packed into a number by the tracer."""


class _Measurement:
    """What this process has run so far.

    Args:
        directory: where processes tell what they ran.
        roots: what lies below these is measured, and nothing else.
    """

    def __init__(self, directory: str, roots: tuple[str, ...]) -> None:
        self._directory = directory
        self._roots = roots
        self._data: Arcs = {}
        self._known: dict[str, Any] = {}
        self._tracers: list[Any] = []
        self._native = _load_tracer()

    def start(self) -> None:
        """Trace this thread and those to come; tell at the end, whichever way it comes."""
        self._tracer().start()
        threading.settrace(self._begin_thread)
        atexit.register(self.tell)
        os.register_at_fork(after_in_child=self._forget)
        os._exit = self._tell_and_exit
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._terminated)

    def tell(self) -> None:
        """Write down what ran since the start or the last time."""
        told = {name: list(arcs) for name, arcs in self._data.copy().items() if arcs}
        self._forget()
        if not told:
            return
        path = f"{self._directory}/{os.getpid()}-{os.urandom(6).hex()}"
        # A process whose scope or disk refuses ends as it would have: what it ran is not counted.
        with contextlib.suppress(OSError), open(path, "xb") as file:
            file.write(marshal.dumps(told))

    def _tracer(self) -> Any:
        tracer = self._native.CTracer()
        tracer.data = self._data
        tracer.trace_arcs = True
        tracer.should_trace = self._disposition
        tracer.should_trace_cache = self._known
        # One dictionary for all threads: the interpreter's lock is enough for what is done to it.
        tracer.lock_data = tracer.unlock_data = lambda: None
        tracer.warn = lambda *_, **__: None
        tracer.file_tracers = {}
        for unused in (
            "concur_id_func", "check_include", "should_start_context", "switch_context",
            "disable_plugin",
        ):  # fmt: skip
            setattr(tracer, unused, None)
        # Kept beyond its thread: one that is freed ends the tracing of the thread that frees it.
        self._tracers.append(tracer)
        return tracer

    def _disposition(self, filename: str, _: FrameType) -> Any:
        disposition = self._native.CFileDisposition()
        disposition.original_filename = disposition.canonical_filename = filename
        disposition.source_filename = filename
        disposition.trace = filename.startswith(self._roots)
        disposition.reason = ""
        disposition.file_tracer = None
        disposition.has_dynamic_filename = False
        return disposition

    def _begin_thread(self, frame: FrameType, event: str, argument: Any) -> Any:
        """The first event of a new thread, whose tracer takes this one and all others."""
        sys.settrace(None)
        trace = self._tracer().start()
        return trace(frame, event, argument) if trace else None

    def _forget(self) -> None:
        # The tracers hold on to the sets, so these are emptied and not replaced.
        for arcs in self._data.copy().values():
            arcs.clear()

    def _tell_and_exit(self, status: int) -> NoReturn:
        """What `os._exit` is here: an end without `atexit`, that is counted all the same."""
        with contextlib.suppress(Exception):
            self.tell()
        _exit_at_once(status)

    def _terminated(self, number: int, _: FrameType | None) -> None:
        """SIGTERM where the program has no handler of its own: tell, then end by it."""
        self.tell()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _load_tracer() -> Any:
    """The extension module of coverage, without the package around it."""
    for suffix in EXTENSION_SUFFIXES:
        path = f"{os.path.dirname(__file__)}/coverage/tracer{suffix}"
        if os.path.exists(path):
            loader = ExtensionFileLoader("coverage.tracer", path)
            module = loader.create_module(ModuleSpec("coverage.tracer", loader, origin=path))
            loader.exec_module(module)
            return module
    raise ImportError("cannot measure coverage: it is installed without its C tracer")


if _asked := os.environ.get("COVERAGE_PROCESS_START"):
    _directory, *_roots = _asked.split(os.pathsep)
    _Measurement(_directory, tuple(f"{root}/" for root in _roots)).start()
