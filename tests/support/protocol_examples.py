"""Examples of what the messages of the wire are made of.

Owns one of each value, for `protocol_exchanges`; and the token and the hello of every test.
"""

from __future__ import annotations

from typing import Literal

from pods_protocol import pod_messages as pod
from pods_protocol import process_messages as process
from pods_protocol import supervisor_messages as supervisor
from pods_protocol import values as v
from pods_protocol.api import POD_API, Api
from pods_protocol.events import Event

TOKEN = "t" * 43


def hello_result(api: Api = POD_API) -> pod.HelloResult:
    """An answer to `hello`."""
    names: dict[str, Literal["pod", "supervisor", "keeper", "launcher"]] = {
        "pod": "pod",
        "supervisor": "supervisor",
        "keeper": "keeper",
        "launcher": "launcher",
    }
    return pod.HelloResult(
        protocol=1, server=names[api.name], version="0.1.0", name="api", id="3f9c02d1a7be", pid=4242
    )


RULE = v.ScopeRule(target="/srv/api", permission="write")
GRANT = v.ScopeGrant(
    allow=(RULE, v.ScopeRule(target="/srv/docs", permission="read", recursive=False)),
    deny=(v.ScopeRule(target="/srv/api/.git", permission="write"),),
    delegable=(v.ScopeRule(target="/srv/api/src", permission="write"),),
)
LIMITS = v.Limits(turn_seconds=60.5, open_files=256, memory_bytes=2**30, turns=20)
ENFORCEMENT = v.Enforcement(
    backend="landlock",
    summary="landlock 7 + seccomp, 1 of 1 rules not exact",
    gaps=("the network is open",),
    reason="",
    abi=7,
    files="kernel",
    rules=(
        v.RuleEnforcement(
            rule=RULE,
            asked="write /srv/api and all below, except write /srv/api/.git and all below",
            got="write /srv/api and all below",
            exact=False,
        ),
    ),
    signals="kernel",
    syscalls="seccomp",
    warnings=("the write scope /srv/api holds a door",),
    kill="landlock_domain",
)
CAPACITY = v.Capacity(depth=1, depth_limit=3, children=2, children_limit=8, pods=5, pods_limit=1000)
IDENTITY = v.ProcessIdentity(
    pid=4242, start_ticks=123456789, boot_id="5f0c1a52-7a9e-4a1b-9f50-0d6c1e6e1f11"
)
EXIT = v.ExitRecord(status=-9, reason="signalled", survivors_killed=2, time=1795262400.25)
TURN = v.TurnSummary(turn=2, stop_reason="end_turn", message="done", exit_status=0)
STATUS = v.PodStatus(
    state="waiting",
    turn=3,
    turn_started=1795262400.5,
    queue=(v.QueuedMessage(message_id="m4", input="next", position=1),),
    questions=(
        v.OpenQuestion(
            question_id="q1",
            prompt="Délete?",
            options=("yes", "no"),
            default="no",
            deadline=1795262400.5,
        ),
    ),
    last_seq=88,
    last_turn=TURN,
)
EVENT = Event(
    seq=1,
    time=1795262400.5,
    turn=1,
    type="text_delta",
    data={"text": 'zwölf "Boxkämpfer"\n\u2028🦜', "stream": "stdout"},
)
ODD_EVENT = Event(seq=2, time=1795262401.0, turn=None, type="not_yet_known", data={"a": [1, None]})
INFO = v.PodInfo(
    id="3f9c02d1a7be",
    name="api",
    agent="shell",
    state="working",
    parent="lead",
    parent_id="0123456789ab",
    depth=2,
    children=1,
    description="builds the API",
    cwd="/srv/api",
    scope=GRANT,
    enforcement=ENFORCEMENT,
    turn=3,
    turn_started=1795262400.5,
    queue_length=1,
    waiting_for=None,
    last_turn=TURN,
    last_seq=88,
    unread=8,
    pid=4242,
    created=1795262000.0,
    ended=None,
    exit=EXIT,
    on_parent_exit="stop",
    memory_bytes=9_000_000,
    journal="/home/u/.local/state/pods/api/journal",
)
RUN_RESULT = pod.RunResult(message_id="m1", state="queued", position=2)
SPAWNED = supervisor.SpawnPodResult(
    pod=INFO,
    socket="/run/user/1000/pods/api.sock",
    token=TOKEN,
    message=RUN_RESULT,
    enforcement=ENFORCEMENT,
    capacity=CAPACITY,
)
OUTCOME = supervisor.WaitOutcome(pod="api", state="idle", last_turn=TURN)
SPEC = process.PodSpec(
    id="3f9c02d1a7be",
    name="api",
    agent="command",
    options={"argv": ["cat", "-n"], "jsonl": False},
    parent=None,
    cwd="/srv/api",
    env={"LANG": "C.UTF-8"},
    limits=LIMITS,
    grant=GRANT,
    python="/usr/bin/python3.12",
    call_back=True,
    supervisor="default",
    supervisor_socket="/run/user/1000/pods/supervisor.sock",
    pod_socket="/run/user/1000/pods/api.sock",
    keeper_socket="/run/user/1000/pods/api.keeper.sock",
    state_directory="/home/u/.local/state/pods/api",
    runtime_directory="/run/user/1000/pods/api",
    token=TOKEN,
    enforce="available",
    owner_digest="ab" * 32,
)
