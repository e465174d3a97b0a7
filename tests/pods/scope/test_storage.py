"""The registry's file: what is read, what is refused, what is repaired."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pods.scope import registry_format, storage
from pods.scope.lease_lines import decode_lease, encode_lease
from pods.scope.leases import Lease
from pods.scope.storage import EMPTY, ensure_directory, load, write
from pods.scope.table import Table
from pods_protocol import codec
from pods_protocol.errors import InvalidParams, RegistryBroken, StorageFailed, UnsafeDirectory
from scope_support import lease, pending, table_of

TABLE = table_of(
    lease("boss", ["w /p/**", "r /q/*"], deny=["r /p/keys/**"], delegable=["w /p/**"]),
    lease("child", ["w /p/src/**"], parent="boss"),
    pending("late", ["w /late/**"], seconds=60.5),
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "registry.json")


def generation(path: str) -> int:
    return int(orjson.loads(Path(path).read_bytes())["generation"])


def test_what_is_written_is_read(path: str) -> None:
    written = write(path, TABLE, EMPTY)
    assert load(path, EMPTY).table == TABLE
    assert load(path, written) is written
    assert generation(path) == written.generation == 1


def test_the_file_is_json_that_the_strict_codec_takes(path: str) -> None:
    write(path, TABLE, EMPTY)
    file = codec.from_json(registry_format.RegistryFile, orjson.loads(Path(path).read_bytes()))
    assert file.version == registry_format.FORMAT_VERSION
    assert file.leases == tuple(TABLE.leases.values())


def test_an_empty_file_is_an_empty_table(path: str) -> None:
    Path(path).touch()
    snapshot = load(path, EMPTY)
    assert snapshot.table.leases == {}
    write(path, Table(), snapshot)
    assert load(path, EMPTY).table.leases == {}


def test_a_file_that_an_editor_has_laid_out_is_read_all_the_same(path: str) -> None:
    base = write(path, TABLE, EMPTY)
    data = orjson.loads(Path(path).read_bytes())
    Path(path).write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    snapshot = load(path, base)
    assert snapshot.table == TABLE
    write(path, TABLE.release("late"), snapshot)
    assert load(path, base).table == TABLE.release("late")
    assert generation(path) == 2


def test_each_write_keeps_the_generation_before(path: str) -> None:
    base = write(path, TABLE, EMPTY)
    assert not os.path.exists(f"{path}.previous")
    base = write(path, TABLE.release("late"), base)
    assert generation(f"{path}.previous") == 1
    write(path, TABLE, base)
    assert generation(f"{path}.previous") == 2
    assert sorted(os.listdir(os.path.dirname(path))) == ["registry.json", "registry.json.previous"]


def test_only_what_changed_is_decoded_again(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = write(path, TABLE, EMPTY)
    theirs = write(path, TABLE.release("child").lend(lease("new")), load(path, EMPTY))
    decoded: list[bytes] = []

    def counted(line: bytes) -> Lease:
        decoded.append(line)
        return decode_lease(line)

    monkeypatch.setattr(registry_format, "decode_lease", counted)
    snapshot = load(path, mine)
    assert snapshot.table == theirs.table
    assert len(decoded) == 1
    assert snapshot.table.leases["boss"] is mine.table.leases["boss"]


def test_a_generation_that_was_repaired_is_not_taken_for_the_one_that_was_lost(path: str) -> None:
    first = write(path, table_of(lease("a")), EMPTY)
    lost = write(path, table_of(lease("b")), first)
    Path(path).write_bytes(b"torn")
    write(path, table_of(lease("c")), load(path, first))
    assert generation(path) == lost.generation
    assert list(load(path, lost).table.leases) == ["c"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_file_cut_at_any_byte_is_never_read_as_another_table(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = str(tmp_path_factory.mktemp("r") / "registry.json")
    base = write(path, TABLE, EMPTY)
    later = TABLE.lend(lease("new", ["w /new/**"]))
    write(path, later, base)
    content = Path(path).read_bytes()
    length = data.draw(st.integers(1, len(content) - 2))
    Path(path).write_bytes(content[:length])
    found = load(path, EMPTY)
    assert found.table == TABLE
    assert not found.whole


def broken_files() -> list[tuple[str, Any]]:
    whole: dict[str, Any] = {
        "version": 1,
        "generation": 1,
        "stamp": "s",
        "leases": [codec.to_json(item) for item in TABLE.leases.values()],
    }
    first = whole["leases"][0]

    def with_lease(**changes: Any) -> dict[str, Any]:
        return {**whole, "leases": [{**first, **changes}]}

    def with_rule(**changes: Any) -> dict[str, Any]:
        grant = first["grant"]
        return with_lease(grant={**grant, "deny": [{**grant["deny"][0], **changes}]})

    return [
        ("a list", []),
        ("a number", 5),
        ("no leases", {"version": 1, "generation": 1, "stamp": "s"}),
        ("an unknown field", {**whole, "extra": 1}),
        ("a version that is a word", {**whole, "version": "1"}),
        ("an unknown field in a lease", with_lease(extra=1)),
        ("a number for a name", with_lease(name=5)),
        ("a word for a deadline", with_lease(pending_deadline="soon")),
        ("no grant", with_lease(grant=None)),
        ("rules that are no list", with_lease(grant={**first["grant"], "allow": {}})),
        ("a rule that is no rule", with_lease(grant={**first["grant"], "allow": [{}]})),
        ("a holder without a boot", with_lease(holder={"pid": 1, "start_ticks": 1})),
        ("a target that is a number", with_rule(target=5)),
        ("a permission that is no word", with_rule(permission=[])),
        ("a pid that is a word", with_lease(holder={**first["holder"], "pid": "1"})),
        ("the same id twice", {**whole, "leases": [first, first]}),
        ("a parent that is missing", with_lease(parent_id="nobody")),
        ("a parent that is itself", with_lease(parent_id="boss")),
    ]


def in_our_layout(data: dict[str, Any]) -> bytes:
    head = {key: value for key, value in data.items() if key != "leases"}
    lines = b",\n".join(orjson.dumps(item) for item in data["leases"])
    return orjson.dumps(head)[:-1] + b',"leases":[\n' + lines + b"\n]}\n"


@pytest.mark.parametrize(("what", "data"), broken_files(), ids=[w for w, _ in broken_files()])
def test_a_file_that_is_no_registry_is_refused_and_the_previous_one_taken(
    path: str, what: str, data: Any
) -> None:
    contents = [orjson.dumps(data)]
    if what not in ("a list", "a number", "no leases"):
        contents.append(in_our_layout(data))
    for content in contents:
        Path(path).write_bytes(content)
        Path(f"{path}.previous").unlink(missing_ok=True)
        with pytest.raises(RegistryBroken) as refused:
            load(path, EMPTY)
        assert refused.value.data["path"] == path
        other = f"{path}.other"
        write(other, TABLE, EMPTY)
        os.rename(other, f"{path}.previous")
        assert load(path, EMPTY).table == TABLE


def test_a_file_with_our_last_line_and_no_first_one_is_not_read(path: str) -> None:
    Path(path).write_bytes(b"torn\n{}\n]}\n")
    with pytest.raises(RegistryBroken, match="not JSON"):
        load(path, EMPTY)


@pytest.mark.parametrize("laid_out", [False, True])
def test_a_file_of_a_newer_pods_is_never_touched(path: str, laid_out: bool) -> None:
    base = write(path, TABLE, EMPTY)
    write(path, TABLE, base)
    data: dict[str, Any] = {"version": 99, "generation": 9, "stamp": "s", "leases": [], "news": 1}
    content = in_our_layout(data) if laid_out else orjson.dumps(data)
    Path(path).write_bytes(content)
    with pytest.raises(RegistryBroken, match="a newer pods wrote it"):
        load(path, EMPTY)
    assert Path(path).read_bytes() == content


def test_a_file_of_the_format_before_is_read(path: str) -> None:
    write(path, TABLE, EMPTY)
    data = orjson.loads(Path(path).read_bytes())
    data["version"] = 1
    for item in data["leases"]:
        del item["guardian"]
    Path(path).write_bytes(in_our_layout(data))
    assert load(path, EMPTY).table == TABLE


def test_a_missing_file_is_repaired_from_the_generation_before(path: str) -> None:
    base = write(path, TABLE, EMPTY)
    write(path, TABLE.release("late"), base)
    os.unlink(path)
    found = load(path, EMPTY)
    assert found.table == TABLE
    write(path, found.table, found)
    assert load(path, EMPTY).whole


def test_a_symlink_a_directory_and_a_strangers_file_are_not_read(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = str(tmp_path / "elsewhere")
    write(real, TABLE, EMPTY)
    os.symlink(real, path)
    with pytest.raises(RegistryBroken, match="cannot be opened"):
        load(path, EMPTY)
    os.unlink(path)
    os.mkdir(path)
    with pytest.raises(RegistryBroken, match="not a plain file"):
        load(path, EMPTY)
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(RegistryBroken, match="belongs to user"):
            load(real, EMPTY)
        with pytest.raises(UnsafeDirectory, match="belongs to user"):
            ensure_directory(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(storage, "MAX_FILE_BYTES", 10)
        with pytest.raises(RegistryBroken, match="bytes"):
            load(real, EMPTY)


def test_a_file_that_cannot_be_read_is_a_failure_of_the_disk(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, TABLE, EMPTY)

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(StorageFailed) as refused:
        load(path, EMPTY)
    assert refused.value.data["errno"] == errno.EIO


def test_broken_files_are_kept_and_only_a_few_of_them(path: str) -> None:
    base = write(path, TABLE, EMPTY)
    write(path, TABLE, base)
    for number in range(storage.MAX_BROKEN_KEPT + 3):
        Path(path).write_text(f"broken {number}")
        found = load(path, EMPTY)
        base = write(path, found.table, found)
        write(path, found.table, base)
    kept = sorted(Path(path).parent.glob("*.broken-*"))
    assert len(kept) == storage.MAX_BROKEN_KEPT
    assert f"broken {storage.MAX_BROKEN_KEPT + 2}" in {file.read_text() for file in kept}


def test_a_file_system_without_hard_links_keeps_the_previous_one_too(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(source: str, target: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    base = write(path, TABLE, EMPTY)
    # The first link fails too, where there is nothing to keep.
    write(path, TABLE.release("late"), base)
    assert generation(f"{path}.previous") == 1
    assert generation(path) == 2


def test_a_write_in_pieces_is_a_whole_write(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))  # pyright: ignore[reportUnknownLambdaType,reportUnknownArgumentType]  # as os.write
    write(path, TABLE, EMPTY)
    monkeypatch.undo()
    assert load(path, EMPTY).table == TABLE


# --- the directory --------------------------------------------------------------------------------


def test_the_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    ensure_directory(str(tmp_path / "a/b/c"))
    assert (tmp_path / "a/b/c").stat().st_mode & 0o777 == 0o700
    ensure_directory(str(tmp_path / "a/b/c"))


def test_a_directory_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnsafeDirectory, match="not a directory"):
        ensure_directory(str(tmp_path / "file"))
    with pytest.raises(StorageFailed):
        ensure_directory(str(tmp_path / "file/below"))
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to("open")
    with pytest.raises(UnsafeDirectory, match="a symbolic link, not a directory; name what it"):
        ensure_directory(str(tmp_path / "link"))


# --- lines ----------------------------------------------------------------------------------------


def test_lines_go_both_ways() -> None:
    for item in TABLE.leases.values():
        assert decode_lease(encode_lease(item)) == item


def test_what_is_unusual_but_right_is_for_the_codec() -> None:
    item = attrs.evolve(pending("late"), pending_deadline=5.0, spawner=None)
    data = orjson.loads(encode_lease(item))
    # A whole number where a float belongs, and a field with a default left out.
    data["pending_deadline"] = 5
    del data["spawner"]
    assert decode_lease(orjson.dumps(data)) == item


@pytest.mark.parametrize("line", [b"[]", b"5", b"{}", b'{"pod_id":"a"}'])
def test_what_is_no_lease_is_refused(line: bytes) -> None:
    with pytest.raises(InvalidParams):
        decode_lease(line)
