"""A host that speaks MCP to a real `pods mcp`, a line at a time."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from typing import Any

from end_to_end_support import PODS, WAIT_SECONDS, Door
from pods_tools.mcp import HANDSHAKE_VERSIONS


class Host:
    """One running `pods mcp`; use it with `with`.

    Args:
        door: where.
        words: after `pods mcp`.
        argv: another command than `pods mcp`.
        environ: beside the door's.
    """

    def __init__(
        self,
        door: Door,
        *words: str,
        argv: list[str] | None = None,
        environ: dict[str, str] | None = None,
    ) -> None:
        self.process = subprocess.Popen(
            argv or [*PODS, "mcp", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**door.environ, **(environ or {})},
            cwd=door.work,
        )
        self._buffer = b""
        self._last_id = 0
        params: dict[str, Any] = {"protocolVersion": HANDSHAKE_VERSIONS[0], "capabilities": {}}
        self.greeting = self.ask("initialize", params)["result"]

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, *, faulty: bool = False) -> str:
        """Hang up and wait; what it said on standard error."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.wait(faulty=faulty)

    def wait(self, *, faulty: bool = False) -> str:
        """Wait for its end; what it said on standard error, with a traceback if it is `faulty`."""
        assert self.process.wait(WAIT_SECONDS) == 0
        assert self.process.stderr is not None
        assert self.process.stdout is not None
        said = self.process.stderr.read().decode()
        self.process.stderr.close()
        self.process.stdout.close()
        if self.process.stdin is not None:
            self.process.stdin.close()
        assert ("Traceback" in said) is faulty
        return said

    def begin(self, method: str, params: Any) -> int:
        """Ask and do not wait; the id."""
        self._last_id += 1
        self.tell(method, params, id=self._last_id)
        return self._last_id

    def tell(self, method: str, params: Any, **more: Any) -> None:
        """Send one line."""
        message = {"jsonrpc": "2.0", "method": method, "params": params, **more}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, method: str, params: Any) -> Any:
        """The answer to a request; what else comes meanwhile fails the test."""
        asked = self.begin(method, params)
        answer = self.next_line()
        assert answer["id"] == asked, answer
        return answer

    def next_line(self) -> Any:
        """The next line, which must be JSON."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + WAIT_SECONDS
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, left))
            assert ready, "nothing came"
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            assert data, "it hung up"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def tool(self, tool: str, **arguments: Any) -> Any:
        """What a tool gives back."""
        return self.ask("tools/call", {"name": tool, "arguments": arguments})["result"]

    def names(self) -> list[str]:
        """The pods that it sees."""
        rows = self.tool("ListPods")["structuredContent"]["pods"]
        return sorted(row["pod"] for row in rows)
