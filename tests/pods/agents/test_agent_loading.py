"""From the name of a kind to an agent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from pod_support import connected, living_pod, until_idle
from pods.agents.command import CommandAgent
from pods.agents.echo import EchoAgent
from pods.agents.loading import FunctionAgent, describe_error, load_agent
from pods_protocol.errors import AgentError
from pods_protocol.pod_messages import Run

SOURCE = """
class Plain:
    async def run_turn(self, turn):
        return "end_turn"

class WithOptions(Plain):
    def __init__(self, options):
        self.options = options

class CannotBeCalled(Plain):
    def __init__(self, needed):
        pass

class Keywords(Plain):
    def __init__(self, **given):
        self.options = given["options"]

class Raises(Plain):
    def __init__(self):
        raise RuntimeError("no key for sk-secret")

class NotAsync:
    def run_turn(self, turn):
        return None

class Holder:
    agent = Plain()

async def function(turn):
    return None

def not_async(turn):
    return None

instance = Plain()
number = 3
"""


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A directory with a module of agents in it."""
    (tmp_path / "some_agents_p5.py").write_text(SOURCE)
    (tmp_path / "broken_p5.py").write_text("raise ValueError('at import')")
    (tmp_path / "needs_p5.py").write_text("import not_installed_p5")
    (tmp_path / "leaves_p5.py").write_text("raise SystemExit(2)")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield str(tmp_path)
    for name in ("some_agents_p5", "broken_p5", "needs_p5", "leaves_p5"):
        sys.modules.pop(name, None)


def load(kind: str, cwd: str, **options: Any) -> Any:
    return load_agent(kind, options, cwd=cwd)


def test_the_built_in_kinds_are_found(cwd: str) -> None:
    assert isinstance(load("echo", cwd), EchoAgent)
    assert isinstance(load("command", cwd, argv=["cat"]), CommandAgent)
    assert type(load("shell", cwd)).__name__ == "ShellAgent"


@pytest.mark.parametrize("attribute", ["Plain", "instance", "Holder.agent"])
def test_a_class_or_an_object_of_ones_own_is_found(cwd: str, attribute: str) -> None:
    assert type(load(f"some_agents_p5:{attribute}", cwd)).__name__ == "Plain"


@pytest.mark.parametrize("attribute", ["WithOptions", "Keywords"])
def test_a_class_that_takes_options_gets_them(cwd: str, attribute: str) -> None:
    assert load(f"some_agents_p5:{attribute}", cwd, colour="red").options == {"colour": "red"}


def test_a_coroutine_function_is_an_agent(cwd: str) -> None:
    assert isinstance(load("some_agents_p5:function", cwd), FunctionAgent)


def test_the_working_directory_comes_last_on_the_path(cwd: str) -> None:
    load("some_agents_p5:Plain", cwd)
    load("some_agents_p5:Plain", cwd)
    assert sys.path[-1] == cwd
    assert sys.path.count(cwd) == 1


def test_an_entry_point_is_found(cwd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint("mine", "some_agents_p5:Plain", "pods.agents")
    sys.path.append(cwd)

    def points(group: str) -> list[metadata.EntryPoint]:
        assert group == "pods.agents"
        return [point]

    monkeypatch.setattr(metadata, "entry_points", points)
    assert type(load("mine", cwd)).__name__ == "Plain"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("shel", "did you mean 'shell'"),
        ("zzzz", "there are acp, claude, codex, command, "),
        ("no/such:Agent", "not of the form module:attribute"),
        ("some_agents_p5:", "not of the form module:attribute"),
        ("not_there_p5:Agent", "there is no module 'not_there_p5'"),
        ("some_agents_p5.sub:Agent", "there is no module"),
        ("some_agents_p5:Plian", "did you mean 'Plain'"),
        ("broken_p5:Agent", "ValueError: at import"),
        ("needs_p5:Agent", "No module named 'not_installed_p5'"),
        ("leaves_p5:Agent", "SystemExit: 2"),
        ("some_agents_p5:Raises", "RuntimeError: no key"),
        ("some_agents_p5:NotAsync", "NotAsync has no `async def run_turn"),
        ("some_agents_p5:not_async", "function has no `async def run_turn"),
        ("some_agents_p5:number", "int has no `async def run_turn"),
    ],
)
def test_what_cannot_be_loaded_says_why(cwd: str, kind: str, words: str) -> None:
    with pytest.raises(AgentError, match=words.replace("(", r"\(")) as caught:
        load(kind, cwd)
    assert caught.value.data["agent"] == kind
    assert caught.value.data["detail"]


def test_the_line_that_raised_is_named(cwd: str) -> None:
    with pytest.raises(AgentError, match=r"at import \(.*/broken_p5\.py:1\); correct it"):
        load("broken_p5:Agent", cwd)
    with pytest.raises(AgentError, match=r"CannotBeCalled.* argument.*; correct it") as caught:
        load("some_agents_p5:CannotBeCalled", cwd)
    assert "loading.py" not in caught.value.message


def test_options_that_nobody_takes_are_refused(cwd: str) -> None:
    with pytest.raises(AgentError, match="takes no options"):
        load("some_agents_p5:Plain", cwd, colour="red")
    with pytest.raises(AgentError, match="takes no options"):
        load("echo", cwd, colour="red")


def test_an_exception_is_told_in_a_line() -> None:
    assert describe_error(ValueError()) == "ValueError"
    assert describe_error(ExceptionGroup("g", [ExceptionGroup("h", [KeyError("k")])])) == (
        "KeyError: 'k'"
    )
    assert describe_error(ExceptionGroup("g", [OSError(), OSError()])).startswith("ExceptionGroup")
    assert len(describe_error(ValueError("x" * 1000))) == 503


async def test_the_example_of_an_own_agent_works(short_dir: str) -> None:
    example = Path(__file__).parents[3] / "examples"
    Path(f"{short_dir}/two.txt").write_text("two words")  # noqa: ASYNC240 - a small file
    path = [*sys.path]
    try:
        agent = load("own_agent:WordCounter", str(example))
    finally:
        sys.path[:] = path
    async with living_pod(short_dir, agent) as pod, connected(pod) as client:
        await client.request(Run(input="two.txt /etc/passwd"))
        await until_idle(client)
        assert pod.texts() == "two.txt: 2 words\n/etc/passwd: outside my scope\n"
        assert pod.ends()[0]["stop_reason"] == "end_turn"
