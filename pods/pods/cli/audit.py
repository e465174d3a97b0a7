"""`pods audit`: who was allowed what, what was refused, what was lent and came back.

Owns the printing, and the waiting for more with `-f`. Reads the files of the supervisor's audit, so
that it needs no supervisor; a pod cannot, for it may not read them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pods.cli import options, render
from pods.client.address import find_address
from pods_protocol.errors import ExitCode, NotAuthorized

if TYPE_CHECKING:
    from pods_protocol.events import Event


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-f", "--follow", action="store_true", help="go on as more comes")
    parser.add_argument(
        "--since", metavar="AGE", type=options.duration, help="only this far back: 90s, 5m, 2h, 7d"
    )
    parser.add_argument("--json", action="store_true", help="every line as an object")


def run(args: argparse.Namespace) -> int:
    """Read and print.

    Raises:
        NotAuthorized: a pod's program asks.
        StorageFailed: the audit is damaged.
    """
    places = find_address(os.environ, args.supervisor).places
    if places is None:
        raise NotAuthorized("cannot read the audit: a pod may not; ask the owner of the supervisor")
    begin = 0.0 if args.since is None else time.time() - args.since
    shown = False
    try:
        for event in _events(places.audit, follow=args.follow):
            if event.time >= begin:
                shown = True
                _show(event, as_json=args.json)
                if args.follow:
                    render.flush()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    if not shown and not args.json:
        when = "" if args.since is None else " in that time"
        render.note(f"nothing is on record of the supervisor {places.name}{when}")
    return ExitCode.OK


def _events(directory: str, *, follow: bool) -> Iterator[Event]:
    from pods.journal.reader import iterate

    if not follow:
        yield from iterate(directory)
        return
    from pods.client.waiting import wait_readable
    from pods.inotify import CREATE, MODIFY, MOVED_TO, Inotify

    os.makedirs(directory, mode=0o700, exist_ok=True)
    since = 0
    with Inotify() as changes:
        changes.watch(directory, MODIFY | MOVED_TO | CREATE)  # before the first read of it
        while True:
            for event in iterate(directory, since):
                since = max(since, event.seq)
                yield event
            wait_readable(changes.descriptor, None)
            changes.read()


def _show(event: Event, *, as_json: bool) -> None:
    if as_json:
        line = {"seq": event.seq, "time": event.time, "type": event.type, "data": event.data}
        render.say(json.dumps(line, ensure_ascii=False))
        return
    data = dict(event.data)
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    by = data.pop("by", None)
    what = " ".join(str(data.pop(name)) for name in ("method", "pod") if data.get(name))
    if isinstance(data.get("exit"), dict):
        data["exit"] = _exit(data["exit"])
    told = ((name, value) for name, value in data.items() if value not in ([], ""))
    rest = " ".join(f"{name}={_value(value)}" for name, value in told)
    render.say(render.clean(f"{stamp}  {event.type}  {what}{_by(by)}  {rest}".rstrip()))


def _by(by: dict[str, Any] | None) -> str:
    if by is None:
        return ""
    name = f"pod {by['pod']}" if by.get("who") == "pod" else str(by.get("who"))
    return f" by {name} ({by.get('pid')})"


def _exit(seen: dict[str, Any]) -> str:
    """What the keeper saw: `status 0`, `signal 9, 2 killed after it`; its time is the line's."""
    status = seen.get("status")
    if status is None:
        how = str(seen.get("reason"))
    else:
        how = f"signal {-status}" if status < 0 else f"status {status}"
    killed = seen.get("survivors_killed")
    return f"{how}, {killed} killed after it" if killed else how


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
