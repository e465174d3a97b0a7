"""The supervisor: the trio process that owns pods, as a daemon or inside a program.

Owns the pod table, the registry entries of its pods, their tokens and caps, and the control socket.
Every method of the socket is a file of its name; `service` is the nursery tree they run in,
`lifecycle` (one room up, pure) decides what a pod's life may do, and `records` (there too) is what
is remembered of pods. Clients never import this package: they start `python -m pods.supervisor`.
Only `embedded.open_supervisor` is public, as `pods.open_supervisor`. Nothing is imported here: the
daemon starts its launcher before its own imports.
"""
