"""Places that pods cannot work in: a refusal that says why; and one that a dead supervisor left."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from disks import fill, small_disk
from end_to_end_support import NOBODY_UID, Door, nothing_more, open_door

pytestmark = pytest.mark.slow
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@as_root
@pytest.mark.parametrize("which", ["PODS_RUNTIME_DIR", "PODS_STATE_DIR"])
def test_a_directory_of_somebody_else_is_refused(which: str) -> None:
    with open_door() as door:
        place = door.environ[which]
        os.mkdir(place, 0o700)
        os.chown(place, NOBODY_UID, NOBODY_UID)
        answer = door("spawn", "x", "--agent", "echo", code=5)
        assert f"cannot use the directory {place}: it belongs to user {NOBODY_UID}" in answer.err
        assert os.listdir(place) == []


SERVE_AS_SOMEBODY_ELSE = """
import os, socket, sys
uid, directory = int(sys.argv[1]), sys.argv[2]
os.setgid(uid), os.setuid(uid)
with open(f"{directory}/owner.token", "w") as file:
    file.write("0" * 64)
listener = socket.socket(socket.AF_UNIX)
listener.bind(f"{directory}/ctl.sock")
os.chmod(f"{directory}/ctl.sock", 0o777)
listener.listen()
print("ready", flush=True)
while True:
    print(listener.accept()[0].recv(65536), flush=True)
"""

FROM_PYTHON = """
import pods
try:
    pods.connect().__enter__()
except pods.PodsError as error:
    print(error.CODE)
"""


@as_root
def test_a_supervisor_of_somebody_else_is_told_nothing() -> None:
    with open_door() as door:
        place = f"{door.environ['PODS_RUNTIME_DIR']}/default"
        os.chmod(door.directory, 0o755)
        os.makedirs(place)
        os.chown(place, NOBODY_UID, NOBODY_UID)
        server = subprocess.Popen(
            [sys.executable, "-c", SERVE_AS_SOMEBODY_ELSE, str(NOBODY_UID), place],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            for words in (["ls"], ["spawn", "x", "--env", "KEY=secret"], ["send", "x", "secret"]):
                answer = door(*words, code=5)
                assert f"user {NOBODY_UID}" in answer.err
            assert door.run([sys.executable, "-c", FROM_PYTHON]).out == "not_authorized\n"
        finally:
            server.kill()
            server.wait()
        heard = server.stdout.read()
        server.stdout.close()
        assert set(heard.splitlines()) <= {"b''"}, heard
        os.unlink(f"{place}/ctl.sock")
        os.unlink(f"{place}/owner.token")
        os.rmdir(place)


def test_a_socket_path_that_the_kernel_does_not_take_is_refused() -> None:
    with open_door() as door:
        long = f"{door.directory}/{'l' * 100}"
        answer = door("spawn", "x", "--agent", "echo", environ={"PODS_RUNTIME_DIR": long}, code=1)
        assert "the kernel takes 107; set PODS_RUNTIME_DIR to a shorter directory" in answer.err
        assert not any(name.endswith((".sock", ".token")) for name in walk(long))


def walk(directory: str) -> list[str]:
    return [name for _, _, files in os.walk(directory) for name in files]


WITHOUT_UNIX_SOCKETS = """
import socket, sys
del socket.AF_UNIX
from pods.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "words",
    [["spawn", "x"], ["demo"], ["up"], ["ls"], ["send", "x", "y"], ["doctor"]],
    ids=" ".join,
)
def test_a_python_without_unix_sockets_is_told_so(words: list[str], short_dir: str) -> None:
    door = Door(short_dir)
    answer = door.run([sys.executable, "-P", "-c", WITHOUT_UNIX_SOCKETS, *words])
    assert answer.code == 1
    assert answer.err == (
        "pods: cannot run pods: this Python has no Unix sockets with peer credentials; use CPython "
        "3.11 or newer on Linux\n"
    )
    assert not os.path.exists(door.environ["PODS_RUNTIME_DIR"])
    assert not os.path.exists(door.environ["PODS_STATE_DIR"])


@as_root
def test_a_full_disk_is_said_and_forgotten_once_there_is_room(short_dir: str) -> None:
    with small_disk(f"{short_dir}/disk", "2m") as disk, open_door() as door:
        door.environ["PODS_STATE_DIR"] = f"{disk}/s"
        door("spawn", "early", "--agent", "echo")
        ballast = fill(disk)
        with nothing_more(door):
            answer = door("spawn", "late", "--agent", "echo", code=1)
            assert os.strerror(28) in answer.err
            answer = door("send", "early", "x" * 5000, code=1)
            assert os.strerror(28) in answer.err
        os.unlink(ballast)
        assert door("send", "early", "again", "--wait").out.strip() == "again"
        assert door("spawn", "late", "--agent", "echo", "--prompt", "up", "--wait").out == "up\n"
        assert door("stop", "early", "late").code == 0


def test_a_stale_socket_of_a_dead_supervisor_is_in_nobodys_way() -> None:
    with open_door() as door:
        os.makedirs(os.path.dirname(door.socket), mode=0o700)
        os.chmod(door.environ["PODS_RUNTIME_DIR"], 0o700)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(door.socket)
        assert door("spawn", "x", "--agent", "echo", "--prompt", "up", "--wait").out == "up\n"
