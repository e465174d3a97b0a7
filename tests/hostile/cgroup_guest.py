"""Runs tests where cgroup v2 is delegated: `python tests/hostile/cgroup_guest.py [TEST ...]`.

In a machine of its own that it starts, without any privilege on this one; by default the tests of
cgroups. Two kinds, both of Debian's packages:

- `uml` (default): a kernel that is a program (`user-mode-linux`). Boots in a second, and is fast;
  has no Landlock.
- `qemu`: an emulated machine with the distribution's kernel and its Landlock (`qemu-system-x86`,
  `linux-image-cloud-amd64`, `busybox-static`, `cpio`); twenty times slower, so that only what is
  about Landlock (`-k confined`) can be expected to come in time. `--kvm` where that works.

The machine sees this one's files, read-only, with /tmp in its own memory; so it runs the very
interpreter and the very tree that this is started with. The exit code is the tests'; 77 where
something that it needs is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
NOT_HERE: Final = 77
MEMORY: Final = "2G"
MODULES: Final = ("virtio_pci", "virtiofs")
DEFAULT: Final = [
    "tests/pods/pod/test_cgroup_rules.py",
    "tests/pods/supervisor/test_cgroup_limits.py",
]
VIRTIOFSD: Final = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd")

INIT: Final = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /lib/$module; done
/bin/busybox mount -t virtiofs -o ro host /root || /bin/busybox poweroff -f
/bin/busybox mount -t tmpfs tmpfs /root/tmp
/bin/busybox cp /run.sh /root/tmp/run.sh
exec /bin/busybox switch_root /root /bin/bash /tmp/run.sh
"""

RUN: Final = """#!/bin/bash
mountpoint -q /proc || mount -t proc proc /proc
mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up 2>/dev/null
cd /sys/fs/cgroup
echo '+memory +pids' > cgroup.subtree_control
mkdir lent.scope
{python} -c 'import os; os.setxattr("lent.scope", "user.delegate", b"1")'
cd lent.scope
chown {uid}:{uid} . cgroup.procs cgroup.subtree_control cgroup.threads
export HOME=/tmp/home PATH=/usr/local/bin:/usr/bin:/bin TERM=dumb PYTHONDONTWRITEBYTECODE=1
export HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis
mkdir $HOME && chown {uid}:{uid} $HOME
cd {tree}
(
  echo $BASHPID > /sys/fs/cgroup/lent.scope/cgroup.procs
  # Root without the powers that no mode keeps out: what a pod does to modes is tried, too.
  exec setpriv --reuid={uid} --regid={uid} --clear-groups \
    --bounding-set -dac_override,-dac_read_search {command} < /dev/null 2>&1
)
echo "EXIT CODE $?"
echo o > /proc/sysrq-trigger
while :; do :; done
"""


class Missing(Exception):
    """Something that this needs is not installed."""


def first(*candidates: str) -> str:
    """The first of these programs that is there.

    Raises:
        Missing: none is.
    """
    for one in candidates:
        found = shutil.which(one)
        if found:
            return found
    raise Missing(f"no {candidates[0]}")


def run_in_uml(directory: str, run: str) -> int:
    """Run a script as the first process of a kernel that is a program; the exit code it says.

    Raises:
        Missing: there is no such program.
    """
    script = Path(directory) / "run.sh"
    script.write_text(run)
    script.chmod(0o755)
    return heed(
        [
            first("linux.uml"), f"mem={MEMORY}", "rootfstype=hostfs", "rootflags=/", "ro",
            f"init={script}", "con=null", "con0=null,fd:1", "quiet",
        ]
    )  # fmt: skip


