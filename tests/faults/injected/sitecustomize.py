"""Faults from outside, for the processes of a campaign: imported before anything of ours.

Wraps the calls after which something is on disk, on its way or alive, so that a process kills,
stops or disappoints itself at a named point: `CALL@module` of ours that made the call, such as
`fdatasync@journal.store`. `create` is an `open` that may make a file, `write` also a `pwrite` and
what a file object of Python's writes. What shall happen stands on the campaign's board
(`fault_board`), which every process maps while it still may. The boot id, the size of a journal's
file and the least that may be kept of it are the campaign's, too; what retention takes is put aside
beside it, for the judge. Does nothing at all without `PODS_FAULT_BOARD`. Product code knows nothing
of this file.

A process's role is `supervisor`, `launcher`, `keeper:NAME` or `pod:NAME`. Its kind follows from who
forked it, its name from what it knows of itself: a spare becomes some pod's late.
"""

from __future__ import annotations

import os
import sys

_PATH = os.environ.get("PODS_FAULT_BOARD")

if _PATH:
    import builtins
    import errno
    import inspect
    import io
    import signal
    import socket
    import time
    from collections.abc import Callable
    from contextlib import suppress
    from types import FrameType
    from typing import Any

    from fault_board import Board, Slot

    _board = Board(_PATH)
    _send = socket.socket.send
    _sendmsg = socket.socket.sendmsg
    _kill = os.kill
    _link = os.link
    _os_open = os.open
    _open = builtins.open
    _words = sys.orig_argv
    _kind = (
        "supervisor"
        if "pods.supervisor" in _words
        else "launcher"
        if "pods.launcher" in _words
        else ""
    )

    _CHILDREN = {
        "launcher.loop": "keeper",
        "launcher.spares": "keeper",
        "keeper.main": "pod",
        "keeper.spare": "pod",
    }
    """Module that forks -> what it forks; others are not to be hurt."""

    _REHEARSING = ("pods.pod.rehearsal", "pods.launcher.preload")
    """What these name is no pod."""

    def _caller() -> tuple[str, FrameType] | None:
        """The module of ours, and its frame, that makes the call which is wrapped."""
        frame = inspect.currentframe()
        for _ in range(12):
            if frame is None:
                return None
            name: str = frame.f_globals.get("__name__", "")
            if name.startswith("pods."):
                return name[5:], frame
            frame = frame.f_back
        return None

    def _due(call: str, found: tuple[str, FrameType]) -> Slot | None:
        module, frame = found
        point = f"{call}@{module}"
        _board.count(_kind, point)
        if not _board.version:
            return None
        slot = _board.due(_role(frame), point, os.getpid(), time.monotonic())
        if slot is None:
            return None
        if slot.action == "kill_before":
            _die()
        if slot.action == "stop":
            _kill(os.getpid(), signal.SIGSTOP)
        if slot.action in ("enospc", "eio", "eagain"):
            number = getattr(errno, slot.action.upper())
            raise OSError(number, os.strerror(number))
        return slot

    def _after(slot: Slot | None) -> None:
        """What happens once the call has been made."""
        if slot is not None and slot.action == "kill_after":
            _die()
        if slot is not None and slot.action == "stop_after":
            _kill(os.getpid(), signal.SIGSTOP)

    def _die() -> None:
        _kill(os.getpid(), signal.SIGKILL)
        while True:  # the signal is on its way
            time.sleep(1)

    def _wrap(name: str, point: str) -> None:
        call: Callable[..., Any] | None = getattr(os, name, None)
        if call is None:
            return
        original = call

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            found = _caller() if _kind else None
            if found is None:
                return original(*args, **kwargs)
            slot = _due(point, found)
            if slot is not None and slot.action in ("torn", "short") and len(args[1]) > 1:
                part = 1 + slot.part % (len(args[1]) - 1)
                taken = original(args[0], bytes(args[1])[:part], *args[2:])
                if slot.action == "torn":
                    _die()
                return taken
            result = original(*args, **kwargs)
            _after(slot)
            return result

        setattr(os, name, wrapped)

    def _opening_descriptor(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        found = _caller() if _kind and flags & os.O_CREAT else None
        if found is None:
            return _os_open(path, flags, *args, **kwargs)
        slot = _due("create", found)
        descriptor = _os_open(path, flags, *args, **kwargs)
        _after(slot)
        return descriptor

    class _File(io.FileIO):
        """A file of Python's own, whose writes are points as those of `os.write` are."""

        def write(self, data: Any) -> int:
            found = _caller() if _kind else None
            slot = None if found is None else _due("write", found)
            if slot is not None and slot.action in ("torn", "short") and len(data) > 1:
                taken = super().write(bytes(data)[: 1 + slot.part % (len(data) - 1)])
                if slot.action == "torn":
                    _die()
                return taken or 0
            taken = super().write(data)
            _after(slot)
            return taken or 0

    def _opening(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **kwargs: Any) -> Any:
        writes = _kind and "b" in mode and not mode.startswith("r")
        if not writes or args or _caller() is None:
            return _open(file, mode, buffering, *args, **kwargs)
        raw = _File(file, mode.replace("b", ""), **kwargs)
        return raw if buffering == 0 else io.BufferedWriter(raw)

    def _setting_aside(unlink: Callable[..., None]) -> Callable[..., None]:
        """Keep what retention takes of a journal under another name, for the judge alone."""

        def unlinked(path: Any, *args: Any, **kwargs: Any) -> None:
            if _kind and not kwargs and str(path).endswith(".jsonl"):
                found = _caller()
                if found is not None and found[0] == "journal.keeping":
                    with suppress(FileExistsError):  # of one that died on the way
                        _link(path, f"{path}.trimmed")
            unlink(path, *args, **kwargs)

        return unlinked

    def _forking(fork: Callable[[], int]) -> Callable[[], int]:
        def forked() -> int:
            global _kind
            found = _caller() if _kind else None
            if found is None:
                return fork()
            slot = _due("fork", found)
            pid = fork()
            if pid == 0:
                _kind = _CHILDREN.get(found[0], "")
            else:
                _after(slot)
            return pid

        return forked

    def _role(frame: FrameType | None) -> str:
        """What this process is at the moment."""
        if _kind not in ("keeper", "pod"):
            return _kind
        name = os.environ.get("PODS_NAME", "") if _kind == "pod" else ""
        while frame is not None and not name:
            if frame.f_globals.get("__name__") in _REHEARSING:
                break
            spec = frame.f_locals.get("spec") or getattr(frame.f_locals.get("self"), "_spec", None)
            name = "" if spec is None else spec.name
            frame = frame.f_back
        return f"{_kind}:{name}"

    def _sending(self: socket.socket, data: Any, *flags: int) -> int:
        found = _caller() if _kind else None
        if found is None:
            return _send(self, data, *flags)
        slot = _due("send", found)
        if slot is not None and slot.action in ("torn", "cut") and len(data) > 1:
            _send(self, bytes(data)[: 1 + slot.part % (len(data) - 1)], *flags)
            if slot.action == "torn":
                _die()
            self.shutdown(socket.SHUT_RDWR)
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        sent = _send(self, data, *flags)
        _after(slot)
        return sent

    def _sending_message(self: socket.socket, *args: Any, **kwargs: Any) -> int:
        found = _caller() if _kind else None
        slot = None if found is None else _due("sendmsg", found)
        if slot is not None and slot.action == "torn":
            _sendmsg(self, args[0])  # the bytes, and none of the descriptors that belong to them
            _die()
        sent = _sendmsg(self, *args, **kwargs)
        _after(slot)
        return sent

    if _kind:
        import small_journals

        from pods.scope import identity

        # The machine's boot is the campaign's to end, and its journals' files are small.
        _boot_path = os.environ.get("PODS_FAULT_BOOT")
        if _boot_path:
            identity.boot_id.__wrapped__.__defaults__ = (_boot_path,)
        _segment = os.environ.get("PODS_FAULT_SEGMENT")
        if _segment:
            small_journals.shrink_segments(int(_segment))
        if _kind == "supervisor":
            small_journals.allow_short_journals()
        for _name in ("write", "fsync", "fdatasync", "rename", "replace", "link", "unlink",
                      "rmdir", "mkdir", "ftruncate"):  # fmt: skip
            _wrap(_name, _name)
        _wrap("pwrite", "write")
        os.unlink = _setting_aside(os.unlink)
        os.open = _opening_descriptor
        builtins.open = _opening
        os.fork = _forking(os.fork)
        socket.socket.send = _sending  # type: ignore[assignment,method-assign]  # typeshed has `data` by position
        socket.socket.sendmsg = _sending_message  # type: ignore[assignment,method-assign]  # as above
        if _kind == "launcher":
            from pods.keeper import system

            # It forks past `os.fork`, by a function that others take as they are imported.
            system.plain_fork = _forking(system.plain_fork)
