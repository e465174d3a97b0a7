"""`pods demo`: shows what it says, in a screenful, and is gone without a trace however it ends."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from end_to_end_support import PODS, WAIT_SECONDS, Door, Terminal, open_door, runs_in
from pods.cli import main

pytestmark = pytest.mark.slow
ENDED = "pods: interrupted; everything that the demo started is stopped\n"
SCREENFUL = 40
"""Lines: what fits most terminals."""


@pytest.fixture
def door() -> Iterator[Door]:
    with open_door() as opened:
        yield opened
        places = (opened.environ["PODS_RUNTIME_DIR"], opened.environ["PODS_STATE_DIR"])
        assert not any(map(os.path.exists, places)), "the demo went to the user's places"


def nothing_left_of(said: str) -> None:
    found = re.search(r"(/tmp/pods-demo-\w+)/tree", said)
    assert found, said
    assert not os.path.exists(found[1])
    assert runs_in(f"{found[1]}/run") == []


def small_tree(root: str, *packages: str) -> str:
    for package in packages:
        Path(root, package).mkdir(parents=True)
        Path(root, package, "one.py").write_text("raise SystemExit\n")
    return root


def test_the_demo_shows_the_whole_job_and_leaves_nothing(door: Door) -> None:
    answer = door("demo", "--plain")
    assert answer.err == ""
    assert "\x1b" not in answer.out
    assert len(answer.out.splitlines()) <= SCREENFUL
    for pattern in (
        r"^1/7 spawn a shell pod for each package",
        r"^ +pods: cannot lend write on pods_protocol/\*\* to 'intruder': the pod 'pods_protocol'"
        r" holds it$",
        r"^ +SendToPod failed: cannot run the message: already running",
        r"^4/7 pods_protocol is interrupted in the middle of a turn and goes on$",
        r"^5/7 pods is stopped, and its scope given to a new pod$",
        r"^ +Pod pods-heir \(\w+\) is up",
        r"^├─ pods +stopped +pods +error: what it asked for was refused$",
        r"^└─ pods-heir +stopped +pods +end_turn$",
        r"pods: \d+ lines of Python, \d+ raise an error / taken over$",
        r"^ +pods_tools: \d+ lines of Python",
        r"^Everything is stopped; nothing is left behind\. [0-9.]+ s\.$",
    ):
        assert re.search(pattern, answer.out, re.M), pattern
    nothing_left_of(answer.out)


def test_the_demo_works_on_a_copy_of_the_tree_that_is_named(door: Door) -> None:
    tree = small_tree(f"{door.work}/tree", "first", "second")
    # What real trees hold and no pod can be named after, and what no copy can be made of.
    small_tree(tree, "not a name", "_private", "coordinator")
    os.mkfifo(f"{tree}/first/pipe")
    os.symlink("nowhere", f"{tree}/second/dangling")
    before = sorted(str(path) for path in Path(tree).rglob("*"))
    answer = door("demo", "--plain", "--tree", "tree")
    assert "/tree: first, second\n" in answer.out
    assert "first: 1 lines of Python, 1 raise an error / taken over" in answer.out
    assert sorted(str(path) for path in Path(tree).rglob("*")) == before
    nothing_left_of(answer.out)


def test_plain_lines_and_pipes_do_without_what_draws(door: Door) -> None:
    small_tree(f"{door.work}/tree", "first", "second")
    for option in ("['--plain']", "[]"):
        code = (
            "import sys\nfrom pods.cli import main\n"
            f"assert main(['demo', '--tree', 'tree', *{option}]) == 0\n"
            "assert 'rich' not in sys.modules"
        )
        answer = door.run([sys.executable, "-P", "-c", code])
        assert (answer.code, answer.err) == (0, "")


@pytest.mark.parametrize(
    ("packages", "why"),
    [
        (None, "there is no such directory; name one with --tree"),
        (["only"], "it has 1 directory to share out and the demo needs 2; name a tree"),
        (
            [".git", "dist", "intruder", "only"],
            "it has 1 directory to share out and the demo needs 2 ('.git' is hidden or made by "
            "tools, 'dist' is hidden or made by tools, 'empty' has nothing to copy in it, "
            "'intruder' cannot name a pod here, 'link' is a link); name a tree",
        ),
        (
            [f".{number}" for number in range(7)],
            "it has no directories to share out and the demo needs 2 ('.0' is hidden or made by "
            "tools, '.1' is hidden or made by tools, '.2' is hidden or made by tools, '.3' is "
            "hidden or made by tools, '.4' is hidden or made by tools, and 4 more); name a tree",
        ),
    ],
)
def test_a_tree_that_cannot_be_shared_out_is_refused(
    packages: list[str] | None,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made: list[str] = []
    make = tempfile.mkdtemp

    def noted(*args: str, **options: str) -> str:
        made.append(make(*args, **options))
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", noted)
    if packages:
        small_tree(f"{tmp_path}/tree", *packages)
    if packages and len(packages) > 1:
        (tmp_path / "tree/empty").mkdir()
        (tmp_path / "tree/link").symlink_to(".")
    assert main(["demo", "--plain", "--tree", f"{tmp_path}/tree"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"pods: cannot show {tmp_path}/tree: {why}")
    assert not any(map(os.path.exists, made))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_told_to_end_stops_everything(door: Door, number: signal.Signals) -> None:
    tree = small_tree(f"{door.work}/tree", "first", "second")
    with door.start("demo", "--plain", "--tree", tree, bufsize=1) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = ""
        for line in process.stdout:
            seen += line
            if line.startswith("2/7"):
                break
        process.send_signal(number)
        seen += process.stdout.read()
        err = process.stderr.read()
        assert process.wait(WAIT_SECONDS) == 130
    assert err == ENDED
    nothing_left_of(seen)


@pytest.mark.parametrize("moment", ["before it has said anything", "while it comes up", "at work"])
def test_further_signals_are_told_to_wait_while_it_cleans_up(door: Door, moment: str) -> None:
    tree = small_tree(f"{door.work}/tree", "first", "second")
    with door.start("demo", "--plain", "--tree", tree, bufsize=1) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = ""
        begun = {"while it comes up": "/tmp/", "at work": "2/7"}
        while moment in begun and begun[moment] not in seen:
            seen += process.stdout.readline()
        # The last handler of the three; they are there before trio is imported.
        while process.poll() is None and not _catches(process.pid, signal.SIGHUP):
            pass
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process.send_signal(number)
            os.sched_yield()
        seen += process.stdout.read()
        err = process.stderr.read()
        assert process.wait(WAIT_SECONDS) == 130, err
    # Whether the second comes before the first is done with is a matter of milliseconds.
    assert err.replace("pods: ending; nothing is left behind\n", "", 1) == ENDED
    if seen:
        nothing_left_of(seen)


def _catches(pid: int, number: signal.Signals) -> bool:
    with open(f"/proc/{pid}/status") as status:
        (caught,) = (line.split()[1] for line in status if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def test_a_demo_that_nobody_reads_any_more_stops_everything(door: Door) -> None:
    small_tree(f"{door.work}/tree", "first", "second")
    command = "set -o pipefail; pods demo --plain --tree tree | head -n 2"
    answer = door.run(["bash", "-c", command])
    assert (answer.code, answer.err) == (0, "")
    nothing_left_of(answer.out)


def test_on_a_terminal_there_is_a_live_view_that_ends_cleanly(door: Door) -> None:
    tree = small_tree(f"{door.work}/tree", "first", "second")
    argv = [*PODS, "demo", "--tree", tree]
    with Terminal(argv, door.environ, door.work) as terminal:
        assert terminal.wait_end() == 0, terminal.seen
        seen = terminal.seen
    assert "\x1b[?25l" in seen
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l"), "the cursor is shown again"
    tail = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen).rstrip().splitlines()
    assert tail[-1].startswith("Everything is stopped; nothing is left behind.")
    assert any(line.startswith("└─ first-heir") for line in tail)
    nothing_left_of(seen)


def test_ctrl_c_on_a_terminal_gives_the_screen_back(door: Door) -> None:
    tree = small_tree(f"{door.work}/tree", "first", "second")
    argv = [*PODS, "demo", "--tree", tree]
    with Terminal(argv, door.environ, door.work) as terminal:
        terminal.wait_for("2/7")
        terminal.type("\x03")
        assert terminal.wait_end() == 130, terminal.seen
        seen = terminal.seen
    assert "everything that the demo started is stopped" in seen
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
    nothing_left_of(seen)
