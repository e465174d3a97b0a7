"""`pods mcp` as a host waits for it: from the start of the process to the answer of `initialize`.

    .venv/bin/python tests/benchmarks/bench_mcp.py [--quick]

No supervisor runs: the bridge answers a host's greeting, and its question for the tools, without
one. The median of processes that take turns with a bare interpreter.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Final

import trio
from measure import Row, interleaved, print_table, row

GREETING: Final[dict[str, object]] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {},
}

TARGET_SECONDS: Final = 0.060
"""What a host's user does not feel, of each server at each start of the host."""


def line(number: int, method: str, params: dict[str, object]) -> bytes:
    """One request."""
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return json.dumps(message).encode() + b"\n"


def answered(environ: dict[str, str], *requests: bytes) -> float:
    """Seconds from starting `pods mcp` until it has answered all of these."""
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "pods", "mcp"],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as bridge:
        assert bridge.stdin is not None
        assert bridge.stdout is not None
        bridge.stdin.write(b"".join(requests))
        bridge.stdin.flush()
        for _ in requests:
            assert b'"result"' in bridge.stdout.readline()
        seconds = time.perf_counter() - start
        bridge.stdin.close()
    return seconds


def bare(environ: dict[str, str]) -> float:
    """Seconds of an interpreter that does nothing."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-c", "pass"], env=environ, check=True)
    return time.perf_counter() - start


async def run(quick: bool = False) -> list[Row]:
    """All rows; nothing is left afterwards."""
    greeting = line(0, "initialize", GREETING)
    tools = line(1, "tools/list", {})
    with tempfile.TemporaryDirectory() as directory:
        environ = {**os.environ, "PODS_RUNTIME_DIR": f"{directory}/r"}

        async def greeted() -> float:
            return answered(environ, greeting)

        async def listed() -> float:
            return answered(environ, greeting, tools)

        async def anchor() -> float:
            return bare(environ)

        seen = await interleaved(
            {"greeted": greeted, "listed": listed, "anchor": anchor}, 10 if quick else 40
        )
    return [
        row("`pods mcp` to the answer of initialize", seen["greeted"], seen["anchor"] + 0.040,
            "python -c pass + 40 ms", at_most=1.0),
        row("the same", seen["greeted"], TARGET_SECONDS, "60 ms", at_most=1.0),
        row("and to the list of tools", seen["listed"], seen["anchor"] + 0.040,
            "python -c pass + 40 ms"),
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ten rounds")
    print_table(trio.run(run, parser.parse_args().quick))


if __name__ == "__main__":
    main()
