"""The door: versions, help, the environment, interruptions, completion, and what a verb imports."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pods as package
from cli_support import Cli
from client_support import TOKEN, World, always, capacity, pod_info
from pods.cli import main, render
from pods.cli.parser import VERBS, build_parser, find_verb
from pods.paths import places_from

ROOT = Path(__file__).parents[3]

HEAVY = """
trio attrs attr rich cattrs orjson jsonschema psutil typer asyncio filelock subprocess logging
dataclasses inspect hashlib secrets tempfile pathlib shutil
""".split()  # noqa: SIM905 - read as prose


def environment(**changes: str) -> dict[str, str]:
    """For a real process that imports our sources and no coverage hooks."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COVERAGE", "PODS_"))
    }
    rooms = os.pathsep.join(str(ROOT / room) for room in ("pods", "protocol", "tools"))
    return {**kept, "PYTHONPATH": rooms, **changes}


def test_ls_imports_nothing_heavy(fake: World) -> None:
    fake.supervisor.answers["list"] = always({"pods": [pod_info()], "capacity": capacity()})
    code = (
        "import sys\nfrom pods.cli import main\nassert main(['ls']) == 0\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=environment(**fake.environ),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "heavy: []"
    assert "api" in done.stdout


def test_importing_pods_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import pods; "
        "print([n for n in set(sys.modules) - before if n.startswith(('pods', 'trio', 'attr'))])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment(), capture_output=True, timeout=30
    )
    assert done.stdout == b"['pods']\n"


def test_the_public_names_are_there_and_others_are_not() -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        package.nonsense  # noqa: B018 - reading it is the test


def test_the_version_is_that_of_the_distribution(pods: Cli) -> None:
    declared = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{package.__version__}"' in declared
    assert pods("--version") == (0, f"pods {package.__version__}\n", "")


def test_help_lists_every_verb_and_the_exit_codes(pods: Cli) -> None:
    code, out, _ = pods("--help")
    assert code == 0
    assert all(verb in out for verb in VERBS)
    assert "3 timeout" in out


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"demo"}))
def test_every_verb_explains_itself(pods: Cli, verb: str) -> None:
    code, out, _ = pods(verb, "--help")
    assert code == 0
    assert out.startswith(f"usage: pods {verb}")


def test_every_verb_that_answers_can_answer_in_json() -> None:
    parser = build_parser(VERBS)
    (subparsers,) = (action for action in parser._actions if action.dest == "verb")
    choices: Any = subparsers.choices
    without = {verb for verb in VERBS if "--json" not in choices[verb].format_help()}
    # scope's own verbs have it; mcp and acp speak to a program in its protocol
    assert without == {"up", "demo", "scope", "mcp", "acp"}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["ls"], ("ls", 0)),
        (["--supervisor", "ls", "tree"], ("tree", 2)),
        (["--supervisor=x", "tree"], ("tree", 1)),
        (["--version"], ("", 1)),
        ([], ("", 0)),
    ],
)
def test_the_verb_is_found_among_the_words(words: list[str], found: tuple[str, int]) -> None:
    assert find_verb(words) == found


@pytest.mark.parametrize("words", [("--supervisor", "two", "ls"), ("ls", "--supervisor", "two")])
def test_another_supervisor_may_be_named_before_or_after_the_verb(
    fake: World, pods: Cli, words: tuple[str, ...]
) -> None:
    assert pods(*words)[:2] == (0, "")
    assert fake.supervisor.requests == []


def test_the_environment_may_name_the_supervisor(
    fake: World, pods: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODS_SUPERVISOR", "two")
    assert pods("ls")[0] == 0
    assert fake.supervisor.requests == []


def test_a_pod_that_may_call_back_acts_as_itself(
    fake: World, pods: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setenv("PODS_SOCKET", fake.supervisor.path)
    monkeypatch.setenv("PODS_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("PODS_RUNTIME_DIR", "/nowhere")
    fake.supervisor.answers["list"] = always({"pods": [pod_info()], "capacity": capacity()})
    assert pods("ls", "-q") == (0, "api\n", "")
    monkeypatch.setenv("PODS_SOCKET", "/nowhere/sock")
    assert pods("ls", "-q")[0] == 1


def test_a_refusal_at_hello_exits_five(fake: World, pods: Cli) -> None:
    path = os.path.join(os.path.dirname(fake.supervisor.path), "owner.token")
    Path(path).write_text("wrong")
    code, _, err = pods("ls")
    assert code == 5
    assert "wrong token" in err


def test_ctrl_c_anywhere_exits_130_without_a_traceback(
    fake: World, pods: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pods.cli.ls.list_pods", interrupted)
    assert pods("ls") == (130, "", "pods: interrupted\n")
    assert fake.supervisor.requests == []


def test_a_reader_that_has_had_enough_ends_the_command_quietly(fake: World) -> None:
    many = [pod_info(f"pod{number}") for number in range(3000)]
    fake.supervisor.answers["list"] = always({"pods": many, "capacity": capacity()})
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -P -m pods ls | head -1"],
        env=environment(**fake.environ),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.startswith("NAME")
    assert done.stderr == ""


def test_text_that_the_terminal_cannot_show_is_replaced(fake: World) -> None:
    fake.supervisor.answers["list"] = always(
        {"pods": [pod_info(agent="schlüssel")], "capacity": capacity()}
    )
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pods", "ls"],
        env=environment(**fake.environ, PYTHONIOENCODING="ascii"),
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 0
    assert b"schl?ssel" in done.stdout


def test_colours_are_for_terminals_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    terminal: Any = Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert render.coloured(terminal)
    assert not render.coloured(None)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not render.coloured(terminal)


def test_a_coloured_table_lines_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "coloured", lambda: True)
    text = render.table(("NAME", "STATE"), [("a", "idle"), ("bb", "odd")], state=1)
    assert text.splitlines()[1] == "a     \x1b[34midle \x1b[0m"


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "-"), (5, "5B"), (2048, "2.0K"), (5 << 20, "5.0M"), (1 << 44, "16384G")],
)
def test_sizes_are_short(number: int | None, text: str) -> None:
    assert render.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (200000, "2d")]
)
def test_ages_are_short(seconds: float, text: str) -> None:
    assert render.age(seconds) == text


