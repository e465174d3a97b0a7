"""Where no supervisor runs: what the verbs say, and that neither they nor wrong words start one."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from cli_support import Cli


def test_without_a_supervisor_nothing_is_listed_and_nothing_is_started(
    nobody: dict[str, Any], pods: Cli
) -> None:
    assert pods("ls")[:2] == (0, "")
    assert pods("ls", "-q") == (0, "", "")
    assert json.loads(pods("ls", "--json")[1]) == {"pods": [], "capacity": None}
    assert pods("tree")[:2] == (0, "")
    assert pods("scope", "show")[:2] == (0, "")
    assert pods("prune")[:2] == (0, "")
    assert pods("stop", "--all")[:2] == (0, "")
    assert pods("rm", "--all-ended")[:2] == (0, "")
    assert pods("down")[:2] == (0, "")
    assert json.loads(pods("down", "--json")[1]) == {"stopped": []}
    assert not os.path.exists(nobody["PODS_RUNTIME_DIR"])


@pytest.mark.parametrize(
    "words",
    [
        ("read", "api"),
        ("send", "api", "x"),
        ("logs", "api"),
        ("attach", "api"),
        ("wait", "api"),
        ("stop", "api"),
        ("rm", "api"),
        ("inspect", "api"),
        ("scope", "show", "api"),
    ],
)
def test_without_a_supervisor_a_named_pod_is_unknown(
    nobody: dict[str, Any], pods: Cli, words: tuple[str, ...]
) -> None:
    code, out, err = pods(*words)
    assert (code, out) == (4, "")
    assert "cannot find the pod 'api'" in err
    assert "no journal of a pod is kept" in err
    assert not os.path.exists(nobody["PODS_RUNTIME_DIR"])


@pytest.mark.parametrize(
    "words",
    [
        ("read", "a/b"),
        ("send", "", "x"),
        ("stop", "x" * 300),
        ("stop",),
        ("rm",),
        ("rm", "a", "b/c"),
        ("stop", "a", "--grace", "-3"),
        ("stop", "a", "--grace", "601"),
        ("stop", "a", "--finish", "--kill"),
        ("read", "a", "--since", "-1"),
        ("logs", "a", "--tail", "x"),
        ("prune", "--older-than", "soon"),
        ("prune", "--older-than", "-5d"),
        ("audit", "--since", "-5m"),
        ("scope", "check"),
        ("scope",),
        ("wait",),
        ("ls", "--", "x"),
        ("nonsense",),
        (),
        ("--supervisor", "a/b", "ls"),
        ("ls", "--supervisor", ""),
    ],
)
def test_wrong_words_are_usage_errors(
    nobody: dict[str, Any], pods: Cli, words: tuple[str, ...]
) -> None:
    code, out, err = pods(*words)
    assert (code, out) == (2, "")
    assert err
    assert "Traceback" not in err
    assert not os.path.exists(nobody["PODS_RUNTIME_DIR"])


def test_a_duration_below_zero_is_said_to_be_none(nobody: dict[str, Any], pods: Cli) -> None:
    for words in (("audit", "--since"), ("prune", "--older-than")):
        assert "'-5m' is no duration: write 90s, 5m, 2h or 7d" in pods(*words, "-5m")[2]
