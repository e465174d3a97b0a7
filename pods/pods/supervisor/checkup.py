"""The look at what belongs to no living supervisor: what crashes, reboots and full disks left.

Owns what can be wrong with a user's directories as a whole: the registry's file, the leases of the
dead, supervisors that are silent or gone, their stale directories, processes that nobody knows, and
state that no supervisor claims. It starts nothing and needs nobody to answer. A supervisor that is
gone is looked at while its life lock is held, so that none can start meanwhile; one that lives is
never mended behind its back. Blocking; called by `pods doctor`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Final

from attrs import define, evolve, field

from pods.client.plain import PlainClient
from pods.client.plain_connect import read_token
from pods.config import load_config
from pods.lifecycle import Life
from pods.paths import JOURNAL_NAME, Places, SupervisorPlaces
from pods.private import is_own_directory
from pods.records.record import PodRecord
from pods.records.table import PodTable
from pods.scope import storage
from pods.scope.identity import is_alive
from pods.scope.leases import Lease
from pods.scope.locking import holder_of
from pods.scope.registry import ScopeRegistry
from pods.supervisor.on_record import leases_on_record
from pods.supervisor.orphans import end_and_say
from pods.supervisor.probes import (
    POD_ID,
    answers,
    directories_in,
    holds_events,
    is_our_runtime,
    judge_directory,
    left_cgroups,
    locks_of_a_life,
    read_table,
    remove,
)
from pods.supervisor.strays import (
    Carrier,
    describe_strays,
    end_carriers,
    find_carriers,
    fix_for_strays,
    release_leases,
)
from pods_protocol.errors import InvalidParams, PodsError, RegistryBroken
from pods_protocol.supervisor_messages import Problem
from pods_protocol.values import ProcessIdentity

ANSWER_SECONDS: Final = 5.0
"""A supervisor answers hello in a millisecond; one that adopts a thousand pods in a second."""

MAX_NAMED: Final = 10
"""Pods that one problem names."""

Mend = Callable[[], str]


@define
class _Seen:
    """What was found out about one supervisor.

    Attributes:
        directory_name: of its directories: its name, or the digest of a long one.
        alive: it holds its life lock, or did so a moment ago.
        table: of its journal; None where that cannot be read, or was not looked at.
    """

    directory_name: str
    alive: bool
    table: PodTable | None


@define
class Checkup:
    """One look.

    Args:
        places: of the user.
        fix: mend what can be.
        start: starts a supervisor, which settles the pods of the one before it.
    """

    places: Places
    fix: bool
    start: Callable[[SupervisorPlaces], object]
    problems: list[Problem] = field(factory=list[Problem])
    unsettled: dict[str, Problem] = field(factory=dict[str, Problem])
    seen: dict[str, _Seen] = field(factory=dict[str, _Seen])

    def run(self) -> list[Problem]:
        """Look at everything; returns what was found, with what was done about it."""
        self._look_at_config()
        self._look_at_root(self.places.runtime, "PODS_RUNTIME_DIR")
        self._look_at_root(self.places.state, "PODS_STATE_DIR")
        # Before the journals: whatever claims a directory was written before it was made.
        directories = directories_in(f"{self.places.state}/pods")
        carriers = find_carriers(self.places)
        for name in self._supervisors():
            self._look_at_supervisor(name)
        names = self._look_at_registry()
        self._look_at_state(directories, carriers)
        for name, problem in self.unsettled.items():
            self._settle(names.get(name, name), problem)
        return self.problems

    def _add(self, code: str, message: str, fix: str, mend: Mend | None = None) -> None:
        problem = Problem(code=code, message=message, fix=fix)
        if self.fix and mend is not None:
            try:
                problem = evolve(problem, fix=mend(), fixed=True)
            except (PodsError, OSError) as error:
                problem = evolve(problem, fix=f"{fix}; it was tried: {error}")
        self.problems.append(problem)

    # -- one thing after the other -------------------------------------------------------------

    def _look_at_config(self) -> None:
        try:
            load_config(self.places.config)
        except InvalidParams as error:
            self._add("invalid_config", error.message, f"correct {self.places.config}")

    def _look_at_root(self, path: str, variable: str) -> None:
        """A root that is there must be this user's alone: tokens and journals are in it."""
        try:
            seen = os.lstat(path)
        except OSError:
            return  # made by whoever needs it first
        judged = judge_directory(path, seen, variable)
        if judged is not None:
            mend = partial(_close_to_others, path) if is_own_directory(seen) else None
            self._add("unsafe_directory", *judged, mend)

    def _supervisors(self) -> list[str]:
        names = {
            *directories_in(f"{self.places.state}/supervisors"),
            *directories_in(self.places.runtime),
        }
        return sorted(names)

    def _look_at_supervisor(self, name: str) -> None:
        # `directory_name` keeps a name that is a digest already: it is short enough.
        places = SupervisorPlaces(places=self.places, name=name)
        with locks_of_a_life(places) as free:
            if not free:
                self.seen[name] = _Seen(name, alive=True, table=None)
                self._look_at_living(places)
                return
            table = self._journal_of(places)
            self.seen[name] = _Seen(name, alive=False, table=table)
            if table is None:
                return
            living = table.living()
            if living:
                self._say_unsettled(places, living)
                return
            self._end_orphans(table)
            for left in left_cgroups(places):
                self._add(*left)
            # A launcher outlives its supervisor by a minute, and takes its socket along.
            if is_our_runtime(places) and not answers(places.launcher_socket):
                self._add(
                    "stale_runtime_directory",
                    f"{places.runtime} is of a supervisor that is gone, with no pod alive",
                    f"remove it: rm -r {places.runtime}",
                    partial(remove, places.runtime),
                )

    def _look_at_living(self, places: SupervisorPlaces) -> None:
        try:
            token = read_token(places.owner_token)
            with PlainClient(places.socket, token, timeout=ANSWER_SECONDS) as client:
                client.call("ping", {})
        except PodsError as error:
            pid = holder_of(places.life_lock)
            who = "its process" if pid is None else f"process {pid}"
            self._add(
                "supervisor_silent",
                f"the supervisor {places.name} lives ({who}) and does not answer: {error.message}",
                f"look at {places.log}; if it is stopped: kill -CONT {pid or 'PID'}; if it hangs: "
                f"kill -9 {pid or 'PID'}; its pods live on, and the next command starts another "
                "that goes on with them",
            )

    def _journal_of(self, places: SupervisorPlaces) -> PodTable | None:
        directory = f"{places.state}/{JOURNAL_NAME}"
        if not os.path.isdir(directory):
            return PodTable()
        try:
            return read_table(directory)
        except (PodsError, OSError, LookupError, TypeError) as error:
            self._add(
                "unreadable_journal",
                f"the journal of supervisor {places.name} cannot be read: {error}",
                f"move {places.state} away once its pods have ended; it is not mended by itself",
            )
            return None

    def _say_unsettled(self, places: SupervisorPlaces, living: Collection[PodRecord]) -> None:
        names = ", ".join(record.name for record in list(living)[:MAX_NAMED])
        alive = sum(1 for r in living if r.keeper is not None and is_alive(r.keeper))
        self.unsettled[places.name] = Problem(
            code="unsettled_pods",
            message=f"the supervisor {places.name} is gone and {len(living)} of its pods are not "
            f"settled ({alive} alive): {names}",
            fix=f"start it, and it goes on with them: pods --supervisor {places.name} ls",
        )

    def _settle(self, name: str, problem: Problem) -> None:
        """Start the supervisor that the pods belong to: it alone may judge them."""
        if name.startswith("_"):  # a digest, and no lease says of which name
            self.problems.append(problem)
            return
        places = self.places.supervisor(name)

        def start() -> str:
            self.start(places)
            return (
                f"started the supervisor {name}, which goes on with what lives and buries the rest"
            )

        self._add(problem.code, problem.message, problem.fix, start)

    def _end_orphans(self, table: PodTable) -> None:
        for record in table:
            if record.life is Life.ENDED and record.keeper is not None:
                self._end_orphan(record.name, record.keeper)

    def _end_orphan(self, name: str, keeper: ProcessIdentity) -> None:
        if not is_alive(keeper):
            return
        self._add(
            "orphaned_process",
            f"process {keeper.pid} is the keeper of pod {name}, which is not a living pod",
            f"end it: kill {keeper.pid}, twice if need be",
            lambda: end_and_say(keeper),
        )

    # -- what all supervisors share --------------------------------------------------------------

    def _look_at_registry(self) -> Mapping[str, str]:
        """Look at the leases; returns the names of the supervisors, by their directories' names."""
        registry = ScopeRegistry(
            self.places.registry, on_record=partial(leases_on_record, self.places)
        )
        try:
            table, over, whole = registry.examine()
        except RegistryBroken as error:
            alive = self._why_not_anew()
            if alive:
                fix = (
                    "the next spawn builds it anew from the supervisors' journals, once all of "
                    f"them can be read, since {alive}"
                )
                mend = partial(_tidy, registry, "built it anew from the supervisors' journals")
            else:
                fix = "set it aside and begin a new one: pods doctor --fix, with no pod alive"
                mend = partial(_start_anew, registry)
            self._add(error.CODE, error.message, fix, mend)
            return {}
        except PodsError as error:
            self._add(error.CODE, error.message, "see to its disk")
            return {}
        for lease in table.leases.values():
            self._look_at_lease(lease)
        if over:
            names = ", ".join(lease.name for lease in over[:MAX_NAMED])
            self._add(
                "dead_lease",
                f"{len(over)} leases have no living pod: {names}",
                "the next spawn reclaims them",
                partial(release_leases, registry, self.places, over),
            )
        if not whole:
            self._add(
                "torn_registry",
                f"{self.places.registry} is torn or missing; the generation before it is whole",
                "the next spawn repairs it, once every supervisor's journal can be read",
                lambda: _tidy(registry, "repaired it from the generation before"),
            )
        left = storage.temporaries(self.places.registry)
        if left and not any(seen.alive for seen in self.seen.values()):
            self._add(
                "stale_temporary",
                f"{len(left)} files of writes that were cut off lie beside {self.places.registry}",
                f"remove them: rm {' '.join(left[:MAX_NAMED])}",
                lambda: _tidy(registry, f"removed {len(left)} files"),
            )
        return {self._directory_of(lease): lease.supervisor for lease in table.leases.values()}

    def _directory_of(self, lease: Lease) -> str:
        return SupervisorPlaces(places=self.places, name=lease.supervisor).directory_name

    def _look_at_lease(self, lease: Lease) -> None:
        """End the holder of a lease whose pod no supervisor calls living."""
        seen = self.seen.get(self._directory_of(lease))
        if lease.holder is None or (seen is not None and (seen.alive or seen.table is None)):
            return
        record = None if seen is None or seen.table is None else seen.table.get(lease.pod_id)
        if record is None:
            self._end_orphan(lease.name, lease.holder)

    def _why_not_anew(self) -> str:
        """What lives, or may live, so that no lease may be forgotten; empty where nothing does."""
        for seen in self.seen.values():
            if seen.alive:
                return f"the supervisor {seen.directory_name} lives"
            if seen.table is None:
                return f"nobody knows what pods the supervisor {seen.directory_name} has"
            for record in seen.table:
                if record.living and (record.keeper is None or is_alive(record.keeper)):
                    return f"the pod {record.name} may be alive"
        return ""

    def _look_at_state(self, directories: Iterable[str], carriers: Iterable[Carrier]) -> None:
        """State directories that no supervisor has a row for, and processes of pods that ended."""
        tables = self._tables()
        if tables is None:
            return  # whose they are cannot be known
        self._look_at_strays(carriers)
        for pod_id in directories:
            path = self.places.pod_state(pod_id)
            if not POD_ID.match(pod_id) or not os.path.isdir(path):
                continue
            if any(table.get(pod_id) is not None for table in tables):
                continue
            if holds_events(f"{path}/{JOURNAL_NAME}"):
                self._add(
                    "unclaimed_state",
                    f"{path} holds a journal, and no supervisor knows that pod",
                    f"look at what is in it; if it is of no use: rm -r {path}",
                )
            else:
                self._add(
                    "half_written_state",
                    f"{path} belongs to no pod and holds no event",
                    f"remove it: rm -r {path}",
                    partial(remove, path),
                )

    def _look_at_strays(self, carriers: Iterable[Carrier]) -> None:
        strays: dict[tuple[str, str], list[Carrier]] = {}
        for one in carriers:
            rows = [
                (seen, row)
                for seen in self.seen.values()
                if seen.table is not None and (row := seen.table.get(one.pod_id)) is not None
            ]
            # A living supervisor tells of its own.
            if any(seen.alive or row.living for seen, row in rows):
                continue
            if rows or one.surely_ours:
                name = rows[0][1].name if rows else "that nobody knows any more"
                strays.setdefault((one.pod_id, name), []).append(one)
        for (_, name), seen in strays.items():
            self._add(
                "stray_process",
                describe_strays(name, seen),
                fix_for_strays(seen),
                partial(end_carriers, self.places, seen),
            )

    def _tables(self) -> list[PodTable] | None:
        """What every supervisor knows; None where one of them cannot be read."""
        tables: list[PodTable] = []
        for name, seen in self.seen.items():
            if seen.alive:
                seen.table = self._journal_of(SupervisorPlaces(places=self.places, name=name))
            if seen.table is None:
                return None
            tables.append(seen.table)
        return tables


def _close_to_others(path: str) -> str:
    os.chmod(path, 0o700)
    return f"chmod 0700 {path}"


def _tidy(registry: ScopeRegistry, done: str) -> str:
    registry.tidy()
    return done


def _start_anew(registry: ScopeRegistry) -> str:
    registry.start_anew()
    return "set it aside; the next spawn begins a new one"
