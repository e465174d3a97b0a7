"""What of the user's environment and home gets into a pod: little, and what does is said."""

from __future__ import annotations

import os

import pytest
import trio

from supervisor_support import WAIT_SECONDS, supervisor_and_client

DOORS = {
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/x-door",
    "SSH_AUTH_SOCK": "/x-door",
    "GPG_AGENT_INFO": "/x-door",
    "DOCKER_HOST": "tcp://x-door",
    "CONTAINER_HOST": "unix:///x-door",
    "KUBECONFIG": "/x-door",
    "XDG_RUNTIME_DIR": "/x-door",
    "DISPLAY": ":x-door",
    "WAYLAND_DISPLAY": "x-door",
    "AWS_SECRET_ACCESS_KEY": "x-door",
    "GOOGLE_APPLICATION_CREDENTIALS": "/x-door",
    "GITHUB_TOKEN": "x-door",
    "ANTHROPIC_API_KEY": "x-door",
    "OPENAI_API_KEY": "x-door",
    "LD_PRELOAD_X": "x-door",
}
"""Session bus, agents, container engines, displays, cloud and model keys."""


async def test_no_door_and_no_key_of_the_users_environment_gets_into_a_pod(
    pods_environ: dict[str, str], short_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in DOORS.items():
        monkeypatch.setenv(name, value)
    home = f"{short_dir}/home"
    os.makedirs(f"{home}/.ssh")
    monkeypatch.setenv("HOME", home)
    async with supervisor_and_client({**pods_environ, **DOORS, "HOME": home}) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            prompt = "env; echo and of its pod:; tr '\\0' '\\n' < /proc/$PPID/environ"
            pod = await client.spawn("one", write=[home], prompt=prompt, env={"NAMED": "given"})
            await client.wait("one")
            said = await client.read_text("one")
            assert "NAMED=given" in said
            assert "and of its pod:" in said
            assert "x-door" not in said
            assert pod.spawned is not None
            (warning,) = pod.spawned.enforcement.warnings[:1]
            assert warning == f"the write scope {home} is the home directory"
