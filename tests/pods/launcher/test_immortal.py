"""What a launcher shares is counted no more, where the interpreter is known; else nothing is."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys

import pytest

from pods.launcher import immortal
from pods.launcher.immortal import TRIED, is_possible, make_immortal

PROGRAM = """
import gc, importlib.util, os, resource, sys

spec = importlib.util.spec_from_file_location("immortal", sys.argv[1])
immortal = importlib.util.module_from_spec(spec)
spec.loader.exec_module(immortal)


class Kept:
    def method(self):
        return "a constant of this method, and no other", self.things


def faults_of_use(objects):
    reader, writer = os.pipe()
    if os.fork() == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for one in objects:
            one.method()
        os.write(writer, b"%d" % (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))
        os._exit(0)
    os.wait()
    return int(os.read(reader, 20))


objects = []
for number in range(40_000):
    one = Kept()
    one.things = str(number)
    objects.append(one)
gc.collect()
gc.freeze()
gc.disable()
counted = faults_of_use(objects)
number = immortal.make_immortal([objects, sys.modules])
kept = sys.getrefcount(objects[7])
held = [objects[7]] * 1000
same = sys.getrefcount(objects[7]) == kept
del held
uncounted = faults_of_use(objects)
print(immortal.is_possible(), number > 80_000, same, counted, uncounted)
"""


def interpreters() -> list[str]:
    """Every CPython of a version that it was tried in, as far as one is found here."""
    found: list[str] = []
    for major, minor in TRIED:
        on_path = shutil.which(f"python{major}.{minor}")
        installed = glob.glob(
            os.path.expanduser(f"~/.pyenv/versions/{major}.{minor}.*/bin/python{major}.{minor}")
        )
        if sys.version_info[:2] == (major, minor):
            found.append(sys.executable)
        elif installed or on_path:
            found.append(installed[-1] if installed else str(on_path))
    return found


@pytest.mark.parametrize("python", interpreters() or [None])
def test_a_fork_that_only_reads_copies_few_pages_where_nothing_is_counted(
    python: str | None,
) -> None:
    if python is None:
        pytest.skip("no interpreter of a version in TRIED is here")
    done = subprocess.run(
        [python, "-I", "-c", PROGRAM, immortal.__file__],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")  # and it ends like any interpreter
    *known, counted, uncounted = done.stdout.split()
    assert known == ["True"] * 3
    assert int(counted) > 500 > 100 > int(uncounted)


def test_an_interpreter_that_is_not_known_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(immortal, "TRIED", ((2, 7),))
    counted = object()
    before = sys.getrefcount(counted)
    assert not is_possible()
    assert make_immortal([[counted]]) == 0
    assert sys.getrefcount(counted) == before


def test_an_interpreter_that_keeps_its_counts_elsewhere_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(immortal, "TRIED", (sys.version_info[:2],))

    def from_elsewhere(_: object) -> int:
        return 12345

    monkeypatch.setattr(sys, "getrefcount", from_elsewhere)
    assert not is_possible()


def test_an_interpreter_with_memory_beyond_what_is_written_to_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(immortal, "TRIED", (sys.version_info[:2],))
    monkeypatch.setattr(immortal, "ADDRESSES", 4096)
    assert not is_possible()
    assert make_immortal([[object()]]) == 0
