"""The audit of a short session: who did what, what was refused, and no secret in any of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from pods.cli import main
from pods.client import aio
from pods.config import Config
from pods.journal.reader import iterate
from pods.scope.identity import identify
from pods.scope.registry import ScopeRegistry
from pods.scope.table import Table
from pods.supervisor.audit import MAX_SAME_REFUSALS, Audit
from pods_protocol.errors import (
    Busy,
    CapacityReached,
    InvalidScope,
    NotAuthorized,
    ScopeNotDelegable,
    UnknownPod,
)
from pods_protocol.values import Limits
from scope_support import lease
from supervisor_support import WAIT_SECONDS, supervisor_and_client, with_rooms

SECRET = "hunter2-is-not-a-good-one"


def lines_of(directory: str) -> list[tuple[str, dict[str, Any]]]:
    """Kind and data of every line."""
    return [(event.type, event.data) for event in iterate(directory)]


async def test_a_session_can_be_told_from_its_audit_and_holds_no_secret(
    pods_environ: dict[str, str], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    os.makedirs(work / "part")
    config = Config(max_spawns=4)
    async with supervisor_and_client(pods_environ, config=config) as (supervisor, client):
        places = supervisor.places
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn(
                "lead", write=[work], env={"KEY": SECRET}, prompt=f"true {SECRET}",
                limits=Limits(turns=50),
            )  # fmt: skip
            lead = supervisor.table.named("lead")
            assert lead is not None
            token = supervisor.pods[lead.id].token
            async with aio.connect_socket(places.socket, token) as own:
                await own.spawn("child", write=[work / "part"], agent="echo")
                with pytest.raises(ScopeNotDelegable):
                    await own.spawn("thief", write=["/etc"], agent="echo")
                with pytest.raises(CapacityReached):
                    await own.spawn("greedy", limits=Limits(turns=100), agent="echo")
                with pytest.raises(InvalidScope):
                    await own.spawn("liar", write=[places.state], agent="echo")
                with pytest.raises(Busy) as caught:
                    await own.spawn("more", agent="echo")
                assert caught.value.data["limit_name"] == "spawns_per_minute"
                with pytest.raises(UnknownPod):
                    await own.inspect("lead")
                await own.stop("child")
            with pytest.raises(NotAuthorized):
                async with aio.connect_socket(places.socket, SECRET):
                    pass
            if (await client.inspect("lead")).pod.enforcement.backend == "landlock":
                end = await client.pod("lead").turn(f"echo forged >> {places.audit}/forged")
                assert end.stop_reason != "end_turn"
            await client.stop("lead", mode="kill")
            await client.remove(lead.id)  # by the id, as `pods rm --all-ended` does
        told = lines_of(places.audit)
        tokens = (supervisor.token, token)
        _check_follow(pods_environ, supervisor.places.name, len(told))
    raw = _raw(places.audit)
    assert not any(secret.encode() in raw for secret in (SECRET, *tokens))
    short = [
        (kind, data.get("method", data.get("why", "")), data.get("pod", ""), data.get("code", ""))
        for kind, data in told
    ]
    assert short == [
        ("allowed", "spawn", "lead", ""),
        ("allowed", "spawn", "child", ""),
        ("lent", "", "child", ""),
        ("refused", "spawn", "thief", "scope_not_delegable"),
        ("refused", "spawn", "greedy", "capacity_reached"),
        ("refused", "spawn", "liar", "invalid_scope"),
        ("refused", "spawn", "more", "busy"),
        ("refused", "inspect", "lead", "unknown_pod"),
        ("reclaimed", "ended", "child", ""),
        ("ended", "", "child", ""),
        ("allowed", "stop", "child", ""),
        ("token_refused", "", "", "not_authorized"),
        ("reclaimed", "ended", "lead", ""),
        ("ended", "", "lead", ""),
        ("allowed", "stop", "lead", ""),
        ("allowed", "remove", "lead", ""),
    ]
    asked = told[3][1]
    assert asked["by"] == {"who": "pod", "pod": "lead", "id": lead.id, "pid": asked["by"]["pid"]}
    assert told[0][1]["by"]["who"] == "owner"
    assert told[0][1]["limits"] == {"turns": 50}  # what is set, alone
    assert told[2][1]["rules"] == [f"write {work / 'part'}"]
    assert (told[4][1]["asked"], told[4][1]["left"]) == (100, 24)
    assert (told[10][1]["step"], told[14][1]["step"]) == ("shutdown", "kill")


def _raw(directory: str) -> bytes:
    return b"".join(path.read_bytes() for path in Path(directory).iterdir() if path.is_file())


async def test_a_scope_that_a_spawn_takes_from_the_dead_is_in_the_audit(
    pods_environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "held").mkdir()
    process = await trio.lowlevel.open_process(["/bin/sleep", "1000"])
    holder = identify(process.pid)
    process.kill()
    await process.wait()
    ghost = evolve(lease("ghost", [f"w {tmp_path}/held/**"], holder=holder), supervisor="gone")

    def haunted(table: Table) -> tuple[Table, None]:
        return Table.of([*table.leases.values(), ghost]), None

    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            other = ScopeRegistry(supervisor.places.places.registry)
            await trio.to_thread.run_sync(other.transact, haunted)
            await client.spawn("heir", write=[tmp_path / "held"], agent="echo")
        told = lines_of(supervisor.places.audit)
    (kind, data) = told[0]
    assert (kind, data["why"], data["pod"], data["supervisor"]) == (
        "reclaimed", "dead", "ghost", "gone",
    )  # fmt: skip
    assert data["rules"] == [f"write {tmp_path / 'held'}"]
    assert told[1][1]["pod"] == "heir"


def _check_follow(environ: dict[str, str], name: str, lines: int) -> None:
    """What the command line prints is the same."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pods", "--supervisor", name, "audit", "--json"],
        env=with_rooms(environ),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=True,
    )
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == list(
        range(1, lines + 1)
    )


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"status": 0, "reason": "exited", "survivors_killed": 0}, "exit=status 0"),
        ({"status": -9, "reason": "signalled"}, "exit=signal 9"),
        (
            {"status": 3, "reason": "exited", "survivors_killed": 2},
            "exit=status 3, 2 killed after it",
        ),
        ({"status": None, "reason": "lost"}, "exit=lost"),
        (None, "exit=null"),
    ],
)
def test_an_end_is_printed_in_words(
    pods_environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seen: dict[str, Any] | None,
    words: str,
) -> None:
    for name, value in pods_environ.items():
        monkeypatch.setenv(name, value)
    audit = Audit(f"{pods_environ['PODS_STATE_DIR']}/supervisors/default/audit", print)
    audit.note("ended", {"pod": "api", "exit": seen and {**seen, "time": 1795863605.25}})
    audit.close()
    assert main(["audit"]) == 0
    assert capsys.readouterr().out.endswith(f"  ended  api  {words}\n")