def run_in_qemu(directory: str, run: str, *, kvm: bool) -> int:
    """Run a script as the first process of an emulated machine; the exit code it says.

    Raises:
        Missing: something that it takes is not installed.
    """
    qemu, (image, version) = first("qemu-system-x86_64"), kernel()
    initramfs = write_initramfs(directory, version, run)
    share = f"{directory}/share"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(share)
        listener.listen()
        files = subprocess.Popen(
            [
                first(*VIRTIOFSD), f"--fd={listener.fileno()}", "-f",
                "-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot",
            ],
            pass_fds=(listener.fileno(),),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
    cpu = ["-enable-kvm", "-cpu", "host"]
    if not kvm:
        cpu = ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,la57=off"]
    try:
        return heed(
            [
                qemu, *cpu, "-smp", "2", "-m", MEMORY,
                "-object", f"memory-backend-memfd,id=mem,size={MEMORY},share=on",
                "-numa", "node,memdev=mem",
                "-chardev", f"socket,id=files,path={share}",
                "-device", "vhost-user-fs-pci,chardev=files,tag=host",
                "-kernel", image, "-initrd", initramfs,
                "-append", "console=ttyS0 panic=-1 quiet loglevel=3 mitigations=off",
                "-display", "none", "-nodefaults", "-no-reboot", "-serial", "stdio",
            ]
        )  # fmt: skip
    finally:
        files.terminate()
        files.wait()


def heed(command: Sequence[str]) -> int:
    """Run a machine, show what it says, and return the exit code that it says at its end."""
    machine = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
    )
    code = 1
    assert machine.stdout is not None, "it is a pipe"
    try:
        for line in machine.stdout:
            print(line.rstrip(), flush=True)
            said = re.search(r"EXIT CODE (\d+)", line)
            code = int(said[1]) if said else code
        return code
    finally:
        # A kernel that is a program is many of them.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(machine.pid, signal.SIGKILL)
        machine.stdout.close()
        machine.wait()


def kernel() -> tuple[str, str]:
    """A kernel and its version.

    Raises:
        Missing: none is installed.
    """
    for image in sorted(Path("/boot").glob("vmlinuz-*"), reverse=True):
        version = image.name.removeprefix("vmlinuz-")
        if Path(f"/lib/modules/{version}").is_dir():
            return str(image), version
    raise Missing("no kernel in /boot with modules: install linux-image-cloud-amd64")


def modules_of(version: str) -> list[str]:
    """The files of `MODULES` and what they need, in order."""
    modprobe = first("modprobe", "/sbin/modprobe", "/usr/sbin/modprobe")
    found: dict[str, None] = {}
    for name in MODULES:
        said = subprocess.run(
            [modprobe, "-S", version, "-D", name], check=True, capture_output=True, text=True
        ).stdout
        lines = [line.split() for line in said.splitlines()]
        found |= {words[1]: None for words in lines if words[0] == "insmod"}
    return list(found)


def write_initramfs(directory: str, version: str, run: str) -> str:
    """The first files of the machine, packed; returns the path."""
    tree = Path(directory) / "tree"
    for name in ("bin", "lib", "dev", "root"):
        (tree / name).mkdir(parents=True)
    shutil.copy(first("busybox"), tree / "bin" / "busybox")
    modules = modules_of(version)
    for module in modules:
        shutil.copy(module, tree / "lib")
    names = " ".join(os.path.basename(module) for module in modules)
    (tree / "init").write_text(INIT.format(modules=names))
    (tree / "init").chmod(0o755)
    (tree / "run.sh").write_text(run)
    listed = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    packed = subprocess.run(
        [first("cpio"), "-o", "-H", "newc", "--quiet"],
        input=listed.encode(), cwd=tree, capture_output=True, check=True,
    ).stdout  # fmt: skip
    path = Path(directory) / "initramfs"
    path.write_bytes(packed)
    return str(path)


def main() -> int:
    """Run, and say what is missing where it cannot."""
    parser = argparse.ArgumentParser(description="Run tests where cgroup v2 is delegated.")
    parser.add_argument("--machine", choices=["uml", "qemu"], default="uml")
    parser.add_argument("--kvm", action="store_true", help="qemu, not emulated")
    parser.add_argument("--uid", type=int, default=0, help="who runs them; default root")
    parser.add_argument("--command", action="store_true", help="WORDs are a command, not tests")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="WORD")
    given, more = parser.parse_known_args()
    words = given.words
    if not given.command:
        pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "0"]
        words = [*pytest, *more, *(given.words or DEFAULT)]
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    run = RUN.format(
        command=shlex.join(words),
        tree=shlex.quote(str(ROOT)),
        python=shlex.quote(sys.executable),
        uid=given.uid,
    )
    with tempfile.TemporaryDirectory(prefix="pods-guest-") as directory:
        try:
            if given.machine == "uml":
                return run_in_uml(directory, run)
            return run_in_qemu(directory, run, kvm=given.kvm)
        except Missing as missing:
            print(f"cannot start a machine: {missing}")
            return NOT_HERE


if __name__ == "__main__":
    sys.exit(main())
