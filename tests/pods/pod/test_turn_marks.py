"""What a pod tells its keeper, and what becomes of that where nobody listens."""

from __future__ import annotations

import socket

from pods.pod.turn_marks import BEGINS, GOES_ON, HELD, NONE, TurnMarks


def test_each_thing_that_is_told_is_one_byte_in_order() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        marks = TurnMarks(theirs)
        marks.no_turn()
        marks.turn_begins()
        marks.hold(held=True)
        marks.hold(held=False)
        assert ours.recv(99) == NONE + BEGINS + HELD + GOES_ON


def test_a_keeper_that_does_not_read_misses_nothing_but_hears_that_there_is_no_more() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        marks = TurnMarks(theirs)
        for _ in range(100_000):
            marks.turn_begins()
            marks.no_turn()
        heard = bytearray()
        while found := ours.recv(65536):
            heard += found
        assert heard in ((BEGINS + NONE) * (len(heard) // 2 + 1))[: len(heard)]
