"""Regions against sets of paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.scope.regions import (
    ENTRIES,
    POINT,
    TREE,
    Region,
    ancestors_of,
    contains,
    has_path,
    intersect,
    is_below,
    is_canonical,
    is_cut,
    parent_of,
)
from scope_model import PATHS, TARGETS, parts_of

regions = st.builds(Region, st.sampled_from(TARGETS), st.sampled_from([POINT, ENTRIES, TREE]))


def paths(region: Region) -> set[str]:
    target = parts_of(region.target)
    deepest = {POINT: 0, ENTRIES: 1, TREE: 99}[region.reach]
    return {
        path
        for path in PATHS
        if parts_of(path)[: len(target)] == target and len(parts_of(path)) - len(target) <= deepest
    }


@given(regions)
def test_a_region_has_its_paths_and_no_other(region: Region) -> None:
    assert {path for path in PATHS if has_path(region, path)} == paths(region)


@given(regions, regions)
def test_what_two_regions_share_is_exact(first: Region, second: Region) -> None:
    shared = intersect(first, second)
    assert (paths(shared) if shared else set[str]()) == paths(first) & paths(second)


@given(regions, regions)
def test_containing_is_exact(outer: Region, inner: Region) -> None:
    assert contains(outer, inner) == (paths(inner) <= paths(outer))


@given(regions, st.lists(regions, max_size=3))
def test_a_region_is_cut_only_if_the_holes_leave_nothing(
    region: Region, holes: list[Region]
) -> None:
    left = paths(region).difference(*(paths(hole) for hole in holes))
    assert is_cut(region, holes) == (not left)


def test_paths_are_compared_by_components() -> None:
    assert not is_below("/a/bc", "/a/b")
    assert is_below("/a/b/c", "/a/b")
    assert is_below("/a/b", "/a/b")
    assert is_below("/a", "/")
    assert intersect(Region("/a/b", TREE), Region("/a/bc", TREE)) is None


def test_the_way_up_ends_at_the_root() -> None:
    assert list(ancestors_of("/a/b")) == ["/a/b", "/a", "/"]
    assert parent_of("/") is None


@pytest.mark.parametrize("path", ["/", "/a", "/a/b", "/..a", "/a...", "/ "])
def test_a_canonical_path_is_taken(path: str) -> None:
    assert is_canonical(path)


@pytest.mark.parametrize(
    "path", ["", "a", "./a", "/a/", "//a", "//", "/a/../b", "/..", "/a/./b", "/a//b", "/a\0b", "~"]
)
def test_any_other_way_to_write_a_path_is_not(path: str) -> None:
    assert not is_canonical(path)
