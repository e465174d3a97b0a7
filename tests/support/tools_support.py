"""A supervisor in memory for tests of the tools.

Owns the fake: it takes the messages that a real one takes, keeps pods with journals, states and
cursors by reader, and answers by the same rules. The contract tests in `tests/tools` hold it to
them, and a test in `tests/end_to_end` runs the same contract against the real one. Its two faces
are in `tools_clients`.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import trio
from attrs import define, field

from pods_protocol.bounds import MAX_QUEUE_LENGTH
from pods_protocol.errors import (
    AlreadyRunning,
    NameTaken,
    PodEnded,
    PodsError,
    QueueFull,
    UnknownPod,
    UnknownQuestion,
)
from pods_protocol.events import Event
from pods_protocol.pod_messages import Empty, Request, Run, RunResult
from pods_protocol.supervisor_messages import (
    AdvanceCursor,
    AnswerPod,
    InspectPod,
    InspectPodResult,
    ListPods,
    ListPodsResult,
    ReadOutput,
    ReadOutputResult,
    SpawnPod,
    SpawnPodResult,
    StopPod,
    StopPodResult,
)
from pods_protocol.values import (
    ENDED_STATES,
    Capacity,
    Enforcement,
    OpenQuestion,
    PodInfo,
    PodState,
    QueuedMessage,
    ScopeGrant,
    StopReason,
    TurnSummary,
)

R = TypeVar("R")
CREATED = 1_700_000_000.0
SECRET = "0123456789abcdef-a-token-that-no-answer-may-show"
OWNER = "owner"
BUSY = "sleep 1000"
"""A message whose turn stays; a shell takes it as a command."""
ENFORCEMENT = Enforcement(
    backend="none", summary="advisory", gaps=("writes are not held back",), reason="a fake"
)


def event_bytes(event: Event) -> int:
    """About what an event takes on the wire."""
    return len(str(event.data).encode("utf-8", "replace")) + 80


@define
class FakePod:
    """One pod; tests drive its agent by hand."""

    id: str
    name: str
    supervisor: FakeSupervisor
    parent: FakePod | None = None
    scope: ScopeGrant = field(factory=ScopeGrant)
    agent: str = "echo"
    description: str = ""
    cwd: str = "/"
    state: PodState = "idle"
    events: list[Event] = field(factory=list[Event])
    turn: int | None = None
    turns: int = 0
    last_turn: TurnSummary | None = None
    queue: list[str] = field(factory=list[str])
    questions: list[str] = field(factory=list[str])
    cursors: dict[str, int] = field(factory=dict[str, int])

    @property
    def last_seq(self) -> int:
        return len(self.events)

    def write(self, kind: str, **data: Any) -> Event:
        """Append an event and wake who waits."""
        event = Event(
            seq=self.last_seq + 1, time=CREATED, turn=self.turn, type=kind, data=dict(data)
        )
        self.events.append(event)
        self.supervisor.changed()
        return event

    def begin(self, message: str) -> int:
        """Start a turn; an `answering` pod says the message and ends it."""
        self.turns += 1
        begun = self.turns
        self.turn, self.state = begun, "working"
        self.write("turn_started", message_id=f"m{begun}")
        self.write("message_accepted", message_id=f"m{begun}", input=message)
        if self.supervisor.answering and message != BUSY:
            self.say(message)
            self.finish()
        return begun

    def say(self, text: str) -> None:
        """A piece of streamed text."""
        self.write("text_delta", text=text)

    def ask(self, prompt: str) -> None:
        """Open a question."""
        self.questions.append(prompt)
        self.state = "waiting"
        self.write("question", question_id="q1", prompt=prompt, options=["yes", "no"])

    def take_answer(self, message: AnswerPod) -> Empty:
        """The answer to its one question."""
        if message.question_id != "q1" or not self.questions:
            raise UnknownQuestion("cannot answer: it is not open", question_id="", open=[])
        self.questions.clear()
        self.state = "working"
        self.say(message.answer)
        return Empty()

    def finish(self, stop_reason: StopReason = "end_turn", exit_status: int | None = None) -> None:
        """End the turn."""
        assert self.turn is not None
        self.last_turn = TurnSummary(
            turn=self.turn, stop_reason=stop_reason, exit_status=exit_status
        )
        self.state = "idle"
        self.questions.clear()
        self.write("turn_ended", stop_reason=stop_reason, exit_status=exit_status)
        self.turn = None
        if self.queue:
            self.begin(self.queue.pop(0))

    def end(self, state: PodState = "stopped") -> None:
        """End the pod."""
        if self.turn is not None:
            self.queue.clear()
            self.finish("cancelled")
        self.state = state
        self.write("stopped", reason=state)

    def info(self, reader: str) -> PodInfo:
        """The row of `list`."""
        return PodInfo(
            id=self.id,
            name=self.name,
            agent=self.agent,
            state=self.state,
            parent=None if self.parent is None else self.parent.name,
            parent_id=None if self.parent is None else self.parent.id,
            depth=1,
            children=0,
            description=self.description,
            cwd=self.cwd,
            scope=self.scope,
            enforcement=ENFORCEMENT,
            turn=self.turn,
            turn_started=None if self.turn is None else CREATED,
            queue_length=len(self.queue),
            waiting_for=self.questions[0] if self.questions else None,
            last_turn=self.last_turn,
            last_seq=self.last_seq,
            unread=self.last_seq - self.cursors.get(reader, 0),
            pid=None,
            created=CREATED,
            ended=None,
            exit=None,
            on_parent_exit="stop",
        )


class FakeSupervisor:
    """Answers requests; nothing in here waits."""

    def __init__(self, *, children_limit: int = 8, answering: bool = False) -> None:
        self.pods: dict[str, FakePod] = {}
        self.asked: list[object] = []
        self.refuse: dict[type[Any], list[PodsError]] = {}
        self.children_limit = children_limit
        self.answering = answering
        self.hide: list[int] = []
        self.list_page = 256
        self._wake: list[trio.Event] = []

    def changed(self) -> None:
        """Wake everybody who waits for news."""
        woken, self._wake = self._wake, []
        for event in woken:
            event.set()

    def news(self) -> trio.Event:
        """Set at the next change."""
        event = trio.Event()
        self._wake.append(event)
        return event

    def add(self, name: str, **fields: Any) -> FakePod:
        """A pod that is there already."""
        pod = FakePod(id=f"{len(self.pods):012x}", name=name, supervisor=self, **fields)
        self.pods[pod.id] = pod
        return pod

    def find(self, wanted: str) -> FakePod:
        """By name or id."""
        for pod in self.pods.values():
            if wanted in (pod.name, pod.id):
                return pod
        known = sorted(pod.name for pod in self.pods.values())
        raise UnknownPod(f"cannot find pod {wanted!r}: there are {known}", pod=wanted, known=known)

    def answer(self, message: Request[R]) -> R:
        """What the supervisor says now."""
        self.asked.append(message)
        refusals = self.refuse.get(type(message))
        if refusals:
            raise refusals.pop(0)
        return cast("R", self._answer(message))

    def send(self, wanted: str, message: Run) -> RunResult:
        """What the pod says."""
        self.asked.append(message)
        refusals = self.refuse.get(Run)
        if refusals:
            raise refusals.pop(0)
        pod = self.find(wanted)
        if pod.state in ENDED_STATES:
            raise PodEnded(
                f"cannot ask pod {pod.name}: it has ended", pod=pod.name, state=pod.state
            )
        if pod.turn is None:
            return RunResult(
                message_id=f"m{pod.turns + 1}", state="started", turn=pod.begin(message.input)
            )
        if message.if_busy == "fail":
            raise AlreadyRunning(f"cannot run: turn {pod.turn} runs", turn=pod.turn)
        if message.if_busy == "interrupt":
            pod.queue.clear()
            pod.finish("cancelled")
            return RunResult(
                message_id=f"m{pod.turns + 1}", state="started", turn=pod.begin(message.input)
            )
        if len(pod.queue) >= MAX_QUEUE_LENGTH:
            raise QueueFull("cannot queue: full", queue_length=len(pod.queue))
        pod.queue.append(message.input)
        return RunResult(message_id="queued", state="queued", position=len(pod.queue))

    def _answer(self, message: object) -> object:
        match message:
            case SpawnPod():
                return self._spawn(message)
            case StopPod():
                return self._stop(message)
            case ListPods():
                reader = message.reader or OWNER
                rows = [pod.info(reader) for pod in self.pods.values()]
                start = int(message.after or 0)
                end = start + self.list_page
                return ListPodsResult(
                    pods=tuple(rows[start:end]),
                    capacity=self._capacity(),
                    next=str(end) if end < len(rows) else None,
                )
            case ReadOutput():
                return self._read(message)
            case AdvanceCursor():
                pod = self.find(message.pod)
                reader = message.reader or OWNER
                assert message.seq <= pod.last_seq
                pod.cursors[reader] = max(pod.cursors.get(reader, 0), message.seq)
                return Empty()
            case AnswerPod():
                return self.find(message.pod).take_answer(message)
            case InspectPod():
                pod = self.find(message.pod)
                return InspectPodResult(
                    pod=pod.info(OWNER),
                    socket="",
                    directory="",
                    keeper_pid=None,
                    queue=tuple(
                        QueuedMessage(message_id="queued", input=text, position=place)
                        for place, text in enumerate(pod.queue, 1)
                    ),
                    notes=(),
                    undelivered=(),
                    questions=tuple(pod.questions),
                    open_questions=tuple(
                        OpenQuestion(question_id="q1", prompt=prompt, options=("yes", "no"))
                        for prompt in pod.questions
                    ),
                    options={},
                    limits=cast("Any", None),
                    held_limits=(),
                    reason="",
                    python=None,
                )
            case _:
                raise AssertionError(f"the tools do not ask {message!r}")

    def _spawn(self, message: SpawnPod) -> SpawnPodResult:
        if any(pod.name == message.name for pod in self.pods.values()):
            raise NameTaken(f"cannot spawn pod {message.name}: it is there", name=message.name)
        pod = self.add(
            message.name,
            agent=message.agent,
            description=message.description,
            cwd=message.cwd or "/work",
            scope=ScopeGrant(
                allow=message.allow,
                deny=message.deny,
                delegable=message.allow if message.delegable is None else message.delegable,
            ),
        )
        taken = None
        if message.prompt is not None:
            taken = RunResult(message_id="m1", state="started", turn=pod.begin(message.prompt))
        return SpawnPodResult(
            pod=pod.info(OWNER),
            socket="/nowhere",
            token=SECRET,
            message=taken,
            enforcement=ENFORCEMENT,
            capacity=self._capacity(),
        )

    def _stop(self, message: StopPod) -> StopPodResult:
        pod = self.find(message.pod)
        before = pod.state
        ended = before in ENDED_STATES
        if not ended:
            pod.end()
        return StopPodResult(
            pod=pod.name,
            previous_state=before,
            state=pod.state,
            step="already_ended" if ended else "shutdown",
            stopped_descendants=(),
            released=() if ended else pod.scope.allow,
            seconds=0.0,
        )

    def _read(self, message: ReadOutput) -> ReadOutputResult:
        pod = self.find(message.pod)
        since = message.since
        if since is None:
            since = pod.cursors.get(message.reader or OWNER, 0)
        chosen: list[Event] = []
        size, cursor, truncated = 0, since, False
        # As in the real one, the state may be newer than the events: a test hides the last ones.
        newest = pod.last_seq - (self.hide.pop(0) if self.hide else 0)
        for event in pod.events[since:newest]:
            if not message.kinds or event.type in message.kinds:
                size += event_bytes(event)
                if len(chosen) >= message.limit or (chosen and size > message.max_bytes):
                    truncated = True
                    break
                chosen.append(event)
            cursor = event.seq
        return ReadOutputResult(
            pod=pod.name,
            id=pod.id,
            events=tuple(chosen),
            next=cursor,
            last_seq=newest,
            truncated=truncated,
            state=pod.state,
            last_turn=pod.last_turn,
        )

    def _capacity(self) -> Capacity:
        living = sum(pod.state not in ENDED_STATES for pod in self.pods.values())
        return Capacity(
            depth=0,
            depth_limit=3,
            children=living,
            children_limit=self.children_limit,
            pods=living,
            pods_limit=1000,
        )
