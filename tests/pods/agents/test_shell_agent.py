"""The shell agent in a pod with a real journal: a message is a command line."""

from __future__ import annotations

import os

import pytest

from pod_support import connected, data, living_pod, one_turn, until, until_idle
from pods.agents import programs, recorder
from pods.agents.programs import find_shell
from pods.agents.shell import ShellAgent
from pods_protocol.pod_messages import Cancel, Notify, Run


async def test_a_message_is_a_command_line(short_dir: str) -> None:
    pod = await one_turn(short_dir, ShellAgent(), "pwd; echo $PODS_NAME; [[ -n x ]] && echo bash")
    assert pod.texts() == f"{short_dir}\nworker\nbash\n"
    assert pod.ends()[0]["stop_reason"] == "end_turn"
    assert pod.ends()[0]["exit_status"] == 0


async def test_a_command_that_fails_is_no_success(short_dir: str) -> None:
    pod = await one_turn(short_dir, ShellAgent(), "exit 3")
    end = pod.ends()[0]
    assert (end["stop_reason"], end["exit_status"], end["message"]) == (
        "error", 3, "exit status 3",
    )  # fmt: skip


async def test_a_command_line_that_the_kernel_does_not_take_says_what_to_do(short_dir: str) -> None:
    pod = await one_turn(short_dir, ShellAgent(), "echo " + "x" * 200_000)
    assert "write the text to a file" in pod.ends()[0]["message"]


async def test_a_command_can_be_cancelled_and_keeps_what_it_said(short_dir: str) -> None:
    async with living_pod(short_dir, ShellAgent()) as pod, connected(pod) as client:
        await client.request(Run(input="echo begun; sleep 60"))
        await until(lambda: "text_delta" in pod.kinds(), pod)
        await client.request(Cancel())
        await until_idle(client)
        assert pod.texts() == "begun\n"
        assert pod.ends()[0]["stop_reason"] == "cancelled"


async def test_commands_see_the_scope_and_the_notes_and_no_secret(short_dir: str) -> None:
    async with living_pod(short_dir, ShellAgent()) as pod, connected(pod) as client:
        await client.request(Notify(message="one"))
        line = 'echo "$PODS_NOTES $PODS_SCOPE_WRITE $PODS_SCOPE_READ [$PODS_TOKEN_FILE]"; env'
        await client.request(Run(input=line))
        await until_idle(client)
        assert pod.texts().startswith(f"one {short_dir} /usr []\n")
        assert pod.spec.token not in pod.texts()


async def test_a_pod_that_may_call_back_tells_its_commands_where(short_dir: str) -> None:
    line = 'echo "$PODS_SOCKET $PODS_TOKEN_FILE"'
    pod = await one_turn(short_dir, ShellAgent(), line, call_back=True)
    assert pod.texts() == f"{short_dir}/s {short_dir}/run/token\n"


async def test_output_beyond_the_bound_is_dropped_and_counted(
    short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder.Recorder.__init__, "__kwdefaults__", {"max_output_bytes": 50_000})
    pod = await one_turn(short_dir, ShellAgent(), "head -c 200000 /dev/zero | tr '\\0' x; echo >&2")
    assert len(pod.texts()) <= 50_000
    (warning,) = data(pod, "warning")
    assert warning["code"] == "output_dropped"
    assert str(200_001 - len(pod.texts())) in warning["message"]
    assert pod.ends()[0]["stop_reason"] == "end_turn"


async def test_a_process_left_running_is_told(short_dir: str) -> None:
    pod = await one_turn(short_dir, ShellAgent(), "sleep 60 & echo $!")
    assert data(pod, "warning")[0]["code"] == "left_running"
    os.kill(int(pod.texts()), 9)


def test_the_shell_is_bash_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_shell() == "/bin/bash"
    monkeypatch.setattr(programs, "SHELLS", ("/no/bash", "/no/sh"))
    assert find_shell() == "/no/sh"