def test_long_cells_are_cut() -> None:
    assert len(render.cell("x" * 100)) == render.MAX_CELL_LENGTH


def test_up_becomes_the_supervisor_and_says_how_it_ends(
    nobody: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    became: list[list[str]] = []

    def execv(_path: str, argv: list[str]) -> None:
        became.append(argv)

    monkeypatch.setattr("os.execv", execv)
    monkeypatch.delenv("PODS_SUPERVISOR", raising=False)
    with pytest.raises(TypeError):  # exec came back, which it never does
        main(["up", "--supervisor", "two"])
    assert became == [[sys.executable, "-P", "-m", "pods.supervisor", "--name", "two"]]
    assert capsys.readouterr().err == (
        "pods: the supervisor two starts here; it ends at Ctrl-C, at `pods --supervisor two down`, "
        "or soon after its last pod and client\n"
    )


def test_up_where_one_answers_says_so_at_once(nobody: dict[str, str], pods: Cli) -> None:
    places = places_from(os.environ, os.geteuid()).supervisor("default")
    os.makedirs(os.path.dirname(places.socket))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(places.socket)
        listener.listen()
        code, out, err = pods("up")
    assert (code, out) == (1, "")
    assert err == (
        "pods: cannot start the supervisor default: it runs already; `pods ls` asks it, "
        "`pods down` ends it\n"
    )


def test_the_completion_script_completes_verbs_and_pod_names(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    command = tmp_path / "pods"
    command.write_text(
        "#!/bin/sh\n[ \"$1 $2\" = 'ls -q' ] && printf 'alpha\\nbeta\\n'\n"
        "[ \"$1 $2\" = 'ls -qa' ] && printf 'alpha\\nalbert\\nbeta\\n'\n"
    )
    command.chmod(0o755)
    script = subprocess.run(
        [sys.executable, "-P", "-m", "pods", "completion", "bash"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    (tmp_path / "script").write_text(script)
    ask = """
source "$1/script"
complete_line() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  "$(complete -p pods | sed 's/.*-F \\([^ ]*\\) .*/\\1/')" pods "${COMP_WORDS[COMP_CWORD]}" ""
  echo "${COMPREPLY[@]}"
}
complete_line pods lo
complete_line pods logs al
complete_line pods stop beta a
complete_line pods rm a
complete_line pods spawn --agent cod
complete_line pods send --if-busy q
"""
    done = subprocess.run(
        [bash, "-c", ask, "bash", str(tmp_path)],
        env=environment(PATH=f"{tmp_path}:{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.splitlines() == [
        "logs",
        "alpha albert",
        "alpha",
        "albert",
        "codex",
        "queue",
    ], done.stderr


def test_the_demo_reads_its_own_words(pods: Cli) -> None:
    code, out, _ = pods("demo", "--help")
    assert code == 0
    assert "--tree" in out


@pytest.mark.parametrize("shape", ["anthropic", "openai", "mcp"])
def test_the_tools_are_printed_in_the_shape_that_is_asked_for(pods: Cli, shape: str) -> None:
    code, out, _ = pods("tools", "--format", shape)
    assert code == 0
    assert "SpawnPod" in out
    assert json.loads(out) == json.loads(pods("tools", "--format", shape, "--json")[1])


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish"])
def test_every_shell_gets_a_script(pods: Cli, shell: str) -> None:
    code, out, _ = pods("completion", shell, "--json")
    assert code == 0
    assert "pods" in json.loads(out)["script"]


def test_main_takes_the_words_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pods", "completion", "nonsense"])
    assert main() == 2
