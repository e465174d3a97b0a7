from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pods_tools import BlockingToolset, ToolResult
from pods_tools.arguments import read_arguments
from pods_tools.catalogue import TOOLS
from pods_tools.fields import PathRule
from pods_tools.schema import input_schema
from tools_clients import BlockingFakeClient
from tools_support import FakeSupervisor


def call(name: str, arguments: Any, supervisor: FakeSupervisor | None = None) -> ToolResult:
    return BlockingToolset(BlockingFakeClient(supervisor or FakeSupervisor())).call(name, arguments)


WRONG_CALLS: list[tuple[str, Any, str, str]] = [
    ("SpawnPod", {}, "name", "`name` is missing"),
    ("SpawnPod", {"name": "a b"}, "name", "letters, digits"),
    ("SpawnPod", {"name": "api\n"}, "name", "letters, digits"),
    ("SpawnPod", {"name": "../x"}, "name", "letters, digits"),
    ("SpawnPod", {"name": ""}, "name", "`name` must"),
    ("SpawnPod", {"name": "x" * 300}, "name", "at most 64 characters"),
    ("SpawnPod", {"name": 5}, "name", "must be a string, not a whole number"),
    ("SpawnPod", {"name": "a", "write": "/a"}, "write", "must be a list, not `/a`"),
    ("SpawnPod", {"name": "a", "write": ["src"]}, "write[0]", "an absolute path"),
    ("SpawnPod", {"name": "a", "write": [""]}, "write[0]", "an absolute path"),
    ("SpawnPod", {"name": "a", "write": [7]}, "write[0]", "a string or an object"),
    ("SpawnPod", {"name": "a", "write": [{}]}, "write[0].target", "is missing"),
    ("SpawnPod", {"name": "a", "read": ["/a"] * 257}, "read", "at most 256 items"),
    ("SpawnPod", {"name": "a", "limits": {"turn_seconds": 0}}, "limits.turn_seconds", "above"),
    (
        "SpawnPod",
        {"name": "a", "limits": {"turn_seconds": math.nan}},
        "limits.turn_seconds",
        "finite",
    ),
    ("SpawnPod", {"name": "a", "options": []}, "options", "must be an object, not an array"),
    ("SendToPod", {"pod": "api", "message": ""}, "message", "at least 1"),
    ("SendToPod", {"pod": "api", "message": "x", "if_busy": 1}, "if_busy", '"fail", "queue"'),
    ("ReadPodOutput", {"pod": "api", "wait_seconds": -1}, "wait_seconds", "at least 0"),
    ("ReadPodOutput", {"pod": "api", "wait_seconds": 60}, "wait_seconds", "at most 45"),
    ("ReadPodOutput", {"pod": "api", "wait_seconds": math.nan}, "wait_seconds", "finite"),
    ("ReadPodOutput", {"pod": "api", "max_bytes": 10}, "max_bytes", "at least 1000"),
    ("ReadPodOutput", {"pod": "api", "max_bytes": True}, "max_bytes", "not true"),
    ("ReadPodOutput", {"pod": "api", "since": "soon"}, "since", "the `next` of an earlier"),
    ("ReadPodOutput", {"pod": "api", "since": -1}, "since", "at least 0"),
    ("StopPod", {"pod": "api", "grace_seconds": 13}, "grace_seconds", "at most 12"),
    ("ListPods", {"all": True}, "all", "the fields are: `skip`"),
    ("ListPods", {"skip": -1}, "skip", "at least 0"),
    ("ListPods", [], "", "must be an object, not an array"),
    ("ListPods", 3, "", "must be an object"),
]


@pytest.mark.parametrize(("tool", "arguments", "path", "words"), WRONG_CALLS)
def test_a_wrong_argument_is_named_with_what_was_expected_and_a_right_call(
    tool: str, arguments: Any, path: str, words: str
) -> None:
    supervisor = FakeSupervisor()
    result = call(tool, arguments, supervisor)
    assert result.is_error
    assert result.data["code"] == "invalid_params"
    assert result.data["path"] == path
    assert words in result.summary
    assert "Nothing was done. A right call: " in result.summary
    assert result.data["example"] == dict(TOOLS[tool].example)
    assert supervisor.asked == []


@pytest.mark.parametrize(
    ("tool", "arguments", "nearest"),
    [
        ("SpawnPod", {"name": "a", "promt": "x"}, "prompt"),
        ("SpawnPod", {"name": "a", "task": "x"}, "prompt"),
        ("SpawnPod", {"name": "a", "agent_type": "x"}, "agent"),
        ("SpawnPod", {"name": "a", "write": [{"path": "/a"}]}, "target"),
        ("SpawnPod", {"name": "a", "limits": {"timeout_s": 3}}, "turn_seconds"),
        ("SendToPod", {"target": "api", "message": "x"}, "pod"),
        ("SendToPod", {"pod": "api", "message": "x", "if_busy": "queu"}, "queue"),
        ("ReadPodOutput", {"name": "api"}, "pod"),
        ("ReadPodOutput", {"pod": "api", "kinds": ["toolcall"]}, "tool_call"),
        ("StopPod", {"pod": "api", "mode": "nowe"}, "now"),
    ],
)
def test_an_unknown_field_or_word_names_the_nearest_valid_one(
    tool: str, arguments: Any, nearest: str
) -> None:
    result = call(tool, arguments)
    assert result.data["nearest"] == nearest
    assert f"did you mean `{nearest}`?" in result.summary


