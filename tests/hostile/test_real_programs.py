"""Programs that people use keep working where the kernel holds them to a scope and the baseline."""

from __future__ import annotations

import base64
import hashlib
import shutil
import sys
import textwrap
import zipfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest
import trio

from pods.scope.landlock import abi_version
from supervisor_support import WAIT_SECONDS, supervisor_and_client

pytestmark = pytest.mark.skipif(abi_version() < 6, reason="needs Landlock 6")

PROGRAM_SECONDS = 100.0
"""npm and a compiler on a machine that does other things too."""

Run = Callable[[str], Awaitable[str]]


@pytest.fixture
async def run(tmp_path: Path, pods_environ: dict[str, str]) -> AsyncGenerator[Run]:
    """Runs a script of bash as a turn of a pod that the kernel holds; returns what it prints."""
    work = tmp_path / "work"
    work.mkdir()
    env = {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
    }  # fmt: skip
    async with supervisor_and_client(pods_environ) as (_, client):
        pod = await client.spawn(
            "programs", write=[work], read=[work], cwd=work, env=env, require_enforcement=True
        )

        async def run_script(script: str) -> str:
            with trio.fail_after(PROGRAM_SECONDS):
                end = await pod.turn("set -eu\n" + textwrap.dedent(script))
            assert end.stop_reason == "end_turn", end.text
            assert not await trio.Path(tmp_path / "escaped").exists()
            return end.text

        yield run_script
        with trio.fail_after(WAIT_SECONDS):
            await client.stop("programs")


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not here")


async def test_bash_with_here_documents_substitution_and_jobs(run: Run) -> None:
    said = await run("""
        cat <<EOF > text
        three
        two
        EOF
        diff <(sort text) <(sort -r text) > /dev/null || echo differ
        (sleep 0.01; echo done > job) & wait
        kill -0 $$
        seq 10000 | sort -S 16K -T "$TMPDIR" | tail -1
        (echo x > ../escaped) 2>/dev/null || echo refused
        cat job""")
    assert said == "differ\n9999\nrefused\ndone\n"


@needs("git")
async def test_git_commits_branches_merges_and_collects(run: Run) -> None:
    said = await run("""
        git init -q -b main .
        mkdir -p a/b; echo one > a/b/file; git add .; git commit -qm one
        git checkout -qb side; git mv a/b/file a/file; git commit -qm moved
        git checkout -q main; echo two > other; git add .; git commit -qm two
        git merge -q side -m merged
        git gc -q; git fsck; git worktree add -q tree; ls tree
        git log --oneline | wc -l""")
    assert said.split()[-1] == "4"


async def test_python_makes_an_environment_installs_a_wheel_and_runs_it(
    run: Run, tmp_path: Path
) -> None:
    _make_wheel(tmp_path / "work")
    said = await run(f"""
        {sys.executable} -m venv venv
        venv/bin/pip install -q --no-index ./tiny-1.0-py3-none-any.whl
        venv/bin/python -c 'import tiny; print(tiny.WORD)'""")
    assert said.split()[-1] == "tiny"


async def test_python_with_pools_sqlite_tls_and_loops(run: Run, tmp_path: Path) -> None:
    (tmp_path / "work/all.py").write_text(
        "import asyncio, multiprocessing, socket, sqlite3, ssl, tempfile, threading\n"
        "async def true():\n"
        "    await (await asyncio.create_subprocess_exec('true')).wait()\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.Pool(2) as pool:\n"
        "        print(sum(pool.map(abs, range(-3, 4))))\n"
        "    sqlite3.connect('base.db').execute('create table t(x)')\n"
        "    ssl.create_default_context()\n"
        "    asyncio.run(true())\n"
        "    socket.create_server(('127.0.0.1', 0)).close()\n"
        "    tempfile.NamedTemporaryFile().close()\n"
    )
    assert (await run(f"{sys.executable} all.py")).endswith("12\n")


async def test_pytest_runs(run: Run, tmp_path: Path) -> None:
    (tmp_path / "work/test_it.py").write_text(
        "def test_it(tmp_path):\n    (tmp_path / 'x').write_text('x')\n"
    )
    assert "1 passed" in await run(f"{sys.executable} -m pytest -q -p no:cacheprovider test_it.py")


@needs("gcc")
async def test_gcc_compiles_links_and_the_result_runs(run: Run, tmp_path: Path) -> None:
    (tmp_path / "work/hello.c").write_text(
        '#include <stdio.h>\nint main(void) { puts("compiled"); return 0; }\n'
    )
    assert (await run("gcc -O1 -o hello hello.c; ./hello")) == "compiled\n"


@needs("node")
async def test_node_with_workers_and_a_server(run: Run, tmp_path: Path) -> None:
    (tmp_path / "work/main.js").write_text(
        "const {Worker} = require('worker_threads');\n"
        "const server = require('http').createServer((_, res) => res.end('served'));\n"
        "server.listen(0, () => fetch(`http://127.0.0.1:${server.address().port}`)\n"
        "  .then(r => r.text()).then(t => { console.log(t); server.close();\n"
        "    new Worker('console.log(\"worked\")', {eval: true}); }));\n"
    )
    assert (await run("node main.js")) == "served\nworked\n"


@needs("npm")
async def test_npm_runs_a_script(run: Run, tmp_path: Path) -> None:
    (tmp_path / "work/package.json").write_text('{"scripts": {"say": "echo said > out"}}')
    assert (await run("npm run --silent say; cat out")).endswith("said\n")


def _make_wheel(directory: Path) -> None:
    """A wheel by hand, because building one would download a builder."""
    files = {
        "tiny.py": "WORD = 'tiny'\n",
        "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{name},sha256={digest.decode()},{len(text)}\n"
    files["tiny-1.0.dist-info/RECORD"] = record + "tiny-1.0.dist-info/RECORD,,\n"
    with zipfile.ZipFile(directory / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
