"""The model agent's own tools, called by a script in a pod with a real journal and real files."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from model_support import Json, call, one_turn, results
from pod_support import connected, data, living_pod, until_idle
from pods.agents.model import files, toolbox
from pods.agents.model.talk import Call
from pods.agents.model.toolbox import Toolbox
from pods.agents.turn import Turn
from pods_protocol.pod_messages import Run
from pods_protocol.values import ScopeGrant, ScopeRule


async def outcomes(directory: str, *calls: Json, **more: Any) -> list[str]:
    """What these calls gave back, one after the other in one turn."""
    script: list[Json] = [*({"tools": [one]} for one in calls), {"text": "done"}]
    pod, endpoint = await one_turn(directory, script, **more)
    assert pod.ends()[0]["stop_reason"] == "end_turn", pod.ends()
    assert endpoint.problems == []
    told = results(pod)
    assert len(told) == len(calls)
    return told


def put(directory: str, name: str, content: bytes) -> Path:
    path = Path(directory, name)
    path.write_bytes(content)
    return path


async def test_reading_shows_lines_and_how_to_go_on(short_dir: str) -> None:
    put(short_dir, "long", b"".join(b"%d\n" % number for number in range(1, 6)))
    put(short_dir, "empty", b"")
    told = await outcomes(
        short_dir,
        call("read_file", path="long", offset=2, limit=2),
        call("read_file", path="long", offset=9),
        call("read_file", path="empty"),
    )
    assert told[0] == "2\n3\n\n[lines 2 to 3 of 5; go on with offset 4]"
    assert "has 5 lines" in told[1]
    assert told[2] == "[the file is empty]"


async def test_what_is_too_much_is_cut_and_says_how_to_go_on(short_dir: str) -> None:
    put(short_dir, "wide", (b"x" * 1000 + b"\n") * 100)
    (told,) = await outcomes(short_dir, call("read_file", path="wide"))
    assert told.endswith("[lines 1 to 49 of 100; go on with offset 50]")


async def test_what_cannot_be_read_is_refused_with_the_next_step(short_dir: str) -> None:
    put(short_dir, "binary", b"a\0b")
    os.mkfifo(f"{short_dir}/pipe")
    told = await outcomes(
        short_dir,
        call("read_file", path="binary"),
        call("read_file", path="."),
        call("read_file", path="pipe"),
        call("read_file", path="gone"),
        call("read_file", path="/etc/passwd"),
        call("read_file", path="binary/x"),
        call("read_file", path="nul\0"),
    )
    for text, words in zip(
        told,
        ("is binary", "use list_files", "no plain file", "list_files", "outside of your scope",
         "list_files", "outside of your scope"),
        strict=True,
    ):  # fmt: skip
        assert words in text
    assert f"{short_dir}/**" in told[4]


async def test_a_file_is_written_whole_and_keeps_its_mode(short_dir: str) -> None:
    path = put(short_dir, "run.sh", b"old")
    path.chmod(0o750)
    told = await outcomes(
        short_dir,
        call("write_file", path="run.sh", content="new"),
        call("read_file", path="run.sh"),
        call("write_file", path="run.sh", content="new"),
        call("write_file", path="run.sh", content="newer"),
        call("write_file", path="made/below/it", content="ü"),
        call("write_file", path="/etc/pods-test", content="no"),
    )
    assert "call read_file first" in told[0]
    assert told[2] == f"Wrote 3 bytes to {path}."
    assert told[3] == f"Wrote 5 bytes to {path}."
    assert path.read_bytes() == b"newer"
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert (path.parent / "made/below/it").read_bytes() == "ü".encode()
    assert "outside of your scope" in told[5]
    assert [name for name in os.listdir(short_dir) if name.startswith(".")] == []


async def test_what_somebody_changed_since_the_reading_is_not_written_over(short_dir: str) -> None:
    path = put(short_dir, "shared", b"one two two")
    told = await outcomes(
        short_dir,
        call("edit_file", path="shared", old="one", new="1"),
        call("read_file", path="shared"),
        call("run_command", command="printf 'one two two!' > shared"),
        call("edit_file", path="shared", old="one", new="1"),
        call("write_file", path="shared", content="mine"),
        call("read_file", path="shared"),
        call("edit_file", path="shared", old="three", new="3"),
        call("edit_file", path="shared", old="two", new="2"),
        call("edit_file", path="shared", old="two", new="2", all=True),
        call("edit_file", path="shared", old="", new="2"),
        call("run_command", command="rm shared"),
        call("edit_file", path="shared", old="one", new="2"),
        call("run_command", command="printf '\\377' > shared"),
        call("read_file", path="shared"),
        call("edit_file", path="shared", old="one", new="2"),
    )
    assert "call read_file first" in told[0]
    assert "changed since you read it" in told[3]
    assert "changed since you read it" in told[4]
    assert "is not in" in told[6]
    assert "2 times" in told[7]
    assert told[8] == f"Replaced 2 places in {path}."
    assert "`old` is empty" in told[9]
    assert "list_files" in told[11]
    assert "is not UTF-8" in told[14]


async def test_a_scope_of_one_file_is_written_in_place(
    short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_EXCL and "one.txt" in str(path):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *more, **named)

    path = put(short_dir, "one.txt", b"a longer text")
    monkeypatch.setattr("pods.agents.model.files.os.open", refuse)
    told = await outcomes(
        short_dir, call("read_file", path="one.txt"),
        call("write_file", path="one.txt", content="short"),
    )  # fmt: skip
    assert told[1].startswith("Wrote 5 bytes")
    assert path.read_bytes() == b"short"


async def test_listing_shows_what_may_be_read_and_search_finds_lines(short_dir: str) -> None:
    for name in ("src/deep", "hidden", ".git"):
        os.makedirs(f"{short_dir}/t/{name}")
    put(short_dir, "t/src/a.py", b"import os\nx = 1\n")
    put(short_dir, "t/src/deep/b.txt", b"IMPORT\n")
    put(short_dir, "t/.git/c.py", b"import git\n")
    grant = ScopeGrant(
        allow=(ScopeRule(target=short_dir, permission="write"),),
        deny=(ScopeRule(target=f"{short_dir}/t/hidden", permission="read"),),
    )
    told = await outcomes(
        short_dir,
        call("list_files", path="t", depth=3),
        call("list_files", path="t/hidden"),
        call("search_files", pattern="^import|x =", path="t"),
        call("search_files", pattern="import", path="t", ignore_case=True, files="*.txt"),
        call("search_files", pattern="nowhere", path="t"),
        call("search_files", pattern="(", path="t"),
        call("search_files", pattern="x", path="/etc"),
        spec={"grant": grant},
    )
    assert told[0].split() == [".git/", "src/", "src/a.py", "src/deep/", "src/deep/b.txt"]
    assert "outside of your scope" in told[1]
    assert told[2] == f"{short_dir}/t/src/a.py:1:import os\n{short_dir}/t/src/a.py:2:x = 1"
    assert told[3] == f"{short_dir}/t/src/deep/b.txt:1:IMPORT"
    assert told[4] == "[nothing found]"
    assert "grep" in told[5]
    assert "outside of your scope" in told[6]


async def test_a_long_listing_is_cut(short_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_ENTRIES", 2)
    for name in "abc":
        put(short_dir, name, b"")
    (told,) = await outcomes(short_dir, call("list_files"))
    assert told == "a\nb\n[only the first 2; list a directory below it]"


async def test_a_command_tells_its_output_its_end_and_nothing_secret(short_dir: str) -> None:
    told = await outcomes(
        short_dir,
        call("run_command", command="echo out; echo err >&2; exit 3"),
        call("run_command", command="env | grep -c SECRET"),
        call("run_command", command="sleep 60", timeout_seconds=1),
        call("run_command", command="seq 1 100000"),
    )
    assert sorted(told[0].splitlines()) == ["[exit status 3]", "err", "out"]
    assert told[1].startswith("0\n")
    assert "ended after 1 s" in told[2]
    assert told[3].startswith("1\n2\n")
    assert "bytes were left out here" in told[3]
    assert told[3].endswith("100000\n[exit status 0]")


async def test_calls_that_are_wrong_say_what_would_be_right(short_dir: str) -> None:
    wrong: list[Json] = [
        {"name": "read_file", "arguments": {"file": "x"}},
        {"name": "read_file", "arguments": {}},
        {"name": "read_file", "arguments": {"path": 3}},
        {"name": "read_file", "arguments": {"path": "x", "offset": 0}},
        {"name": "read_file", "arguments": {"path": "x", "offset": True}},
        {"name": "read_file", "arguments": "[1]"},
    ]
    told = await outcomes(short_dir, *wrong)
    for text, words in zip(
        told,
        ("no field `file`; the fields are `path`, `offset`, `limit`", "`path` is missing",
         "must be of type string", "at least 1", "must be of type integer", "no JSON object"),
        strict=True,
    ):  # fmt: skip
        assert words in text


async def test_a_tool_that_is_not_there_is_told_with_those_that_are(short_dir: str) -> None:
    """The endpoint only calls what was offered, so the toolbox is asked itself."""
    told: list[str] = []

    async def agent(turn: Turn) -> None:
        calls = [Call("a", "SpawnPod", {}, "{}"), Call("b", "bash", {}, "{}")]
        told.extend(one.text for one in (await Toolbox(None).run(turn, calls)).results)

    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="x"))
        await until_idle(client)
    assert "--call-back" in told[0]
    assert "the tools are read_file, write_file" in told[1]


async def test_of_one_answer_only_so_many_calls_are_run_and_the_model_is_told(
    short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolbox, "MAX_CALLS", 2)
    script: list[Json] = [
        {"tools": [call("run_command", command=f"echo {at}") for at in range(3)]},
        {"text": "done"},
    ]
    pod, endpoint = await one_turn(short_dir, script)
    assert pod.ends()[0]["stop_reason"] == "end_turn"
    assert len(results(pod)) == 2
    assert endpoint.asked[1].results == 3, "each call has its answer"
    assert "Not run: 2 calls" in endpoint.asked[1].everything
    assert [one["code"] for one in data(pod, "warning")] == ["calls_left_out"]


async def test_arguments_that_no_journal_takes_are_told_and_the_turn_goes_on(
    short_dir: str,
) -> None:
    wrong = ['{"path": "\\ud800"}', '{"timeout_seconds": NaN}', f'{{"path": 1{"0" * 40}}}']
    calls: list[Json] = [{"name": "run_command", "arguments": one} for one in wrong]
    assert all("no JSON object" in text for text in await outcomes(short_dir, *calls))


async def test_lines_are_those_that_grep_counts(short_dir: str) -> None:
    put(short_dir, "odd", "one\u2028still\x0cone\rhere\r\ntwo\n".encode())
    (told,) = await outcomes(short_dir, call("read_file", path="odd", offset=2))
    assert told == "two\n"


@pytest.mark.parametrize("links", [True, False])
async def test_a_file_that_appears_while_it_is_written_is_not_written_over(
    short_dir: str, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    link = os.link

    def later(source: str, target: str) -> None:
        if not links:
            raise PermissionError
        put(short_dir, "new", b"theirs")
        link(source, target)

    monkeypatch.setattr("pods.agents.model.files.os.link", later)
    writing, reading = call("write_file", path="new", content="ours"), call("read_file", path="new")
    told, there = await outcomes(short_dir, writing, reading)
    assert ("somebody made it just now" in told) == links
    assert there == ("theirs" if links else "ours")
    assert not [name for name in os.listdir(short_dir) if name.startswith(".new")]
