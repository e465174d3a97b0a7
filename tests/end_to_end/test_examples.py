"""Every example runs on its own, says what it did, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 100.0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("python_parent.py", ("A scope that is held", "parser reports:", "20 total", "40 total")),
        ("blocking_parent.py", ("did not succeed (error", "did you mean `pod`?", "are gone")),
    ],
)
def test_an_example_runs_and_leaves_nothing_behind(
    name: str, words: tuple[str, ...], pods_environ: dict[str, str], short_dir: str, tmp_path: Path
) -> None:
    scratch = Path(short_dir) / "t"  # short, because sockets are below it
    scratch.mkdir()
    environ = {**pods_environ, "TMPDIR": str(scratch)}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for word in words:
        assert word in done.stdout
    assert done.stderr == ""
    assert list(scratch.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model_team.py", "--model", "m", "--key-file", "no/key"), "no/key"),
        (("mixed_team.py", "--agent", "no-such-agent"), "no-such-agent"),
        (("mixed_team.py", "--env", "NOT_SET_ANYWHERE"), "NOT_SET_ANYWHERE"),
    ],
)
def test_an_example_without_what_it_needs_says_so_in_a_line(
    words: tuple[str, ...], said: str, pods_environ: dict[str, str], short_dir: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / words[0]), *words[1:]],
        env={**pods_environ, "TMPDIR": short_dir},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode in (1, 2), done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{words[0]}: ")
    assert said in line


def test_every_example_is_run_by_a_test_and_told_of_in_the_readme() -> None:
    tests = Path(__file__).parents[1].rglob("test_*.py")
    tested = "".join(path.read_text("utf-8") for path in tests)
    examples = [path for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")]
    assert len(examples) > 5
    readme = EXAMPLES.joinpath("README.md").read_text("utf-8")
    for example in examples:
        assert example.stem in tested, example
        assert f"`{example.name}`" in readme, example
