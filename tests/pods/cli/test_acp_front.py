"""What an editor may and may not do to a pod over `pods acp`."""

from __future__ import annotations

import json
from typing import Any, cast

import trio
import trio.testing

from pods.cli.acp_stdio import AcpFront
from pods.client.pod_handle import Pod
from supervisor_support import WAIT_SECONDS


class BusyPod:
    """A pod in which a turn of somebody else's runs."""

    name = "api"

    def __init__(self) -> None:
        self.cancels = 0

    async def cancel(self) -> None:
        self.cancels += 1


async def test_a_cancel_without_a_prompt_leaves_the_turn_of_somebody_else_alone() -> None:
    pod = BusyPod()
    editor, ours = trio.testing.memory_stream_pair()
    front = AcpFront(cast("Pod", pod), "s", ours, ours)
    with trio.fail_after(WAIT_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(front.run)
            lines: list[dict[str, Any]] = [
                {"method": "session/cancel", "params": {"sessionId": "s"}},
                {"id": 1, "method": "session/new", "params": {}},
            ]
            for line in lines:
                await editor.send_all(json.dumps({"jsonrpc": "2.0", **line}).encode() + b"\n")
            answer = json.loads(await editor.receive_some())
            await editor.send_eof()
    assert answer["result"] == {"sessionId": "s"}
    assert pod.cancels == 0
