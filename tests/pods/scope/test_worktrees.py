"""A git worktree or submodule without its repository in scope is told, with what adds it."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from pods.scope.warnings import worktree_warnings
from pods_protocol.values import ScopeGrant, ScopeRule

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def warned(*targets: str, read: tuple[str, ...] = ()) -> tuple[str, ...]:
    rules = (
        *(ScopeRule(target=target, permission="write") for target in targets),
        *(ScopeRule(target=target, permission="read") for target in read),
    )
    return worktree_warnings(ScopeGrant(allow=rules))


def git(*words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *identity, *words], check=True, capture_output=True)


@needs_git
def test_a_worktree_without_its_repository_is_told(short_dir: str) -> None:
    base = os.path.realpath(short_dir)
    main, linked = f"{base}/main", f"{base}/linked"
    git("init", "-q", main)
    git("-C", main, "commit", "-q", "--allow-empty", "-m", "first")
    git("-C", main, "worktree", "add", "-q", linked)
    (warning,) = warned(linked)
    assert f"--write {main}/.git adds it" in warning
    assert warned(main) == ()
    assert warned(linked, f"{main}/.git") == ()
    assert warned(linked, main) == ()
    (warning,) = warned(read=(linked,))
    assert f"git cannot read it; --read {main}/.git adds it" in warning
    assert warned(read=(linked, f"{main}/.git")) == ()
    assert warned(main, read=(linked,)) == ()
    (warning,) = warned(linked, read=(main,))
    assert "cannot commit" in warning


@needs_git
def test_a_submodule_without_its_repository_is_told(short_dir: str) -> None:
    base = os.path.realpath(short_dir)
    # Its path has the word that git's own directories of submodules have.
    part, whole = f"{base}/part", f"{base}/modules/whole"
    for place in (part, whole):
        git("init", "-q", place)
        git("-C", place, "commit", "-q", "--allow-empty", "-m", "first")
    git("-C", whole, "submodule", "add", "-q", part, "libs/part")
    kept = f"{whole}/.git/modules/libs/part"
    (warning,) = warned(f"{whole}/libs/part")
    assert f"is a git submodule and its repository {kept} is outside" in warning
    assert f"--write {kept} adds it" in warning
    (warning,) = warned(read=(f"{whole}/libs/part",))
    assert f"--read {kept} adds it" in warning
    assert warned(whole) == warned(f"{whole}/libs/part", kept) == ()


def test_a_file_that_is_no_worktrees_says_nothing(short_dir: str) -> None:
    git_files = (
        "", "gitdir: nowhere", "gitdir: /a/modules/b", "gitdir: /modules/", "gitdir: \0",
        "x" * 10_000, "gitdir: .",
    )  # fmt: skip
    for content in git_files:
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
