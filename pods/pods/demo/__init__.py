"""`pods demo`: the main job on a real source tree, with no model and no key.

Owns the show: a copy of a tree, a supervisor of its own, a coordinating parent, a view. Uses public
parts alone, as a user's program would. Called by the command line.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(words: Sequence[str]) -> int:
    """Run the demo with these command-line words; the exit code comes back."""
    from pods.demo.main import main as run  # trio and rich: only for those who watch

    return run(words)
