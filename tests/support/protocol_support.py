"""Helpers for tests of the wire: joined connections, an example of every message, strategies.

Owns the golden lines' content: `python tests/support/protocol_support.py` writes the files again
after a message has changed, and the difference is then read before it is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import jsonschema
import jsonschema.validators
from attrs import frozen
from hypothesis import strategies as st

from pods_protocol import codec
from pods_protocol import pod_messages as pod
from pods_protocol import process_messages as process
from pods_protocol import supervisor_messages as supervisor
from pods_protocol import values as v
from pods_protocol.api import KEEPER_API, LAUNCHER_API, POD_API, Api
from pods_protocol.connection import (
    NEED_DATA,
    Connection,
    ConnectionClosed,
    ConnectionEvent,
    RequestReceived,
    ResultReceived,
)
from pods_protocol.errors import AlreadyRunning, ParseError, PodsError, ScopeConflict
from pods_protocol.events import Event
from pods_protocol.shapes import (
    Anything,
    Array,
    Choice,
    Message,
    Nullable,
    Primitive,
    Shape,
    Table,
    fields_of,
)
from pods_protocol.supervisor_api import APIS, SUPERVISOR_API

GOLDEN = Path(__file__).parents[1] / "protocol" / "golden"

TOKEN = "t" * 43


class Judge(Protocol):
    """What tests use of a jsonschema validator, whose own hints leave its types open."""

    def is_valid(self, instance: object) -> bool: ...

    def validate(self, instance: object) -> None: ...


def judge_of(schema: dict[str, Any]) -> Judge:
    """What jsonschema makes of a schema, with the wire's idea of an integer."""
    return cast("Judge", _VALIDATOR(schema))


def _is_integer(_: object, value: object) -> bool:
    # JSON Schema calls 1.0 an integer; the wire does not (protocol/README.md, "Values").
    return isinstance(value, int) and not isinstance(value, bool)


_extend = cast("Callable[..., Any]", jsonschema.validators.extend)  # pyright: ignore[reportUnknownMemberType]  # it has no hints
_VALIDATOR = _extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def drain(connection: Connection) -> list[ConnectionEvent]:
    """Every event that the bytes so far make, without `NEED_DATA`."""
    events: list[ConnectionEvent] = []
    while (event := connection.next_event()) is not NEED_DATA:
        events.append(event)
        if isinstance(event, ConnectionClosed):
            break
    return events


class ConnectionPair:
    """A client and a server with no socket between them: what one sends, the other has."""

    def __init__(self, api: Api = POD_API, *, max_line_bytes: int | None = None) -> None:
        bounds = {} if max_line_bytes is None else {"max_line_bytes": max_line_bytes}
        self.api = api
        self.client = Connection("client", api, **bounds)
        self.server = Connection("server", api, **bounds)

    def ask(self, message: pod.Request[Any]) -> tuple[int, list[ConnectionEvent]]:
        """The request's id, and what the server makes of it."""
        request_id, line = self.client.send_request(message)
        self.server.receive_data(line)
        return request_id, drain(self.server)

    def answer(self, request_id: int | str, result: object) -> list[ConnectionEvent]:
        """What the client makes of a result."""
        self.client.receive_data(self.server.send_result(request_id, result))
        return drain(self.client)

    def refuse(self, request_id: int | str | None, error: PodsError) -> list[ConnectionEvent]:
        """What the client makes of an error."""
        self.client.receive_data(self.server.send_error(request_id, error))
        return drain(self.client)

    def say(self, method: str, params: object) -> list[ConnectionEvent]:
        """What the client makes of a notification."""
        self.client.receive_data(self.server.send_notification(method, params))
        return drain(self.client)

    def greet(self) -> ConnectionPair:
        """Say hello and have it answered; returns the pair."""
        request_id, events = self.ask(pod.Hello(token=TOKEN, protocol=1))
        assert [type(event) for event in events] == [RequestReceived]
        (answered,) = self.answer(request_id, hello_result(self.api))
        assert isinstance(answered, ResultReceived)
        return self


