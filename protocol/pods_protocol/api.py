"""Which requests the sockets of pods, keepers and launchers answer: literal tables.

Owns these tables, and what a table is. `Connection`, the schemas, the reference in the README and
the servers' dispatch are all driven by them. The supervisor's is in `supervisor_api`: its messages
are the most, and no pod without children has a use for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from attrs import frozen

from pods_protocol import pod_messages as pod
from pods_protocol import process_messages as process
from pods_protocol import values
from pods_protocol.events import Event

RequestClass: TypeAlias = type[pod.Request[Any]]


@frozen(kw_only=True)
class Method:
    """One method: its request class and the class of its answer."""

    request: RequestClass
    result: type[Any]


@frozen(kw_only=True)
class Api:
    """One kind of socket.

    Attributes:
        name: `pod`, `supervisor`, `keeper` or `launcher`.
        methods: wire name -> method.
        notifications: wire name -> class, server to client.
    """

    name: str
    methods: Mapping[str, Method]
    notifications: Mapping[str, type[Any]]


def methods_of(pairs: Mapping[RequestClass, type[Any]]) -> dict[str, Method]:
    """Request class -> class of its answer, as the table by wire names."""
    return {
        request.METHOD: Method(request=request, result=result) for request, result in pairs.items()
    }


POD_API: Final = Api(
    name="pod",
    methods=methods_of(
        {
            pod.Hello: pod.HelloResult,
            pod.Run: pod.RunResult,
            pod.Notify: pod.NotifyResult,
            pod.Cancel: pod.CancelResult,
            pod.Pause: pod.Empty,
            pod.Resume: pod.Empty,
            pod.AnswerQuestion: pod.Empty,
            pod.GetStatus: values.PodStatus,
            pod.GetHistory: pod.GetHistoryResult,
            pod.ReadEvents: pod.ReadEventsResult,
            pod.Subscribe: pod.SubscribeResult,
            pod.WaitFor: pod.WaitForResult,
            pod.Withdraw: pod.Empty,
            pod.Shutdown: pod.Empty,
            pod.TellOfChild: pod.ToldOfChild,
            pod.Ping: pod.Empty,
        }
    ),
    notifications={"event": Event},
)

KEEPER_API: Final = Api(
    name="keeper",
    methods=methods_of(
        {
            pod.Hello: pod.HelloResult,
            process.GetKeeperStatus: process.KeeperStatus,
            process.SignalTree: process.SignalTreeResult,
        }
    ),
    notifications={},
)

LAUNCHER_API: Final = Api(
    name="launcher",
    methods=methods_of(
        {
            pod.Hello: pod.HelloResult,
            process.LaunchPod: process.LaunchPodResult,
            process.ListKeepers: process.ListKeepersResult,
            process.KillKeeper: pod.Empty,
            process.ProbeEnforcement: process.ProbeResult,
            process.ShutdownLauncher: pod.Empty,
            pod.Ping: pod.Empty,
        }
    ),
    notifications={"keeper_ended": process.KeeperEnded},
)
