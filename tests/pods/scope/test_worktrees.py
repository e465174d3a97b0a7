"""A git worktree whose repository is outside of the write scope is told, with what adds it."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from pods.scope.warnings import worktree_warnings
from pods_protocol.values import ScopeGrant, ScopeRule


def warned(*targets: str) -> tuple[str, ...]:
    rules = tuple(ScopeRule(target=target, permission="write") for target in targets)
    return worktree_warnings(ScopeGrant(allow=rules))


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_worktree_without_its_repository_is_told(short_dir: str) -> None:
    base = os.path.realpath(short_dir)
    main, linked = f"{base}/main", f"{base}/linked"
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (
        ("init", "-q", main),
        ("-C", main, *identity, "commit", "-q", "--allow-empty", "-m", "first"),
        ("-C", main, "worktree", "add", "-q", linked),
    ):
        subprocess.run(["git", *words], check=True, capture_output=True)
    (warning,) = warned(linked)
    assert f"--write {main}/.git adds it" in warning
    assert warned(main) == ()
    assert warned(linked, f"{main}/.git") == ()
    assert warned(linked, main) == ()


def test_a_file_that_is_no_worktrees_says_nothing(short_dir: str) -> None:
    for content in ("", "gitdir: nowhere", "gitdir: \0", "x" * 10_000, "gitdir: ."):
        with open(f"{short_dir}/.git", "w") as file:
            file.write(content)
        assert warned(short_dir) == ()


def test_a_pipe_in_that_place_is_not_waited_for(short_dir: str) -> None:
    os.mkfifo(f"{short_dir}/.git")
    assert warned(short_dir) == ()


@pytest.mark.parametrize("secret", ["hush", "/hush\nhush", "/etc"])
def test_a_tree_that_its_pod_has_prepared_tells_nothing_of_other_files(
    short_dir: str, secret: str
) -> None:
    tree, kept, common = f"{short_dir}/tree", f"{short_dir}/kept", f"{short_dir}/tree/own/commondir"
    os.makedirs(f"{tree}/own")
    for path, content in ((kept, secret), (f"{tree}/.git", f"gitdir: {tree}/own\n")):
        with open(path, "w") as file:
            file.write(content)
    os.symlink(kept, common)
    assert warned(tree) == ()
    os.rename(kept, common)
    assert warned(tree) == ()
