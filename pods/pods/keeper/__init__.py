"""The keeper: one small process for each pod; its parent, subreaper, killer and witness.

Owns a pod's process tree from the fork to the proof that nothing of it is left, and the record of
how it ended. Knows nothing of messages, journals or scopes, and runs no event loop library: it is
forked from the launcher and lives on pages that it shares with it. `main.keep` is its entry.
"""
