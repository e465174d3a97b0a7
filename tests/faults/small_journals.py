"""Journals that a round can fill: the bounds of the product, made as small as a campaign needs.

Owns which of its constants that means. Called in every process of a campaign: by the processes
under test through `injected/sitecustomize.py`, by the campaign's own, which reads the configuration
as every client does. Product code knows nothing of this file.
"""

from __future__ import annotations

from pods import config
from pods.journal import retention


def shrink_segments(segment_bytes: int) -> None:
    """Let a journal's file be full at that size."""
    for constant in ("SEGMENT_BYTES", "MIN_SEGMENT_BYTES"):  # they are final to types
        setattr(retention, constant, segment_bytes)


def allow_short_journals() -> None:
    """Let a user configure journals of any length."""
    name = "_WHOLE_NUMBERS"  # the module's own, and final to types
    setattr(config, name, {**getattr(config, name), "journal.max_bytes": (1, 2**50)})