def hello_result(api: Api = POD_API) -> pod.HelloResult:
    """An answer to `hello`."""
    names: dict[str, Literal["pod", "supervisor", "keeper", "launcher"]] = {
        "pod": "pod",
        "supervisor": "supervisor",
        "keeper": "keeper",
        "launcher": "launcher",
    }
    return pod.HelloResult(
        protocol=1, server=names[api.name], version="0.1.0", name="api", id="3f9c02d1a7be", pid=4242
    )


_RULE = v.ScopeRule(target="/srv/api", permission="write")
_GRANT = v.ScopeGrant(
    allow=(_RULE, v.ScopeRule(target="/srv/docs", permission="read", recursive=False)),
    deny=(v.ScopeRule(target="/srv/api/.git", permission="write"),),
    delegable=(v.ScopeRule(target="/srv/api/src", permission="write"),),
)
_LIMITS = v.Limits(turn_seconds=60.5, open_files=256, memory_bytes=2**30, turns=20)
_ENFORCEMENT = v.Enforcement(
    backend="landlock",
    summary="landlock 7 + seccomp, 1 of 1 rules not exact",
    gaps=("the network is open",),
    reason="",
    abi=7,
    files="kernel",
    rules=(
        v.RuleEnforcement(
            rule=_RULE,
            asked="write /srv/api and all below, except write /srv/api/.git and all below",
            got="write /srv/api and all below",
            exact=False,
        ),
    ),
    signals="kernel",
    syscalls="seccomp",
    warnings=("the write scope /srv/api holds a door",),
    kill="landlock_domain",
)
_CAPACITY = v.Capacity(
    depth=1, depth_limit=3, children=2, children_limit=8, pods=5, pods_limit=1000
)
_IDENTITY = v.ProcessIdentity(
    pid=4242, start_ticks=123456789, boot_id="5f0c1a52-7a9e-4a1b-9f50-0d6c1e6e1f11"
)
_EXIT = v.ExitRecord(status=-9, reason="signalled", survivors_killed=2, time=1795262400.25)
_TURN = v.TurnSummary(turn=2, stop_reason="end_turn", message="done", exit_status=0)
_STATUS = v.PodStatus(
    state="waiting",
    turn=3,
    turn_started=1795262400.5,
    queue=(v.QueuedMessage(message_id="m4", input="next", position=1),),
    questions=(
        v.OpenQuestion(question_id="q1", prompt="Délete?", options=("yes", "no"), default="no"),
    ),
    last_seq=88,
    last_turn=_TURN,
)
_EVENT = Event(
    seq=1,
    time=1795262400.5,
    turn=1,
    type="text_delta",
    data={"text": 'zwölf "Boxkämpfer"\n\u2028🦜', "stream": "stdout"},
)
_ODD_EVENT = Event(seq=2, time=1795262401.0, turn=None, type="not_yet_known", data={"a": [1, None]})
_INFO = v.PodInfo(
    id="3f9c02d1a7be",
    name="api",
    agent="shell",
    state="working",
    parent="lead",
    parent_id="0123456789ab",
    depth=2,
    children=1,
    description="builds the API",
    cwd="/srv/api",
    scope=_GRANT,
    enforcement=_ENFORCEMENT,
    turn=3,
    turn_started=1795262400.5,
    queue_length=1,
    waiting_for=None,
    last_turn=_TURN,
    last_seq=88,
    unread=8,
    pid=4242,
    created=1795262000.0,
    ended=None,
    exit=_EXIT,
    on_parent_exit="stop",
    memory_bytes=9_000_000,
    journal="/home/u/.local/state/pods/api/journal",
)
_RUN_RESULT = pod.RunResult(message_id="m1", state="queued", position=2)
_SPAWNED = supervisor.SpawnPodResult(
    pod=_INFO,
    socket="/run/user/1000/pods/api.sock",
    token=TOKEN,
    message=_RUN_RESULT,
    enforcement=_ENFORCEMENT,
    capacity=_CAPACITY,
)
_OUTCOME = supervisor.WaitOutcome(pod="api", state="idle", last_turn=_TURN)
_SPEC = process.PodSpec(
    id="3f9c02d1a7be",
    name="api",
    agent="command",
    options={"argv": ["cat", "-n"], "jsonl": False},
    parent=None,
    cwd="/srv/api",
    env={"LANG": "C.UTF-8"},
    limits=_LIMITS,
    grant=_GRANT,
    python="/usr/bin/python3.12",
    call_back=True,
    supervisor="default",
    supervisor_socket="/run/user/1000/pods/supervisor.sock",
    pod_socket="/run/user/1000/pods/api.sock",
    keeper_socket="/run/user/1000/pods/api.keeper.sock",
    state_directory="/home/u/.local/state/pods/api",
    runtime_directory="/run/user/1000/pods/api",
    token=TOKEN,
    enforce="available",
    owner_digest="ab" * 32,
)

