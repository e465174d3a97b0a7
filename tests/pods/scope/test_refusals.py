"""Why something was refused: the rule or the pod that stands in the way, in words."""

from __future__ import annotations

import pytest
from attrs import evolve

from pods.scope.confine import unenforced
from pods.scope.refusals import Holding, Need, Reason, Refused, Situation, judge
from pods_protocol.values import RuleEnforcement, ScopeGrant, ScopeRule


def rule(target: str, permission: str = "write", *, flat: bool = False) -> ScopeRule:
    assert permission in ("read", "write")
    return ScopeRule(
        target=target, permission="write" if permission == "write" else "read", recursive=not flat
    )


FLAT = rule("/p/flat", flat=True)

AT = Situation(
    pod="api",
    grant=ScopeGrant(
        allow=(rule("/p/api"), FLAT, rule("/p", "read")),
        deny=(rule("/p/api/keys", "read"), rule("/p/api/vendor")),
    ),
    enforcement=evolve(
        unenforced(""),
        rules=(RuleEnforcement(rule=FLAT, asked="direct entries", got="some files", exact=False),),
    ),
    others=(Holding(pod="db", rules=(rule("/p/db"), rule("/q/db")), deny=(rule("/p/db/free"),)),),
    lent=(Holding(pod="child", rules=(rule("/p/api/lent"),)),),
    readable=("/usr",),
    closed=("/state", "/run/pods"),
)


def why(need: Need, target: str, beside: str = "") -> Reason | None:
    call = "rename" if beside else "open"
    return judge(Refused(call=call, need=need, target=target, error="EACCES", beside=beside), AT)


@pytest.mark.parametrize(
    ("need", "target", "words", "pod"),
    [
        ("write", "/p/db/x", "db holds it", "db"),
        ("read", "/other/x", "no rule of its scope covers it", None),
        ("write", "/p/db/free/x", "read there, not write", None),
        ("write", "/p/x", "read there, not write", None),
        ("write", "/usr/x", "none may write", None),
        ("read", "/p/api/keys/a", "a deny of its own scope", None),
        ("write", "/p/api/vendor/a", "a deny of its own scope", None),
        ("write", "/p/api/lent/a", "lent to child", "child"),
        ("write", "/p/api/new", "beside it lies what is lent to child", "child"),
        ("write", "/p/api/src/new", "mode, owner or file system", None),
        ("read", "/p/api/lent/a", "mode, owner or file system", None),
        ("write", "/p/flat/x", "cannot be given whole", None),
        ("read", "/state/pods/x", "closed to pods", None),
        ("signal", "process 1", "its own processes alone", None),
        ("call", "bpf", "refused to every pod", None),
        ("abstract", "@x", "closed to it", None),
        ("connect", "/run/x.sock", "the socket's own mode", None),
        ("socket", "AF_UNIX", "sockets of this kind", None),
        ("read", "/q/db/x", "db writes there, and reading may be given", "db"),
    ],
)
def test_each_refusal_names_what_stands_in_the_way(
    need: Need, target: str, words: str, pod: str | None
) -> None:
    reason = why(need, target)
    assert reason is not None
    assert words in reason.why
    assert reason.pod == pod


def test_sockets_that_its_spawn_closed_are_told_with_the_option() -> None:
    held = evolve(AT.enforcement, unix_sockets="none", network="loopback")
    for target, words in (("AF_UNIX", "--unix-sockets none"), ("AF_VSOCK", "--network loopback")):
        reason = judge(
            Refused(call="socket", need="socket", target=target, error="EACCES"),
            evolve(AT, enforcement=held),
        )
        assert reason is not None
        assert words in reason.why


def test_of_a_move_only_the_side_that_is_refused_is_told() -> None:
    assert why("write", "/p/api/src/a", beside="/p/db/a") is None
    refused = why("write", "/p/db/a", beside="/p/api/src/a")
    assert refused is not None
    assert refused.pod == "db"
    assert why("write", "/p/api/src/a", beside="/p/api/src/b") is not None
