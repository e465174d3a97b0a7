"""From a seed to a round: who is started, what they are asked, and what goes wrong where.

Owns the drawing. The same seed gives the same plan, for ever on one version of this file; how its
tasks and processes interleave is the machine's. Faults are drawn after the steps, at points that
these steps meet. Pure. Used by `campaign`; performed by `actors`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Final, Literal

from fault_board import Slot, armed
from points import ACTIONS, ERRORS, POINTS, Need
from steps import (
    Answer,
    Cancel,
    Doctor,
    Fill,
    Hold,
    Kill,
    Look,
    Notify,
    Phase,
    Plan,
    Prune,
    Reboot,
    Remove,
    Restore,
    Send,
    Spawn,
    Step,
    Stop,
    Wait,
    Withdraw,
)

PHASES: Final = 3
"""Of a round: each has faults of its own, and is healed and judged at its end."""

SCRIPTS: Final = 3
"""Clients that work at once."""

STEPS: Final = 7
"""Of each client in each phase."""

PLACES: Final = ("p0", "p1")
"""Where a root lives in each phase; one that is gone has another after it, of another name."""

VICTIMS: Final = ("supervisor", "launcher", "keeper", "pod")

WEIGHTS: Final = {
    "send": 44, "spawn": 12, "notify": 6, "withdraw": 6, "answer": 8, "cancel": 4, "stop": 8,
    "kill": 6, "wait": 8, "look": 7, "restore": 6, "remove": 4, "prune": 1, "doctor": 2, "hold": 6,
    "reboot": 1,
}  # fmt: skip

FULL_DISK_WEIGHT: Final = 3
"""Of `fill`, where there is a disk to fill."""


class _Draw:
    """The names and ids that a plan has used so far, and the drawing of more."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.small_disk = self.random.random() < 0.3
        self.segment_bytes = self.random.choice((None, 1024, 4096))
        self.kept_bytes: int | None = None
        if self.segment_bytes is not None and self.random.random() < 0.6:
            self.kept_bytes = 2 * self.segment_bytes
        self.names: list[str] = []
        self.sent: list[Send] = []
        self.count = 0

    def message_id(self) -> str:
        self.count += 1
        return f"m{self.count}"

    def spawn(self, name: str, parent: str | None, *, clash: bool = False) -> Spawn:
        ground = self.random.choice(self.names) if clash and self.names else None
        self.names.append(name)
        wake_on: Literal["none", "ended", "question"] = self.random.choice(
            ("none", "ended", "question")
        )
        return Spawn(
            name,
            parent,
            ground,
            self.message_id(),
            keep=self.random.random() < 0.5,
            # Without a parent there is nobody to wake, and a spawn that asks for it is refused.
            wake_on="none" if parent is None else wake_on,
            restart=self.random.choice((1, 2, 5)) if self.random.random() < 0.5 else None,
        )

    def name(self) -> str:
        return self.random.choice(self.names)

    def send(self) -> Send:
        if self.sent and self.random.random() < 0.2:
            old = self.random.choice(self.sent)
            return Send(old.name, old.message_id, old.if_busy, old.texts, old.stray, old.ask,
                        again=True)  # fmt: skip
        made = Send(
            self.name(),
            self.message_id(),
            self.random.choices(("queue", "interrupt", "fail"), (6, 2, 2))[0],
            texts=self.random.choice((0, 1, 4, 12) if self.kept_bytes is None else (4, 12, 40)),
            stray=self.random.random() < 0.15,
            ask=self.random.random() < 0.3,
        )
        self.sent.append(made)
        return made

    def step(self) -> Step:
        weights = {**WEIGHTS, "fill": FULL_DISK_WEIGHT if self.small_disk else 0}
        match self.random.choices(tuple(weights), tuple(weights.values()))[0]:
            case "spawn":
                parent = self.random.choice([None, *self.names, *self.names])
                clash = parent is None and self.random.random() < 0.5
                return self.spawn(f"c{len(self.names)}", parent, clash=clash)
            case "notify":
                return Notify(self.name(), self.message_id(), self.random.random() < 0.5)
            case "withdraw" if self.sent:
                return Withdraw(self.random.choice(self.sent[-6:]).message_id)
            case "answer":
                answer: Literal["yes", "no"] = self.random.choice(("yes", "no"))
                return Answer(self.name(), answer)
            case "cancel":
                return Cancel(self.name())
            case "stop":
                mode: Literal["finish", "now", "kill"] = self.random.choice(
                    ("finish", "now", "kill")
                )
                return Stop(self.name(), mode)
            case "restore":
                return Restore(self.name())
            case "remove":
                return Remove(self.name())
            case "prune":
                return Prune()
            case "doctor":
                return Doctor()
            case "hold":
                return Hold(self.name(), self.random.random() < 0.6)
            case "kill":
                return Kill(self.role())
            case "reboot":
                return Reboot()
            case "fill":
                return Fill()
            case "wait":
                until: Literal["idle", "ended", "question"] = self.random.choice(
                    ("idle", "ended", "ended", "question")
                )
                return Wait(self.name(), until)
            case "look":
                return Look(self.name(), self.random.choice((3, 7, 50)), self.random.random() < 0.4)
            case _:
                return self.send()

    def role(self) -> str:
        kind = self.random.choices(VICTIMS, (4, 2, 2, 4))[0]
        return kind if kind in ("supervisor", "launcher") else f"{kind}:{self.name()}"

    # Faults -------------------------------------------------------------------------------------

    def fault(self, needs: set[Need], names: list[str]) -> Slot:
        """One at a point that what is to happen will meet.

        Args:
            needs: what is to happen.
            names: of pods that are there or come.
        """
        kind = self.random.choices(VICTIMS, (5, 2, 2, 5))[0]
        met = [one for one, point in sorted(POINTS[kind].items()) if point.need in needs]
        if not met:
            kind = "supervisor"
            met = ["write@journal.open_segment"]
        place = self.random.choice(met)
        point = POINTS[kind][place]
        action = self.random.choice(point.actions or ACTIONS[place.partition("@")[0]])
        role = kind
        if kind in ("keeper", "pod"):
            # A name is surely meant, and a star surely met; a spare has no name yet.
            name = self.random.choices(("*", self.random.choice(names), ""), (67, 30, 3))[0]
            if place.endswith("@keeper.spare"):
                name = ""
            role = f"{kind}:{name}"
        return armed(
            role,
            place,
            action,
            # Early calls are the ones that surely come.
            countdown=min(self.random.randrange(point.reach) for _ in range(3)),
            repeats=self.random.choice((1, 2, 5)) if action in ERRORS else 1,
            part=self.random.randrange(1, 4000),
        )

    def needs(self, steps: Iterable[Step], *, starts: bool, spawns: bool) -> set[Need]:
        """What these steps bring about."""
        found: set[Need] = {"always"}
        if spawns:
            found.add("spawn")
        if starts:
            found |= {"start", "launcher"}
        for step in steps:
            match step:
                case Spawn(parent=parent):
                    found |= {"spawn"} if parent is None else {"spawn", "child"}
                case Restore():
                    found |= {"spawn", "crash"}
                case Stop():
                    found.add("end")
                case Kill("supervisor"):
                    found.add("start")
                case Kill("launcher"):
                    found |= {"launcher", "orphan"}
                case Kill():
                    found |= {"end", "crash"}
                case Reboot():
                    found |= {"start", "launcher"}
                case Doctor():
                    found.add("doctor")
                case _:
                    pass
        if self.segment_bytes is not None:
            found.add("rotate")
        if self.kept_bytes is not None:
            found.add("trim")
        return found

    def phase(self, number: int) -> Phase:
        roots = tuple(self.spawn(f"{place}{'abc'[number]}", None) for place in PLACES)
        scripts: list[list[Step]] = [[] for _ in range(SCRIPTS)]
        for _ in range(STEPS):
            for script in scripts:
                script.append(self.step())
        calm = number == 1 or self.random.random() < 0.5
        steps = [step for script in scripts for step in script]
        starts = number == 0 and not calm
        needs = self.needs(steps, starts=starts, spawns=not calm)
        names = [one.name for one in roots]
        names += [step.name for step in steps if isinstance(step, Spawn)]
        count = self.random.choice((2, 3, 4, 6))
        faults = tuple(self.fault(needs, names) for _ in range(count))
        return Phase(roots, calm, faults, tuple(map(tuple, scripts)))

    def farewell(self) -> tuple[Slot, ...]:
        needs: set[Need] = {"always", "end", "leave"}
        count = self.random.choice((0, 1, 2, 3))
        return tuple(self.fault(needs, [place + "c" for place in PLACES]) for _ in range(count))


def draw_plan(seed: int) -> Plan:
    """The plan of a seed."""
    draw = _Draw(seed)
    phases = tuple(draw.phase(number) for number in range(PHASES))
    farewell = draw.farewell()
    return Plan(seed, phases, farewell, draw.segment_bytes, draw.kept_bytes, draw.small_disk)
