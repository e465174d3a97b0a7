"""A word that is no verb: the one that was meant is named."""

from __future__ import annotations

import pytest

from cli_support import Cli
from pods.cli.parser import OTHER_WORDS, VERBS


@pytest.mark.parametrize(
    ("word", "meant"),
    [("spwan", "spawn"), ("inspct", "inspect"), ("atach", "attach"), *OTHER_WORDS.items()],
)
def test_the_verb_that_was_meant_is_named(pods: Cli, word: str, meant: str) -> None:
    code, out, err = pods(word, "api", "--write", "src")
    assert (code, out) == (2, "")
    assert err.startswith("usage: pods ")
    assert f"there is no verb '{word}': did you mean `pods {meant}`? `pods --help`" in err


def test_what_is_like_no_verb_gets_the_way_to_the_list_of_them(pods: Cli) -> None:
    code, _, err = pods("zzz" * 100)
    assert code == 2
    assert "there is no verb 'zzz" in err
    assert "did you mean" not in err
    assert len(err) < 400


def test_other_words_lead_to_verbs_and_are_none() -> None:
    assert set(OTHER_WORDS.values()) <= VERBS.keys()
    assert OTHER_WORDS.keys().isdisjoint(VERBS)


def test_help_is_help_whatever_word_follows(pods: Cli) -> None:
    code, out, _ = pods("--help", "spwan")
    assert code == 0
    assert "spawn" in out
