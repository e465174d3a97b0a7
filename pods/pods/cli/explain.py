"""`pods explain`: run a command as a pod's programs run, and say what was refused and why."""

from __future__ import annotations

import argparse
import os
from typing import Any

from pods.cli import options, render
from pods.cli.follow import open_for
from pods.client.plain import Json
from pods_protocol.errors import ExitCode, InvalidParams, NotEnforceable, PlatformUnsupported


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.usage = "pods explain POD [--json] -- COMMAND ARGUMENT..."
    parser.epilog = (
        "The command really runs, within the pod's scope and in its directory, and ends with "
        "everything it started. What it writes goes to standard error; what was refused to it, and "
        "which rule or pod stands in the way, to standard output."
    )
    options.add_pod(parser)
    options.add_json(parser, "what was refused")
    parser.set_defaults(argv=None)


def run(args: argparse.Namespace) -> int:
    """Ask who holds what, run the command, judge what was refused.

    Raises:
        InvalidParams: no command, or no such program.
        PlatformUnsupported: system calls cannot be watched on this machine.
        NotEnforceable: the kernel holds this pod to nothing.
        StartFailed: the copy cannot be made.
        PodsError: unknown pod.
    """
    # What no other verb needs: they are not imported for those.
    from pods.keeper.trial import try_command
    from pods.scope.refusals import judge
    from pods.scope.tracer import why_not

    if not args.argv:
        raise InvalidParams(
            "cannot explain nothing: name a command after `--`, for example `-- make test`",
            path="argv",
        )
    missing = why_not()
    if missing:
        raise PlatformUnsupported(f"cannot explain a command here: {missing}; try strace -f")
    with open_for(args.pod, args.supervisor) as client:
        known = client.call("inspect", {"pod": args.pod})
        holders: list[Json] = client.call("scope.show", {})["holders"]
    name = known["pod"]["name"]
    enforcement = known["pod"]["enforcement"]
    if enforcement["backend"] == "none":
        raise NotEnforceable(
            f"cannot explain what is refused to pod {name}: the kernel does not hold it, "
            f"{enforcement['reason'] or 'nothing was asked'}; look at the files' own modes",
            enforcement="none",
            reason=enforcement["reason"],
        )
    subject = _subject(known, holders)
    if not _is_there(args.argv[0], subject.cwd):
        raise InvalidParams(
            f"cannot explain {args.argv[0]!r}: there is no such program on your PATH, or from "
            f"{subject.cwd}, where the pod works; check the name",
            path="argv",
        )
    trial = try_command(subject, args.argv, os.environ)
    at = _situation(known, holders, subject, trial)
    found: list[dict[str, Any]] = []
    for refused in trial.traced.refused:
        reason = judge(refused, at)
        if reason is None:
            continue
        found.append(
            {
                "call": refused.call,
                "need": refused.need,
                "target": refused.target,
                "error": refused.error,
                "times": refused.times,
                "why": reason.why,
                "pod": reason.pod,
            }
        )
    status, truncated = trial.traced.status, trial.traced.truncated
    if args.json:
        render.say_json(
            {
                "pod": name,
                "command": args.argv,
                "status": status,
                "refused": found,
                "truncated": truncated,
            }
        )
    else:
        _tell(name, status, found, truncated=truncated)
    return ExitCode.OK


def _is_there(program: str, cwd: str) -> bool:
    """Whether there is such a file: one that the pod may not run is there, and is explained."""
    if "/" in program:
        return os.path.exists(os.path.join(cwd, program))
    return any(
        os.path.exists(os.path.join(cwd, directory, program))
        for directory in os.get_exec_path(os.environ)
    )


def _tell(name: str, status: int, found: list[dict[str, Any]], *, truncated: bool) -> None:
    ended = f"exit status {status}" if status >= 0 else f"ended by signal {-status}"
    if not found:
        render.say(f"nothing was refused to it as pod {name} ({ended})")
        return
    render.say(f"refused to it as pod {name} ({ended}):")
    for one in found:
        times = f", {one['times']} times" if one["times"] > 1 else ""
        render.say(
            render.clean(f"  {one['need']} {one['target']}  ({one['call']}: {one['error']}{times})")
        )
        render.say(render.clean(f"    {one['why']}"))
    if truncated:
        render.say("  and more, which is not shown")


def _subject(known: Json, holders: list[Json]) -> Any:
    from pods.keeper.confined import forbidden_roots
    from pods.keeper.trial import Subject
    from pods.scope.doors import doors_of
    from pods_protocol.codec import from_json, from_json_lenient
    from pods_protocol.values import Enforcement, ScopeGrant

    pod = known["pod"]
    # The lease has the ancestors' denies too; it is gone once the pod has ended.
    grant = next((one["grant"] for one in holders if one["id"] == pod["id"]), pod["scope"])
    return Subject(
        name=pod["name"],
        grant=from_json(ScopeGrant, grant),
        cwd=pod["cwd"],
        python=known["python"],
        state_directory=known["directory"],
        closed=forbidden_roots(known["directory"], os.path.dirname(known["socket"])),
        doors=doors_of(from_json_lenient(Enforcement, pod["enforcement"])),
    )


def _situation(known: Json, holders: list[Json], subject: Any, trial: Any) -> Any:
    from pods.keeper.environ import inherited_environ
    from pods.scope.baseline import baseline
    from pods.scope.refusals import Holding, Situation
    from pods_protocol.codec import from_json
    from pods_protocol.values import ScopeGrant

    own = known["pod"]["id"]
    parents = {one["id"]: one["parent_id"] for one in holders}
    others: list[Holding] = []
    lent: list[Holding] = []
    for one in holders:
        if one["id"] == own:
            continue
        grant = from_json(ScopeGrant, one["grant"])
        holding = Holding(
            pod=one["pod"],
            rules=tuple(
                rule for rule in (*grant.allow, *grant.delegable) if rule.permission == "write"
            ),
            deny=grant.deny,
        )
        (lent if _is_below(own, one["id"], parents) else others).append(holding)
    readable = baseline(
        inherited_environ(os.environ), python=subject.python, forbidden=subject.closed
    )
    return Situation(
        pod=subject.name,
        grant=subject.grant,
        enforcement=trial.enforcement,
        others=tuple(others),
        lent=tuple(lent),
        readable=tuple(place.path for place in readable),
        own=(trial.temporary, subject.state_directory),
        closed=subject.closed,
    )


def _is_below(ancestor: str, pod_id: str, parents: dict[str, str | None]) -> bool:
    at: str | None = pod_id
    for _ in range(len(parents)):
        at = None if at is None else parents.get(at)
        if at == ancestor:
            return True
    return False
