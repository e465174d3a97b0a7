"""What the clients of a round do: one class a step, and what a phase and a plan are made of.

Owns the shapes. A `name` is whom a step is drawn for; where that pod does not live (or, for what is
done to the dead, does live), `actors` takes another by the same name's sum, so that a step seldom
addresses nobody. Pure. Drawn by `plan`, performed by `actors`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import frozen
from fault_board import Slot


@frozen
class Spawn:
    """Start a pod.

    Attributes:
        parent: whose child it is; its scope is a directory in that one's then.
        ground: whose directory it asks for, on purpose: refused while its owner lives.
        restart: its limit; None is a pod that is never started again.
    """

    name: str
    parent: str | None
    ground: str | None
    message_id: str
    keep: bool
    wake_on: Literal["none", "ended", "question"]
    restart: int | None


@frozen
class Send:
    """Give it a message; `again` repeats one that was sent before, to whom it was sent.

    Attributes:
        texts: how many its turn says.
        stray: it leaves a process behind.
        ask: it asks before it goes on.
    """

    name: str
    message_id: str
    if_busy: Literal["fail", "queue", "interrupt"]
    texts: int
    stray: bool
    ask: bool = False
    again: bool = False


@frozen
class Notify:
    """Tell it something."""

    name: str
    message_id: str
    wake: bool


@frozen
class Withdraw:
    """Take a message back from whom it was sent to."""

    message_id: str


@frozen
class Answer:
    """Wait for a question of it and answer that."""

    name: str
    answer: Literal["yes", "no"]


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
class Remove:
    """Forget it, if it has ended."""

    name: str


@frozen
class Prune:
    """Forget all that have ended."""


@frozen
class Doctor:
    """Have everything looked at, and mended."""


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
    until: Literal["idle", "ended", "question"]


@frozen
class Look:
    """Read all of it, in pages.

    Attributes:
        page: events in each.
        itself: ask the pod, not the supervisor.
    """

    name: str
    page: int
    itself: bool


@frozen
class Reboot:
    """The machine is started anew: every process ends at once, and what lies in memory is gone."""


@frozen
class Fill:
    """The disk is full from here to the end of the phase."""


Step: TypeAlias = (
    Spawn | Send | Notify | Withdraw | Answer | Cancel | Stop | Restore | Remove | Prune | Doctor
    | Hold | Kill | Wait | Look | Reboot | Fill
)  # fmt: skip


@frozen
class Phase:
    """What happens between two judgements.

    Attributes:
        roots: pods without a parent, one for each place where none lives.
        calm: they are started before anything goes wrong.
    """

    roots: tuple[Spawn, ...]
    calm: bool
    faults: tuple[Slot, ...]
    scripts: tuple[tuple[Step, ...], ...]


@frozen
class Plan:
    """One round.

    Attributes:
        farewell: faults while everything is stopped.
        segment_bytes: at which a journal's file is full; None is as it usually is.
        kept_bytes: of a journal; None is all of it.
        small_disk: state lies on a file system of its own, which can be full.
    """

    seed: int
    phases: tuple[Phase, ...]
    farewell: tuple[Slot, ...]
    segment_bytes: int | None = None
    kept_bytes: int | None = None
    small_disk: bool = False
