"""`python tests/faults/campaign.py --rounds N --seed S`: the fault campaign by hand or by a test.

Owns the command line and the report. Round i has the seed S + i; a round that fails prints the
command that replays it. Exit code 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter

import trio
from attrs import evolve
from fault_board import Slot
from plan import draw_plan
from points import unknown
from rounds import Outcome, Round
from steps import Plan
from world import World, be_init, log_line


def perform(plan: Plan, *, keep: bool = False) -> Outcome:
    """One round in a world of its own."""
    world = World.make(
        segment_bytes=plan.segment_bytes, kept_bytes=plan.kept_bytes, small_disk=plan.small_disk
    )
    try:
        return trio.run(Round(plan, world).run)
    finally:
        if keep:
            log_line(f"kept: {world.directory}")
        world.clear(keep=keep)


def without_faults(plan: Plan) -> Plan:
    """The same work in a world where nothing goes wrong from inside."""
    return evolve(plan, phases=tuple(evolve(phase, faults=()) for phase in plan.phases),
                  farewell=())  # fmt: skip


def _place(slot: Slot) -> str:
    return f"{slot.role.partition(':')[0]} {slot.point} {slot.action}"


def report(outcomes: list[Outcome], seconds: float) -> str:
    """The figures of all rounds."""
    armed = Counter(_place(slot) for outcome in outcomes for slot in outcome.armed)
    fired = Counter(_place(slot) for outcome in outcomes for slot in outcome.fired)
    lines = [f"{fired[what]:6} of {count:4}  {what}" for what, count in sorted(armed.items())]
    strange = unknown({place for outcome in outcomes for place in outcome.census})
    lines += [f"in no table of `points`: {kind} {point}" for kind, point in strange]
    failed = [outcome for outcome in outcomes if outcome.wrong]
    share = fired.total() / armed.total() if armed else 0.0
    vacuous = [str(outcome.seed) for outcome in outcomes if not outcome.messages]
    if vacuous:
        lines.append(f"vacuous, no message accepted: seeds {', '.join(vacuous)}")
    lines.append(
        f"rounds {len(outcomes)}, faults armed {armed.total()}, fired {fired.total()} "
        f"({share:.0%}) at {len(fired)} places, "
        f"pods {sum(one.pods for one in outcomes)}, "
        f"messages accepted {sum(one.messages for one in outcomes)}, "
        f"events {sum(one.events for one in outcomes)}, "
        f"violations {sum(len(one.wrong) for one in failed)} in {len(failed)} rounds, "
        f"{seconds:.0f} s"
    )
    return "\n".join(lines)


def print_census(outcomes: list[Outcome], *, as_json: bool) -> None:
    """What was called how often."""
    calls: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        calls.update(outcome.census)
    rows = [(kind, point, count) for (kind, point), count in sorted(calls.items())]
    if as_json:
        print(json.dumps(rows))
        return
    for kind, point, count in rows:
        print(f"{kind:12} {point:36} {count}")


def complain(outcome: Outcome, plan: Plan, *, verbose: bool) -> str:
    """What was wrong with a round, and how to see it again."""
    lines = [f"seed {outcome.seed}: {len(outcome.wrong)} violations"]
    lines += [f"  {one}" for one in outcome.wrong]
    lines += [
        f"  fired: {slot.role} {slot.point} {slot.action} (pid {slot.pid})"
        for slot in outcome.fired
    ]
    if verbose:
        lines += [f"  phase {number}: {step}" for number, phase in enumerate(plan.phases, 1)
                  for script in phase.scripts for step in script]  # fmt: skip
        lines.append(outcome.log)
    lines.append(f"replay: {sys.executable} {os.path.relpath(__file__)} --rounds 1 "
                 f"--seed {outcome.seed} --verbose")  # fmt: skip
    return "\n".join(lines)


def _interrupt(_number: int, _frame: object) -> None:
    """End, and clear the world; trio knows where it may be interrupted, by that signal alone."""
    signal.raise_signal(signal.SIGINT)


def main() -> int:
    """Run the rounds that the command line asks for."""
    parser = argparse.ArgumentParser(description="Prove that nothing is lost under faults.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="begin no round after this long")
    parser.add_argument("--verbose", action="store_true", help="say what each round does")
    parser.add_argument("--keep", action="store_true", help="leave the directories")
    parser.add_argument("--census", action="store_true", help="no faults; print what is called")
    parser.add_argument("--json", action="store_true", help="print the census alone, as JSON")
    parser.add_argument("--fail-fast", action="store_true", help="end at the first violation")
    given = parser.parse_args()
    be_init()
    # Who is started in the background of a shell ignores this one, and could not be ended.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    outcomes: list[Outcome] = []
    began = time.monotonic()
    for seed in range(given.seed, given.seed + given.rounds):
        if given.seconds is not None and time.monotonic() - began > given.seconds:
            break
        plan = draw_plan(seed)
        if given.census:
            plan = without_faults(plan)
        try:
            outcome = perform(plan, keep=given.keep)
        except BaseExceptionGroup as group:
            if group.subgroup(KeyboardInterrupt) is None:
                raise
            break
        except KeyboardInterrupt:
            break
        outcomes.append(outcome)
        if given.verbose:
            log_line(f"seed {seed}: {outcome.seconds:.1f} s, {len(outcome.fired)} faults")
            for one in outcome.slow:
                log_line(f"  {one}")
        if outcome.wrong:
            log_line(complain(outcome, plan, verbose=given.verbose))
            if given.fail_fast:
                break
    if given.census:
        print_census(outcomes, as_json=given.json)
    if not given.json:
        print(report(outcomes, time.monotonic() - began))
    return 1 if any(outcome.wrong for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
