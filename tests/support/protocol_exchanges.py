"""An example of every message of the wire, as its golden lines have it.

Owns the messages alone; `protocol_support` makes lines of them.
"""

from __future__ import annotations

from typing import Any

from pods_protocol import pod_messages as pod
from pods_protocol import process_messages as process
from pods_protocol import supervisor_messages as supervisor
from pods_protocol import values as v
from pods_protocol.api import KEEPER_API, LAUNCHER_API, POD_API
from pods_protocol.errors import AlreadyRunning, ParseError, PodsError, ScopeConflict
from pods_protocol.events import Event
from pods_protocol.supervisor_api import SUPERVISOR_API
from protocol_examples import (
    CAPACITY,
    ENFORCEMENT,
    EVENT,
    EXIT,
    GRANT,
    IDENTITY,
    INFO,
    LIMITS,
    ODD_EVENT,
    OUTCOME,
    RULE,
    SPAWNED,
    SPEC,
    STATUS,
    TOKEN,
    TURN,
    hello_result,
)

EXCHANGES: dict[str, list[tuple[pod.Request[Any], object]]] = {
    "pod": [
        (pod.Hello(token=TOKEN, protocol=1, client="pods 0.1.0"), hello_result(POD_API)),
        (
            pod.Run(input="grüß dich\n", if_busy="queue", message_id="m1"),
            pod.RunResult(message_id="m1", state="started", turn=3),
        ),
        (
            pod.Notify(message="the tests are red", wake=True, message_id="n1"),
            pod.NotifyResult(message_id="n1", state="started", turn=4),
        ),
        (pod.Cancel(), pod.CancelResult(turn=3)),
        (pod.Pause(whole=True), pod.Empty()),
        (pod.Resume(), pod.Empty()),
        (pod.AnswerQuestion(question_id="q1", answer="yes"), pod.Empty()),
        (pod.GetStatus(), STATUS),
        (
            pod.GetHistory(since=4, limit=10),
            pod.GetHistoryResult(
                entries=(pod.HistoryEntry(role="assistant", text="hi", turn=1, seq=5),), next=5
            ),
        ),
        (
            pod.ReadEvents(since=0, kinds=("text", "text_delta"), wait_seconds=2.5),
            pod.ReadEventsResult(
                events=(EVENT, ODD_EVENT),
                next=2,
                last_seq=88,
                truncated=True,
                state="idle",
                last_turn=TURN,
            ),
        ),
        (pod.Subscribe(since=7, kinds=("turn_ended",)), pod.SubscribeResult(last_seq=88)),
        (
            pod.WaitFor(until="question", timeout_seconds=5.0),
            pod.WaitForResult(reached=False, state="working", last_seq=88),
        ),
        (pod.Withdraw(message_id="m4"), pod.Empty()),
        (pod.Shutdown(mode="now"), pod.Empty()),
        (
            pod.TellOfChild(
                pod="api-tests",
                id="77aa01f2c3d4",
                seq=12,
                type="turn_ended",
                turn=2,
                data={"stop_reason": "end_turn"},
                since=7,
                text="All 31 pass.\n",
                omitted=120,
                wake=True,
            ),
            pod.ToldOfChild(cursor=12),
        ),
        (pod.Ping(), pod.Empty()),
    ],
    "supervisor": [
        (pod.Hello(token=TOKEN, protocol=1), hello_result(SUPERVISOR_API)),
        (
            supervisor.SpawnPod(
                name="api",
                agent="command",
                options={"argv": ["cat"], "nested": {"deep": [1, 2.5, None, True]}},
                prompt="begin",
                allow=(RULE,),
                deny=GRANT.deny,
                delegable=(),
                cwd="/srv/api",
                env={"LANG": "C.UTF-8"},
                limits=LIMITS,
                description="builds the API",
                on_parent_exit="keep",
                python="/usr/bin/python3.12",
                call_back=True,
                replace=True,
                require_enforcement=True,
                network="loopback",
                unix_sockets="any",
                pty=True,
                message_id="s1",
            ),
            SPAWNED,
        ),
        (
            supervisor.StopPod(pod="api", mode="finish", grace_seconds=1.5, message_id="x1"),
            supervisor.StopPodResult(
                pod="api",
                previous_state="working",
                state="stopped",
                step="terminate",
                stopped_descendants=("api-tests",),
                released=(RULE,),
                seconds=0.25,
            ),
        ),
        (
            supervisor.PausePod(pod="api"),
            supervisor.PausePodResult(pod="api", state="paused", how="tree"),
        ),
        (
            supervisor.ResumePod(pod="api"),
            supervisor.ResumePodResult(pod="api", state="working"),
        ),
        (
            supervisor.SendMessage(
                pod="api", input="go on", if_busy="queue", message_id="m1", sender="pods"
            ),
            pod.RunResult(message_id="m1", state="queued", position=2),
        ),
        (
            supervisor.NotifyPod(pod="api", message="by the way", wake=True, message_id="n1"),
            pod.NotifyResult(message_id="n1", state="noted"),
        ),
        (supervisor.WithdrawMessage(pod="api", message_id="m1"), pod.Empty()),
        (supervisor.AnswerPod(pod="api", question_id="q9", answer="allow"), pod.Empty()),
        (
            supervisor.ListPods(ended=False, reader="me"),
            supervisor.ListPodsResult(pods=(INFO,), capacity=CAPACITY),
        ),
        (
            supervisor.InspectPod(pod="api"),
            supervisor.InspectPodResult(
                pod=INFO,
                socket="/run/user/1000/pods/api.sock",
                directory="/home/u/.local/state/pods/api",
                keeper_pid=None,
                queue=(
                    v.QueuedMessage(
                        message_id="m4", input="next", position=1, sender="pods", accepted=4.0
                    ),
                ),
                notes=(v.QueuedMessage(message_id="m5", input="by the way", position=0),),
                undelivered=(
                    v.UndeliveredMessage(
                        message_id="m3",
                        input="too late",
                        sender="pod lead",
                        accepted=3.0,
                        given_up=5.0,
                    ),
                ),
                questions=("q1",),
                options={"argv": ["cat"]},
                limits=LIMITS,
                held_limits=(
                    v.HeldLimit(
                        name="open_files", value=256.0, by="kernel", how="RLIMIT_NOFILE of each"
                    ),
                ),
                reason="",
                python=None,
            ),
        ),
        (
            supervisor.ConnectPod(pod="api"),
            supervisor.ConnectPodResult(
                id="3f9c02d1a7be", name="api", socket="/run/user/1000/pods/api.sock", token=TOKEN
            ),
        ),
        (
            supervisor.ReadOutput(pod="api", since=3, reader="me", kinds=("text",)),
            supervisor.ReadOutputResult(
                pod="api",
                id="3f9c02d1a7be",
                events=(EVENT,),
                next=4,
                last_seq=4,
                truncated=False,
                state="lost",
                last_turn=None,
            ),
        ),
        (supervisor.AdvanceCursor(pod="api", seq=4, reader="me"), pod.Empty()),
        (
            supervisor.WaitPods(pods=("api", "web"), mode="any", until="ended"),
            supervisor.WaitPodsResult(ready=(OUTCOME,), pending=(), timed_out=False),
        ),
        (supervisor.SubscribeLifecycle(since=3), pod.SubscribeResult(last_seq=9)),
        (supervisor.RestorePod(pod="api"), SPAWNED),
        (
            supervisor.RemovePod(pod="api"),
            supervisor.RemovePodResult(pod="api", id="3f9c02d1a7be"),
        ),
        (
            supervisor.PrunePods(older_than_seconds=86400.0, force=True),
            supervisor.PrunePodsResult(removed=("old",), would_remove=(), uncertain=("odd",)),
        ),
        (
            supervisor.ShowScopes(pod="api"),
            supervisor.ShowScopesResult(
                holders=(
                    supervisor.ScopeHolder(
                        pod="api",
                        id="3f9c02d1a7be",
                        supervisor="default",
                        parent_id=None,
                        grant=GRANT,
                        effective_write=(RULE,),
                        lent=(),
                        pending=False,
                    ),
                )
            ),
        ),
        (
            supervisor.CheckScope(allow=(RULE,)),
            supervisor.CheckScopeResult(
                granted=False,
                normalised=(RULE,),
                code="scope_conflict",
                message="cannot lend /srv/api",
                owner="web",
            ),
        ),
        (
            supervisor.Doctor(),
            supervisor.DoctorResult(
                supervisor=supervisor.SupervisorInfo(
                    pid=7,
                    version="0.1.0",
                    socket="/run/user/1000/pods/supervisor.sock",
                    name="default",
                    started=1795262000.0,
                    launcher_pid=8,
                    runtime_directory="/run/user/1000/pods",
                    state_directory="/home/u/.local/state/pods",
                ),
                pods={"idle": 2, "stopped": 1},
                scopes=2,
                enforcement=ENFORCEMENT,
                doors={"network=none": "", "network=loopback": "no namespaces here"},
                settings=supervisor.SettingsInForce(
                    file="/c/config.toml",
                    max_depth=3,
                    max_children=8,
                    max_pods=1000,
                    max_queue_length=50,
                    max_spawns=120,
                    max_same_messages=20,
                    longest_wait_seconds=3600.0,
                    journal_max_bytes=None,
                    journal_max_age_seconds=None,
                    keep_ended_seconds=604800.0,
                ),
                problems=(supervisor.Problem(code="old", message="a is old", fix="prune"),),
            ),
        ),
        (
            supervisor.ShutdownSupervisor(stop_pods=True, grace_seconds=1.0),
            supervisor.ShutdownSupervisorResult(stopped=("api",)),
        ),
        (pod.Ping(), pod.Empty()),
    ],
    "keeper": [
        (pod.Hello(token=TOKEN, protocol=1), hello_result(KEEPER_API)),
        (
            process.GetKeeperStatus(),
            process.KeeperStatus(
                keeper=IDENTITY,
                pod=IDENTITY,
                processes=3,
                exit=EXIT,
                enforcement=ENFORCEMENT,
                memory_bytes=1_048_576,
            ),
        ),
        (process.SignalTree(signal="terminate"), process.SignalTreeResult(signalled=3)),
    ],
    "launcher": [
        (pod.Hello(token=TOKEN, protocol=1), hello_result(LAUNCHER_API)),
        (process.LaunchPod(spec=SPEC), process.LaunchPodResult(keeper=IDENTITY)),
        (
            process.ProbeEnforcement(
                grant=GRANT, python="/usr/bin/python3.12", doors=v.Doors(network="none")
            ),
            process.ProbeResult(enforcement=ENFORCEMENT),
        ),
        (process.ListKeepers(), process.ListKeepersResult(keepers={"3f9c02d1a7be": 4241})),
        (process.KillKeeper(pid=4241), pod.Empty()),
        (process.ShutdownLauncher(), pod.Empty()),
        (pod.Ping(), pod.Empty()),
    ],
}

