"""Which requests the supervisor's socket answers: a literal table; and all tables together.

Owns both. As `api`, for the one socket whose messages pods, keepers and launchers do not import.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pods_protocol import pod_messages as pod
from pods_protocol import supervisor_messages as supervisor
from pods_protocol.api import KEEPER_API, LAUNCHER_API, POD_API, Api, methods_of
from pods_protocol.events import Event

SUPERVISOR_API: Final = Api(
    name="supervisor",
    methods=methods_of(
        {
            pod.Hello: pod.HelloResult,
            supervisor.SpawnPod: supervisor.SpawnPodResult,
            supervisor.StopPod: supervisor.StopPodResult,
            supervisor.PausePod: supervisor.PausePodResult,
            supervisor.ResumePod: supervisor.ResumePodResult,
            supervisor.SendMessage: pod.RunResult,
            supervisor.NotifyPod: pod.NotifyResult,
            supervisor.WithdrawMessage: pod.Empty,
            supervisor.AnswerPod: pod.Empty,
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

APIS: Final[Mapping[str, Api]] = {
    api.name: api for api in (POD_API, SUPERVISOR_API, KEEPER_API, LAUNCHER_API)
}
