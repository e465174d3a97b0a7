"""A start that is refused, as one of its name lives elsewhere on its state, leaves nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from pods.supervisor.head_start import HeadStart, take_head_start
from pods.supervisor.records import read_token, write_token
from pods.supervisor.service import serve
from pods_protocol.errors import StartFailed
from supervisor_support import (
    NOTHING,
    WAIT_SECONDS,
    left_in,
    options_for,
    supervisor_and_client,
    with_rooms,
)


def _elsewhere(environ: dict[str, str], short_dir: str) -> dict[str, str]:
    """The same state, and another runtime directory."""
    return {**environ, "PODS_RUNTIME_DIR": f"{short_dir}/r2"}


@pytest.mark.slow
async def test_a_daemon_that_is_refused_leaves_nothing(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    other = _elsewhere(pods_environ, short_dir)
    async with supervisor_and_client(pods_environ) as (_, client):
        await client.spawn("p", agent="echo")
        process = await trio.run_process(
            [sys.executable, "-P", "-m", "pods.supervisor", "--name", "test"],
            env=with_rooms(other), capture_stdout=True, capture_stderr=True, check=False,
        )  # fmt: skip
        said = process.stderr.decode()
        assert process.returncode != 0
        assert "is one of that name with the same state directory" in said
        assert "Traceback" not in said
        assert (left_in(other)["processes"], left_in(other)["runtime"]) == ([], [])
        assert (await client.inspect("p")).pod.state == "idle", "the other one's are its own"
    assert left_in(pods_environ) == NOTHING


async def test_so_does_one_in_a_program_and_what_was_there_before_stays(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    other = _elsewhere(pods_environ, short_dir)
    options = options_for(other, "test")
    token = options.places.owner_token
    async with supervisor_and_client(pods_environ):
        with trio.fail_after(WAIT_SECONDS):
            with pytest.raises(StartFailed, match="with the same state directory"):
                await serve(options, signals=False)
            assert left_in(other)["runtime"] == []
            os.mkdir(options.places.runtime, 0o700)
            write_token(token, "f" * 64)  # what a launcher that lives obeys
            with pytest.raises(StartFailed, match="with the same state directory"):
                await serve(options, signals=False)
            assert read_token(token) == "f" * 64
    assert left_in(pods_environ) == NOTHING


def test_the_rehearsal_of_a_launcher_that_is_given_up_goes_with_it(
    pods_environ: dict[str, str],
) -> None:
    options = options_for(pods_environ, "test")
    begun = take_head_start(options.places, options.environ, options.open_files)
    launcher = begun.take_launcher()
    assert launcher is not None
    launcher.kill()  # so that it does not go on while we make what it may have been at
    rehearsal = Path(options.places.runtime, f"rehearsal-{launcher.pid}")
    (rehearsal / "r").mkdir(mode=0o700, parents=True, exist_ok=True)
    HeadStart(begun.take_lock(), launcher, fresh=False).give_up(options.places)
    assert left_in(pods_environ)["runtime"] == ["test", "test/owner.token"], "nobody made it anew"
    assert not os.path.exists(rehearsal)
