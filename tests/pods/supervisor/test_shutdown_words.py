"""What is said of the pods that keep a supervisor from its end."""

from __future__ import annotations

import pytest

from pods.supervisor.shutdown import name_some


@pytest.mark.parametrize(
    ("living", "said"),
    [
        (["a"], "1 pod runs (a)"),
        (list("abcde"), "5 pods run (a, b, c, d, e)"),
        (list("abcdefg"), "7 pods run (a, b, c, d, e, ...)"),
    ],
)
def test_more_pods_than_are_named_are_shown_to_be_more(living: list[str], said: str) -> None:
    assert name_some(living) == said
