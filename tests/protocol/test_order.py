"""The order of a shown list: no row lost, none twice, parents before children."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pods_protocol.order import tree_order

Row = tuple[str, str | None]


def ordered(*rows: Row) -> list[str]:
    return [row[0] for row in tree_order(rows, lambda row: row)]


def test_children_stand_below_their_parents_and_siblings_stay_in_order() -> None:
    rows: list[Row] = [("a", None), ("b", None), ("b1", "b"), ("a1", "a"), ("a2", "a"), ("x", "a1")]
    assert ordered(*rows) == ["a", "a1", "x", "a2", "b", "b1"]


def test_a_row_without_its_parent_stands_at_the_top() -> None:
    assert ordered(("a1", "gone"), ("a", None)) == ["a1", "a"]


def test_rows_in_a_circle_are_not_lost() -> None:
    assert sorted(ordered(("a", "b"), ("b", "a"), ("c", None))) == ["a", "b", "c"]


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.none() | st.sampled_from("abcdefgh")))
def test_every_row_is_there_once(parents: dict[str, str | None]) -> None:
    assert sorted(ordered(*parents.items())) == sorted(parents)
