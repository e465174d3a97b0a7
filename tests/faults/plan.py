"""From a seed to a round: who is started, what they are asked, and what goes wrong where.

Owns the drawing. The same seed gives the same plan, for ever on one version of this file; how its
tasks and processes interleave is the machine's. Pure. Used by `campaign`; performed by `actors`.
"""

from __future__ import annotations

import random
from typing import Final, Literal, TypeAlias

from attrs import frozen
from fault_board import Slot, armed
from points import ACTIONS, ERRORS, POINTS

PHASES: Final = 3
"""Of a round: each has faults of its own, and is healed and judged at its end."""

SCRIPTS: Final = 3
"""Clients that work at once."""

STEPS: Final = 6
"""Of each client in each phase."""

ROOTS: Final = ("p0", "p1")
VICTIMS: Final = ("supervisor", "launcher", "keeper", "pod")


@frozen
class Spawn:
    """Start a pod. `directory` is its scope; it may overlap with another's on purpose."""

    name: str
    parent: str | None
    directory: str
    message_id: str
    keep: bool
    wake_on: Literal["none", "ended"]
    restart: bool


@frozen
class Send:
    """Give it a message; `again` repeats one that was sent before."""

    name: str
    message_id: str
    if_busy: Literal["fail", "queue", "interrupt"]
    texts: int
    stray: bool
    again: bool = False


@frozen
class Notify:
    """Tell it something."""

    name: str
    message_id: str
    wake: bool


@frozen
class Withdraw:
    """Take a message back."""

    name: str
    message_id: str


@frozen
class Cancel:
    """Cancel its turn."""

    name: str


@frozen
class Stop:
    """Stop it."""

    name: str
    mode: Literal["finish", "now", "kill"]


@frozen
class Restore:
    """Start it again, if it has ended."""

    name: str


@frozen
class Hold:
    """Pause it, or let it go on."""

    name: str
    pause: bool


@frozen
class Kill:
    """SIGKILL from outside."""

    role: str


@frozen
class Wait:
    """Wait for it."""

    name: str
    until: Literal["idle", "ended"]


@frozen
class Look:
    """List all, and read one from its beginning."""

    name: str


@frozen
class Reboot:
    """The machine is started anew: every process ends at once, and what lies in memory is gone."""


@frozen
class Fill:
    """The disk is full from here to the end of the phase."""


Step: TypeAlias = (
    Spawn | Send | Notify | Withdraw | Cancel | Stop | Restore | Hold | Kill | Wait | Look
    | Reboot | Fill
)  # fmt: skip


@frozen
class Phase:
    """What happens between two judgements."""

    faults: tuple[Slot, ...]
    scripts: tuple[tuple[Step, ...], ...]


@frozen
class Plan:
    """One round.

    Attributes:
        farewell: faults while everything is stopped.
        segment_bytes: at which a journal's file is full; None is as it usually is.
        small_disk: state lies on a file system of its own, which can be full.
    """

    seed: int
    phases: tuple[Phase, ...]
    farewell: tuple[Slot, ...]
    segment_bytes: int | None = None
    small_disk: bool = False


