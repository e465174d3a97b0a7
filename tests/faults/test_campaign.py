"""A short campaign: fixed seeds, real processes, faults at named points, and nothing is lost.

The long one is a command: `python tests/faults/campaign.py --rounds 500 --seed 1000`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rounds import ROUND_SECONDS

CAMPAIGN = Path(__file__).parent / "campaign.py"
FIRST_SEED = 1
ROUNDS = 10
"""Some four seconds each where nothing else runs."""

BUDGET_SECONDS = 45
"""On a machine that is busy no round is begun after this."""

LONGEST_SECONDS = BUDGET_SECONDS + ROUND_SECONDS
"""One round under way then may take long where others use the machine, and says itself if it hangs.
"""

LEAST_SHARE = 30
"""Percent of the armed faults: about half fire, and where hardly any do, the plan is at fault."""


@pytest.mark.slow
@pytest.mark.timeout(LONGEST_SECONDS + 20)
def test_nothing_is_lost_in_a_short_campaign() -> None:
    command = [sys.executable, str(CAMPAIGN), "--rounds", str(ROUNDS), "--seed", str(FIRST_SEED)]
    with subprocess.Popen(
        [*command, "--seconds", str(BUDGET_SECONDS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as campaign:
        try:
            said = campaign.communicate(timeout=LONGEST_SECONDS)[0]
        except subprocess.TimeoutExpired:
            campaign.terminate()  # it clears its world then
            said = campaign.communicate()[0] + f"not over in {LONGEST_SECONDS} s"
    assert campaign.returncode == 0, said
    assert "violations 0" in said
    share = re.search(r"fired \d+ \((\d+)%\)", said)
    assert share is not None, said
    assert int(share[1]) >= LEAST_SHARE, said
