"""The codec's door: what is let in, the words of a refusal, and what can be written."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import orjson
import pytest
from attrs import frozen

from pods_protocol import codec
from pods_protocol import pod_messages as pod
from pods_protocol import supervisor_messages as supervisor
from pods_protocol import values as v
from pods_protocol.api import POD_API
from pods_protocol.errors import AlreadyRunning, InternalError, InvalidParams, ParseError, PodsError
from pods_protocol.events import Event

SPAWN: dict[str, Any] = {"name": "api"}
RULE = {"target": "/srv", "permission": "write"}


def refusal(kind: type[Any], data: object) -> InvalidParams:
    with pytest.raises(InvalidParams) as refused:
        codec.from_json(kind, data)
    return refused.value


@pytest.mark.parametrize(
    ("kind", "data", "path", "words"),
    [
        (pod.Run, {"input": 5}, "input", "a string, not a whole number"),
        (pod.Run, {"input": None}, "input", "a string, not null"),
        (pod.Run, {}, "input", "given, not left out"),
        (pod.Run, {"input": "a", "message_id": 7}, "message_id", "or null, not a whole number"),
        (pod.Run, [], "", "an object, not an array"),
        (pod.Run, "run", "", "an object, not a string"),
        (pod.GetStatus, [], "", "an object, not an array"),
        (pod.GetHistory, {"since": "7"}, "since", "a whole number, not a string"),
        (pod.GetHistory, {"since": True}, "since", "a whole number, not true"),
        (pod.GetHistory, {"since": 1.0}, "since", "not a number with a point"),
        (pod.WaitFor, {"timeout_seconds": "3"}, "timeout_seconds", "a number, not a string"),
        (pod.WaitFor, {"timeout_seconds": False}, "timeout_seconds", "a number, not false"),
        (pod.Notify, {"message": "m", "wake": 1}, "wake", "true or false, not a whole number"),
        (pod.ReadEvents, {"kinds": "text"}, "kinds", "an array, not a string"),
        (pod.ReadEvents, {"kinds": {}}, "kinds", "an array, not an object"),
        (pod.ReadEvents, {"kinds": ["text", 5]}, "kinds[1]", "a string, not a whole number"),
        (pod.ReadEvents, {"kinds": ("text",)}, "kinds", "an array, not an array"),
        (supervisor.SpawnPod, {**SPAWN, "options": []}, "options", "an object, not an array"),
        (supervisor.SpawnPod, {**SPAWN, "env": {"A": 1}}, "env.A", "a string"),
        (supervisor.SpawnPod, {**SPAWN, "env": {"A B": 1}}, "env[`A B`]", "a string"),
        (supervisor.SpawnPod, {**SPAWN, "env": []}, "env", "an object"),
        (
            supervisor.SpawnPod,
            {**SPAWN, "limits": {"turn_seconds": "9"}},
            "limits.turn_seconds",
            "a number, or null, not a string",
        ),
        (supervisor.SpawnPod, {**SPAWN, "limits": None}, "limits", "an object, not null"),
        (
            supervisor.SpawnPod,
            {**SPAWN, "delegable": [RULE, {"target": 1}]},
            "delegable[1].target",
            "a string",
        ),
        (
            supervisor.SpawnPod,
            {**SPAWN, "on_parent_exit": []},
            "on_parent_exit",
            "`stop` or `keep`, or null, not an array",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(
    kind: type[Any], data: object, path: str, words: str
) -> None:
    error = refusal(kind, data)
    assert error.data == {"path": path}
    assert words in error.message
    assert error.message.startswith(f"cannot read `{kind.METHOD}`: ")


@pytest.mark.parametrize(
    ("kind", "data", "path", "nearest"),
    [
        (pod.Run, {"input": "a", "if_bussy": "fail"}, "if_bussy", "if_busy"),
        (pod.Run, {"input": "a", "if_busy": "que"}, "if_busy", "queue"),
        (
            supervisor.SpawnPod,
            {**SPAWN, "allow": [{"target": "/", "permission": "wrte"}]},
            "allow[0].permission",
            "write",
        ),
        (
            supervisor.SpawnPod,
            {**SPAWN, "allow": [RULE, {**RULE, "recursiv": True}]},
            "allow[1].recursiv",
            "recursive",
        ),
    ],
)
def test_a_misspelt_word_is_refused_with_the_nearest_valid_one(
    kind: type[Any], data: object, path: str, nearest: str
) -> None:
    error = refusal(kind, data)
    assert error.data == {"path": path, "nearest": nearest}
    assert f"did you mean `{nearest}`?" in error.message


def test_an_unknown_field_like_no_other_is_refused_without_a_guess() -> None:
    error = refusal(pod.Run, {"input": "a", "zzzz": 1})
    assert error.data == {"path": "zzzz"}
    assert "`input`, `if_busy`, `message_id`" in error.message


def test_a_request_without_fields_takes_none() -> None:
    assert refusal(pod.Ping, {"a": 1}).message == (
        "cannot read `ping`: `a` must be left out, not the unknown field `a`"
    )


def test_a_whole_number_will_do_where_a_number_is_wanted() -> None:
    message = codec.from_json(pod.WaitFor, {"timeout_seconds": 3})
    assert message == pod.WaitFor(timeout_seconds=3.0)
    assert type(message.timeout_seconds) is float


def test_a_number_too_big_for_a_float_is_refused() -> None:
    # It cannot come over the wire, where such a number is a float already; a caller in Python may.
    assert refusal(pod.WaitFor, {"timeout_seconds": 10**400}).data == {"path": ""}


def test_a_refusal_never_repeats_a_value_that_may_be_a_secret() -> None:
    error = refusal(pod.Hello, {"token": ["hunter2"], "protocol": "hunter2"})
    assert "hunter2" not in f"{error.message}{error.data}"


def test_a_refusal_is_short_however_long_the_fault() -> None:
    error = refusal(pod.Run, {"input": "a", "x" * 100_000: 1})
    assert len(error.message) < 500
    assert len(error.data["path"]) < 100
    assert len(refusal(pod.Run, {"input": "a", "if_busy": "\x00" * 99_999}).message) < 500


def test_an_answer_with_more_fields_than_known_is_read() -> None:
    answer = {"turn": 3, "since": 5}
    assert codec.from_json_lenient(pod.CancelResult, answer) == pod.CancelResult(turn=3)
    assert codec.from_json_lenient(pod.Empty, {"more": 1}) == pod.Empty()
    with pytest.raises(InvalidParams) as refused:
        codec.from_json_lenient(pod.CancelResult, {"turn": "3"})
    assert refused.value.data == {"path": "turn"}
    assert "`CancelResult`" in refused.value.message


@pytest.mark.parametrize("data", [[], "x", 5, None, ["turn"]])
def test_an_answer_that_is_no_object_is_refused(data: object) -> None:
    for kind in (pod.Empty, pod.CancelResult, Event):
        with pytest.raises(InvalidParams):
            codec.from_json_lenient(kind, data)


EVENT: dict[str, Any] = {"seq": 1, "time": 2.5, "turn": None, "type": "text", "data": {"text": "a"}}


def test_an_event_is_made_as_its_class_would_make_it() -> None:
    made = codec.from_json(Event, EVENT)
    assert made == Event(**EVENT)
    assert codec.from_json(Event, {**EVENT, "time": 3, "turn": 4}) == Event(
        seq=1, time=3.0, turn=4, type="text", data={"text": "a"}
    )
    assert codec.from_json_lenient(Event, {**EVENT, "more": 1}) == made
    assert codec.to_json(made) == EVENT
    assert made.data is EVENT["data"]


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 1.0},
        {"seq": True},
        {"time": "1"},
        {"time": True},
        {"turn": "1"},
        {"type": 5},
        {"data": []},
        {"data": None},
        {"more": 1},
    ],
)
def test_an_event_is_as_strict_as_the_rest(change: dict[str, Any]) -> None:
    assert refusal(Event, {**EVENT, **change}).data["path"] == next(iter(change))


def test_an_event_with_a_field_missing_is_refused() -> None:
    for name in EVENT:
        rest = {key: value for key, value in EVENT.items() if key != name}
        assert refusal(Event, rest).data["path"] == name


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"a":"\\ud800"}',
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b"{}{}",
        b"[]",
        b"5",
        b"null",
        b'"run"',
    ],
)
def test_a_line_that_is_no_json_object_is_a_parse_error(line: bytes) -> None:
    with pytest.raises(ParseError):
        codec.decode_line(line)


def test_an_integer_over_64_bits_is_no_integer() -> None:
    envelope = codec.decode_line(b'{"since":123456789012345678901234567890}')
    assert refusal(pod.GetHistory, envelope).data == {"path": "since"}


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "message",
    [
        pod.Run(input="\ud800"),
        pod.WaitFor(timeout_seconds=float("nan")),
        pod.WaitFor(timeout_seconds=float("inf")),
        pod.GetHistory(since=2**64),
        supervisor.SpawnPod(name="api", options=deep(500)),
        supervisor.SpawnPod(name="api", options={"a": {1, 2}}),
    ],
)
def test_a_request_that_json_cannot_hold_is_refused_before_it_is_sent(
    message: pod.Request[Any],
) -> None:
    with pytest.raises(InvalidParams, match=f"cannot write `{message.METHOD}` as JSON"):
        codec.encode_request(1, message)


def test_a_number_that_is_not_finite_is_not_written_as_null() -> None:
    with pytest.raises(InvalidParams):
        codec.to_json(v.Limits(turn_seconds=float("inf")))


@pytest.mark.parametrize(
    "result",
    [
        pod.NotifyResult(message_id="\udcff", state="noted"),
        pod.GetHistoryResult(entries=None, next=0),  # type: ignore[arg-type]  # a bug of a handler
    ],
)
def test_a_result_that_json_cannot_hold_is_an_internal_error(result: object) -> None:
    with pytest.raises(InternalError):
        codec.encode_result(1, result)
    with pytest.raises(InternalError):
        codec.encode_notification("event", result)


def test_an_error_is_written_whatever_it_carries() -> None:
    class Odd:
        def __str__(self) -> str:
            return "odd \n thing"

    line = codec.encode_error(None, AlreadyRunning("cannot run: busy", odd=Odd(), turn=(1, 2)))
    data = orjson.loads(line)["error"]["data"]
    assert data == {
        "odd": "'odd \\n thing'",
        "turn": [1, 2],
        "code": "already_running",
        "retryable": True,
    }


@pytest.mark.parametrize(
    "error",
    [
        PodsError("cannot open /tmp/\udcff"),
        AlreadyRunning("cannot run", path="/tmp/\udcff"),
        AlreadyRunning("cannot run", huge=2**70),
        AlreadyRunning("cannot run", keys={1: 2}),
        AlreadyRunning("cannot run", deep=deep(500)),
        AlreadyRunning("cannot run", long="x" * 100_000),
        AlreadyRunning("c" * 100_000),
        AlreadyRunning("\x00" * 100_000),
    ],
)
def test_an_error_line_is_never_too_long_and_never_fails(error: PodsError) -> None:
    line = codec.encode_error(1, error)
    assert len(line) <= codec.MAX_ERROR_BYTES
    assert line.endswith(b"\n")
    wire = orjson.loads(line)["error"]
    assert wire["message"][:6] == error.message[:6]
    assert wire["data"]["code"] == error.CODE
    assert wire["data"]["data_left_out"] is True


def test_an_event_notification_is_the_same_with_and_without_decoding() -> None:
    event = codec.from_json(Event, EVENT)
    assert codec.encode_event_notification(orjson.dumps(EVENT)) == codec.encode_notification(
        "event", event
    )


@frozen(kw_only=True)
class Later:
    """Shapes that no message has had yet, and that the next one may."""

    anything: Any
    maybe: Any | None = None
    rules: dict[str, v.ScopeRule]


def test_shapes_that_no_message_has_yet_are_ready_for_one_that_will() -> None:
    data = {"anything": [1, {"a": None}], "maybe": {}, "rules": {"a": {**RULE, "recursive": False}}}
    made = codec.from_json(Later, data)
    assert made.rules == {"a": v.ScopeRule(target="/srv", permission="write", recursive=False)}
    assert codec.to_json(made) == data
    assert refusal(Later, {**data, "rules": {"a": {"target": "/"}}}).data == {
        "path": "rules.a.permission"
    }
    assert refusal(Later, {**data, "rules": {"a": b"x"}}).message.endswith(
        "`rules.a` must be an object, not a Python bytes"
    )


@frozen(kw_only=True)
class Loose:
    """A class with a hint that the wire has no shape for."""

    either: int | str


def test_a_class_with_a_hint_of_no_shape_is_refused_whatever_the_value() -> None:
    with pytest.raises(TypeError, match="no place in the protocol"):
        codec.from_json(Loose, {"either": 1})


def test_warm_makes_what_a_server_reads_and_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_strict_hooks", "_writers"):
        monkeypatch.setattr(codec, name, {})
    codec.warm([POD_API])
    hooks, writers = vars(codec)["_strict_hooks"], vars(codec)["_writers"]
    assert hooks.keys() == {method.request for method in POD_API.methods.values()}
    assert writers.keys() == {method.result for method in POD_API.methods.values()} | {Event}


LOADED_BY_ORJSON = """
import sys

class Watch:
    def find_spec(self, name, *_):
        if name == "orjson.orjson":
            before.update(sys.modules)

before = {}
sys.meta_path.insert(0, Watch())
import pods_protocol.codec
print(*{"json", "uuid", "enum", "datetime", "dataclasses"} - before.keys())
"""


def test_orjson_finds_loaded_what_it_would_load_while_ctrl_c_can_crash_it() -> None:
    # A module that orjson loads in its own initialisation runs Python there.
    done = subprocess.run(
        [sys.executable, "-c", LOADED_BY_ORJSON],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "\n"