def test_what_names_no_pod_has_no_empty_pod_in_its_line(
    pods_environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in pods_environ.items():
        monkeypatch.setenv(name, value)
    audit = Audit(f"{pods_environ['PODS_STATE_DIR']}/supervisors/default/audit", print)
    audit.note("allowed", {"method": "shutdown", "pod": "", "by": {"who": "owner", "pid": 7}})
    audit.close()
    assert main(["audit"]) == 0
    assert capsys.readouterr().out.endswith("  allowed  shutdown by owner (7)\n")


def test_an_audit_with_nothing_to_print_says_so_to_people(
    pods_environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in pods_environ.items():
        monkeypatch.setenv(name, value)
    assert main(["--supervisor", "other", "audit"]) == 0
    assert capsys.readouterr() == ("", "pods: nothing is on record of the supervisor other\n")
    assert main(["audit", "--since", "5m"]) == 0
    said = "pods: nothing is on record of the supervisor default in that time\n"
    assert capsys.readouterr() == ("", said)
    assert main(["audit", "--json"]) == 0
    assert capsys.readouterr() == ("", "")


def test_following_prints_a_line_as_it_is_written(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "pods", "audit", "-f", "--since", "1h"],
        env=with_rooms(pods_environ),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            directory = f"{pods_environ['PODS_STATE_DIR']}/supervisors/default/audit"
            audit = Audit(directory, print)
            assert process.stdout is not None
            for pod in ("one", "two"):
                audit.note("ended", {"pod": pod, "state": "failed", "limit": "turns"})
                assert f"ended  {pod}  state=failed limit=turns" in process.stdout.readline()
            audit.close()
        finally:
            process.kill()


def test_a_flood_of_refusals_is_counted_and_not_written(short_dir: str) -> None:
    audit = Audit(f"{short_dir}/audit", print)
    for _ in range(100):
        audit.note_refusal("refused", "a", {"method": "spawn", "code": "busy"})
    audit.note_refusal("refused", "b", {"method": "spawn", "code": "busy"})
    audit.close()
    told = lines_of(f"{short_dir}/audit")
    assert len(told) == MAX_SAME_REFUSALS + 1
    assert told[-1][1]["unwritten"] == 100 - MAX_SAME_REFUSALS


def test_a_disk_that_refuses_costs_the_line_and_is_told_once(short_dir: str) -> None:
    Path(f"{short_dir}/audit").write_text("in the way")
    said: list[str] = []
    audit = Audit(f"{short_dir}/audit", said.append)
    audit.note("ended", {})
    audit.note("ended", {})
    assert len(said) == 1
    assert said[0].startswith("cannot write the audit: ")
