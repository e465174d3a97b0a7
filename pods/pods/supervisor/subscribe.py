"""`subscribe`: lifecycle events of the caller's subtree, replayed and live."""

from __future__ import annotations

from pods.supervisor.authority import Caller
from pods.supervisor.checks import check_count
from pods.supervisor.core import Supervisor
from pods_protocol.errors import InvalidRequest, NotSupported
from pods_protocol.pod_messages import SubscribeResult
from pods_protocol.supervisor_messages import SubscribeLifecycle


def subscribe(
    supervisor: Supervisor, caller: Caller, request: SubscribeLifecycle
) -> SubscribeResult:
    """Send `event` notifications from here on; with `since`, also what came after it.

    Raises:
        NotSupported: a session of the owner's asks.
        InvalidRequest: this connection is subscribed already.
        InvalidParams: a cursor below zero.
    """
    if caller.owner_session:
        raise NotSupported(
            "cannot subscribe for a session: lifecycle events are told to pods and to the owner; "
            "use `wait` or `read`"
        )
    last = supervisor.journal.last_seq
    since = last if request.since is None else check_count(request.since, "since", lowest=0)
    if caller.subscribed:
        raise InvalidRequest(
            "cannot subscribe: this connection already is; open another one for a second "
            "subscription"
        )
    caller.subscribed = True
    # A task of the connection: it begins after this answer is written, and loses nothing by that,
    # for it reads from `since` before it joins.
    caller.session.follow(supervisor.hub.serve, caller.session, caller.pod_id, since)
    return SubscribeResult(last_seq=last)
