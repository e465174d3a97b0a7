"""What a pod has lent is kept from its programs by a layer, and the rest of its scope is not."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from confined import CHILD_SECONDS, in_child, outcome
from pods.agents.held import open_held
from pods.scope.landlock import abi_version
from pods.scope.lending import Lending, layer_without, read_lending, write_lending
from pods_protocol.values import LentScope, ScopeGrant, ScopeRule

needs_landlock = pytest.mark.skipif(abi_version() < 3, reason="needs Landlock 3")


def write(target: str, *, recursive: bool = True) -> ScopeRule:
    return ScopeRule(target=target, permission="write", recursive=recursive)


@pytest.fixture
def tree(short_dir: str) -> str:
    for name in ("a/deep", "a/tests", "b/c", "flat/under"):
        os.makedirs(f"{short_dir}/{name}")
    for name in ("top", "a/f", "b/f", "b/c/f", "flat/f", "flat/under/f", "a/tests/f"):
        Path(f"{short_dir}/{name}").write_text("x")
    return short_dir


def lending(tree: str, *to: LentScope) -> Lending:
    return Lending(held=True, places=(), to=to)


def outcomes(tree: str, lent: Lending, names: list[str]) -> dict[str, str]:
    """What writing to each comes to behind the layer; a name that ends in `+` is a new file."""

    def act() -> dict[str, Any]:
        with layer_without(ScopeGrant(allow=(write(tree),)), lent) as layer:
            layer.restrict_self()
        return {name: outcome(partial(Path(tree, name).write_text, "y")) for name in names}

    found: dict[str, str] = in_child(act)
    return found


@needs_landlock
def test_a_lent_tree_is_closed_and_its_neighbours_are_open(tree: str) -> None:
    lent = lending(tree, LentScope(pod="child", rules=(write(f"{tree}/a"),)))
    names = ["a/f", "a/new+", "a/deep/new+", "top", "b/f", "b/new+", "b/c/f", "new+"]
    assert outcomes(tree, lent, names) == {
        **dict.fromkeys(["a/f", "a/new+", "a/deep/new+"], "EACCES"),
        **dict.fromkeys(["top", "b/f", "b/new+", "b/c/f"], "ok"),
        "new+": "EACCES",  # the price: nothing is made beside what is lent
    }


@needs_landlock
def test_lent_direct_entries_leave_what_lies_further_down(tree: str) -> None:
    lent = lending(tree, LentScope(pod="child", rules=(write(f"{tree}/flat", recursive=False),)))
    assert outcomes(tree, lent, ["flat/f", "flat/under/f", "flat/under/new+", "b/f"]) == {
        "flat/f": "EACCES",
        "flat/under/f": "ok",
        "flat/under/new+": "ok",
        "b/f": "ok",
    }


@needs_landlock
def test_what_a_child_was_denied_is_not_lent_to_it_but_may_be_to_another(tree: str) -> None:
    one = LentScope(
        pod="one",
        rules=(write(f"{tree}/a"),),
        deny=(write(f"{tree}/a/tests"), write(f"{tree}/a/deep")),
    )
    two = LentScope(pod="two", rules=(write(f"{tree}/a/deep"),))
    assert outcomes(tree, lending(tree, one, two), ["a/f", "a/tests/f", "a/deep/new+"]) == {
        "a/f": "EACCES",
        "a/tests/f": "ok",
        "a/deep/new+": "EACCES",
    }
    assert lending(tree, one, two).covers(f"{tree}/a/deep/x") == "two"
    assert lending(tree, one).covers(f"{tree}/a/tests/x") is None


@needs_landlock
async def test_a_held_program_is_held_and_its_starter_is_not(tree: str) -> None:
    lent = lending(tree, LentScope(pod="child", rules=(write(f"{tree}/a"),)))
    with (
        layer_without(ScopeGrant(allow=(write(tree),)), lent) as layer,
        trio.fail_after(CHILD_SECONDS),
    ):
        program = await open_held(
            ["sh", "-c", f"cat; echo y > {tree}/a/f; echo y > {tree}/b/f; exit 3"],
            cwd=tree,
            env=dict(os.environ),
            with_stdin=True,
            enter=layer.restrict_self,
        )
        assert program.stdin is not None
        await program.stdin.send_all(b"hello")
        await program.stdin.aclose()
        said = b"".join([bytes(piece) async for piece in program.stdout])
        told = b"".join([bytes(piece) async for piece in program.stderr])
        assert await program.wait() == 3
        await program.stdout.aclose()
        await program.stderr.aclose()
    assert said == b"hello"
    assert b"denied" in told
    assert (_content(f"{tree}/a/f"), _content(f"{tree}/b/f")) == ("x", "y\n")
    assert _write(f"{tree}/a/f")  # this process, and its next programs, are not held
    subprocess.run([sys.executable, "-ISc", f"open({tree + '/a/f'!r}, 'w')"], check=True)  # noqa: ASYNC221 - short


async def test_a_held_program_that_cannot_start_says_so(tree: str) -> None:
    with pytest.raises(FileNotFoundError):
        await open_held(["/no/such"], cwd=tree, env={}, with_stdin=False, enter=lambda: None)


def _content(path: str) -> str:
    return Path(path).read_text()


def _write(path: str) -> int:
    return Path(path).write_text("mine")


def test_the_word_of_what_is_lent_is_kept_and_taken_away(short_dir: str) -> None:
    path = f"{short_dir}/lent.json"
    lent = Lending(
        held=True, places=("/x",), to=(LentScope(pod="c", rules=(write("/a"),), deny=()),)
    )
    write_lending(path, lent)
    assert read_lending(path) == lent
    write_lending(path, Lending(held=True, places=(), to=()))
    assert os.listdir(short_dir) == []
    assert read_lending(path) is None
    write_lending(f"{short_dir}/gone/lent.json", lent)
    Path(path).write_text("{")
    assert read_lending(path) is None
