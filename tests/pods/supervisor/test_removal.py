"""What pods leave behind is removed, however it is protected."""

from __future__ import annotations

import os
from pathlib import Path

import trio

from pods.supervisor.removal import remove_tree

NOBODY = 65534


def test_directories_that_a_program_made_read_only_are_removed_with_what_they_hold(
    short_dir: str,
) -> None:
    """As a user who is not root, whom modes stop."""
    outside = Path(short_dir, "outside")
    (outside / "kept").mkdir(parents=True)
    outside.chmod(0o555)
    cache = Path(short_dir, "pod", "agent", "home", "go", "pkg")
    cache.mkdir(parents=True)
    (cache / "mod").mkdir()
    (cache / "mod" / "file").write_text("x")
    (cache / "link").symlink_to(outside)
    if os.geteuid() == 0:
        for path in (Path(short_dir), Path(short_dir, "pod"), *Path(short_dir, "pod").rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    (cache / "mod").chmod(0)
    cache.chmod(0o555)
    Path(short_dir, "pod", "agent").chmod(0)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            trio.run(remove_tree, f"{short_dir}/pod")
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert not Path(short_dir, "pod").exists()
    assert outside.stat().st_mode & 0o777 == 0o555, "links are not followed"
    outside.chmod(0o755)