_EXCHANGES: dict[str, list[tuple[pod.Request[Any], object]]] = {
    "pod": [
        (pod.Hello(token=TOKEN, protocol=1, client="pods 0.1.0"), hello_result(POD_API)),
        (
            pod.Run(input="grüß dich\n", if_busy="queue", message_id="m1"),
            pod.RunResult(message_id="m1", state="started", turn=3),
        ),
        (
            pod.Notify(message="the tests are red", wake=True, message_id="n1"),
            pod.NotifyResult(message_id="n1", state="started", turn=4),
        ),
        (pod.Cancel(), pod.CancelResult(turn=3)),
        (pod.Pause(whole=True), pod.Empty()),
        (pod.Resume(), pod.Empty()),
        (pod.AnswerQuestion(question_id="q1", answer="yes"), pod.Empty()),
        (pod.GetStatus(), _STATUS),
        (
            pod.GetHistory(since=4, limit=10),
            pod.GetHistoryResult(
                entries=(pod.HistoryEntry(role="assistant", text="hi", turn=1, seq=5),), next=5
            ),
        ),
        (
            pod.ReadEvents(since=0, kinds=("text", "text_delta"), wait_seconds=2.5),
            pod.ReadEventsResult(
                events=(_EVENT, _ODD_EVENT),
                next=2,
                last_seq=88,
                truncated=True,
                state="idle",
                last_turn=_TURN,
            ),
        ),
        (pod.Subscribe(since=7, kinds=("turn_ended",)), pod.SubscribeResult(last_seq=88)),
        (
            pod.WaitFor(until="question", timeout_seconds=5.0),
            pod.WaitForResult(reached=False, state="working", last_seq=88),
        ),
        (pod.Withdraw(message_id="m4"), pod.Empty()),
        (pod.Shutdown(mode="now"), pod.Empty()),
        (
            pod.TellOfChild(
                pod="api-tests",
                id="77aa01f2c3d4",
                seq=12,
                type="turn_ended",
                turn=2,
                data={"stop_reason": "end_turn"},
                since=7,
                text="All 31 pass.\n",
                omitted=120,
                wake=True,
            ),
            pod.ToldOfChild(cursor=12),
        ),
        (pod.Ping(), pod.Empty()),
    ],
    "supervisor": [
        (pod.Hello(token=TOKEN, protocol=1), hello_result(SUPERVISOR_API)),
        (
            supervisor.SpawnPod(
                name="api",
                agent="command",
                options={"argv": ["cat"], "nested": {"deep": [1, 2.5, None, True]}},
                prompt="begin",
                allow=(_RULE,),
                deny=_GRANT.deny,
                delegable=(),
                cwd="/srv/api",
                env={"LANG": "C.UTF-8"},
                limits=_LIMITS,
                description="builds the API",
                on_parent_exit="keep",
                python="/usr/bin/python3.12",
                call_back=True,
                replace=True,
                require_enforcement=True,
                network="loopback",
                unix_sockets="any",
                pty=True,
                message_id="s1",
            ),
            _SPAWNED,
        ),
        (
            supervisor.StopPod(pod="api", mode="finish", grace_seconds=1.5, message_id="x1"),
            supervisor.StopPodResult(
                pod="api",
                previous_state="working",
                state="stopped",
                step="terminate",
                stopped_descendants=("api-tests",),
                released=(_RULE,),
                seconds=0.25,
            ),
        ),
        (
            supervisor.PausePod(pod="api"),
            supervisor.PausePodResult(pod="api", state="paused", how="tree"),
        ),
        (
            supervisor.ResumePod(pod="api"),
            supervisor.ResumePodResult(pod="api", state="working"),
        ),
        (
            supervisor.SendMessage(
                pod="api", input="go on", if_busy="queue", message_id="m1", sender="pods"
            ),
            pod.RunResult(message_id="m1", state="queued", position=2),
        ),
        (
            supervisor.NotifyPod(pod="api", message="by the way", wake=True, message_id="n1"),
            pod.NotifyResult(message_id="n1", state="noted"),
        ),
        (supervisor.WithdrawMessage(pod="api", message_id="m1"), pod.Empty()),
        (supervisor.AnswerPod(pod="api", question_id="q9", answer="allow"), pod.Empty()),
        (
            supervisor.ListPods(ended=False, reader="me"),
            supervisor.ListPodsResult(pods=(_INFO,), capacity=_CAPACITY),
        ),
        (
            supervisor.InspectPod(pod="api"),
            supervisor.InspectPodResult(
                pod=_INFO,
                socket="/run/user/1000/pods/api.sock",
                directory="/home/u/.local/state/pods/api",
                keeper_pid=None,
                queue=(
                    v.QueuedMessage(
                        message_id="m4", input="next", position=1, sender="pods", accepted=4.0
                    ),
                ),
                notes=(v.QueuedMessage(message_id="m5", input="by the way", position=0),),
                undelivered=(
                    v.UndeliveredMessage(
                        message_id="m3",
                        input="too late",
                        sender="pod lead",
                        accepted=3.0,
                        given_up=5.0,
                    ),
                ),
                questions=("q1",),
                options={"argv": ["cat"]},
                limits=_LIMITS,
                held_limits=(
                    v.HeldLimit(
                        name="open_files", value=256.0, by="kernel", how="RLIMIT_NOFILE of each"
                    ),
                ),
                reason="",
                python=None,
            ),
        ),
        (
            supervisor.ConnectPod(pod="api"),
            supervisor.ConnectPodResult(
                id="3f9c02d1a7be", name="api", socket="/run/user/1000/pods/api.sock", token=TOKEN
            ),
        ),
        (
            supervisor.ReadOutput(pod="api", since=3, reader="me", kinds=("text",)),
            supervisor.ReadOutputResult(
                pod="api",
                id="3f9c02d1a7be",
                events=(_EVENT,),
                next=4,
                last_seq=4,
                truncated=False,
                state="lost",
                last_turn=None,
            ),
        ),
        (supervisor.AdvanceCursor(pod="api", seq=4, reader="me"), pod.Empty()),
        (
            supervisor.WaitPods(pods=("api", "web"), mode="any", until="ended"),
            supervisor.WaitPodsResult(ready=(_OUTCOME,), pending=(), timed_out=False),
        ),
        (supervisor.SubscribeLifecycle(since=3), pod.SubscribeResult(last_seq=9)),
        (supervisor.RestorePod(pod="api"), _SPAWNED),
        (
            supervisor.RemovePod(pod="api"),
            supervisor.RemovePodResult(pod="api", id="3f9c02d1a7be"),
        ),
        (
            supervisor.PrunePods(older_than_seconds=86400.0, force=True),
            supervisor.PrunePodsResult(removed=("old",), would_remove=(), uncertain=("odd",)),
        ),
        (
            supervisor.ShowScopes(pod="api"),
            supervisor.ShowScopesResult(
                holders=(
                    supervisor.ScopeHolder(
                        pod="api",
                        id="3f9c02d1a7be",
                        supervisor="default",
                        parent_id=None,
                        grant=_GRANT,
                        effective_write=(_RULE,),
                        lent=(),
                        pending=False,
                    ),
                )
            ),
        ),
        (
            supervisor.CheckScope(allow=(_RULE,)),
            supervisor.CheckScopeResult(
                granted=False,
                normalised=(_RULE,),
                code="scope_conflict",
                message="cannot lend /srv/api",
                owner="web",
            ),
        ),
        (
            supervisor.Doctor(),
            supervisor.DoctorResult(
                supervisor=supervisor.SupervisorInfo(
                    pid=7,
                    version="0.1.0",
                    socket="/run/user/1000/pods/supervisor.sock",
                    name="default",
                    started=1795262000.0,
                    launcher_pid=8,
                    runtime_directory="/run/user/1000/pods",
                    state_directory="/home/u/.local/state/pods",
                ),
                pods={"idle": 2, "stopped": 1},
                scopes=2,
                enforcement=_ENFORCEMENT,
                doors={"network=none": "", "network=loopback": "no namespaces here"},
                settings=supervisor.SettingsInForce(
                    file="/c/config.toml",
                    max_depth=3,
                    max_children=8,
                    max_pods=1000,
                    max_queue_length=50,
                    max_spawns=120,
                    max_same_messages=20,
                    longest_wait_seconds=3600.0,
                    journal_max_bytes=None,
                    journal_max_age_seconds=None,
                    keep_ended_seconds=604800.0,
                ),
                problems=(supervisor.Problem(code="old", message="a is old", fix="prune"),),
            ),
        ),
        (
            supervisor.ShutdownSupervisor(stop_pods=True, grace_seconds=1.0),
            supervisor.ShutdownSupervisorResult(stopped=("api",)),
        ),
        (pod.Ping(), pod.Empty()),
    ],
    "keeper": [
        (pod.Hello(token=TOKEN, protocol=1), hello_result(KEEPER_API)),
        (
            process.GetKeeperStatus(),
            process.KeeperStatus(
                keeper=_IDENTITY,
                pod=_IDENTITY,
                processes=3,
                exit=_EXIT,
                enforcement=_ENFORCEMENT,
                memory_bytes=1_048_576,
            ),
        ),
        (process.SignalTree(signal="terminate"), process.SignalTreeResult(signalled=3)),
    ],
    "launcher": [
        (pod.Hello(token=TOKEN, protocol=1), hello_result(LAUNCHER_API)),
        (process.LaunchPod(spec=_SPEC), process.LaunchPodResult(keeper=_IDENTITY)),
        (
            process.ProbeEnforcement(
                grant=_GRANT, python="/usr/bin/python3.12", doors=v.Doors(network="none")
            ),
            process.ProbeResult(enforcement=_ENFORCEMENT),
        ),
        (process.ListKeepers(), process.ListKeepersResult(keepers={"3f9c02d1a7be": 4241})),
        (process.KillKeeper(pid=4241), pod.Empty()),
        (process.ShutdownLauncher(), pod.Empty()),
        (pod.Ping(), pod.Empty()),
    ],
}

