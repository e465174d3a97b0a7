"""The `model` agent: performs what the loop decides, and tells the turn of it.

Owns the conversation, from one turn to the next, and the asking: the stream as the turn's text, the
attempts and their warnings, usage, what is left out of a conversation that grew too long. httpx is
imported with the first request; that it is there is looked up at the start.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import trio

from pods.agents.base import TurnEnd
from pods.agents.briefing import briefing, prompt
from pods.agents.model import anthropic, compaction, openai
from pods.agents.model.children import HINT, Children
from pods.agents.model.faults import STATUS_OF_KIND, Fault, explain, judge, words_within
from pods.agents.model.loop import Ask, End, RunCalls, from_history, next_action, settled
from pods.agents.model.settings import KEY_NAME, cannot_load, read_key, read_settings
from pods.agents.model.sse import EventReader
from pods.agents.model.talk import (
    BrokenReply,
    HttpRequest,
    Message,
    Piece,
    RefusedReply,
    Reply,
    User,
)
from pods.agents.model.toolbox import Toolbox
from pods.agents.turn import Turn

if TYPE_CHECKING:
    from pods.agents.model.endpoint import Endpoint

FLUSH_BYTES: Final = 512
FLUSH_SECONDS: Final = 0.1
"""Pieces of an answer join to events of this size, or of what came in this time: models stream
single words."""

MAX_HISTORY: Final = 100_000
"""Messages of the journal that are looked through where this process is not the pod's first."""

SEPARATOR: Final = "\n\n"
"""Between two answers of one turn, so that their texts do not run into each other."""

CUT_MARK: Final = "\n[the answer broke off here; again from its beginning:]\n"


