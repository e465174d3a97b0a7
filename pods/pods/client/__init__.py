"""Talking to a supervisor and its pods, from a program or from the command line.

Owns three ways to the same requests: `plain` (standard library, for verbs that must start at once),
`aio` (trio) and `sync` (a blocking facade over `aio`); and `start`, which brings a supervisor up on
demand. Knows no rule of what is granted: servers decide. Nothing is imported here, so that `plain`
does not pay for the rest.
"""
