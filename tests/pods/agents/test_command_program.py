"""The program of a `command` agent is looked for as its pod starts, by what the pod goes by."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio

from pods.agents.command import CommandAgent
from pods.agents.runnable import why_not
from pods.client import aio
from pods.scope.landlock import abi_version
from pods_protocol.errors import AgentError
from supervisor_support import NOTHING, WAIT_SECONDS, left_in, supervisor_and_client


def program(path: Path, first_line: str = "#!/bin/sh", mode: int = 0o755) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{first_line}\ncat\n")
    path.chmod(mode)
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a PATH of two directories in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/one:{tmp_path}/two")
    return tmp_path


def test_a_program_is_found_on_the_path_by_its_place_and_beside_the_work(here: Path) -> None:
    program(here / "two" / "tool")
    program(here / "one" / "tool", mode=0o644)  # the kernel passes it over, too
    program(here / "beside")
    assert [why_not(word) for word in ("tool", "/bin/sh", "./beside", "two/tool")] == [None] * 4


def test_a_first_line_ends_where_the_kernel_ends_it(here: Path) -> None:
    program(here / "with-a-nul", "#! /bin/sh\0\0 packed")
    program(here / "dos", "#!/bin/sh\r")
    assert why_not("./with-a-nul") is None
    obstacle = why_not("./dos")
    assert obstacle is not None
    assert obstacle.detail.startswith("it begins with '#!/bin/sh\\r'")


def test_an_empty_place_of_the_path_is_the_working_directory(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(here / "beside")
    assert why_not("beside") is not None
    monkeypatch.setenv("PATH", f"{here}/one:")
    assert why_not("beside") is None


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("nosuchprog", "no program 'nosuchprog' on the PATH"),
        ("./nosuchprog", "no program './nosuchprog' in {here}"),
        ("/no/such/prog", "no program '/no/such/prog'"),
        ("beside/below", "no program 'beside/below' in {here}"),
        ("./one", ": it is a directory"),
        ("./plain", ": it is not executable; chmod +x ./plain"),
        ("plain-in-one", ": {here}/one/plain-in-one is not executable"),
        ("./odd", ": it begins with '#!/no/such/python', and there is no such program"),
        ("", "no program ''"),
        ("a\0b", "no program 'a\\x00b'"),
        ("\ud800", "no program '\\ud800'"),
    ],
)
def test_a_program_that_cannot_be_started_is_refused_with_the_reason(
    here: Path, word: str, words: str
) -> None:
    program(here / "beside")
    program(here / "plain", mode=0o644)
    program(here / "one" / "plain-in-one", mode=0o644)
    program(here / "odd", "#! /no/such/python -u")
    with pytest.raises(AgentError) as refused:
        CommandAgent({"argv": [word]})
    assert words.format(here=here) in refused.value.message
    assert refused.value.message.startswith(f"cannot run {word!r}: ")
    assert "; " in refused.value.message


def test_what_may_be_run_and_not_read_is_left_to_the_kernel(here: Path) -> None:
    secret = program(here / "secret", mode=0o111)
    assert why_not(str(secret)) is None


async def spawn_command(client: aio.PodsClient, name: str, *argv: str, **more: Any) -> None:
    await client.spawn(name, agent="command", options={"argv": list(argv)}, **more)


async def test_a_spawn_whose_program_is_missing_is_refused_and_leaves_nothing(
    pods_environ: dict[str, str], tmp_path: Path
) -> None:
    """By the pod's own PATH and directory, not by the asker's or the supervisor's."""
    own = program(tmp_path / "bin" / "own-tool")
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            for argv in (["nosuchprog"], ["own-tool"], ["./own-tool"]):
                with pytest.raises(AgentError, match=f"no program '{argv[0]}'"):
                    await spawn_command(client, "x", *argv, cwd=tmp_path)
            assert (await client.list()).pods == ()
            path = f"{own.parent}:{os.environ['PATH']}"
            await spawn_command(client, "by-path", "own-tool", env={"PATH": path})
            await spawn_command(client, "by-place", "./own-tool", cwd=own.parent, prompt="said")
            await client.wait("by-place")
            assert await client.read_text("by-place") == "said"
    assert left_in(pods_environ) == NOTHING


@pytest.mark.skipif(abi_version() < 1, reason="this kernel has no Landlock")
async def test_a_program_that_the_kernel_keeps_from_the_pod_is_refused(
    pods_environ: dict[str, str], tmp_path: Path
) -> None:
    tool, work = program(tmp_path / "bin" / "tool"), tmp_path / "work"
    work.mkdir()
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            with pytest.raises(AgentError, match="the pod may not read it;") as refused:
                await spawn_command(client, "x", str(tool), write=[work], cwd=work)
            assert f"--read {tool}" in refused.value.message
            await spawn_command(client, "x", str(tool), write=[work], cwd=work, read=[tool])
    assert left_in(pods_environ) == NOTHING
