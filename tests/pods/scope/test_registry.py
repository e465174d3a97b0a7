"""The registry as its callers see it: durable, exclusive, and repaired where it can be."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pods.scope import storage
from pods.scope.registry import ScopeRegistry
from pods.scope.table import Table
from pods_protocol.errors import (
    InternalError,
    NameTaken,
    RegistryBroken,
    ScopeConflict,
    StorageFailed,
    UnsafeDirectory,
)
from pods_protocol.values import ProcessIdentity
from scope_support import ids, lease, lend, look, me, release


def test_a_lease_is_on_disk_when_transact_returns(registry: ScopeRegistry, path: str) -> None:
    assert registry.transact(lend(lease("pod", ["w /p/**"]))) == "pod"
    assert ScopeRegistry(path).read().leases["pod"] == lease("pod", ["w /p/**"])


def test_nobody_else_may_look_in(registry: ScopeRegistry, path: str) -> None:
    registry.transact(lend(lease("pod")))
    directory = os.path.dirname(path)
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    for name in os.listdir(directory):
        assert stat.S_IMODE(os.stat(f"{directory}/{name}").st_mode) == 0o600


def test_a_registry_that_was_never_written_is_empty(registry: ScopeRegistry, path: str) -> None:
    assert registry.read().leases == {}
    assert registry.transact(look) == []
    assert not os.path.exists(path)


def test_two_registries_see_each_others_leases(path: str) -> None:
    one, two = ScopeRegistry(path), ScopeRegistry(path)
    one.transact(lend(lease("a", ["w /a/**"])))
    two.transact(lend(lease("b", ["w /b/**"])))
    with pytest.raises(ScopeConflict):
        one.transact(lend(lease("c", ["w /b/x/**"])))
    two.transact(release("a"))
    one.transact(lend(lease("c", ["w /a/**"])))
    assert ids(path) == ["b", "c"]


def test_a_refused_request_writes_nothing(registry: ScopeRegistry, path: str) -> None:
    registry.transact(lend(lease("a", ["w /a/**"])))
    before = Path(path).read_bytes()
    with pytest.raises(ScopeConflict):
        registry.transact(lend(lease("b", ["w /a/**"])))
    registry.transact(look)
    assert Path(path).read_bytes() == before


def test_an_operation_that_breaks_changes_nothing(registry: ScopeRegistry, path: str) -> None:
    def broken(table: Table) -> tuple[Table, None]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        registry.transact(broken)
    good, bad = registry.transact_many([lend(lease("a")), broken])
    assert good == "a"
    assert isinstance(bad, InternalError)
    assert isinstance(bad.__cause__, ZeroDivisionError)
    assert ids(path) == ["a"]


def test_many_are_written_once_and_a_refused_one_does_not_hurt_the_others(
    registry: ScopeRegistry, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []
    real = storage.write

    def counted(*args: Any) -> Any:
        writes.append(1)
        return real(*args)

    monkeypatch.setattr(storage, "write", counted)
    outcomes = registry.transact_many(
        [lend(lease("a", ["w /a/**"])), lend(lease("b", ["w /a/**"])), lend(lease("c"))]
    )
    assert outcomes[0] == "a"
    assert isinstance(outcomes[1], ScopeConflict)
    assert outcomes[2] == "c"
    assert len(writes) == 1
    assert ids(path) == ["a", "c"]


def test_fault_17_a_write_that_fails_leaves_the_old_table(
    registry: ScopeRegistry, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.transact(lend(lease("a")))

    def full(descriptor: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageFailed) as refused:
            registry.transact(lend(lease("b")))
    assert refused.value.data == {"path": path, "errno": errno.ENOSPC}
    assert ids(path) == ["a"]
    assert not [name for name in os.listdir(os.path.dirname(path)) if name.endswith(".tmp")]
    registry.transact(lend(lease("b")))
    assert ids(path) == ["a", "b"]


def test_a_directory_that_others_may_enter_is_refused(registry: ScopeRegistry, path: str) -> None:
    os.mkdir(os.path.dirname(path), 0o755)
    with pytest.raises(UnsafeDirectory, match="lets others in"):
        registry.transact(look)


# --- at the same time -----------------------------------------------------------------------------

WORKER = """
import os, sys
from pods.scope.registry import ScopeRegistry
from scope_support import lease, lend, release
registry = ScopeRegistry(sys.argv[1])
name = sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for n in range(10):
    registry.transact(lend(lease(f"{name}-{n}", [f"w /{name}/{n}/**"])))
    if n % 2:
        registry.transact(release(f"{name}-{n - 1}"))
