"""Socket paths, modes and owners, on the real file system."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from pods.paths import MAX_SOCKET_PATH_BYTES
from pods.rpc import unix
from pods_protocol.errors import (
    PathTooLong,
    PlatformUnsupported,
    StartFailed,
    StorageFailed,
    UnsafeDirectory,
)


def test_a_bound_socket_is_for_its_owner_alone(short_dir: str) -> None:
    path = f"{short_dir}/s"
    listener = unix.bind_unix(path)
    try:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            assert unix.peer_credentials(client) == (os.getpid(), os.geteuid())
    finally:
        listener.close()


def test_a_path_over_the_kernels_bound_is_refused_with_the_remedy(short_dir: str) -> None:
    fits = short_dir + "/" + "x" * (MAX_SOCKET_PATH_BYTES - len(short_dir) - 1)
    unix.bind_unix(fits).close()
    with pytest.raises(PathTooLong, match="PODS_RUNTIME_DIR") as refused:
        unix.bind_unix(fits + "x")
    assert refused.value.data["limit_bytes"] == MAX_SOCKET_PATH_BYTES


def test_a_taken_path_is_refused_and_left_alone(short_dir: str) -> None:
    path = f"{short_dir}/s"
    with open(path, "w") as file:
        file.write("somebody else's")
    with pytest.raises(StartFailed):
        unix.bind_unix(path)
    with open(path) as file:
        assert file.read() == "somebody else's"


def test_a_python_without_unix_sockets_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(PlatformUnsupported, match="Unix sockets"):
        unix.bind_unix("/nowhere/s")


def test_a_private_directory_is_made_with_its_parents(short_dir: str) -> None:
    path = f"{short_dir}/a/b"
    unix.ensure_private_directory(path)
    unix.ensure_private_directory(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(f"{short_dir}/a").st_mode) == 0o700


def test_a_directory_open_to_others_is_refused(short_dir: str) -> None:
    path = f"{short_dir}/open"
    os.mkdir(path)
    os.chmod(path, 0o755)
    with pytest.raises(UnsafeDirectory, match="0755"):
        unix.ensure_private_directory(path)


def test_a_symlink_in_place_of_a_directory_is_refused(short_dir: str) -> None:
    os.mkdir(f"{short_dir}/real", 0o700)
    os.symlink(f"{short_dir}/real", f"{short_dir}/link")
    with pytest.raises(UnsafeDirectory, match="a symbolic link, not a directory; name what it"):
        unix.ensure_private_directory(f"{short_dir}/link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(short_dir: str) -> None:
    path = f"{short_dir}/theirs"
    os.mkdir(path, 0o700)
    os.chown(path, 12345, 12345)
    with pytest.raises(UnsafeDirectory, match="belongs to user 12345"):
        unix.ensure_private_directory(path)


def test_a_directory_below_a_file_cannot_be_made(short_dir: str) -> None:
    with open(f"{short_dir}/file", "w"):
        pass
    with pytest.raises(StorageFailed, match="PODS_STATE_DIR"):
        unix.ensure_private_directory(f"{short_dir}/file/below")


def test_a_private_file_is_replaced_as_a_whole(short_dir: str) -> None:
    path = f"{short_dir}/token"
    unix.write_private_file(path, b"one")
    unix.write_private_file(path, b"two", durable=False)
    with open(path, "rb") as file:
        assert file.read() == b"two"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.listdir(short_dir) == ["token"]


def test_a_failing_write_leaves_the_old_file_and_no_other(short_dir: str) -> None:
    path = f"{short_dir}/target"
    os.mkdir(path)  # a rename over a directory fails after the temporary file was written
    with pytest.raises(StorageFailed):
        unix.write_private_file(path, b"new")
    assert os.listdir(short_dir) == ["target"]
    with pytest.raises(StorageFailed):
        unix.write_private_file(f"{short_dir}/missing/file", b"new")
