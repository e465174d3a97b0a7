"""What the README tells people to type works as it says, and so does its Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from end_to_end_support import Answer, Door, open_door
from pods_protocol.errors import ExitCode

pytestmark = pytest.mark.slow
README = Path(__file__).parents[2].joinpath("README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.S)

REFUSALS = {"pod api holds it": ExitCode.REFUSED, "already running": ExitCode.FAILED}
"""What a line's comment says after `refused:` -> its code, from the README's own table."""

SHOWN = {
    "pods spawn api --write": r"^api started \(shell, [0-9a-f]{12}\)(.|\n)*next:\n  pods send api",
    "pods wait api": r"^api idle, turn 1: end_turn$",
    "pods read api   ": r"^greeting\n$",
    "pods spawn web": r"^web started",
    'pods send web "sleep 30"': r"^web: turn 1 started$",
    'pods send web "pwd" --if': r"^/tmp/.*/w\n$",
    "pods ls": r"^NAME +STATE(.|\n)*^api +idle(.|\n)*^web +idle",
    "pods tree": r"^api +idle(.|\n)*^web +idle",
    "pods logs web": r"turn_ended(.|\n)*cancelled(.|\n)*\bpwd?|/w",
    "pods stop api web": r"^api stopped(.|\n)*^web stopped",
    "pods read api --since 0": r"^greeting\n$",
    "pods rm api web": r"^api removed\nweb removed\n$",
    "pods run": r"^api\nweb\n$",
    "pods doctor": r"^supervisor +default, pid(.|\n)*^problems +none$",
}
"""How a line begins -> what it must print."""


@pytest.fixture
def door() -> Iterator[Door]:
    with open_door() as opened:
        yield opened


def session_lines() -> list[str]:
    (block,) = re.findall(r"<!-- session -->\n(.*?)<!-- /session -->", README, re.S)
    lines = re.findall(r"^    \$ (.+)$", block, re.M)
    assert len(lines) == block.count("\n"), "every line of the session is a command"
    return lines


def expected_code(line: str) -> int:
    refused = re.search(r"# refused: (.+)$", line)
    return REFUSALS[refused[1]] if refused else ExitCode.OK


def test_the_session_is_about_twenty_lines() -> None:
    assert 12 <= len(session_lines()) <= 24


def test_every_line_of_the_session_does_what_it_says(door: Door) -> None:
    answers: dict[str, Answer] = {}
    for line in session_lines():
        answers[line] = door.run(["bash", "-c", line])
        assert answers[line].code == expected_code(line), (line, answers[line])
    for beginning, shown in SHOWN.items():
        said = [answer for line, answer in answers.items() if line.startswith(beginning)]
        assert said, f"the session has no line {beginning!r}"
        assert re.search(shown, said[0].out, re.M), (beginning, said[0])
    refused = [answer.err for line, answer in answers.items() if "# refused" in line]
    assert "the pod 'api' holds write on" in refused[0]
    assert "already running" in refused[1]
    assert door.account().rows == []


def test_every_way_of_the_readmes_python_is_tried() -> None:
    assert len(PROGRAMS) == 2


@pytest.mark.parametrize("code", PROGRAMS, ids=["blocking", "trio"])
def test_the_python_of_the_readme_runs_again_and_again(door: Door, code: str) -> None:
    place = Path(door.work, "src", "api")
    place.mkdir(parents=True)
    place.joinpath("test_sum.py").write_text("def test_sum() -> None:\n    assert 1 + 1 == 2\n")
    Path(door.work, "program.py").write_text(code)
    Path(door.work, "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    for _ in range(2):
        answer = door.run(["python", "program.py"])
        assert answer.code == 0, answer
        assert answer.out.startswith("True end_turn "), answer
        assert "1 passed in" in answer.out, answer  # and no warning beside it
        assert answer.err == ""
    account = door.account()
    assert (account.leases, account.runtime) == ([], ["default", *_owner_files("default")])


def _owner_files(name: str) -> list[str]:
    return [f"{name}/ctl.sock", f"{name}/launcher.sock", f"{name}/owner.token"]


def test_the_table_of_exit_codes_is_the_programs_own() -> None:
    table = re.findall(r"^\| (\d+) \| ", README, re.M)
    ours = [value for name, value in vars(ExitCode).items() if name.isupper()]
    assert [int(code) for code in table] == ours


def test_every_verb_that_the_readme_names_is_one() -> None:
    from pods.cli.parser import VERBS

    named = set(re.findall(r"`pods ([a-z]+)\b", README)) | {
        line.split()[1] for line in session_lines() if line.startswith("pods ")
    }
    assert named - set(VERBS) <= {"restore"}  # which the README says is still to come