sys.stdin.readline()
"""


def start_worker(path: str, name: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "support")}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, path, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    )


@pytest.mark.slow
def test_processes_that_write_at_once_lose_nothing(path: str) -> None:
    workers = [start_worker(path, f"p{number}") for number in range(6)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdin is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        wanted = {f"p{number}-{n}" for number in range(6) for n in (1, 3, 5, 7, 9)}
        deadline = time.monotonic() + 30
        registry = ScopeRegistry(path)
        while set(registry.read().leases) != wanted:
            assert time.monotonic() < deadline, set(registry.read().leases) ^ wanted
            os.sched_yield()
    finally:
        for worker in workers:
            worker.communicate("end\n")
    assert registry.read().leases == {}


def test_threads_of_one_process_take_turns(registry: ScopeRegistry, path: str) -> None:
    inside: list[str] = []

    def act(name: str) -> Callable[[Table], tuple[Table, None]]:
        def operation(table: Table) -> tuple[Table, None]:
            inside.append(name)
            assert inside == [name]
            os.sched_yield()
            inside.remove(name)
            return table.lend(lease(name)), None

        return operation

    threads = [
        threading.Thread(target=registry.transact, args=(act(f"t{number}"),)) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ids(path)) == [f"t{number}" for number in range(8)]


def test_a_forked_child_uses_its_parents_registry(registry: ScopeRegistry, path: str) -> None:
    registry.transact(lend(lease("before")))
    pid = os.fork()
    if pid == 0:
        try:
            registry.transact(lend(lease("inside", holder=PARENT)))
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert ids(path) == ["before", "inside"]


PARENT: ProcessIdentity = me()


# --- repair ---------------------------------------------------------------------------------------


def test_fault_17_a_torn_file_is_repaired_from_the_generation_before(
    registry: ScopeRegistry, path: str
) -> None:
    registry.transact(lend(lease("a")))
    registry.transact(lend(lease("b")))
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])
    assert ids(path) == ["a"]
    assert Path(path).read_bytes() == content[: len(content) // 2]
    assert registry.transact(look) == ["a"]
    assert ids(path) == ["a"]
    assert Path(f"{path}.broken-1").read_bytes() == content[: len(content) // 2]
    registry.transact(lend(lease("c")))
    assert ids(path) == ["a", "c"]


def test_fault_17_a_file_beyond_repair_is_refused_with_what_to_do(
    registry: ScopeRegistry, path: str
) -> None:
    registry.transact(lend(lease("a")))
    registry.transact(lend(lease("b")))
    for name in (path, f"{path}.previous"):
        Path(name).write_bytes(b"{")
    for act in (registry.read, lambda: registry.transact(look)):
        with pytest.raises(RegistryBroken, match="pods doctor --fix"):
            act()
    assert Path(path).read_bytes() == b"{"
    os.unlink(path)
    os.unlink(f"{path}.previous")
    assert registry.transact(look) == []


def test_an_id_is_not_lent_twice_by_different_registries(path: str) -> None:
    ScopeRegistry(path).transact(lend(lease("a")))
    with pytest.raises(NameTaken):
        ScopeRegistry(path).transact(lend(lease("a")))
