"""`--env-file`: read strictly, and nothing of what it says is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli_support import Cli
from client_support import World, always, pod_info
from pods.cli.environment import MAX_FILE_BYTES, read_file

SECRET = "hunter2"


def test_a_file_is_taken_as_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"# keys\n\nKEY=a=b # c\nEMPTY=\r\nJSON={\"a\": 'b'}\n  # more\nLAST= x ")
    assert read_file(str(file)) == (
        ("KEY", "a=b # c"), ("EMPTY", ""), ("JSON", "{\"a\": 'b'}"), ("LAST", " x "),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"KEY hunter2", "line 1: there is no `=`"),
        (b"A=1\nexport KEY=hunter2", "line 2: no name"),
        (b"=hunter2", "line 1: no name"),
        (b"KEY =hunter2", "line 1: no name"),
        (b"KEY='hunter2'", "line 1: the value of KEY is in quotes"),
        (b"KEY=hunter2\nKEY=hunter2", "line 2: KEY is there twice"),
        (b"KEY=hunter2\0", "line 1: the value of KEY holds a zero byte"),
        (b"KEY=hunter2\xff", "line 1: it is not UTF-8"),
        (b"KEY=" + b"hunter2" * MAX_FILE_BYTES, "more than"),
        (None, "cannot be read"),
    ],
)
def test_anything_else_is_refused_without_showing_it(
    nobody: dict[str, str], pods: Cli, tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "env"
    if content is not None:
        file.write_bytes(content)
    for verb in ("spawn", "restore"):
        code, out, err = pods(verb, "api", "--env-file", str(file))
        assert (code, out) == (2, "")
        assert said in err
        assert SECRET not in err


def test_words_and_files_come_together_and_the_last_one_holds(
    fake: World, pods: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "env"
    file.write_text("A=file\nB=file\n")
    pod = pod_info()
    answer = {"pod": pod, "socket": "", "token": "t", "message": None, "capacity": {}}
    answer["enforcement"] = pod["enforcement"]
    fake.supervisor.answers["spawn"] = always(answer)
    assert (
        pods("spawn", "api", "--env", "A=word", "--env-file", str(file), "--env", "B=word")[0] == 0
    )
    (params,) = fake.supervisor.params_of("spawn")
    assert params["env"] == {"A": "file", "B": "word"}
