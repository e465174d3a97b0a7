"""A tree of pods with models in them, as a person starts it: real pods, held by the kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from end_to_end_support import Door, open_door
from model_endpoint import ModelEndpoint

pytestmark = pytest.mark.slow
KEY = "sk-the-real-thing"


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with open_door() as made:
        Path(made.directory, "key").write_text(f"{KEY}\n")
        yield made


def spawn(door: Door, name: str, endpoint: ModelEndpoint, *words: str) -> list[str]:
    return [
        "spawn", name, "--model", "m", "--base-url", f"{endpoint.url}/v1",
        "--key-file", f"{door.directory}/key", *words,
    ]  # fmt: skip


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def test_a_model_spawns_a_model_which_writes_in_its_scope_alone(door: Door) -> None:
    ground = f"{door.work}/tree"
    kids = f"{ground}/kid"
    os.makedirs(kids)
    look = (
        f"env | grep -q {KEY[:8]} && echo LEA''KED; cat {door.directory}/key; echo x > {ground}/out"
    )
    script: list[dict[str, Any]] = [
        {
            "match": "LEAD-TASK",
            "steps": [
                {
                    "tool": "SpawnPod",
                    "arguments": {
                        "name": "kid", "agent": "model", "prompt": "KID-TASK", "cwd": kids,
                        "write": [kids],
                    },
                },
                {
                    "tools": [
                        call("write_file", path=f"{kids}/mine.txt", content="no"),
                        call("run_command", command=f"echo no > {kids}/mine.txt"),
                        call("ReadPodOutput", pod="kid"),
                    ]
                },
                {"tool": "read_file", "arguments": {"path": f"{kids}/out.txt"}},
                {"text": "the kid has done it"},
            ],
        },
        {
            "match": "KID-TASK",
            "steps": [
                {
                    "tools": [
                        call("write_file", path="out.txt", content="made by the kid\n"),
                        call("write_file", path=f"{ground}/out.txt", content="no"),
                        call("run_command", command=look),
                        call("ListPods"),
                    ]
                },
                {"text": "written"},
            ],
        },
    ]  # fmt: skip
    with ModelEndpoint(script) as endpoint:
        words = spawn(door, "lead", endpoint, "--write", ground, "--cwd", ground, "--call-back")
        answer = door(*words, "--prompt", "LEAD-TASK", "--wait")
        assert answer.out == "the kid has done it\n", (answer, endpoint.problems)
        assert endpoint.problems == []
        assert endpoint.left == 0
        told = [asked.everything for asked in endpoint.asked if "KID-TASK" in asked.users[-1]]
        keys = {one.headers["authorization"] for one in endpoint.requests}
    assert keys == {f"Bearer {KEY}"}
    assert Path(kids, "out.txt").read_text() == "made by the kid\n"
    assert sorted(os.listdir(ground)) == ["kid"]
    assert os.listdir(kids) == ["out.txt"]
    assert "The pod lead, which spawned you" in told[0]
    assert "outside of your scope" in told[1]
    assert "Permission denied" in told[1]
    assert "LEAKED" not in told[1]
    state = Path(door.environ["PODS_STATE_DIR"])
    kept = [path for path in state.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if KEY.encode() in path.read_bytes()]
    door("stop", "lead")


def test_a_pod_without_a_network_says_that_no_model_can_be_asked(door: Door) -> None:
    with ModelEndpoint([{"text": "never"}]) as endpoint:
        words = spawn(door, "alone", endpoint, "--network", "none", "--prompt", "x", "--wait")
        answer = door(*words, code=None)
        assert endpoint.requests == []
    assert answer.code != 0
    assert "this pod has no network; spawn it again with --network open" in answer.err
    door("stop", "alone", code=None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--key-file", "/nowhere"), "/nowhere cannot be read"),
        (("--key-file", "/dev/null"), "holds no key"),
        (("--key-fd", "x"), "is no descriptor"),
        (("--option", "model"), "is no option"),
        (("--option", "max_requests=0"), "`max_requests` is not a whole number above zero"),
        (("--option", "modle=x"), "there is no option `modle`"),
    ],
)
def test_what_cannot_be_is_refused_before_or_at_the_start(
    door: Door, words: tuple[str, ...], said: str
) -> None:
    answer = door("spawn", "wrong", "--model", "m", *words, code=None)
    assert answer.code != 0
    assert said in answer.err
