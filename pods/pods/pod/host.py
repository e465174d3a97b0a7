"""The pod as its agent sees it: the `Host` behind every turn.

Owns what an agent can do and know: its events, its questions, its scope, its environment, its own
client. Journals through the pod's journal, and decides nothing about turns. `server` makes it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import trio

from pods.agents.scope import scope_environment
from pods.journal.store import Journal
from pods.paths import JOURNAL_NAME, LENT_NAME
from pods.pod.actor import RunningTurn, Waiter, may_write
from pods.pod.beside import run_beside
from pods.pod.children import OwnClient, token_file
from pods.pod.stimuli import Asked, QuestionClosed, Stimulus
from pods_protocol import pod_messages as messages
from pods_protocol.errors import InvalidRequest, StorageFailed, TimedOut
from pods_protocol.process_messages import PodSpec
from pods_protocol.values import Doors, ScopeGrant

if TYPE_CHECKING:
    from pods.agents.briefing import Place
    from pods.agents.host import Beside
    from pods.client.aio import PodsClient
    from pods.scope.lending import Lending
    from pods_tools import Toolset


class PodHost:
    """What the agent of one pod has of it.

    Args:
        spec: what the pod is.
        journal: its own, open.
        apply: persists what follows from a stimulus, acts, and gives the reply.
        running: the turn that runs.
        log: takes lines for the pod's `stderr.log`.
    """

    def __init__(
        self,
        spec: PodSpec,
        journal: Journal,
        apply: Callable[[Stimulus], Any],
        running: Callable[[], RunningTurn | None],
        log: Callable[[str], None],
    ) -> None:
        self._spec = spec
        self._journal = journal
        self._apply = apply
        self._running = running
        self._log = log
        self._beside: trio.Nursery | None = None
        self._own_client: OwnClient | None = None

    def settle_in(self, nursery: trio.Nursery) -> None:
        """Take the nursery of what lives as long as the pod, before any turn runs."""
        self._beside = nursery
        self._own_client = OwnClient(self._spec, nursery, self._log)

    @property
    def name(self) -> str:
        """The pod's name."""
        return self._spec.name

    @property
    def cwd(self) -> str:
        """Its working directory."""
        return self._spec.cwd

    @property
    def grant(self) -> ScopeGrant:
        """What it may touch."""
        return self._spec.grant

    @property
    def doors(self) -> Doors:
        """What it may use besides files."""
        return self._spec.doors

    def lending(self) -> Lending | None:
        """What it has lent of that at the moment, by the supervisor's word."""
        path = f"{self._spec.state_directory}/{LENT_NAME}"
        if not os.path.exists(path):
            return None
        from pods.scope.lending import read_lending  # most pods lend nothing

        return read_lending(path)

    def place(self) -> Place:
        """Where it is, for what a model is told."""
        from pods.pod.place import place_of  # most pods ask no model

        return place_of(self._spec)

    @property
    def options(self) -> Mapping[str, Any]:
        """What it was spawned with for its agent."""
        return self._spec.options

    @property
    def artifacts_directory(self) -> str:
        """Within the journal, so that results live as long as it.

        Made for the first of them: a directory for each pod was a fiftieth of its start.
        """
        return f"{self._spec.state_directory}/{JOURNAL_NAME}/artifacts"

    @property
    def private_directory(self) -> str:
        """Where the agent keeps what nobody else needs."""
        return f"{self._spec.state_directory}/agent"

    def emit(self, turn: int, kind: str, data: dict[str, Any]) -> None:
        """Journal an event of the running turn.

        Raises:
            InvalidRequest: the turn has ended.
            StorageFailed: the disk refuses; the turn will end as an error.
            TooLarge, InvalidParams: the event cannot be one.
        """
        running = self._check_running(turn)
        if self._spec.limits.output_bytes is not None and not may_write(
            running, data, self._spec.limits.output_bytes
        ):
            return
        try:
            self._journal.append(kind, data, turn=turn)
        except StorageFailed as error:
            running.storage_failed(error)
            raise

    async def checkpoint(self, turn: int) -> None:
        """Let others run; while the turn is held, wait until it is let go on."""
        running = self._running()
        held = None if running is None or running.number != turn else running.held
        if held is None:
            await trio.lowlevel.checkpoint()
        else:
            await held.wait()

    async def ask(
        self,
        turn: int,
        prompt: str,
        options: tuple[str, ...],
        default: str | None,
        timeout_seconds: float | None,
    ) -> str:
        """Put a question of the running turn and wait.

        Raises:
            TimedOut: nobody answered in time, and there is no default.
            Busy: too many are open.
            StorageFailed: the disk refuses.
        """
        running = self._check_running(turn)
        deadline = None if timeout_seconds is None else time.time() + timeout_seconds
        waiter = Waiter()
        clock = trio.CancelScope()
        question_id = cast("str", self._apply(Asked(turn, prompt, options, default, deadline)))
        running.waiters[question_id] = waiter
        try:
            running.start_clock(clock, timeout_seconds)
            with clock:
                await waiter.settled.wait()
            if not waiter.settled.is_set():
                self._apply(QuestionClosed(question_id, "default"))
        finally:
            if not waiter.settled.is_set():
                with contextlib.suppress(StorageFailed):  # the end of the turn closes it
                    self._apply(QuestionClosed(question_id, "cancelled"))
            del running.waiters[question_id]
            running.forget_clock(clock)
        if waiter.answer is None:
            raise TimedOut(
                f"cannot go on: nobody answered in {timeout_seconds:g} s; give the question a "
                "default, or more time",
                timeout_seconds=timeout_seconds,
            )
        return waiter.answer

    def history(self, since: int, limit: int) -> Sequence[messages.HistoryEntry]:
        """The conversation so far."""
        return self._journal.fold.history(since, limit)

    def environment(self) -> dict[str, str]:
        """What the agent's programs get: the pod's own, its scope, its way home if it has one."""
        spec = self._spec
        environ = dict(os.environ)
        environ["PODS_NAME"] = spec.name
        environ.update(scope_environment(spec.grant, spec.doors))
        if spec.call_back:
            environ["PODS_SOCKET"] = spec.supervisor_socket
            environ["PODS_TOKEN_FILE"] = token_file(spec)
        return environ

    async def beside(self, run: Beside) -> None:
        """Start a task of the agent that ends with the pod, at the latest.

        Raises:
            Exception: what it raised before it had begun.
        """
        assert self._beside is not None, "agents run while the pod lives"
        await self._beside.start(run_beside, run, self._log)

    async def client(self) -> PodsClient:
        """The pod's own client of its supervisor."""
        assert self._own_client is not None, "agents run while the pod lives"
        return await self._own_client.get()

    def toolset(self) -> Toolset:
        """The pod's own tools for parents."""
        assert self._own_client is not None, "agents run while the pod lives"
        return self._own_client.toolset()

    def _check_running(self, turn: int) -> RunningTurn:
        running = self._running()
        if running is None or running.number != turn:
            raise InvalidRequest(
                f"cannot add to turn {turn}: it has ended; end the tasks of a turn with it"
            )
        return running
