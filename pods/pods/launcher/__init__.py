"""The launcher: one process for each supervisor, from which all its keepers are forked.

Owns an image with everything a pod needs already imported, the fork, and the end of every keeper.
It is single-threaded and serves without an event loop; it never waits for its supervisor and
outlives it.
Started by the supervisor as `python -P -m pods.launcher --name NAME`.
"""
