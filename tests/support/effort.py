"""How hard property tests look: little in CI, as much as wanted by hand.

`PODS_TEST_EFFORT=50 python -m pytest tests/pods/scope/test_table_machine.py` tries fifty times as
many examples as CI does.
"""

from __future__ import annotations

import os

EFFORT = int(os.environ.get("PODS_TEST_EFFORT", "1"))


def examples(number: int) -> int:
    """How many examples, where CI tries so many."""
    return number * EFFORT
