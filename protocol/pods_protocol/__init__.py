"""The wire of pods as pure data: messages, framing, codec, connection states, errors.

Owns what goes over a socket and what it means. Knows no socket, clock, process or event loop;
every room above imports it, it imports none of them.

Nothing is imported here, so that the light command-line verbs can take `pods_protocol.errors`
(standard library only) without paying for attrs.
"""
