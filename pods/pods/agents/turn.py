"""What an agent is given for one turn: the message, and everything it can do with it.

Owns the agent's side of a turn. Each method journals before it returns, within the bounds that
`recorder` names, and is a checkpoint, so that an agent that talks without a pause lets others run.
What a turn needs of the pod is the `Host`, which the pod's server is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

from pods.agents import artifacts, scope
from pods.agents.host import Beside, Host
from pods.agents.process import Output, ProcessEnd
from pods.agents.programs import run_to_end
from pods.agents.recorder import MAX_SUMMARY_BYTES, Recorder
from pods.agents.text import shorten
from pods_protocol.bounds import MAX_WAIT_SECONDS
from pods_protocol.errors import InvalidParams
from pods_protocol.pod_messages import HistoryEntry
from pods_protocol.values import ScopeGrant

if TYPE_CHECKING:
    from pods.agents.briefing import Place
    from pods.client.aio import PodsClient
    from pods_tools import Toolset

MAX_PROMPT_BYTES: Final = 8 * 1024
"""A question is read by a person or a parent agent, and travels in every `status`."""

MAX_OPTIONS: Final = 16
MAX_OPTION_BYTES: Final = 200
"""The answers offered with a question."""

MAX_IN_LOOP_BYTES: Final = 256 * 1024
"""An artifact up to this size is hashed and written at once; a larger one in a thread."""


class Turn:
    """One turn.

    Attributes:
        input: the message.
        number: 1 for the pod's first turn.
        message_id: the message's.
        notes: what else the agent was told since its last turn, in words; what became of its
            children is among them, unless it is what `input` says.
        child_events: the same of its children as data: `pod`, `type` (`turn_ended`, `question`,
            `stopped`, `restarted`), `data`, `text`, oldest first (see the event `child_event`). At
            most 32 are kept for a turn; the pod's journal has all.
    """

    def __init__(
        self,
        host: Host,
        *,
        number: int,
        message_id: str,
        input: str,  # noqa: A002 - the word that the wire, the journal and every agent use
        notes: tuple[str, ...] = (),
        child_events: tuple[Mapping[str, Any], ...] = (),
    ) -> None:
        self.number = number
        self.message_id = message_id
        self.input = input
        self.notes = notes
        self.child_events = child_events
        self._host = host
        self._recorder = Recorder(self._emit)

    def __repr__(self) -> str:
        return f"Turn(pod={self.name!r}, number={self.number})"

    def _emit(self, kind: str, data: dict[str, Any]) -> None:
        self._host.emit(self.number, kind, data)

    # What the pod is -----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The pod's name."""
        return self._host.name

    @property
    def cwd(self) -> str:
        """The pod's working directory."""
        return self._host.cwd

    @property
    def scope(self) -> ScopeGrant:
        """What the pod may read, write and lend."""
        return self._host.grant

    def scope_text(self) -> str:
        """The scope in words for a model's prompt, at most `scope.MAX_SCOPE_BYTES` long."""
        return scope.as_text(self.scope, name=self.name, cwd=self.cwd, doors=self._host.doors)

    def place(self) -> Place:
        """Where the agent is; `pods.agents.briefing` makes words of it for a model."""
        return self._host.place()

    @property
    def options(self) -> Mapping[str, Any]:
        """What the pod was spawned with for its agent."""
        return self._host.options

    @property
    def private_directory(self) -> str:
        """A directory that lives as long as the pod's journal, for what the agent has to keep.

        Vendors' agents may write there (see `pods.agents.acp`); it may have to be made.
        """
        return self._host.private_directory

    @property
    def recorder(self) -> Recorder:
        """The same events without a checkpoint, for callbacks that cannot wait."""
        return self._recorder

    def history(self, since: int = 0, limit: int = 1000) -> Sequence[HistoryEntry]:
        """The conversation after the cursor, this turn's message included."""
        return self._host.history(since, limit)

    def may_write(self, path: str) -> bool:
        """Whether the pod's grant lets it write `path` (relative paths: from `cwd`).

        Not what is lent to a child at the moment.
        """
        if "\0" in path:
            return False  # no file has such a name
        canonical = scope.canonical(path, self.cwd)
        lending = self._host.lending()
        if lending is not None and lending.covers(canonical) is not None:
            return False
        return scope.may_write(self.scope, canonical)

    def may_read(self, path: str) -> bool:
        """Whether the pod's grant lets it read `path` (relative paths: from `cwd`)."""
        return "\0" not in path and scope.may_read(self.scope, scope.canonical(path, self.cwd))

    async def checkpoint(self) -> None:
        """Let others run, and wait for as long as the turn is held.

        Every method that says something does this too. An agent with `can_pause` awaits it where
        it says nothing for long.
        """
        await self._host.checkpoint(self.number)

    # What the agent says -------------------------------------------------------------------------

    async def text(self, text: str) -> None:
        """Say a block of the answer."""
        self._recorder.text(text)
        await self.checkpoint()

    async def text_delta(self, text: str) -> None:
        """Say the next piece of a streamed answer."""
        self._recorder.text_delta(text)
        await self.checkpoint()

    async def thought(self, text: str) -> None:
        """Say something for people that is not part of the answer."""
        self._recorder.thought(text)
        await self.checkpoint()

    async def tool_call(
        self, name: str, arguments: Mapping[str, Any], *, call_id: str | None = None
    ) -> str:
        """Tell that a tool is being called.

        Returns:
            The call's id, for `tool_result`: the one given, or one made here.

        Raises:
            InvalidParams: the arguments cannot be JSON.
        """
        used_id = self._recorder.tool_call(name, arguments, call_id=call_id)
        await self.checkpoint()
        return used_id

    async def tool_result(
        self, call_id: str, summary: str, *, content: str | None = None, is_error: bool = False
    ) -> None:
        """Tell what a tool gave back; long content is cut."""
        self._recorder.tool_result(call_id, summary, content=content, is_error=is_error)
        await self.checkpoint()

    async def progress(
        self, message: str, *, step: int | None = None, of: int | None = None
    ) -> None:
        """Tell how far it is."""
        self._recorder.progress(message, step=step, of=of)
        await self.checkpoint()

    async def usage(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cost_usd: float | None = None,
    ) -> None:
        """Tell what the turn has cost so far: totals of the turn, not what was added."""
        self._recorder.usage(
            input_tokens=input_tokens, output_tokens=output_tokens, cost_usd=cost_usd
        )
        await self.checkpoint()

    async def artifact(
        self,
        name: str,
        data: str | bytes | None = None,
        *,
        path: str | None = None,
        media_type: str | None = None,
    ) -> None:
        """Hand over a result.

        Args:
            name: what to call it.
            data: the result itself; small text travels in the event, the rest is stored with the
                pod's journal.
            path: or a file that holds it, and stays where it is (relative paths: from `cwd`).
            media_type: guessed as plain text or octets where it is not given.

        Raises:
            InvalidParams: neither or both of `data` and `path`; no such file.
            TooLarge: over `artifacts.MAX_ARTIFACT_BYTES`.
            StorageFailed: it cannot be stored.
        """
        if (data is None) == (path is None):
            raise InvalidParams(
                f"cannot hand over {name!r}: give either `data` or `path`", path="data"
            )

        def make() -> dict[str, Any]:
            if path is not None:
                return artifacts.of_file(
                    name, scope.canonical(path, self.cwd), media_type=media_type
                )
            assert data is not None, "one of the two is given"
            return artifacts.of_data(
                name, data, media_type=media_type, directory=self._host.artifacts_directory
            )

        if data is not None and len(data) <= MAX_IN_LOOP_BYTES:
            event = make()
        else:
            event = await trio.to_thread.run_sync(make)
        self._recorder.artifact(event)
        await self.checkpoint()

    def store_artifact(self, name: str, text: str, media_type: str) -> None:
        """As `artifact` with a text, without a checkpoint, for callbacks that cannot wait.

        Raises:
            StorageFailed: it cannot be stored.
        """
        self._recorder.artifact(
            artifacts.of_data(
                name, text, media_type=media_type, directory=self._host.artifacts_directory
            )
        )

    async def ask(
        self,
        prompt: str,
        *,
        options: Sequence[str] = (),
        default: str | None = None,
        timeout_seconds: float | None = None,
    ) -> str:
        """Ask whoever talks to the pod, and wait for the answer.

        Args:
            prompt: the question; cut at `MAX_PROMPT_BYTES`.
            options: the answers that are taken; without any, every answer is.
            default: holds when the time is over.
            timeout_seconds: how long to wait; None is until it is answered or the turn cancelled.

        Raises:
            TimedOut: the time is over and there is no default.
            InvalidParams: too many options, a default that is none of them, a time that is none.
            Busy: too many questions are open.
        """
        offered = tuple(shorten(option, MAX_OPTION_BYTES) for option in options)
        if len(offered) > MAX_OPTIONS:
            raise InvalidParams(
                f"cannot ask with {len(offered)} options: {MAX_OPTIONS} is the most; ask in steps",
                path="options",
            )
        if offered and default is not None and default not in offered:
            raise InvalidParams(
                f"cannot ask with the default {default!r}: it is none of the options",
                path="default",
            )
        if timeout_seconds is not None and not 0 <= timeout_seconds <= MAX_WAIT_SECONDS * 24:
            raise InvalidParams(
                f"cannot wait {timeout_seconds} s for an answer: give 0 to a day of seconds, or "
                "None to wait without an end",
                path="timeout_seconds",
            )
        return await self._host.ask(
            self.number,
            shorten(prompt, MAX_PROMPT_BYTES),
            offered,
            None if default is None else shorten(default, MAX_SUMMARY_BYTES),
            timeout_seconds,
        )

    # What the agent runs -------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """The environment of the agent's programs."""
        return self._host.environment()

    async def beside(self, run: Beside) -> None:
        """Start a task that goes on after the turn, and wait until it says that it has begun.

        It ends by itself, or is cancelled with the pod, after the agent's `close`. What it raises
        before it has begun is raised here; later, it is in the pod's log.
        """
        await self._host.beside(run)

    async def run_process(
        self,
        command: str | Sequence[str],
        *,
        stdin: str | bytes | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        output: Output | None = None,
    ) -> int:
        """Run a program to its end; what it writes is streamed as the turn's text.

        When the turn is cancelled, the program and its process group are ended. What it leaves
        running when it ends by itself goes on until the pod ends. It cannot write what the pod has
        lent to its children by the time it starts (see `pods.scope.lending`).

        Args:
            command: the program and its arguments; a string is a command line for the shell.
            stdin: what it reads; None is nothing.
            cwd: where it runs; the pod's working directory by default.
            env: variables on top of the pod's.
            output: takes the bytes instead of the journal.

        Returns:
            The exit status, or the negative of the signal that ended it.

        Raises:
            StartFailed: it could not be started.
        """
        return (await self.run_to_end(command, stdin=stdin, cwd=cwd, env=env, output=output)).status

    async def run_to_end(
        self,
        command: str | Sequence[str],
        *,
        stdin: str | bytes | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        output: Output | None = None,
    ) -> ProcessEnd:
        """As `run_process`, with all that is known of the end."""
        return await run_to_end(
            self._host,
            self._recorder,
            command,
            stdin=stdin,
            cwd=cwd,
            env=env,
            output=output,
        )

    # Children ------------------------------------------------------------------------------------

    async def client(self) -> PodsClient:
        """A client of the supervisor that acts for this pod: its children, its scope.

        One connection serves all turns of the pod, and is closed with it.

        Raises:
            NotConnected: the supervisor does not answer.
        """
        return await self._host.client()

    async def toolset(self) -> Toolset:
        """The tools for parents, bound to this pod: `call(name, arguments)`.

        The same in every turn of the pod, so that what one turn has read is not shown to the next.

        Raises:
            NotConnected: the supervisor does not answer.
        """
        await self._host.client()
        return self._host.toolset()
