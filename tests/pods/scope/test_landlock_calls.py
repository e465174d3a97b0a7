"""The three calls: rights masked by version and file type, errors with number and path."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from confined import in_child, outcome
from pods.scope.landlock import (
    FILE_ACCESS,
    NOT_SCOPED,
    Access,
    LandlockError,
    Ruleset,
    Scoped,
    abi_version,
    known_access,
    known_scopes,
)

ABI = abi_version()
needs_landlock = pytest.mark.skipif(not ABI, reason="this kernel has no Landlock")


def test_each_version_knows_what_the_one_before_knew_and_more() -> None:
    assert known_access(0) == 0
    assert known_access(1) == Access.REFER - 1
    assert known_access(2) == known_access(1) | Access.REFER
    assert known_access(3) == known_access(4) == known_access(2) | Access.TRUNCATE
    assert known_access(5) == known_access(8) == known_access(3) | Access.IOCTL_DEV
    assert known_access(9) == known_access(99) == known_access(5) | Access.RESOLVE_UNIX
    assert known_scopes(5) == NOT_SCOPED
    assert known_scopes(6) == Scoped.ABSTRACT_SOCKETS | Scoped.SIGNALS


@pytest.mark.parametrize(
    ("abi", "access", "scoped"),
    [
        (1, 0x1FFF, 0), (2, 0x3FFF, 0), (3, 0x7FFF, 0), (4, 0x7FFF, 0), (5, 0xFFFF, 0),
        (6, 0xFFFF, 3), (7, 0xFFFF, 3), (8, 0xFFFF, 3), (9, 0x1FFFF, 3), (10, 0x1FFFF, 3),
        (11, 0x1FFFF, 3),
    ],
)  # fmt: skip
def test_the_bits_of_each_version_are_those_of_the_kernels_documentation(
    abi: int, access: int, scoped: int
) -> None:
    assert (known_access(abi), known_scopes(abi)) == (access, scoped)


@needs_landlock
@pytest.mark.parametrize("abi", range(1, ABI + 1))
def test_every_version_that_the_kernel_has_takes_its_ruleset(abi: int, tmp_path: Path) -> None:
    (tmp_path / "open").write_text("x")
    (tmp_path / "closed").write_text("x")

    def act() -> list[str]:
        with Ruleset(~Access(0), Scoped.SIGNALS, abi=abi) as ruleset:
            descriptor = os.open(tmp_path / "open", os.O_PATH)
            # A plain file may have few of the rights; the rest are left out, not refused.
            granted = ruleset.allow(descriptor, "open", ~Access(0))
            assert granted == FILE_ACCESS & known_access(abi)
            ruleset.restrict_self()
        return [outcome((tmp_path / name).read_text) for name in ("open", "closed")]

    assert in_child(act) == ["ok", "EACCES"]


@needs_landlock
def test_a_rule_that_allows_nothing_is_no_rule_and_no_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with Ruleset(Access.READ_DIR, NOT_SCOPED, abi=ABI) as ruleset:
        descriptor = os.open(path, os.O_PATH)
        try:
            assert ruleset.allow(descriptor, "file", Access.READ_DIR) == 0
        finally:
            os.close(descriptor)


@needs_landlock
def test_an_error_has_its_number_and_the_path() -> None:
    with Ruleset(Access.READ_FILE, NOT_SCOPED, abi=ABI) as ruleset:
        reader, writer = os.pipe()
        try:
            with pytest.raises(LandlockError) as caught:
                ruleset.allow(reader, "/the/path", Access.READ_FILE)
        finally:
            os.close(reader)
            os.close(writer)
    assert caught.value.errno == errno.EBADFD
    assert caught.value.filename == "/the/path"
    assert "landlock_add_rule" in str(caught.value)


@needs_landlock
def test_the_seventeenth_layer_is_refused_in_words() -> None:
    def act() -> str:
        for _ in range(17):
            with Ruleset(Access.MAKE_BLOCK, NOT_SCOPED, abi=ABI) as ruleset:
                try:
                    ruleset.restrict_self()
                except LandlockError as error:
                    return f"{errno.errorcode[error.errno or 0]} {error.strerror}"
        return "never"

    told: Any = in_child(act)
    assert told.startswith("E2BIG")
    assert "sixteen layers" in told


@needs_landlock
def test_a_ruleset_leaves_no_descriptor() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with Ruleset(Access.READ_FILE, NOT_SCOPED, abi=ABI) as ruleset:
        assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    ruleset.close()
    assert sorted(os.listdir("/proc/self/fd")) == before


@needs_landlock
def test_an_old_error_number_is_not_taken_for_a_new_one() -> None:
    with pytest.raises(FileNotFoundError):
        os.open("/does/not/exist", os.O_RDONLY)
    with Ruleset(Access.READ_FILE, NOT_SCOPED, abi=ABI):
        pass
