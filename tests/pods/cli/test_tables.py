"""Tables as a terminal shows them: a row stays one line where it can."""

from __future__ import annotations

import io
import os
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest

from pods.cli import render

HEADERS = ("NAME", "WRITE", "AGE")
LONG = "/home/somebody/projects/shop/src/api"


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    """A real one, 80 columns wide."""
    ours, theirs = os.openpty()
    try:
        termios.tcsetwinsize(theirs, (24, 80))
        with open(theirs, "w", encoding="utf-8") as stream:
            yield stream
    finally:
        os.close(ours)


def test_a_table_fits_its_terminal_by_the_beginning_of_the_paths() -> None:
    table = render.table(HEADERS, [("api", LONG, "3s")], fit=1, columns=30)
    assert table.splitlines() == [
        "NAME  WRITE                AGE",
        "api   …jects/shop/src/api  3s",
    ]


def test_a_table_that_goes_to_no_terminal_or_fits_has_whole_paths() -> None:
    rows = [("api", LONG, "3s")]
    whole = render.table(HEADERS, rows, fit=1)
    assert LONG in whole
    assert render.table(HEADERS, rows, fit=1, columns=len(whole.splitlines()[0])) == whole


def test_a_path_keeps_its_end_however_narrow_the_terminal_is() -> None:
    _, row = render.table(HEADERS, [("api", LONG, "3s")], fit=1, columns=5).splitlines()
    assert row.split() == ["api", "…hop/src/api", "3s"]
    _, row = render.table(HEADERS, [("api", "/src/api", "3s")], fit=1, columns=5).splitlines()
    assert row.split() == ["api", "/src/api", "3s"], "a short one is not cut, nor made wider"


def test_a_terminal_tells_its_columns_and_another_stream_has_none(
    terminal: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert render.terminal_columns(terminal) == 80
    assert render.terminal_columns(io.StringIO()) is None
    monkeypatch.setenv("COLUMNS", "100")
    assert render.terminal_columns(terminal) == 100
    monkeypatch.setenv("COLUMNS", "wide")
    assert render.terminal_columns(terminal) is None


def test_a_terminal_that_does_not_know_its_columns_has_none(
    terminal: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    termios.tcsetwinsize(terminal.fileno(), (0, 0))
    assert render.terminal_columns(terminal) is None
