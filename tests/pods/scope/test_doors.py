"""What a pod may use besides files: never more than its parent, and said in words."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from pods.scope.confine import unenforced
from pods.scope.doors import CLOSABLE, OPEN, Above, closes, doors_of, in_words, settle, unmet
from pods_protocol.errors import InvalidParams, ScopeNotDelegable
from pods_protocol.values import Doors, Enforcement, Network, UnixSockets

NETWORKS: tuple[Network, ...] = ("none", "loopback", "open")
SOCKETS: tuple[UnixSockets, ...] = ("none", "any")


def ask(parent: Doors | None = None, **asked: Any) -> Doors:
    given: dict[str, Any] = {"network": None, "unix_sockets": None, "pty": False, **asked}
    above = None if parent is None else Above("boss", parent)
    return settle("one", call_back=given.pop("call_back", False), parent=above, **given)


def test_a_persons_pod_is_open_unless_something_is_asked() -> None:
    assert ask() == OPEN == Doors(network="open", unix_sockets="any", pty=False)
    assert ask(network="none") == Doors(network="none")
    assert ask(pty=True) == Doors(pty=True)


@pytest.mark.parametrize(
    "had", [Doors(network=n, unix_sockets=u) for n in NETWORKS for u in SOCKETS]
)
def test_a_child_has_what_its_parent_has_and_may_ask_for_less_only(had: Doors) -> None:
    assert ask(had) == had
    for network, sockets in product(NETWORKS, SOCKETS):
        more = NETWORKS.index(network) > NETWORKS.index(had.network) or (
            SOCKETS.index(sockets) > SOCKETS.index(had.unix_sockets)
        )
        if more:
            with pytest.raises(ScopeNotDelegable, match="its parent boss has") as caught:
                ask(had, network=network, unix_sockets=sockets)
            assert caught.value.data["parent"] == "boss"
        else:
            got = ask(had, network=network, unix_sockets=sockets)
            assert got == Doors(network=network, unix_sockets=sockets)


def test_terminals_are_never_given_unasked_nor_by_who_has_none() -> None:
    assert not ask(Doors(pty=True)).pty
    assert ask(Doors(pty=True), pty=True).pty
    with pytest.raises(ScopeNotDelegable, match="pty=false"):
        ask(OPEN, pty=True)


def test_call_back_needs_unix_sockets() -> None:
    assert ask(call_back=True, network="none").network == "none"
    with pytest.raises(InvalidParams, match="call back without Unix sockets"):
        ask(call_back=True, unix_sockets="none")
    with pytest.raises(InvalidParams, match="call back without Unix sockets"):
        ask(Doors(unix_sockets="none"), call_back=True)


def test_what_could_not_be_closed_is_named_with_the_reason() -> None:
    open_record = unenforced("no Landlock here")
    assert unmet(OPEN, open_record) == unmet(Doors(pty=True), open_record) == ""
    for name, doors in CLOSABLE.items():
        assert closes(doors)
        assert unmet(doors, open_record) == f"{name} cannot be had: no Landlock here"
        record = Enforcement(
            backend="landlock",
            summary="",
            network=doors.network,
            unix_sockets=doors.unix_sockets,
        )
        assert unmet(doors, record) == ""
        assert doors_of(record) == doors
    assert not closes(Doors(pty=True))


def test_only_what_is_unusual_has_words() -> None:
    assert in_words(OPEN) == ()
    assert in_words(Doors(network="loopback")) == ("loopback only",)
    assert in_words(Doors(network="none", unix_sockets="none", pty=True)) == (
        "no network",
        "no Unix sockets",
        "terminals",
    )
