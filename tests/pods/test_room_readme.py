"""The room's README says what the code says."""

from __future__ import annotations

from pathlib import Path

from pods.pod.moves import as_markdown

README = Path(__file__).parents[2] / "pods" / "README.md"


def test_the_table_of_turns_is_the_one_that_the_code_obeys() -> None:
    shown = README.read_text().partition("<!-- moves -->\n")[2].partition("\n<!-- /moves -->")[0]
    assert shown == as_markdown().strip()
