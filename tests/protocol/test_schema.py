"""The schemas: committed as generated, valid by themselves, and of one mind with the codec."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pods_protocol import schema
from pods_protocol.codec import from_json, from_json_lenient, to_json
from pods_protocol.errors import InvalidParams
from pods_protocol.events import EVENT_KINDS, Event
from pods_protocol.faults import find_fault
from pods_protocol.shapes import shape_of
from protocol_support import JSON, json_of, judge_of, message_classes, mutated

FILES = schema.files()


STRICT = {cls: judge_of(schema.message_schema(cls, strict=True)) for cls in message_classes()}
OPEN = {cls: judge_of(schema.message_schema(cls, strict=False)) for cls in message_classes()}
CLASSES = st.sampled_from(message_classes())


def test_the_committed_files_are_the_generated_ones() -> None:
    committed = {path.name: path.read_text("utf-8") for path in schema.DIRECTORY.glob("*")}
    assert committed == {name: schema.render(content) for name, content in FILES.items()}, (
        "after a change to a message: python -m pods_protocol.schema"
    )


def test_writing_removes_what_is_no_more(tmp_path: Path) -> None:
    directory = tmp_path / "schema"
    schema.write(directory)
    (directory / "old.json").write_text("{}")
    schema.write(directory)
    assert {path.name for path in directory.iterdir()} == set(FILES)
    assert json.loads((directory / "pod.json").read_text("utf-8")) == FILES["pod.json"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(FILES[name])
    for reference in find_references(FILES[name]):
        assert reference.removeprefix("#/$defs/") in FILES[name]["$defs"]


def find_references(value: object) -> list[str]:
    # A reference is the only string that begins so.
    return re.findall(r'"\$ref": "([^"]*)"', json.dumps(value))


def accepts(read: Any, cls: type[Any], value: object) -> bool:
    try:
        message = read(cls, value)
    except InvalidParams as error:
        return "path" not in error.data  # which would be wrong: a refusal says where
    return isinstance(message, cls)


def judge(cls: type[Any], value: object) -> None:
    """Codec, search for faults and JSON Schema must agree, strictly and leniently."""
    shape = shape_of(cls)
    for read, judges, strict in ((from_json, STRICT, True), (from_json_lenient, OPEN, False)):
        accepted = accepts(read, cls, value)
        assert accepted == judges[cls].is_valid(value)
        assert accepted == (find_fault(shape, value, strict=strict) is None)


@settings(max_examples=80, deadline=None)
@given(CLASSES, st.data())
def test_what_fits_is_taken_and_comes_back_the_same(cls: type[Any], data: st.DataObject) -> None:
    value = data.draw(json_of(shape_of(cls)))
    judge(cls, value)
    message = from_json(cls, value)
    assert from_json(cls, to_json(message)) == message


@settings(max_examples=150, deadline=None)
@given(CLASSES, st.data())
def test_the_codec_takes_exactly_what_the_schema_takes(cls: type[Any], data: st.DataObject) -> None:
    judge(cls, data.draw(json_of(shape_of(cls)).flatmap(mutated)))


@settings(max_examples=60, deadline=None)
@given(CLASSES, JSON)
def test_codec_and_schema_agree_on_any_json(cls: type[Any], value: object) -> None:
    judge(cls, value)


EVENT: dict[str, Any] = {"seq": 1, "time": 1.0, "turn": None, "type": "text", "data": {}}
EXAMPLES: dict[str, dict[str, Any]] = {
    "message_accepted": {"message_id": "m", "input": "i", "if_busy": "fail", "state": "started"},
    "message_withdrawn": {"message_id": "m", "reason": "withdrawn"},
    "turn_started": {"message_id": "m"},
    "text_delta": {"text": "t", "stream": "stdout"},
    "text": {"text": "t"},
    "thought": {"text": "t"},
    "tool_call": {"call_id": "c", "name": "n", "arguments": {"a": 1}},
    "tool_result": {"call_id": "c", "summary": "s", "is_error": False},
    "progress": {"message": "m", "step": 1, "of": 2},
    "question": {
        "question_id": "q",
        "prompt": "p",
        "options": ["a"],
        "default": None,
        "deadline": 1.5,
    },
    "answer": {"question_id": "q", "answer": None, "by": "cancelled"},
    "artifact": {"name": "n", "media_type": "text/plain", "size": 1, "sha256": "00"},
    "usage": {"input_tokens": 1},
    "turn_ended": {"stop_reason": "end_turn"},
    "child_event": {"pod": "p", "id": "i", "seq": 1, "type": "text", "data": {}},
    "status": {"state": "idle"},
    "warning": {"code": "c", "message": "m"},
    "restarted": {"reason": "r"},
    "stopped": {"reason": "stopped"},
    "gap": {"first": 1, "last": 2},
}


def test_there_is_an_example_of_every_kind() -> None:
    assert set(EXAMPLES) == set(EVENT_KINDS)


@pytest.mark.parametrize("kind", EVENT_KINDS)
def test_the_events_schema_knows_what_each_kind_carries(kind: str) -> None:
    events = judge_of(FILES["events.json"])
    event = {**EVENT, "type": kind, "data": EXAMPLES[kind]}
    assert events.is_valid(event)
    assert events.is_valid({**event, "data": {**EXAMPLES[kind], "more": 1}})
    assert from_json(Event, event).data == EXAMPLES[kind]
    for name in EXAMPLES[kind]:
        assert not events.is_valid({**event, "data": {**EXAMPLES[kind], name: {1: 2}}}) or (
            name in ("arguments", "data")
        )
    required = FILES["events.json"]["$defs"][f"data.{kind}"].get("required", [])
    assert set(required) <= set(EXAMPLES[kind])
    for name in required:
        rest = {key: value for key, value in EXAMPLES[kind].items() if key != name}
        assert not events.is_valid({**event, "data": rest})


def test_a_field_that_may_be_missing_is_not_required() -> None:
    definitions = FILES["events.json"]["$defs"]
    assert definitions["data.text_delta"]["required"] == ["text"]
    assert "required" not in definitions["data.usage"]


def test_an_unknown_kind_carries_anything() -> None:
    assert judge_of(FILES["events.json"]).is_valid({**EVENT, "type": "new", "data": {"a": 1}})


def test_a_hint_that_no_message_may_have_is_refused_when_hooks_are_made() -> None:
    for hint in (bytes, set[str], dict[int, str], tuple[int, str], int | str, list):
        with pytest.raises(TypeError, match="no place in the protocol"):
            shape_of(hint)