class ModelAgent:
    """Answers turns by asking a model, with tools.

    Args:
        options: see `settings`.
        secrets: `MODEL_KEY` is the endpoint's key, where it wants one.

    Raises:
        AgentError: an option is wrong, or httpx is not installed.
    """

    def __init__(self, options: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        self._settings = read_settings(options)
        self._key = read_key(secrets.get(KEY_NAME, ""))
        if find_spec("httpx") is None:
            raise cannot_load(
                "httpx is not installed where the pod's Python is",
                "pip install 'agent-pods[model]'",
            )
        self._talk: list[Message] | None = None
        self._toolbox: Toolbox | None = None
        self._endpoint: Endpoint | None = None
        self._tokens_per_estimate = 1.0

    async def close(self) -> None:
        """Hang up."""
        if self._endpoint is not None:
            await self._endpoint.aclose()

    async def run_turn(self, turn: Turn) -> TurnEnd:
        """Ask, run the tools it wants, ask again, until it is done."""
        place = turn.place()
        if place.network == "none":
            return TurnEnd(
                "error",
                f"cannot ask the model at {self._settings.base_url}: this pod has no network; "
                "spawn it again with --network open",
            )
        if self._toolbox is None:
            children = (
                Children(turn.client, self._settings, self._key) if place.calls_back else None
            )
            self._toolbox = Toolbox(children)
        if self._talk is None:
            self._talk = from_history(turn.history(limit=MAX_HISTORY), turn.number)
        said = prompt(
            turn.input, notes=turn.notes, child_events=turn.child_events, parent=place.parent
        )
        talk = self._talk = [*settled(self._talk), User(said)]
        names = [spec.name for spec in self._toolbox.specs()]
        told = [briefing(place, tools=names)]
        if place.calls_back:
            told.append(HINT)
        running = _RunningTurn(turn, "\n".join([*told, self._settings.system]).rstrip())
        asked = 0
        while True:
            action = next_action(talk, asked=asked, max_requests=self._settings.max_requests)
            match action:
                case Ask():
                    asked += 1
                    reply = await self._ask(running)
                    if isinstance(reply, TurnEnd):
                        return reply
                    talk = self._talk = [*self._talk, reply.said]
                case RunCalls(calls):
                    talk = self._talk = [*self._talk, await self._toolbox.run(turn, calls)]
                case End(stop_reason, message):
                    return TurnEnd(stop_reason, message)

    async def _ask(self, running: _RunningTurn) -> Reply | TurnEnd:
        """The model's next answer; the turn's end where there is none."""
        attempt = 0
        squeezed = False
        while True:
            attempt += 1
            request = self._request(running, squeezed=squeezed)
            try:
                reply = await self._post(running, request)
            except Fault as fault:
                if fault.too_long and not squeezed:
                    squeezed = True
                    continue
                pause = judge(
                    fault,
                    attempt=attempt,
                    max_attempts=self._settings.max_attempts,
                    chance=random.random(),
                ).pause
                if pause is None:
                    return TurnEnd(
                        "error",
                        explain(
                            fault,
                            self._settings.base_url,
                            attempts=attempt,
                            has_key=bool(self._key),
                        ),
                    )
                running.tell_retry(fault, attempt, self._settings.max_attempts, pause)
                await trio.sleep(pause)
            else:
                await running.count(reply)
                self._learn(reply)
                return reply

    def _request(self, running: _RunningTurn, *, squeezed: bool) -> HttpRequest:
        """What to post, after leaving out what no longer fits."""
        assert self._talk is not None, "a turn runs"
        assert self._toolbox is not None, "a turn runs"
        room = int(self._settings.context_tokens / self._tokens_per_estimate)
        if squeezed:
            room = min(room, compaction.size_of(self._talk) - 1)
        fitted, left_out = compaction.fit(self._talk, max(room, 1))
        if left_out:
            self._talk = fitted
            running.tell_gap(left_out)
        make = anthropic.request if self._settings.api == "anthropic" else openai.request
        return make(
            model=self._settings.model,
            key=self._key,
            system=running.system,
            talk=fitted,
            tools=self._toolbox.specs(),
            max_tokens=self._settings.max_tokens,
        )

    async def _post(self, running: _RunningTurn, request: HttpRequest) -> Reply:
        """One attempt.

        Raises:
            Fault: there was no whole answer.
        """
        if self._endpoint is None:
            from pods.agents.model.endpoint import Endpoint  # httpx: 0.15 s

            self._endpoint = Endpoint(self._settings.base_url, key=self._key)
        events = EventReader()
        answer = (
            anthropic.ReplyReader() if self._settings.api == "anthropic" else openai.ReplyReader()
        )
        running.begin()

        def take(data: bytes) -> None:
            for event in events.feed(data):
                try:
                    pieces = answer.take(event)
                except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
                    raise BrokenReply(
                        f"the stream holds {event.data[:80]!r}, which is not of this API"
                    ) from error
                for piece in pieces:
                    running.say(piece)

        try:
            await self._endpoint.post(request, take)
            reply = answer.reply()
        except BrokenReply as error:
            raise Fault("broken", words_within(str(error), self._key)) from error
        except RefusedReply as error:
            status = STATUS_OF_KIND.get(error.kind, 500)
            words = words_within(f"it said {error.kind} ({error})", self._key)
            raise Fault("refused", words, status=status) from error
        finally:
            running.flush()
        return reply

    def _learn(self, reply: Reply) -> None:
        """What the endpoint counted corrects the estimate of what it will count."""
        assert self._talk is not None, "a turn runs"
        estimate = compaction.size_of(self._talk)
        if reply.input_tokens > estimate > 0:
            self._tokens_per_estimate = reply.input_tokens / estimate


class _RunningTurn:
    """The turn as the asking sees it: text in bounded events, totals, warnings.

    Args:
        system: what the model is told before everything else.
    """

    def __init__(self, turn: Turn, system: str) -> None:
        self.system = system
        self._turn = turn
        self._input = self._output = 0
        self._said_before = False
        self._said = False
        self._waiting: list[Piece] = []
        self._size = 0
        self._flushed = 0.0

    def begin(self) -> None:
        """An attempt begins."""
        if self._said:
            self._turn.recorder.text_delta(CUT_MARK)
        self._said = False

    def say(self, piece: Piece) -> None:
        """A piece of the answer came."""
        if not piece.text:
            return
        if self._waiting and self._waiting[-1].thought is not piece.thought:
            self.flush()
        if not piece.thought:
            if self._said_before and not self._said:
                self._waiting.append(Piece(SEPARATOR))
            self._said = True
        self._waiting.append(piece)
        self._size += len(piece.text)
        now = trio.current_time()
        if self._size >= FLUSH_BYTES or now - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Journal what waits."""
        if self._waiting:
            text = "".join(piece.text for piece in self._waiting)
            if self._waiting[-1].thought:
                self._turn.recorder.thought(text)
            else:
                self._turn.recorder.text_delta(text)
        self._waiting, self._size, self._flushed = [], 0, trio.current_time()

    async def count(self, reply: Reply) -> None:
        """An answer is whole."""
        self._said_before = self._said_before or self._said
        self._said = False
        self._input += reply.input_tokens
        self._output += reply.output_tokens
        await self._turn.usage(input_tokens=self._input, output_tokens=self._output)

    def tell_retry(self, fault: Fault, attempt: int, attempts: int, pause: float) -> None:
        """The model is asked again."""
        self._turn.recorder.warning(
            "model_retry",
            f"attempt {attempt} of {attempts} brought no answer: {fault.words}; the next one in "
            f"{pause:.1f} s",
        )

    def tell_gap(self, left_out: int) -> None:
        """Earlier messages were left out."""
        self._turn.recorder.warning(
            "gap",
            f"{left_out} earlier messages were left out of what the model is told, to make room",
        )