def test_a_null_stands_for_a_field_left_out() -> None:
    given = read_arguments(TOOLS["SpawnPod"], {"name": "api", "prompt": None, "write": None})
    assert given.prompt is None
    assert given.write == ()
    assert call("StopPod", {"pod": None}).data["path"] == "pod"


def test_arguments_may_be_their_json_text() -> None:
    given = read_arguments(TOOLS["SendToPod"], '{"pod": "api", "message": "hi"}')
    assert (given.pod, given.message) == ("api", "hi")


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000, b"\xff"])
def test_text_that_is_no_json_is_a_parse_error_with_a_right_call(text: Any) -> None:
    result = call("StopPod", text)
    assert result.data["code"] == "parse_error"
    assert 'A right call: StopPod {"pod": "api"}' in result.summary


def test_paths_may_be_strings_or_rules() -> None:
    given = read_arguments(
        TOOLS["SpawnPod"],
        {
            "name": "a",
            "write": ["/a", {"target": "/b", "recursive": False}],
            "delegable": [],
            "options": {"argv": ["cat"], "deep": {"x": 1.5}},
            "limits": {"turn_seconds": 3, "open_files": 4.0},
        },
    )
    assert given.write == ("/a", PathRule(target="/b", recursive=False))
    assert given.delegable == ()
    assert given.options == {"argv": ["cat"], "deep": {"x": 1.5}}
    assert given.limits.turn_seconds == 3.0
    assert isinstance(given.limits.open_files, int)


def test_a_long_or_unprintable_name_of_a_field_is_not_repeated_whole() -> None:
    result = call("ListPods", {"x" * 5000: 1})
    assert len(result.summary) < 600
    assert "\x1b" not in call("ListPods", {"\x1b[31m": 1}).summary


def test_a_prompt_never_comes_back_in_an_error() -> None:
    result = call("SpawnPod", {"name": "a b", "prompt": "the-secret-prompt"})
    assert "the-secret-prompt" not in json.dumps(result.as_json())


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("spawn_pod", "SpawnPod"), ("SpawnPods", "SpawnPod"), ("list-pods", "ListPods")],
)
def test_an_unknown_tool_names_the_nearest(name: str, nearest: str) -> None:
    result = call(name, {})
    assert result.is_error
    assert result.data["nearest"] == nearest
    assert f"Did you mean {nearest}?" in result.summary


def test_a_tool_like_no_other_gets_the_list() -> None:
    result = call("xyz", {"pod": "api"})
    assert "The tools are: SpawnPod, SendToPod, ReadPodOutput, StopPod, ListPods" in result.summary


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["/a", "api", "queue", "now", "text"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
field_names = sorted(
    {name for tool in TOOLS.values() for name in input_schema(tool.input)["properties"]}
)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(list(TOOLS)) | st.text(max_size=12),
    arguments=st.dictionaries(
        st.sampled_from(field_names) | st.text(max_size=8), json_values, max_size=5
    )
    | json_values
    | st.binary(max_size=10),
)
def test_whatever_a_model_sends_the_call_gives_a_result(name: str, arguments: Any) -> None:
    result = call(name, arguments)
    json.dumps(result.as_json())
    assert result.summary


paths = st.just("/") | st.text(max_size=10).map(lambda text: f"/{text}")
path_items = st.lists(
    paths | st.fixed_dictionaries({"target": paths}, optional={"recursive": st.booleans()}),
    max_size=3,
)
pod_names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
right_calls: dict[str, st.SearchStrategy[Any]] = {
    "SpawnPod": st.fixed_dictionaries(
        {"name": pod_names},
        optional={
            "prompt": st.text(min_size=1, max_size=30),
            "agent": st.text(min_size=1, max_size=30),
            "options": st.dictionaries(st.text(max_size=5), json_values, max_size=2),
            "write": path_items,
            "read": path_items,
            "deny": path_items,
            "delegable": path_items,
            "cwd": paths,
            "limits": st.fixed_dictionaries(
                {},
                optional={
                    "turn_seconds": st.floats(min_value=0.001, max_value=600_000),
                    "open_files": st.integers(1, 1000),
                },
            ),
            "description": st.text(max_size=30),
        },
    ),
    "SendToPod": st.fixed_dictionaries(
        {"pod": pod_names, "message": st.text(min_size=1, max_size=30)},
        optional={"if_busy": st.sampled_from(["fail", "queue", "interrupt"])},
    ),
    "ReadPodOutput": st.fixed_dictionaries(
        {"pod": pod_names},
        optional={
            "since": st.integers(0, 10**12) | st.from_regex(r"\A[0-9]{1,9}(\+[0-9]{1,9})?\Z"),
            "kinds": st.lists(st.sampled_from(["text", "all", "tool_call"]), max_size=3),
            "wait_seconds": st.floats(0, 45),
            "max_bytes": st.integers(1000, 200_000),
        },
    ),
    "StopPod": st.fixed_dictionaries(
        {"pod": pod_names},
        optional={
            "mode": st.sampled_from(["finish", "now", "kill"]),
            "grace_seconds": st.floats(0, 12),
        },
    ),
    "ListPods": st.fixed_dictionaries({}, optional={"skip": st.integers(0, 10**6)}),
}


@pytest.mark.parametrize("name", list(TOOLS))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_right_call_is_never_refused_for_its_form(name: str, data: st.DataObject) -> None:
    result = call(name, data.draw(right_calls[name]))
    assert result.data.get("code") in (None, "unknown_pod")
