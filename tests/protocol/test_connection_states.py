"""The table of states, cell by cell, as both ends of a real connection live it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pods_protocol import pod_messages as pod
from pods_protocol.connection import LocalProtocolError
from pods_protocol.errors import InternalError, NotConnected
from pods_protocol.events import Event
from pods_protocol.states import MOVES, Move, State
from protocol_support import HELLO, ConnectionPair, drain, hello_result

EVENT = Event(seq=1, time=1.0, turn=None, type="text", data={})


class Bench:
    """A pair, with a server's requests at hand to be answered at any later state."""

    def __init__(self) -> None:
        self.pair = ConnectionPair()
        self.hello_id = 0
        self.request_id: int | str = 0

    def reach(self, state: State, *, hello_open: bool) -> Bench:
        """Bring the server to a state, with hello asked but not answered where wanted."""
        pair = self.pair
        if state is not State.AWAITING_HELLO or hello_open:
            self.hello_id, _ = pair.ask(HELLO)
        if state is State.READY or (state not in _EARLY and not hello_open):
            pair.answer(self.hello_id, hello_result())
            self.request_id, _ = pair.ask(pod.Ping())
        if state is State.CLOSED:
            pair.server.receive_data(b"")
        if state is State.FAILED:
            pair.server.receive_data(b"half a line")
            pair.server.receive_data(b"")
        if state is State.BROKEN:
            pair.server.send_failed()
        drain(pair.server)
        assert pair.server.state is state
        return self


_EARLY = (State.AWAITING_HELLO, State.GREETING)

SERVER_SENDS: dict[Move, Callable[[Bench], object]] = {
    Move.HELLO_ACCEPTED: lambda b: b.pair.server.send_result(b.hello_id, hello_result()),
    Move.HELLO_REFUSED: lambda b: b.pair.server.send_error(b.hello_id, InternalError("cannot")),
    Move.RESULT: lambda b: b.pair.server.send_result(b.request_id, pod.Empty()),
    Move.ERROR: lambda b: b.pair.server.send_error(None, InternalError("cannot")),
    Move.NOTIFICATION: lambda b: b.pair.server.send_notification("event", EVENT),
    Move.SEND_FAILED: lambda b: b.pair.server.send_failed(),
}
PEER_DOES: dict[Move, bytes] = {
    Move.HELLO: (
        b'{"jsonrpc":"2.0","id":"h","method":"hello","params":{"token":"t","protocol":1}}\n'
    ),
    Move.REQUEST: b'{"jsonrpc":"2.0","id":"r","method":"ping"}\n',
    Move.PEER_CLOSED: b"",
    Move.PEER_FAILED: b"x" * (1024 * 1024 + 1),
}


def test_the_table_has_a_row_for_every_state_and_uses_every_move() -> None:
    assert set(MOVES) == set(State)
    assert {move for moves in MOVES.values() for move in moves} == set(Move)
    assert set(SERVER_SENDS) | set(PEER_DOES) == set(Move)


@pytest.mark.parametrize("move", SERVER_SENDS, ids=lambda move: move.value)
@pytest.mark.parametrize("state", State, ids=lambda state: state.value)
def test_a_server_sends_what_the_table_allows_and_nothing_else(state: State, move: Move) -> None:
    about_hello = move in (Move.HELLO_ACCEPTED, Move.HELLO_REFUSED)
    bench = Bench().reach(
        state, hello_open=about_hello and state not in (State.READY, State.AWAITING_HELLO)
    )
    target = MOVES[state].get(move)
    if target is None:
        with pytest.raises(LocalProtocolError):
            SERVER_SENDS[move](bench)
        assert bench.pair.server.state is state
    else:
        SERVER_SENDS[move](bench)
        assert bench.pair.server.state is target


@pytest.mark.parametrize("move", PEER_DOES, ids=lambda move: move.value)
@pytest.mark.parametrize("state", State, ids=lambda state: state.value)
def test_a_peer_moves_a_server_where_the_table_says_and_nowhere_else(
    state: State, move: Move
) -> None:
    server = Bench().reach(state, hello_open=False).pair.server
    if state not in (State.CLOSED, State.FAILED):  # whose bytes have ended
        server.receive_data(PEER_DOES[move])
    drain(server)
    assert server.state is MOVES[state].get(move, state)


@pytest.mark.parametrize("state", State, ids=lambda state: state.value)
def test_a_client_asks_only_where_the_table_allows(state: State) -> None:
    pair = ConnectionPair()
    if state is State.READY:
        pair.greet()
    elif state is not State.AWAITING_HELLO:
        pair.client.send_request(HELLO)
    if state is State.CLOSED:
        pair.client.receive_data(b"")
    if state is State.FAILED:
        pair.client.receive_data(b"nonsense\n")
    if state is State.BROKEN:
        pair.client.send_failed()
    drain(pair.client)
    assert pair.client.state is state
    for move, message in ((Move.REQUEST, pod.Ping()), (Move.HELLO, HELLO)):
        if move in MOVES[state]:
            pair.client.send_request(message)
            assert pair.client.state is MOVES[state][move]
            return
        expected = LocalProtocolError if state in (*_EARLY, State.READY) else NotConnected
        with pytest.raises(expected):
            pair.client.send_request(message)
        assert pair.client.state is state
