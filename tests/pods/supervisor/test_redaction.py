"""What a pod wrote is told without the values of its variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from pods.supervisor.redaction import (
    HIDDEN,
    MAX_HIDDEN_FORMS,
    MIN_HIDDEN_CHARACTERS,
    WITHHELD,
    hide,
    longest,
)
from pods_protocol.errors import AgentError, PodsError, StartFailed
from supervisor_support import NOTHING, left_in, supervisor_and_client

KEY = "sk-very-secret-123"
PEM = 'BEGIN "KEY"\n  c2VjcmV0\nEND KÉY'


@pytest.mark.parametrize(
    ("text", "values", "left"),
    [
        (f"login with {KEY} refused", [KEY], f"login with {HIDDEN} refused"),
        (f"{KEY}{KEY}", [KEY], HIDDEN * 2),
        (f"{KEY}-too", [KEY, f"{KEY}-too"], HIDDEN),
        ("step 1 of 12345", ["1", "12345"], "step 1 of 12345"),
        (f"KeyError: {PEM!r}", [PEM], f"KeyError: '{HIDDEN}'"),
        (f"KeyError: {PEM!a}", [PEM], f"KeyError: '{HIDDEN}'"),
        ("  | c2VjcmV0\n  | more", [PEM], f"  | {HIDDEN}\n  | more"),
        ("login with sk-very-se...", [KEY], f"login with {HIDDEN}..."),
        ("login with sk-very sk-very-se", [KEY], f"login with sk-very {HIDDEN}"),
        ("login with sk-ve", [KEY], "login with sk-ve"),
        ("nothing", [], "nothing"),
    ],
)
def test_a_value_is_hidden_however_it_is_written(text: str, values: list[str], left: str) -> None:
    assert hide(text, values) == left


def test_a_text_that_may_hold_too_many_values_is_withheld() -> None:
    values = [f"value-{number}" for number in range(MAX_HIDDEN_FORMS)]
    assert hide("value-7 is wrong", values) == f"{HIDDEN} is wrong"
    assert hide("value-7 is wrong", [*values, "one more"]) == WITHHELD


def test_the_longest_way_to_write_a_value_is_known() -> None:
    assert longest([]) == longest(["x" * (MIN_HIDDEN_CHARACTERS - 1)]) == 0
    assert longest(["abcdef", "éééééé"]) == len("\\u00e9") * 6


LOGS_IN = """
import os, sys

class Agent:
    def __init__(self, secrets=None):
        {act}
"""
RAISES = 'raise RuntimeError("login with %s refused" % (os.environ.get("API_KEY") or secrets))'
LEAVES = 'print("no", os.environ["API_KEY"], file=sys.stderr, flush=True); os._exit(3)'


def plant(directory: Path, act: str) -> None:
    Path(directory, "logs_in.py").write_text(LOGS_IN.format(act=act))


def read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "name", "error"),
    [
        (RAISES, "API_KEY", AgentError),
        (RAISES, "PODS_SECRET_KEY", AgentError),
        (LEAVES, "API_KEY", StartFailed),
    ],
    ids=["raised", "raised of a secret", "written at once"],
)
async def test_a_spawn_that_fails_tells_no_value_of_a_variable(
    pods_environ: dict[str, str], tmp_path: Path, act: str, name: str, error: type[PodsError]
) -> None:
    plant(tmp_path, act)
    async with supervisor_and_client(pods_environ) as (supervisor, client):
        with pytest.raises(error) as caught:
            await client.spawn("p", agent="logs_in:Agent", cwd=str(tmp_path), env={name: KEY})
        logged = read(supervisor.places.log)
    told = caught.value.message + str(caught.value.data)
    assert KEY not in told + logged
    assert HIDDEN in told
    assert (HIDDEN in logged) == (error is AgentError)
    assert left_in(pods_environ) == NOTHING
