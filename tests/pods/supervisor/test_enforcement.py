"""What the kernel holds pods to is told to everybody who asks, and required it is had or refused.

Both levels: as this machine is, and with Landlock reported missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from pods.client import aio
from pods.scope.confine import ABI_VARIABLE, OFF_VARIABLE
from pods.scope.landlock import abi_version
from pods_protocol.errors import NotEnforceable, PodsError
from pods_protocol.supervisor_messages import Doctor, InspectPod, SpawnPod, SpawnPodResult
from pods_protocol.values import Enforcement, ScopeRule
from supervisor_support import WAIT_SECONDS, supervisor_and_client

needs_landlock = pytest.mark.skipif(abi_version() < 6, reason="needs Landlock 6")


def content(path: str) -> str:
    return Path(path).read_text()


def exists(path: str) -> bool:
    return os.path.exists(path)


@pytest.fixture
def work(short_dir: str) -> str:
    path = f"{short_dir}/w"
    os.mkdir(path)
    return path


@needs_landlock
async def test_a_pod_is_held_to_its_scope_and_everybody_is_told(
    pods_environ: dict[str, str], work: str, short_dir: str
) -> None:
    outside = f"{short_dir}/outside"
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            prompt = f"echo in > {work}/in; echo out > {outside}; ls {short_dir}"
            pod = await client.spawn("one", write=[work], cwd=work, prompt=prompt)
            await client.wait("one")
            assert content(f"{work}/in") == "in\n"
            assert not exists(outside)
            said = await client.read_text("one")
            assert said.count("Permission denied") == 2

            assert pod.spawned is not None
            told = pod.spawned.enforcement
            assert (told.backend, told.files, told.signals, told.syscalls) == (
                *("landlock", "kernel", "kernel"),
                told.syscalls,
            )
            assert told.kill == "landlock_domain"
            assert [rule.exact for rule in told.rules] == [True, True]
            assert (await client.request(InspectPod(pod="one"))).pod.enforcement == told
            (row,) = (await client.list()).pods
            assert row.enforcement.summary == told.summary
            assert row.enforcement.rules == ()
            found = (await client.request(Doctor())).enforcement
            assert (found.backend, found.abi, found.kill) == (
                *("landlock", told.abi),
                "landlock_domain",
            )
            await client.stop("one")
            assert (await client.request(InspectPod(pod="one"))).pod.enforcement == told


@needs_landlock
async def test_required_enforcement_is_tried_before_anything_is_started(
    pods_environ: dict[str, str], work: str
) -> None:
    os.mkdir(f"{work}/sub")
    entries = ScopeRule(target=work, permission="write", recursive=False)
    tree = ScopeRule(target=work, permission="write")
    inside = ScopeRule(target=f"{work}/sub", permission="write")
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            for allow, deny in (((entries,), ()), ((tree,), (inside,))):
                asked = SpawnPod(
                    name="one", allow=allow, deny=deny, cwd=work, require_enforcement=True
                )
                with pytest.raises(NotEnforceable, match="asked: write") as caught:
                    await client.request(asked)
                assert caught.value.data["enforcement"] == "landlock"
                assert (await client.list()).pods == ()
            pod = await client.spawn("one", write=[work], require_enforcement=True)
            assert pod.spawned is not None
            assert pod.spawned.enforcement.backend == "landlock"
            await client.stop("one")
            spawned = await client.request(
                SpawnPod(name="two", allow=(tree,), deny=(inside,), cwd=work)
            )
            assert "1 of 2 rules not exact" in spawned.enforcement.summary
            rows = {row.name: row.enforcement for row in (await client.list()).pods}
            assert [rule.exact for rule in rows["two"].rules] == [False]
            await client.stop("two")


async def test_without_landlock_pods_run_and_nothing_claims_to_hold_them(
    pods_environ: dict[str, str], work: str, short_dir: str
) -> None:
    environ = {**pods_environ, OFF_VARIABLE: "1"}
    outside = f"{short_dir}/outside"

    def is_none(told: Enforcement) -> bool:
        parts = (told.backend, told.files, told.signals, told.syscalls, told.kill)
        assert OFF_VARIABLE in told.reason
        return parts == ("none", "none", "none", "none", "subreaper_loop")

    async with supervisor_and_client(environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("one", write=[work], prompt=f"echo out > {outside}")
            await client.wait("one")
            assert content(outside) == "out\n"
            assert pod.spawned is not None
            assert is_none(pod.spawned.enforcement)
            (row,) = (await client.list()).pods
            assert is_none(row.enforcement)
            assert is_none((await client.request(Doctor())).enforcement)
            with pytest.raises(NotEnforceable, match=OFF_VARIABLE):
                await client.spawn("two", write=[work], require_enforcement=True)
            await client.stop("one")


@pytest.mark.parametrize("off", ["", "1"], ids=["as the kernel can", "held by nothing"])
async def test_a_scope_at_home_is_warned_of_whatever_the_pods_own_home_is_said_to_be(
    pods_environ: dict[str, str], work: str, off: str
) -> None:
    environ = {**pods_environ, OFF_VARIABLE: off, "HOME": work}
    os.mkdir(f"{work}/.ssh")
    async with supervisor_and_client(environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn(
                "one", write=[f"{work}/.ssh"], env={"HOME": "/nonexistent"}, prompt="true"
            )
            assert pod.spawned is not None
            assert any("/.ssh" in warning for warning in pod.spawned.enforcement.warnings)
            await client.stop("one")


@needs_landlock
async def test_a_kernel_that_leaves_signals_open_is_not_enough_where_enforcement_is_required(
    pods_environ: dict[str, str], work: str
) -> None:
    async with supervisor_and_client({**pods_environ, ABI_VARIABLE: "5"}) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("one", write=[work], prompt="true")
            assert pod.spawned is not None
            told = pod.spawned.enforcement
            assert (told.abi, told.files, told.signals) == (5, "kernel", "none")
            assert told.kill == "subreaper_loop"
            with pytest.raises(NotEnforceable, match="cannot refuse signals"):
                await client.spawn("two", write=[work], require_enforcement=True)
            await client.stop("one")


@needs_landlock
async def test_what_ancestors_deny_counts_where_enforcement_is_required(
    pods_environ: dict[str, str], work: str
) -> None:
    os.mkdir(f"{work}/sub")
    tree = ScopeRule(target=work, permission="write")
    inside = ScopeRule(target=f"{work}/sub", permission="write")
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            parent = await client.request(
                SpawnPod(name="parent", agent="echo", allow=(tree,), deny=(inside,), cwd=work)
            )
            async with aio.connect_socket(supervisor.places.socket, parent.token) as as_parent:
                # Asked for alone the rule is exact; less what the parent is denied it is not.
                with pytest.raises(NotEnforceable, match="asked: write"):
                    await as_parent.request(
                        SpawnPod(name="child", allow=(tree,), cwd=work, require_enforcement=True)
                    )
                assert (await as_parent.list()).pods == ()


@needs_landlock
async def test_another_interpreter_is_held_just_the_same(
    pods_environ: dict[str, str], work: str, short_dir: str, other_python: Callable[[], str]
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            prompt = f"echo in > {work}/in; echo out > {short_dir}/outside"
            pod = await client.spawn("one", write=[work], python=other_python(), prompt=prompt)
            await client.wait("one")
            assert pod.spawned is not None
            assert pod.spawned.enforcement.backend == "landlock"
            assert os.listdir(work) == ["in"]
            assert not exists(f"{short_dir}/outside")
            await client.stop("one")


@pytest.fixture
def other_python(short_dir: str) -> Callable[[], str]:
    """Makes a virtual environment that sees this tree by path files, as a development install."""

    def make() -> str:
        import subprocess
        import sys

        directory = f"{short_dir}/venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
        (packages,) = Path(directory).glob("lib/python3*/site-packages")
        rooms = [entry for entry in sys.path if os.path.isabs(entry) and os.path.isdir(entry)]
        (packages / "tree.pth").write_text("".join(f"{entry}\n" for entry in rooms))
        return f"{directory}/bin/python"

    return make


@pytest.mark.skipif(abi_version() < 6, reason="needs Landlock 6")
async def test_a_link_beside_the_agents_module_opens_nothing_to_the_pod(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    work, kept = Path(short_dir, "w"), Path(short_dir, "kept")
    for directory in (work, kept):
        directory.mkdir()
    (kept / "secret").write_text("hush")
    (work / "prying").symlink_to(kept)
    (work / "prying.py").write_text(
        "async def look(turn):\n"
        "    try:\n"
        f"        await turn.text(open({str(kept / 'secret')!r}).read())\n"
        "    except PermissionError:\n"
        "        await turn.text('refused')\n"
    )
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one", agent="prying:look", cwd=str(work), prompt="x")
            await client.wait("one")
            assert await client.read_text("one") == "refused"
            await client.stop("one")


@needs_landlock
async def test_an_interpreter_that_a_pod_chose_opens_nothing_to_its_child(
    pods_environ: dict[str, str], work: str, short_dir: str
) -> None:
    kept, environment = Path(short_dir, "kept"), Path(work, "venv")
    for directory in (kept, environment / "bin", environment / "lib/python3/site-packages"):
        directory.mkdir(parents=True)
    (kept / "secret").write_text("hush")
    (environment / "lib/python3/site-packages/more.pth").write_text(f"{kept}\n")
    program = environment / "bin/python"
    program.write_text(f"#!/bin/sh\ncat {kept}/secret > {work}/told\necho ran >> {work}/told\n")
    program.chmod(0o700)
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            parent: SpawnPodResult = await client.request(
                SpawnPod(
                    name="parent", agent="echo", cwd=work,
                    allow=(ScopeRule(target=work, permission="write"),),
                )
            )  # fmt: skip
            async with aio.connect_socket(supervisor.places.socket, parent.token) as inside:
                with pytest.raises(PodsError):
                    await inside.spawn("child", agent="echo", write=[work], python=str(program))
            assert content(f"{work}/told") == "ran\n"
            await client.stop("parent")