class _Draw:
    """The names and ids that a plan has used so far, and the drawing of more."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.small_disk = self.random.random() < 0.3
        self.segment_bytes = self.random.choice((None, 1024, 4096))
        self.names: list[str] = []
        self.directories: dict[str, str] = {}
        self.sent: list[Send] = []
        self.count = 0

    def message_id(self) -> str:
        self.count += 1
        return f"m{self.count}"

    def spawn(self, name: str, parent: str | None) -> Spawn:
        above = self.directories.get(parent, "") if parent else ""
        directory = f"{above}/{name}".lstrip("/")
        if parent is None and self.directories and self.random.random() < 0.25:
            # Somebody's ground: refused while its owner lives.
            directory = self.random.choice(sorted(self.directories.values()))
        self.directories[name] = directory
        self.names.append(name)
        keep = self.random.random() < 0.5
        wake_on: Literal["none", "ended"] = self.random.choice(("none", "ended"))
        if parent is None:
            wake_on = "none"  # there is nobody to wake, and a spawn that asks for it is refused
        restart = self.random.random() < 0.4
        return Spawn(name, parent, directory, self.message_id(), keep, wake_on, restart)

    def name(self) -> str:
        return self.random.choice(self.names)

    def send(self) -> Send:
        if self.sent and self.random.random() < 0.2:
            old = self.random.choice(self.sent)
            return Send(old.name, old.message_id, old.if_busy, old.texts, old.stray, again=True)
        made = Send(
            self.name(),
            self.message_id(),
            self.random.choices(("queue", "interrupt", "fail"), (6, 2, 2))[0],
            texts=self.random.choice((0, 1, 4, 12)),
            stray=self.random.random() < 0.2,
        )
        self.sent.append(made)
        return made

    def step(self) -> Step:
        kind = self.random.choices(
            (
                "send", "spawn", "notify", "withdraw", "cancel", "stop", "kill", "wait", "look",
                "restore", "hold", "reboot", "fill",
            ),
            (40, 12, 6, 6, 4, 8, 6, 8, 6, 6, 6, 1, 3 if self.small_disk else 0),
        )[0]  # fmt: skip
        if kind == "spawn":
            parent = self.random.choice([None, *self.names])
            return self.spawn(f"c{len(self.names)}", parent)
        if kind == "notify":
            return Notify(self.name(), self.message_id(), self.random.random() < 0.5)
        if kind == "withdraw" and self.sent:
            old = self.random.choice(self.sent[-6:])
            return Withdraw(old.name, old.message_id)
        if kind == "cancel":
            return Cancel(self.name())
        if kind == "stop":
            mode: Literal["finish", "now", "kill"] = self.random.choice(("finish", "now", "kill"))
            return Stop(self.name(), mode)
        if kind == "restore":
            return Restore(self.name())
        if kind == "hold":
            return Hold(self.name(), self.random.random() < 0.6)
        if kind == "kill":
            return Kill(self.role())
        if kind == "reboot":
            return Reboot()
        if kind == "fill":
            return Fill()
        if kind == "wait":
            until: Literal["idle", "ended"] = self.random.choice(("idle", "idle", "ended"))
            return Wait(self.name(), until)
        if kind == "look":
            return Look(self.name())
        return self.send()

    def role(self) -> str:
        kind = self.random.choices(VICTIMS, (4, 2, 2, 4))[0]
        return kind if kind in ("supervisor", "launcher") else f"{kind}:{self.name()}"

    def fault(self) -> Slot:
        role = self.role()
        point, reach = self.random.choice(sorted(POINTS[role.partition(":")[0]].items()))
        action = self.random.choice(ACTIONS[point.partition("@")[0]])
        return armed(
            role,
            point,
            action,
            # Early calls are the ones that surely come.
            countdown=min(self.random.randrange(reach), self.random.randrange(reach)),
            repeats=self.random.choice((1, 2, 5)) if action in ERRORS else 1,
            part=self.random.randrange(1, 4000),
        )

    def phase(self, first: bool) -> Phase:
        scripts: list[list[Step]] = [[] for _ in range(SCRIPTS)]
        if first:
            for number, name in enumerate(ROOTS):
                scripts[number].append(self.spawn(name, None))
        for _ in range(STEPS):
            for script in scripts:
                script.append(self.step())
        faults = tuple(self.fault() for _ in range(self.random.choice((2, 4, 6, 8))))
        return Phase(faults, tuple(map(tuple, scripts)))


def draw_plan(seed: int) -> Plan:
    """The plan of a seed."""
    draw = _Draw(seed)
    phases = tuple(draw.phase(number == 0) for number in range(PHASES))
    farewell = tuple(draw.fault() for _ in range(draw.random.choice((0, 2, 4))))
    return Plan(seed, phases, farewell, draw.segment_bytes, draw.small_disk)
