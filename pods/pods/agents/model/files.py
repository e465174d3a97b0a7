"""The tools for files: read, write, edit, list, search.

Owns the check of each path against the pod's scope (the kernel's own stands beside it), the guard
against writing over what somebody else has changed since the model read it, and the bounds of what
is shown. What touches the disk runs in threads.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import trio

from pods.agents import scope
from pods.agents.briefing import Place
from pods.agents.model.tool import MAX_RESULT_BYTES, Arguments, Outcome, OwnTool, Param, ToolError
from pods.agents.text import shorten
from pods.agents.turn import Turn

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""Of a file that is read or edited: it is in memory whole, and no model reads more."""

DEFAULT_LINES: Final = 2000
"""Of one reading, within `MAX_RESULT_BYTES`."""

MAX_ENTRIES: Final = 500
"""Of one listing."""

MAX_SEEN: Final = 4096
"""Files that the guard remembers; what was read longest ago has to be read again."""

_SNIFF_BYTES: Final = 8192
"""A zero byte in the beginning of a file makes it binary, as it does to grep and git."""

_SKIPPED: Final = frozenset({".git", "node_modules", "__pycache__", ".venv"})
"""Directories that a listing names and does not enter."""


class Files:
    """The tools, and what the model has seen of which file."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def tools(self) -> list[OwnTool]:
        """The tools for files."""
        path = Param(name="path", kind="string", required=True, about="Absolute, or from your cwd.")
        return [
            OwnTool(
                name="read_file",
                description="Read a text file, or some lines of it. Read a file before you change "
                "it.",
                params=(
                    path,
                    Param(name="offset", kind="integer", least=1, about="First line, from 1."),
                    Param(
                        name="limit", kind="integer", least=1,
                        about=f"How many lines; {DEFAULT_LINES} where left out.",
                    ),
                ),
                run=self._read,
            ),
            OwnTool(
                name="write_file",
                description="Write a whole file; directories above it are made. A file that is "
                "there has to have been read first. To change part of one, use edit_file.",
                params=(
                    path,
                    Param(name="content", kind="string", required=True, about="All of it."),
                ),
                run=self._write,
                alone=True,
            ),
            OwnTool(
                name="edit_file",
                description="Replace a piece of a file that you have read. `old` must be there "
                "exactly once, white space included, unless `all` is true.",
                params=(
                    path,
                    Param(name="old", kind="string", required=True, about="The text to replace."),
                    Param(name="new", kind="string", required=True, about="What to put there."),
                    Param(name="all", kind="boolean", about="Replace each place where it is."),
                ),
                run=self._edit,
                alone=True,
            ),
            OwnTool(
                name="list_files",
                description="List a directory: names, directories with `/` at their end.",
                params=(
                    Param(name="path", kind="string", about="Directory; left out: your cwd."),
                    Param(
                        name="depth", kind="integer", least=1, about="Levels below it; 1 by default"
                    ),
                ),
                run=self._list,
            ),
        ]  # fmt: skip

    async def _read(self, turn: Turn, given: Arguments) -> Outcome:
        path = _readable(turn, given["path"])
        data = await trio.to_thread.run_sync(_load, path)
        self._remember(path, data)
        # By line feeds alone, as grep, compilers and editors count.
        lines = io.StringIO(data.decode("utf-8", "replace"), newline="\n").readlines()
        first = given.get("offset", 1)
        if first > max(len(lines), 1):
            raise ToolError(f"{path} has {len(lines)} lines; give an offset within them")
        shown, size = list[str](), 0
        for line in lines[first - 1 : first - 1 + given.get("limit", DEFAULT_LINES)]:
            size += len(line.encode("utf-8", "replace"))
            if size > MAX_RESULT_BYTES and shown:
                break
            shown.append(line)
        last = first - 1 + len(shown)
        text = shorten("".join(shown), MAX_RESULT_BYTES)
        if last < len(lines):
            text += f"\n[lines {first} to {last} of {len(lines)}; go on with offset {last + 1}]"
        return Outcome(text or "[the file is empty]", f"{path}: {len(shown)} lines")

    async def _write(self, turn: Turn, given: Arguments) -> Outcome:
        path = _writable(turn, given["path"])
        data = given["content"].encode("utf-8", "replace")
        expected = self._seen.get(path)
        await trio.to_thread.run_sync(partial(_replace, path, data, expected, must_exist=False))
        self._remember(path, data)
        return Outcome(f"Wrote {len(data)} bytes to {path}.", f"{path}: {len(data)} bytes written")

    async def _edit(self, turn: Turn, given: Arguments) -> Outcome:
        path = _writable(turn, given["path"])
        old, new = given["old"], given["new"]
        if not old:
            raise ToolError("`old` is empty; give the text to replace, or use write_file")
        data = await trio.to_thread.run_sync(_load, path)
        expected = self._seen.get(path)
        _check_fresh(path, data, expected)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise ToolError(
                f"{path} is not UTF-8; use a program (run_command) to edit it"
            ) from None
        found = text.count(old)
        if found == 0:
            raise ToolError(f"`old` is not in {path}; read the file again and copy it exactly")
        if found > 1 and not given.get("all", False):
            raise ToolError(
                f"`old` is in {path} {found} times; give more of the text around it, or set "
                "`all` to true"
            )
        changed = text.replace(old, new).encode("utf-8", "replace")
        await trio.to_thread.run_sync(partial(_replace, path, changed, expected, must_exist=True))
        self._remember(path, changed)
        places = "1 place" if found == 1 else f"{found} places"
        return Outcome(f"Replaced {places} in {path}.", f"{path}: {places} replaced")

    async def _list(self, turn: Turn, given: Arguments) -> Outcome:
        path = _readable(turn, given.get("path", "."))
        lines = await trio.to_thread.run_sync(
            partial(_listing, turn.place(), path, given.get("depth", 1))
        )
        more = len(lines) > MAX_ENTRIES
        text = "\n".join(lines[:MAX_ENTRIES])
        if more:
            text += f"\n[only the first {MAX_ENTRIES}; list a directory below it]"
        return Outcome(text or "[nothing]", f"{path}: {min(len(lines), MAX_ENTRIES)} entries")

    def _remember(self, path: str, data: bytes) -> None:
        self._seen.pop(path, None)
        self._seen[path] = _digest(data)
        if len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]


def _readable(turn: Turn, path: str) -> str:
    if "\0" in path or not turn.may_read(path):
        raise ToolError(_refusal(turn, path, "read"))
    return scope.canonical(path, turn.cwd)


def _writable(turn: Turn, path: str) -> str:
    if "\0" in path or not turn.may_write(path):
        raise ToolError(_refusal(turn, path, "write"))
    return scope.canonical(path, turn.cwd)


def _refusal(turn: Turn, path: str, verb: str) -> str:
    canonical = path if "\0" in path else scope.canonical(path, turn.cwd)
    grant = turn.scope
    if verb == "write" and "\0" not in path and scope.may_write(grant, canonical):
        return (
            f"cannot write {canonical}: it is lent to a pod of yours; let that pod write it, or "
            "stop it first"
        )
    allowed = [
        scope.pattern_of(rule)
        for rule in grant.allow
        if verb == "read" or rule.permission == "write"
    ]
    return (
        f"cannot {verb} {canonical}: it is outside of your scope. You may {verb}: "
        f"{', '.join(allowed[:12]) or 'nothing'}. Work there, or end your turn and say "
        "what you need"
    )


def search_argv(turn: Turn, given: Arguments) -> list[str]:
    """The program that searches; ToolError where it may not look there.

    A program and not Python's `re`: the kernel holds it to the scope, it can be ended, and no
    pattern keeps the pod busy for ever.
    """
    path = _readable(turn, given.get("path", "."))
    argv = ["grep", "-rnIE", "--max-count=50", *(f"--exclude-dir={name}" for name in _SKIPPED)]
    if given.get("ignore_case", False):
        argv.append("-i")
    if "files" in given:
        argv.append(f"--include={given['files']}")
    return [*argv, "-e", given["pattern"], "--", path]


def _load(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                raise ToolError(f"{path} is a directory; use list_files")
            if not stat.S_ISREG(found.st_mode):
                raise ToolError(f"{path} is no plain file; nothing can be read from it")
            if found.st_size > MAX_FILE_BYTES:
                raise ToolError(
                    f"{path} has {found.st_size} bytes, more than {MAX_FILE_BYTES}; look at parts "
                    "of it with run_command"
                )
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(MAX_FILE_BYTES)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _failed("read", path, error) from error
    if b"\0" in data[:_SNIFF_BYTES]:
        raise ToolError(f"{path} is binary; look at it with a program (run_command)")
    return data


def _replace(path: str, data: bytes, expected: str | None, *, must_exist: bool) -> None:
    """Write a file whole, if it is still what the model has read."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        if must_exist:
            raise ToolError(f"{path} is no longer there; look with list_files") from None
        found = None
    except OSError as error:
        raise _failed("write", path, error) from error
    if found is not None:
        _check_fresh(path, _load(path), expected)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write_whole(path, data, None if found is None else stat.S_IMODE(found.st_mode))
    except OSError as error:
        raise _failed("write", path, error) from error


