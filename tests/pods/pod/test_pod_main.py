"""The pod's process under another interpreter, as the keeper starts it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from pod_support import TOKEN, WAIT_SECONDS, make_spec, until_idle
from pods.journal.reader import iterate
from pods.journal.store import Journal
from pods.pod.main import EXIT_CANNOT_START, EXIT_OK, EXIT_USAGE, main
from pods.rpc.client import RpcClient, open_rpc
from pods.rpc.unix import bind_unix
from pods_protocol.api import POD_API
from pods_protocol.codec import to_json
from pods_protocol.errors import AgentError, NotAuthorized, PodRunning
from pods_protocol.pod_messages import GetStatus, Run, Shutdown
from pods_protocol.process_messages import PodSpec


@asynccontextmanager
async def pod_process(spec: PodSpec) -> AsyncGenerator[trio.Process, None]:
    """A pod in a process of its own."""
    os.makedirs(spec.state_directory, exist_ok=True)
    os.makedirs(spec.runtime_directory, exist_ok=True)
    listener = bind_unix(spec.pod_socket)
    handover = os.memfd_create("spec", 0)
    try:
        line = {"spec": to_json(spec), "listener_fd": listener.fileno()}
        os.write(handover, json.dumps(line).encode() + b"\n")
        os.lseek(handover, 0, os.SEEK_SET)
        process = await trio.lowlevel.open_process(
            [sys.executable, "-P", "-m", "pods.pod", str(handover)],
            pass_fds=[handover, listener.fileno()],
            stderr=subprocess.DEVNULL,
        )
    finally:
        os.close(handover)
        listener.close()
    try:
        with trio.fail_after(WAIT_SECONDS):
            yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        os.unlink(spec.pod_socket)


def greeted(spec: PodSpec, token: str = TOKEN) -> contextlib.AbstractAsyncContextManager[RpcClient]:
    return open_rpc(spec.pod_socket, POD_API, token=token)


def kinds(spec: PodSpec) -> list[str]:
    return [event.type for event in iterate(f"{spec.state_directory}/journal")]


async def test_a_pod_lives_answers_and_ends_with_success(short_dir: str) -> None:
    spec = make_spec(short_dir, call_back=True)
    async with pod_process(spec) as process:
        async with greeted(spec) as client:
            await client.request(Run(input="hello"))
            await until_idle(client)
            await client.request(Shutdown())
        assert await process.wait() == EXIT_OK
    assert kinds(spec)[-3:] == ["turn_ended", "status", "stopped"]
    assert os.stat(f"{spec.runtime_directory}/token").st_mode & 0o777 == 0o600


async def test_sigterm_ends_the_pod_and_its_turn(short_dir: str) -> None:
    spec = make_spec(short_dir, agent="shell")
    async with pod_process(spec) as process:
        async with greeted(spec) as client:
            await client.request(Run(input="sleep 60"))
            process.send_signal(signal.SIGTERM)
            await client.closed.wait()
        assert await process.wait() == EXIT_OK
    assert kinds(spec)[-3:] == ["status", "turn_ended", "stopped"]


async def test_an_agent_that_does_not_load_is_told_to_who_says_hello(short_dir: str) -> None:
    spec = make_spec(short_dir, agent="shel")
    async with pod_process(spec) as process:
        with pytest.raises(NotAuthorized):
            async with greeted(spec, token="wrong"):
                pass
        with pytest.raises(AgentError, match="did you mean 'shell'"):
            async with greeted(spec):
                pass
        assert await process.wait() == EXIT_CANNOT_START
    (event,) = iterate(f"{spec.state_directory}/journal")
    assert (event.type, event.data["reason"]) == ("stopped", "failed")


async def test_a_journal_that_another_process_writes_is_left_alone(short_dir: str) -> None:
    spec = make_spec(short_dir)
    with Journal.open(f"{spec.state_directory}/journal"):
        async with pod_process(spec) as process:
            with pytest.raises(PodRunning):
                async with greeted(spec):
                    pass
            assert await process.wait() == EXIT_CANNOT_START
    assert kinds(spec) == []


async def test_a_pod_that_was_killed_goes_on_when_it_is_started_again(short_dir: str) -> None:
    spec = make_spec(short_dir, agent="shell")
    async with pod_process(spec) as process, greeted(spec) as client:
        await client.request(Run(input="sleep 1"))
        await client.request(Run(input="echo kept", if_busy="queue"))
        process.kill()
        await client.closed.wait()
    async with pod_process(spec), greeted(spec) as client:
        await until_idle(client)
        status = await client.request(GetStatus())
        assert status.last_turn is not None
        assert (status.last_turn.turn, status.last_turn.stop_reason) == (2, "end_turn")
    assert kinds(spec).count("turn_ended") == 2


@pytest.mark.parametrize("arguments", [[], ["x"], ["1", "2"], ["99999"]])
def test_a_person_who_starts_it_is_told_what_to_use(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == EXIT_USAGE
    assert capsys.readouterr().err


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b'{"spec": {"token": "s3cret"}}'])
def test_a_descriptor_without_a_spec_is_refused_and_its_content_not_shown(
    line: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.write(writer, line)
    os.close(writer)
    assert main([str(reader)]) == EXIT_USAGE
    assert "s3cret" not in capsys.readouterr().err


def test_a_forked_pod_carries_nothing_heavy() -> None:
    script = (
        "import sys; import pods.pod.main, pods.agents.shell, pods.agents.command; "
        "print(' '.join(sorted({name.partition('.')[0] for name in sys.modules} "
        "& {'jsonschema', 'psutil', 'filelock', 'rich', 'asyncio', 'pods_tools'})), "
        "*(name for name in sys.modules if name.startswith('pods.client')))"
    )
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == ""