_NOTIFICATIONS: dict[str, list[tuple[str, object]]] = {
    "pod": [("event", _EVENT)],
    "supervisor": [
        (
            "event",
            Event(
                seq=1,
                time=1795262400.5,
                turn=None,
                type="pod_ended",
                data={"pod": "api", "id": "3f9c02d1a7be", "state": "stopped"},
            ),
        )
    ],
    "keeper": [],
    "launcher": [
        (
            "keeper_ended",
            process.KeeperEnded(pid=4241, id="3f9c02d1a7be", status=0, strays_killed=1),
        )
    ],
}

_ERRORS: list[tuple[str, int | None, PodsError]] = [
    (
        "already_running",
        7,
        AlreadyRunning(
            "cannot run a message on api: turn 3 is running; wait for it, queue or interrupt",
            turn=3,
            since=1795262400.5,
            queue_length=0,
        ),
    ),
    (
        "scope_conflict",
        7,
        ScopeConflict(
            "cannot lend /srv/api: web holds it; stop web or choose another path",
            owner="web",
            owner_id="0123456789ab",
            owner_rule={"target": "/srv", "permission": "write", "recursive": True},
            requested={"target": "/srv/api", "permission": "write", "recursive": True},
        ),
    ),
    ("parse_error", None, ParseError("cannot read a line: it is JSON but no object")),
]


