"""A parent's programs are refused what its children hold, for as long as they do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from pods.scope.landlock import abi_version
from pods_protocol.supervisor_messages import InspectPod
from supervisor_support import WAIT_SECONDS, supervisor_and_client

needs_landlock = pytest.mark.skipif(abi_version() < 3, reason="needs Landlock 3")


@needs_landlock
async def test_what_is_lent_is_closed_to_the_parents_programs_until_it_is_back(
    pods_environ: dict[str, str], short_dir: str
) -> None:
    work = f"{short_dir}/w"
    for name in ("lent", "own"):
        os.makedirs(f"{work}/{name}")
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            pod = await client.spawn("main", agent="lender:Lender", write=[work], cwd=work)

            async def turn(message: str) -> str:
                await pod.turn(message)
                return await client.read_text("main")

            write = f"run echo x > {work}/lent/f; echo x > {work}/own/f"
            assert "denied" not in await turn(write)
            await turn(f"lend {work}/lent")
            assert "denied" in await turn(f"run echo y > {work}/lent/f; echo y > {work}/own/f")
            assert _content(f"{work}/lent/f") == "x\n"
            assert _content(f"{work}/own/f") == "y\n"
            assert "may: False" in await turn(f"may {work}/lent/f")
            (lent,) = (await client.request(InspectPod(pod="main"))).lent
            assert (lent.pod, [rule.target for rule in lent.rules]) == ("child", [f"{work}/lent"])
            await turn("end")
            assert (await client.request(InspectPod(pod="main"))).lent == ()
            assert "may: True" in await turn(f"may {work}/lent/f")
            assert "denied" not in await turn(write)


def _content(path: str) -> str:
    return Path(path).read_text()
