"""Which requests each kind of socket answers: four literal tables.

Owns the tables. `Connection`, the schemas, the reference in the README and the servers' dispatch
are all driven by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from attrs import frozen

from pods_protocol import pod_messages as pod
from pods_protocol import process_messages as process
from pods_protocol import supervisor_messages as supervisor
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


def _methods(pairs: Mapping[RequestClass, type[Any]]) -> dict[str, Method]:
    return {
        request.METHOD: Method(request=request, result=result) for request, result in pairs.items()
    }


POD_API: Final = Api(
    name="pod",
    methods=_methods(
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

SUPERVISOR_API: Final = Api(
    name="supervisor",
    methods=_methods(
        {
            pod.Hello: pod.HelloResult,
            supervisor.SpawnPod: supervisor.SpawnPodResult,
            supervisor.StopPod: supervisor.StopPodResult,
            supervisor.PausePod: supervisor.PausePodResult,
            supervisor.ResumePod: supervisor.ResumePodResult,
            supervisor.SendMessage: pod.RunResult,
            supervisor.NotifyPod: pod.NotifyResult,
            supervisor.WithdrawMessage: pod.Empty,
            supervisor.ListPods: supervisor.ListPodsResult,
            supervisor.InspectPod: supervisor.InspectPodResult,
            supervisor.ConnectPod: supervisor.ConnectPodResult,
            supervisor.ReadOutput: supervisor.ReadOutputResult,
            supervisor.AdvanceCursor: pod.Empty,
            supervisor.WaitPods: supervisor.WaitPodsResult,
            supervisor.SubscribeLifecycle: pod.SubscribeResult,
            supervisor.RestorePod: supervisor.SpawnPodResult,
            supervisor.RemovePod: supervisor.RemovePodResult,
            supervisor.PrunePods: supervisor.PrunePodsResult,
            supervisor.ShowScopes: supervisor.ShowScopesResult,
            supervisor.CheckScope: supervisor.CheckScopeResult,
            supervisor.Doctor: supervisor.DoctorResult,
            supervisor.ShutdownSupervisor: supervisor.ShutdownSupervisorResult,
            pod.Ping: pod.Empty,
        }
    ),
    notifications={"event": Event},
)

KEEPER_API: Final = Api(
    name="keeper",
    methods=_methods(
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
    methods=_methods(
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

APIS: Final[Mapping[str, Api]] = {
    api.name: api for api in (POD_API, SUPERVISOR_API, KEEPER_API, LAUNCHER_API)
}