NOTIFICATIONS: dict[str, list[tuple[str, object]]] = {
    "pod": [("event", EVENT)],
    "supervisor": [
        (
            "event",
            Event(
                seq=1,
                time=1795262400.5,
                turn=None,
                type="pod_ended",
                data={"pod": "api", "id": "3f9c02d1a7be", "state": "stopped"},
            ),
        )
    ],
    "keeper": [],
    "launcher": [
        (
            "keeper_ended",
            process.KeeperEnded(pid=4241, id="3f9c02d1a7be", status=0, strays_killed=1),
        )
    ],
}

ERRORS: list[tuple[str, int | None, PodsError]] = [
    (
        "already_running",
        7,
        AlreadyRunning(
            "cannot run a message on api: turn 3 is running; wait for it, queue or interrupt",
            turn=3,
            since=1795262400.5,
            queue_length=0,
        ),
    ),
    (
        "scope_conflict",
        7,
        ScopeConflict(
            "cannot lend /srv/api: web holds it; stop web or choose another path",
            owner="web",
            owner_id="0123456789ab",
            owner_rule={"target": "/srv", "permission": "write", "recursive": True},
            requested={"target": "/srv/api", "permission": "write", "recursive": True},
        ),
    ),
    ("parse_error", None, ParseError("cannot read a line: it is JSON but no object")),
]
