"""What a pod learns of pods that are not its own, and what is kept of clients that have gone."""

from __future__ import annotations

import hashlib
import secrets

import pytest
import trio

from pods.client import aio
from pods.supervisor.core import Supervisor
from pods.supervisor.live import LivePod
from pods.supervisor.plan import MAX_DESCRIPTION_CHARACTERS
from pods_protocol.errors import InvalidParams, InvalidRequest, NameTaken
from pods_protocol.pod_messages import Ping
from pods_protocol.supervisor_messages import SubscribeLifecycle
from supervisor_support import NOTHING, WAIT_SECONDS, left_in, supervisor_and_client

SECRET = "a-key-that-is-nobody-elses"


async def test_a_pod_neither_replaces_nor_sees_a_stranger_of_the_name_it_wants(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("victim", prompt="echo precious")
            await client.wait("victim")
            await client.stop("victim")
            before = (await client.inspect("victim")).pod.id
            await client.spawn("stranger")
            token = _live(supervisor, "stranger").token
            async with aio.connect_socket(supervisor.places.socket, token) as stranger:
                for replace in (False, True):
                    with pytest.raises(NameTaken) as refused:
                        await stranger.spawn("victim", replace=replace)
                    assert before not in str(refused.value.data)
                    assert "stopped" not in str(refused.value.data)
            assert (await client.inspect("victim")).pod.id == before
            assert await client.read_text("victim") == "precious\n"
    assert left_in(pods_environ) == NOTHING


async def test_doctor_tells_a_pod_nothing_of_strangers(pods_environ: dict[str, str]) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("hidden")
            await client.spawn("curious")
            link = _live(supervisor, "hidden").pod
            assert link is not None
            await link.aclose()
            assert "hidden" in str((await client.doctor()).problems)
            token = _live(supervisor, "curious").token
            async with aio.connect_socket(supervisor.places.socket, token) as curious:
                answer = await curious.doctor()
            assert (answer.problems, answer.scopes) == ((), 0)


async def test_a_pod_that_runs_in_the_forked_image_finds_no_other_pods_secrets_in_it(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("rich", env={"API_KEY": SECRET})
            await client.spawn("nosy", agent="supervisor_support:Nosy", prompt="look")
            await client.wait("nosy")
            found = await client.read_text("nosy")
            assert "nosy" in found, "it looks in the right place"
            assert SECRET not in found
            assert _live(supervisor, "rich").token not in found


async def test_a_pods_memory_holds_no_other_pods_token_nor_variables(
    pods_environ: dict[str, str],
) -> None:
    """Not even in what the launcher, whose memory it has, has freed."""
    key = secrets.token_hex(32)
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            for number in range(5):
                await client.spawn(f"rich{number}", env={"API_KEY": key})
            tokens = [_live(supervisor, f"rich{number}").token for number in range(5)]
            await client.spawn("scanner", agent="supervisor_support:Scanner", prompt="look")
            own = _live(supervisor, "scanner").token
            await client.wait("scanner")
            found = await client.read_text("scanner")
    digests = [hashlib.sha256(secret.encode()).hexdigest() for secret in (own, key, *tokens)]
    assert [digest in found for digest in digests] == [True] + [False] * 6


async def test_a_connection_subscribes_once_and_is_forgotten_when_it_ends(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            async with aio.connect_socket(supervisor.places.socket, supervisor.token) as follower:
                await follower.request(SubscribeLifecycle())
                with pytest.raises(InvalidRequest):
                    await follower.request(SubscribeLifecycle())
                await follower.request(Ping())
                assert supervisor.hub.subscribers == 1
            while supervisor.connections > 1:
                await client.request(Ping())
            assert supervisor.hub.subscribers == 0


async def test_no_pods_description_can_make_the_list_too_long_for_others(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            with pytest.raises(InvalidParams) as refused:
                await client.spawn("chatty", description="x" * (MAX_DESCRIPTION_CHARACTERS + 1))
            assert refused.value.data["path"] == "description"
            assert (await client.list()).pods == ()


def _live(supervisor: Supervisor, name: str) -> LivePod:
    return next(live for live in supervisor.pods.values() if live.name == name)