def _check_fresh(path: str, data: bytes, expected: str | None) -> None:
    if expected is None:
        raise ToolError(f"cannot change {path}: you have not read it; call read_file first")
    if _digest(data) != expected:
        raise ToolError(
            f"cannot change {path}: it was changed since you read it, by somebody else or by a "
            "program; read it again and make your change in what is there now"
        )


def _write_whole(path: str, data: bytes, mode: int | None) -> None:
    """Beside it and renamed, so that nobody sees half of it; in place where it must be."""
    beside = f"{os.path.dirname(path)}/.{os.path.basename(path)[:100]}.{secrets.token_hex(6)}"
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except PermissionError:
        # A scope that is this one file and not its directory.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        # Buffered: a bare write may take a part of it, where the disk fills, and say nothing.
        with open(os.open(path, flags, 0o666), "wb") as file:
            file.write(data)
        return
    try:
        with open(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, mode)
            file.write(data)
        if mode is None:
            _put_new(beside, path)
        else:
            os.rename(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def _put_new(beside: str, path: str) -> None:
    """Give a file its name where nobody has; somebody may have since the look."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise ToolError(
            f"cannot write {path}: somebody made it just now; call read_file first"
        ) from None
    except OSError:  # a file system without links
        os.rename(beside, path)
    else:
        os.unlink(beside)


def _listing(place: Place, path: str, depth: int) -> list[str]:
    lines: list[str] = []
    try:
        for line in _walk(place, path, "", depth):
            lines.append(line)
            if len(lines) > MAX_ENTRIES:
                break
    except OSError as error:
        raise _failed("list", path, error) from error
    return lines


def _walk(place: Place, path: str, prefix: str, depth: int) -> Iterator[str]:
    with os.scandir(path) as found:
        entries: Sequence[os.DirEntry[str]] = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if not scope.may_read(place.grant, f"{path}/{entry.name}"):
            continue
        name = entry.name.encode("utf-8", "replace").decode()
        if not entry.is_dir(follow_symlinks=False):
            yield f"{prefix}{name}"
            continue
        yield f"{prefix}{name}/"
        if depth > 1 and entry.name not in _SKIPPED:
            # One that cannot be opened is named and not entered.
            with contextlib.suppress(PermissionError):
                yield from _walk(place, entry.path, f"{prefix}{name}/", depth - 1)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


_ADVICE: Final = {
    errno.ENOENT: "look with list_files for its right name",
    errno.EACCES: "it is refused to this pod; work within your scope",
    errno.EPERM: "it is refused to this pod; work within your scope",
    errno.ENOTDIR: "a part of the path is a file; look with list_files",
    errno.EISDIR: "it is a directory; name a file in it",
}


def _failed(verb: str, path: str, error: OSError) -> ToolError:
    advice = _ADVICE.get(error.errno or 0, "look with list_files, or tell the user")
    return ToolError(f"cannot {verb} {path}: {error.strerror}; {advice}")
