"""Single rules: what they cover, share and permit, and how they read."""

from __future__ import annotations

from pods.scope.rules import covers, describe, overlaps, permits
from scope_support import rule


def test_a_recursive_rule_covers_the_tree_and_another_the_direct_entries() -> None:
    tree, entries = rule("w /a/**"), rule("w /a/*")
    assert covers(tree, "/a")
    assert covers(tree, "/a/b/c")
    assert covers(entries, "/a")
    assert covers(entries, "/a/b")
    assert not covers(entries, "/a/b/c")
    assert not covers(tree, "/ab")


def test_rules_overlap_whatever_they_permit() -> None:
    assert overlaps(rule("r /a/**"), rule("w /a/b/*"))
    assert overlaps(rule("w /a/*"), rule("w /a/b/*"))
    assert not overlaps(rule("w /a/*"), rule("w /a/b/c/**"))


def test_write_includes_read_and_not_the_other_way_round() -> None:
    assert permits(rule("w /a/**"), rule("r /a/b/**"))
    assert not permits(rule("r /a/**"), rule("w /a/b/**"))
    assert not permits(rule("w /a/*"), rule("w /a/**"))


def test_a_rule_in_a_sentence() -> None:
    assert describe(rule("w /a/**")) == "write on /a/**"
    assert describe(rule("r //*")) == "read on /*"
