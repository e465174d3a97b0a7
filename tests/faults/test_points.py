"""The table of points is what processes do: nothing that they call is missing, nothing is dead."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from points import ACTIONS, LEFT_ALONE, POINTS, SELDOM, unknown, unmet

CAMPAIGN = Path(__file__).parent / "campaign.py"
SEED = 201
ROUNDS = 4
"""Of these seeds, that meet every point which is not `SELDOM`."""

LONGEST_SECONDS = 300
"""They take a minute where two others use the machine."""


def test_each_point_is_hurt_or_left_alone_with_a_reason_and_not_both() -> None:
    hurt = {(kind, point) for kind, points in POINTS.items() for point in points}
    assert not hurt & LEFT_ALONE.keys()
    assert hurt >= SELDOM.keys()
    assert all({**LEFT_ALONE, **SELDOM}.values())
    for kind, points in POINTS.items():
        for place, point in points.items():
            usual = ACTIONS[place.partition("@")[0]]
            assert set(point.actions or usual) <= set(usual), f"{kind} {place}"


def test_what_is_met_and_in_no_table_is_found_and_what_is_dead() -> None:
    hurt = [(kind, point) for kind, points in POINTS.items() for point in points]
    assert unknown([*hurt, *LEFT_ALONE]) == []
    assert unknown([("pod", "write@nowhere")]) == [("pod", "write@nowhere")]
    assert unmet(hurt) == []
    assert unmet(hurt[1:]) == hurt[:1]


@pytest.mark.slow
@pytest.mark.timeout(LONGEST_SECONDS + 20)
def test_rounds_without_faults_meet_every_point_and_no_other() -> None:
    done = subprocess.run(
        [sys.executable, str(CAMPAIGN), "--rounds", str(ROUNDS), "--seed", str(SEED),
         "--census", "--json"],
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    met = [(kind, point) for kind, point, _ in json.loads(done.stdout)]
    assert unknown(met) == [], "hurt it in `points.POINTS`, or leave it alone with a reason"
    assert unmet(met) == [], "nobody calls this any more; or it is seldom: say why in `points`"