@frozen(kw_only=True)
class Golden:
    """One line of the wire as it is committed.

    Attributes:
        name: of its file.
        api: whose socket.
        kind: what sort of line.
        method: its method; empty for an error.
        content: the message or the error.
        request_id: where the line has one.
        line: newline included.
    """

    name: str
    api: Api
    kind: Literal["request", "result", "error", "notification"]
    method: str
    content: Any
    request_id: int | None
    line: bytes

    @property
    def path(self) -> Path:
        return GOLDEN / f"{self.name}.json"


def golden_lines() -> Iterator[Golden]:
    """Every golden line as the code makes it now."""
    for name, exchanges in _EXCHANGES.items():
        api = APIS[name]
        for request, result in exchanges:
            method = request.METHOD
            yield Golden(
                name=f"{name}.{method}.request",
                api=api,
                kind="request",
                method=method,
                content=request,
                request_id=7,
                line=codec.encode_request(7, request),
            )
            yield Golden(
                name=f"{name}.{method}.result",
                api=api,
                kind="result",
                method=method,
                content=result,
                request_id=7,
                line=codec.encode_result(7, result),
            )
        for method, params in _NOTIFICATIONS[name]:
            yield Golden(
                name=f"{name}.{method}.notification",
                api=api,
                kind="notification",
                method=method,
                content=params,
                request_id=None,
                line=codec.encode_notification(method, params),
            )
    for code, request_id, error in _ERRORS:
        yield Golden(
            name=f"error.{code}",
            api=POD_API,
            kind="error",
            method="",
            content=error,
            request_id=request_id,
            line=codec.encode_error(request_id, error),
        )


