"""A pod whose removal has failed: it is not restored without its history, and can be removed."""

from __future__ import annotations

import errno
import os
import shutil
from typing import Any

import pytest
import trio

from pods_protocol.errors import StartFailed, StorageFailed, UnknownPod
from supervisor_support import NOTHING, WAIT_SECONDS, left_in, supervisor_and_client

pytestmark = pytest.mark.slow


def _refuse(path: str, **given: Any) -> None:
    """A disk from which nothing can be removed."""
    if not given.get("ignore_errors"):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)


async def test_a_pod_whose_removal_failed_is_not_restored_without_its_history(
    pods_environ: dict[str, str],
) -> None:
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("p", prompt="echo first")
            await client.wait("p")
            await client.stop("p")
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(shutil, "rmtree", _refuse)
                with pytest.raises(StorageFailed, match="Device or resource busy"):
                    await client.remove("p")
            with pytest.raises(StartFailed, match="`pods rm p` removes the rest") as refused:
                await client.restore("p")
            assert refused.value.data["step"] == "journal"
            assert (await client.inspect("p")).pod.state == "stopped", "as it was"

    # The next supervisor has the same on record.
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            with pytest.raises(StartFailed, match="`pods rm p` removes the rest"):
                await client.restore("p")
            await client.remove("p")
            with pytest.raises(UnknownPod):
                await client.inspect("p")
            await client.spawn("p", agent="echo")
    assert left_in(pods_environ) == NOTHING


async def test_a_removal_that_is_refused_at_once_leaves_a_pod_that_can_be_restored(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("p", prompt="echo first")
            await client.wait("p")
            await client.stop("p")
            rename = os.rename
            journal = supervisor.journal_of((await client.inspect("p")).pod.id)

            def refuse(source: str, target: str) -> None:
                if source == journal:
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), source)
                rename(source, target)

            monkeypatch.setattr(os, "rename", refuse)
            with pytest.raises(StorageFailed, match="Read-only file system"):
                await client.remove("p")
            await client.restore("p")
            assert await client.read_text("p", since=0) == "first\n"
