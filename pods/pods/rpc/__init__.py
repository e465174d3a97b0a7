"""JSON-RPC lines over Unix sockets on trio: the one place where protocol objects meet sockets.

Owns sockets, their peers, reader tasks and outboxes. Knows no method's meaning: `pods_protocol`
says what is legal, the handlers that callers pass in say what it does. Used by pods, supervisor
and clients; nothing is imported here, so that users of `unix` alone do not pay for the rest.
"""
