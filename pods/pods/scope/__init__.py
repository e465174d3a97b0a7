"""Scopes: who may use which part of the file system, and the table on disk that keeps them apart.

Owns the algebra of paths (`regions`) and of single rules (`rules`), what one pod holds (`leases`),
the laws of the table (`table`, with its index `grounds`), what one process is (`identity`), how a
user's paths become canonical rules (`normalise`), and the registry file with its lock (`locking`,
`storage`, `registry`, `worker`). Knows nothing of pods, sockets or supervisors. The supervisor
calls it; `regions`, `rules`, `leases` and `table` are pure and may be called by anybody.
"""
