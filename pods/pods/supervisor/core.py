"""What every method of the supervisor works on: the table, the pods, the registry, the launcher.

Owns the supervisor's memory and the one door through which it changes: `record` writes the journal,
whose fold the table is. Performs nothing by itself; `acts` and `stop` do. Made by
`service`, handed to every method.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import trio

from pods.brakes import Brake
from pods.journal.store import JournalWriter
from pods.lifecycle import Command, Life, Trigger, handle
from pods.paths import JOURNAL_NAME, SupervisorPlaces
from pods.records.record import PodRecord
from pods.records.table import PodTable
from pods.scope.registry import RegistryWorker, ScopeRegistry
from pods.supervisor.audit import Audit
from pods.supervisor.bounded_logs import BoundedLogs
from pods.supervisor.commits import Commits, Item
from pods.supervisor.hub import Hub
from pods.supervisor.launcher_link import LauncherLink
from pods.supervisor.live import LivePod
from pods.supervisor.log import Log
from pods.supervisor.options import Options
from pods.supervisor.relay import Relay
from pods_protocol.errors import NotConnected
from pods_protocol.values import PodState, ProcessIdentity


class Supervisor:
    """The state of one supervisor.

    Attributes:
        options, places: what it was started with.
        token: the owner's; commands everything here.
        table: what its journal says of every pod.
        pods: the living ones and those being buried, by id.
        nursery: where the tasks of pods live; outlives the connections of clients.
        unreleased: ended ones whose leases the registry would not take back yet.
        leaving: set once it is to end.
        closed_to_spawns: it is stopping every pod, and takes no new ones.
        activity: changed whenever a connection or a pod comes or goes.
    """

    def __init__(
        self,
        *,
        options: Options,
        token: str,
        journal: JournalWriter[PodTable],
        table: PodTable,
        registry: ScopeRegistry,
        registry_worker: RegistryWorker,
        launcher: LauncherLink,
        identity: ProcessIdentity,
        nursery: trio.Nursery,
        log: Log,
        audit: Audit,
    ) -> None:
        self.options = options
        self.places: SupervisorPlaces = options.places
        self.token = token
        self.owner_digest = hashlib.sha256(token.encode()).hexdigest()
        self.journal = journal
        self.table = table
        self.registry = registry
        self.registry_worker = registry_worker
        self.launcher = launcher
        self.identity = identity
        self.nursery = nursery
        self.log = log
        self.audit = audit
        self.hub = Hub(journal.directory, log)
        self.relay = Relay(self)
        self.bounded_logs = BoundedLogs(log)
        self.commits = Commits(self.record_together, nursery)
        self.pods: dict[str, LivePod] = {}
        self.callers: dict[bytes, str] = {}
        self.spawns_under_way: dict[tuple[str | None, str], trio.Event] = {}
        self.removing: set[str] = set()
        self.unreleased: set[str] = set()
        self.spawn_brake = Brake(options.config.max_spawns)
        self.connections = 0
        self.activity = trio.Event()
        self.leaving = trio.Event()
        self.closed_to_spawns = False
        self.started = options.clock()

    # -- memory ------------------------------------------------------------------------------

    def record(self, kind: str, data: Mapping[str, Any], *, durable: bool = False) -> None:
        """Write an event, which the journal applies to the table, and tell subscribers.

        Raises:
            StorageFailed: it is not written, and nothing has changed.
        """
        self.record_together(((kind, data),), durable=durable)

    def record_together(self, items: Sequence[Item], *, durable: bool = True) -> None:
        """Write events of several pods, all or none, and tell subscribers.

        Raises:
            StorageFailed: none is written, and nothing has changed.
        """
        events = self.journal.append_many(
            [
                (kind, {**data, "ancestors": self.table.ancestors(data["id"])}, None)
                for kind, data in items
            ],
            durable=durable,
        )
        for event in events:
            self.hub.publish(event)

    def move(self, pod_id: str, trigger: Trigger) -> tuple[Life, tuple[Command, ...]]:
        """Where `trigger` takes the pod, by the one table."""
        return handle(self.known(pod_id).life, trigger)

    def known(self, pod_id: str) -> PodRecord:
        """The record of a pod that must be there; its absence would be a bug."""
        record = self.table.get(pod_id)
        if record is None:
            raise LookupError(f"pod {pod_id} is not in the table")
        return record

    # -- pods --------------------------------------------------------------------------------

    def add_live(self, pod_id: str, name: str, token: str) -> LivePod:
        """Begin to hold a pod; its token is a caller's from here on."""
        live = LivePod(
            pod_id=pod_id,
            name=name,
            token=token,
            directory=self.places.places.pod_state(pod_id),
            on_change=self._state_changed,
            on_news=lambda live: self.relay.has_news(live.id),
        )
        self.pods[pod_id] = live
        self.callers[token_digest(token)] = pod_id
        self.touch()
        return live

    def journal_of(self, pod_id: str) -> str:
        """The directory of a pod's journal."""
        return f"{self.places.places.pod_state(pod_id)}/{JOURNAL_NAME}"

    def drop_live(self, live: LivePod) -> None:
        """Hold a pod no longer: its links close and its token commands nothing."""
        live.close_links()
        self.pods.pop(live.id, None)
        self.callers.pop(token_digest(live.token), None)
        self.hub.end(live.id)
        self.bounded_logs.discard(live.id)
        self.launcher.forget(live.id)
        self.touch()

    def touch(self) -> None:
        """Something came or went: let the idle watch look again."""
        self.activity.set()
        self.activity = trio.Event()

    def _state_changed(self, live: LivePod) -> None:
        record = self.table.get(live.id)
        if record is not None and record.life in (Life.RUNNING, Life.PAUSED):
            self.hub.publish_state(
                record, self.state_of(record), self.table.ancestors(live.id), self.journal.last_seq
            )

    def state_of(self, record: PodRecord) -> PodState:
        """The one word for what a pod is doing."""
        match record.life:
            case Life.RESERVED | Life.LAUNCHING | Life.RESTARTING | Life.RESTORING:
                return "starting"
            case Life.STOPPING:
                return "stopping"
            case Life.RUNNING | Life.PAUSED:
                live = self.pods.get(record.id)
                if live is not None and live.dead:
                    return "stopping"  # whatever it was at, it does no more
                if record.life is Life.PAUSED:
                    return "paused"
                return "starting" if live is None else live.fold.state
            case _:
                return record.state or "lost"

    def pod_link(self, live: LivePod) -> Any:
        """The connection to a pod.

        Raises:
            NotConnected: there is none.
        """
        if live.pod is None:
            raise NotConnected(
                f"cannot ask pod {live.name}: it is not connected; `pods doctor` tells more",
                peer=live.name,
            )
        return live.pod


def token_digest(token: str) -> bytes:
    """What a token is looked up by: a digest tells a timer nothing of the token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