def example_exchanges(api: Api) -> list[tuple[pod.Request[Any], Any]]:
    """A request and an answer of every method."""
    return list(_EXCHANGES[api.name])


def message_classes() -> list[type[Any]]:
    """Every class that stands at the top of a request's params, a result or a notification."""
    found: dict[type[Any], None] = {}
    for api in APIS.values():
        for method in api.methods.values():
            found[method.request] = found[method.result] = None
        for cls in api.notifications.values():
            found[cls] = None
    return list(found)


# --- strategies ---

INT64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(max_size=8)  # hypothesis makes no surrogates in UTF-8 text by itself
JSON = st.recursive(
    st.none() | st.booleans() | INT64 | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def json_of(shape: Shape) -> st.SearchStrategy[Any]:
    """JSON that has the shape."""
    match shape:
        case Anything():
            return JSON
        case Primitive(kind):
            made: dict[type, st.SearchStrategy[Any]] = {
                str: TEXT,
                int: INT64,
                float: FINITE | INT64,
                bool: st.booleans(),
            }
            return made[kind]
        case Choice(words):
            return st.sampled_from(words)
        case Array(item):
            return st.lists(json_of(item), max_size=2)
        case Table(value):
            return st.dictionaries(TEXT, json_of(value), max_size=2)
        case Nullable(inner):
            return st.none() | json_of(inner)
        case Message(cls):
            fields = fields_of(cls)
            return st.fixed_dictionaries(
                {field.name: json_of(field.shape) for field in fields if field.required},
                optional={
                    field.name: json_of(field.shape) for field in fields if not field.required
                },
            )


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """The same JSON with one place changed: replaced, removed, added or misnamed."""
    if isinstance(value, dict):
        return draw(_mutated_object(cast("dict[str, Any]", value)))
    if isinstance(value, list) and value and draw(st.booleans()):
        items: list[Any] = [*cast("Iterable[Any]", value)]
        index = draw(st.integers(0, len(items) - 1))
        items[index] = draw(mutated(items[index]))
        return items
    return draw(JSON)


@st.composite
def _mutated_object(draw: st.DrawFn, value: dict[str, Any]) -> Any:
    table = dict(value)
    if not table:
        return draw(st.dictionaries(TEXT, JSON, min_size=1, max_size=1) | JSON)
    name = draw(st.sampled_from(sorted(table)))
    match draw(st.sampled_from(["inside", "inside", "add", "remove", "rename", "replace"])):
        case "inside":
            table[name] = draw(mutated(table[name]))
        case "add":
            table[draw(TEXT)] = draw(JSON)
        case "remove":
            del table[name]
        case "rename":
            table[name + "s"] = table.pop(name)
        case _:
            return draw(JSON)
    return table


def write_golden() -> None:
    """Write every golden file, and remove those of messages that are no more."""
    GOLDEN.mkdir(exist_ok=True)
    made = {golden.path: golden.line for golden in golden_lines()}
    for stale in set(GOLDEN.glob("*.json")) - set(made):
        stale.unlink()
    for path, line in made.items():
        path.write_bytes(line)


if __name__ == "__main__":
    write_golden()
