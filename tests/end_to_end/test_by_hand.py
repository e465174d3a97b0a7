"""The commands of the issue, typed one after the other as a person would.

One supervisor is shared where that loses nothing; who kills it has one of their own.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from end_to_end_support import PODS, WAIT_SECONDS, Door, Terminal, open_door
from pods.scope.confine import missing
from supervisor_support import places_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with open_door() as opened:
        yield opened


@pytest.fixture
def own_door() -> Iterator[Door]:
    with open_door() as opened:
        yield opened


@pytest.fixture
def api(door: Door) -> Iterator[str]:
    """A shell pod with a directory of its own, gone after the test."""
    os.makedirs(f"{door.work}/src/api")
    door("spawn", "api", "--write", "src/api")
    try:
        yield "api"
    finally:
        door("stop", "api", code=None)
        door("rm", "api", code=None)
        shutil.rmtree(f"{door.work}/src")


def text_of(lines: str) -> str:
    events = [json.loads(line) for line in lines.splitlines()]
    return "".join(event["data"]["text"] for event in events if event["type"] == "text_delta")


def test_the_first_spawn_starts_the_supervisor_and_says_what_to_do_next(own_door: Door) -> None:
    assert own_door("ls").out == ""
    assert own_door("doctor").out == (
        "supervisor   none runs; `pods spawn` or `pods up` starts one\n"
    )
    assert not os.path.exists(own_door.environ["PODS_RUNTIME_DIR"]), "looking starts nothing"
    os.makedirs(f"{own_door.work}/src/api")
    said = own_door("spawn", "api", "--write", "src/api", "--prompt", "echo 12 passed").out
    assert re.match(r"api started \(shell, [0-9a-f]{12}\)\n  write /.*/w/src/api\n", said)
    for command in ("send", "read", "stop", "logs -f"):
        assert f"pods {command} api" in said
    assert own_door("wait", "api", "--timeout", "30").out == "api idle, turn 1: end_turn\n"
    assert own_door("read", "api").out == "12 passed\n"


def test_lists_in_every_form(door: Door, api: str) -> None:
    assert door("ls", "-q").out == "api\n"
    assert re.search(r"^api +idle .*/w/src/api ", door("ls").out, re.M)
    (row,) = door.ask("ls")["pods"]
    assert (row["name"], row["state"], row["agent"]) == ("api", "idle", "shell")
    assert row["scope"]["allow"][0]["target"] == f"{door.work}/src/api"
    assert re.match(r"api +idle +/.*/w/src/api\n", door("tree").out)
    assert json.loads(door("tree", "--json").out)


def test_a_busy_pod_refuses_queues_or_is_interrupted(door: Door, api: str) -> None:
    assert door("send", "api", "sleep 100").out == "api: turn 1 started\n"
    refused = door("send", "api", "echo no", code=1)
    assert "already running turn 1" in refused.err
    error = json.loads(door("send", "api", "echo no", "--json", code=1).err)["error"]
    assert (error["data"]["code"], error["data"]["turn"]) == ("already_running", 1)
    queued = door("send", "api", "echo later", "--if-busy", "queue")
    assert queued.out.startswith("api: queued at position 1; `pods withdraw api ")
    late = door("wait", "api", "--timeout", "0.1", code=3)
    assert "api (working)" in late.err
    with door.start("send", "api", "echo now", "--if-busy", "interrupt", "--wait") as sender:
        out, _ = sender.communicate(timeout=WAIT_SECONDS)
    assert (sender.returncode, out) == (0, "now\n")
    door("wait", "api", "--timeout", "30")
    assert door("read", "api").out in ("now\nlater\n", "later\nnow\n")


def test_the_outcome_of_a_turn_is_the_exit_code(door: Door, api: str) -> None:
    assert door("send", "api", "echo fine", "--wait").out == "fine\n"
    failed = door("send", "api", "echo bad; exit 3", "--wait", code=1)
    assert failed.out == "bad\n"
    assert "the turn of api ended: error" in failed.err
    told = door.ask("send", "api", "exit 4", "--wait", code=1)
    assert (told["stop_reason"], told["exit_status"]) == ("error", 4)
    slow = door("send", "api", "sleep 100", "--wait", "--timeout", "0.3", code=3)
    assert "the pod goes on" in slow.err
    assert door.ask("ls")["pods"][0]["state"] == "working"


def test_a_second_read_shows_what_is_new_also_after_the_end(door: Door, api: str) -> None:
    door("send", "api", "echo one", "--wait")
    assert door("read", "api").out == "one\n"
    again = door("read", "api")
    assert again.out == ""
    assert "nothing new; api is idle" in again.err
    door("send", "api", "echo two", "--wait")
    door("stop", "api")
    assert door("read", "api").out == "two\n"
    assert "nothing new; api is stopped" in door("read", "api").err
    assert door("read", "api", "--since", "0").out == "one\ntwo\n"
    assert text_of(door("read", "api", "--all", "--events").out) == "one\ntwo\n"
    assert door("ls", "-q").out == ""
    assert door("ls", "-qa").out == "api\n"
    assert "the pod has ended" in door("logs", "api").out
    assert "has ended" in door("send", "api", "x", code=1).err


def test_a_pod_that_runs_is_not_removed(door: Door, api: str) -> None:
    assert "api" in door("rm", "api", code=5).err
    assert door("ls", "-q").out == "api\n"


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} never came: {seen!r}")


def test_logs_follow_until_the_pod_ends(door: Door, api: str) -> None:
    door("send", "api", "echo before", "--wait")
    with door.start("logs", "api", "-f") as following:
        assert "> echo before" in read_until(following, "turn 1 ended")
        door("send", "api", "echo during")
        assert "\nduring\n" in read_until(following, "turn 2 ended")
        door("stop", "api")
        rest, err = following.communicate(timeout=WAIT_SECONDS)
    assert "the pod has ended" in rest
    assert (following.returncode, err) == (0, "")


def test_ctrl_c_leaves_logs_and_the_pod_alone(door: Door, api: str) -> None:
    door("send", "api", "echo before", "--wait")
    with door.start("logs", "api", "-f") as following:
        read_until(following, "turn 1 ended")
        door("send", "api", "echo during")
        read_until(following, "turn 2 ended")  # now it follows for certain
        following.send_signal(signal.SIGINT)
        _, err = following.communicate(timeout=WAIT_SECONDS)
    assert (following.returncode, err) == (130, "pods: no longer following; api goes on\n")
    assert door("send", "api", "echo after", "--wait").out == "after\n"


def test_a_reader_that_has_had_enough_is_no_failure(door: Door, api: str) -> None:
    door("send", "api", "seq 100000", "--wait")
    answer = door.run(["bash", "-c", "set -o pipefail; pods read api --all | head -n 1"])
    assert answer.out == "1\n"
    assert answer.err == ""


def test_attach_sends_what_is_typed_and_ctrl_c_leaves_the_pod_alone(door: Door, api: str) -> None:
    with Terminal([*PODS, "attach", "api"], door.environ, door.work) as terminal:
        terminal.wait_for("attached to api (idle)")
        terminal.type("echo $((6 * 7))\n")
        terminal.wait_for("turn 1 ended: end_turn")
        assert "\n42\n" in re.sub(r"\x1b\[[0-9;]*m", "", terminal.seen)
        terminal.type("sleep 100\n")
        terminal.wait_for("> sleep 100")
        terminal.type("\x03")
        assert terminal.wait_end() == 0, terminal.seen
        assert "detached; api goes on" in terminal.seen
        assert "Traceback" not in terminal.seen
    (row,) = door.ask("ls")["pods"]
    assert (row["state"], row["turn"]) == ("working", 2)


def test_attach_takes_its_lines_from_a_file_and_none_from_dev_null(door: Door, api: str) -> None:
    Path(door.work, "lines").write_text("echo $((6 * 7))")
    for source in ("lines", "/dev/null"):
        answer = door.run(["bash", "-c", f"pods attach api < {source}"])
        assert (answer.code, answer.err.splitlines()[1:]) == (0, ["pods: detached; api goes on"])
    door("wait", "api")
    assert door("read", "api").out == "42\n"


def test_attach_ends_with_the_pod(door: Door, api: str) -> None:
    with Terminal([*PODS, "attach", "api"], door.environ, door.work) as terminal:
        terminal.wait_for("attached to api")
        door("stop", "api")
        assert terminal.wait_end() == 0, terminal.seen
    assert "api has ended" in terminal.seen


def test_the_example_of_an_agent_is_spawned_as_it_says(own_door: Door) -> None:
    source = Path(__file__).parents[2].joinpath("examples", "own_agent.py").read_text()
    commands = re.findall(r"^    (pods .*)$", source, re.M)
    assert [command.split()[1] for command in commands] == ["spawn", "read"]
    Path(own_door.work, "own_agent.py").write_text(source)
    Path(own_door.work, "README.md").write_text("one two three\n")
    spawn, read = commands
    assert own_door.run(["bash", "-c", f"{spawn} --wait"]).out == "README.md: 3 words\n"
    assert own_door.run(["bash", "-c", read]).out == "README.md: 3 words\n"
    asked = "missing.txt /etc/hostname README.md"
    assert own_door("send", "counter", asked, "--wait").out == (
        "missing.txt: No such file or directory\n"
        "/etc/hostname: outside my scope\n"
        "README.md: 3 words\n"
    )


def test_stop_frees_the_scope_and_rm_the_name(door: Door, api: str) -> None:
    door("spawn", "rival", "--write", "src/api", code=5)
    assert "free again: write" in door("stop", "api").out
    door("spawn", "rival", "--write", "src/api")
    door("spawn", "api", code=5)
    assert door("rm", "api").out == "api removed\n"
    assert "cannot find pod 'api'" in door("read", "api", code=4).err
    door("stop", "rival")
    door("rm", "rival")


def test_doctor_tells_all_of_it(door: Door, api: str) -> None:
    told: dict[str, Any] = door.ask("doctor")
    parts = {"supervisor", "pods", "scopes", "enforcement", "doors", "settings", "problems"}
    assert set(told) == parts | {"cgroup", "no_cgroup"}
    assert bool(told["cgroup"]) != bool(told["no_cgroup"]), "there are some, or a reason"
    assert {"pid", "version", "socket"} <= set(told["supervisor"])
    assert told["supervisor"]["socket"] == door.socket
    os.kill(told["supervisor"]["pid"], 0)
    assert told["pods"] == {"idle": 1}
    assert told["scopes"] == 1
    assert told["enforcement"]["backend"] == ("none" if missing(os.environ) else "landlock")
    assert told["problems"] == []
    assert "problems     none" in door("doctor").out


@pytest.mark.parametrize(
    ("shape", "schema"),
    [("mcp", "inputSchema"), ("anthropic", "input_schema"), ("openai", "parameters")],
)
def test_tools_come_in_three_shapes(door: Door, shape: str, schema: str) -> None:
    tools = json.loads(door("tools", "--format", shape).out)
    tools = [tool.get("function", tool) for tool in tools]
    names = ["SpawnPod", "SendToPod", "ReadPodOutput", "StopPod", "ListPods"]
    assert [tool["name"] for tool in tools] == names
    assert all(tool[schema]["type"] == "object" for tool in tools)


def test_bash_completes_verbs_options_and_names(door: Door, api: str) -> None:
    script = """
        eval "$(pods completion bash)"
        complete() {  # what bash does at a TAB
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
            _shtab_pods; echo "${COMPREPLY[*]}"
        }
        complete pods spa
        complete pods send --if-b
        complete pods stop a
    """
    answer = door.run(["bash", "--norc", "-c", script])
    assert answer.out == "spawn\n--if-busy\napi\n", answer
    assert answer.err == ""


def test_two_spawns_at_the_same_instant_start_one_supervisor(own_door: Door) -> None:
    started = [own_door.start("spawn", name, "--agent", "echo") for name in ("one", "two")]
    for process in started:
        _, err = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0, err
    assert sorted(own_door("ls", "-q").out.split()) == ["one", "two"]
    supervisors = [line for line in own_door.account().processes if "-m pods.supervisor" in line]
    assert len(supervisors) == 1
    log = Path(places_of(own_door.environ, "default").log)
    assert log.read_text() == ""


def kill_supervisor(door: Door) -> int:
    """Kill it, and wait until it is gone."""
    pid: int = door.ask("doctor")["supervisor"]["pid"]
    held = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(held, signal.SIGKILL)
        assert select.select([held], [], [], WAIT_SECONDS)[0]
    finally:
        os.close(held)
    return pid


def test_pods_outlive_a_killed_supervisor_and_the_next_one_adopts_them(own_door: Door) -> None:
    door = own_door
    os.mkdir(f"{door.work}/go")
    count = "for i in $(seq 200); do echo $i; done; while [ ! -e go/on ]; do sleep 0.02; done; "
    door("spawn", "counter", "--write", "go", "--prompt", count + "seq 201 400")
    pod: dict[str, Any] = door.ask("ls")["pods"][0]
    before = door("read", "counter").out
    killed = kill_supervisor(door)
    os.kill(pod["pid"], 0)
    Path(door.work, "go", "on").touch()
    (row,) = door.ask("ls")["pods"]
    assert (row["id"], row["pid"]) == (pod["id"], pod["pid"])
    assert door.ask("doctor")["supervisor"]["pid"] != killed
    door("wait", "counter", "--timeout", "30")
    after = door("read", "counter").out
    assert before + after == "".join(f"{number}\n" for number in range(1, 401))
    assert door("spawn", "rival", "--write", "go", code=5).err.count("counter")
    assert door("send", "counter", "echo alive", "--wait").out == "alive\n"
    assert "counter stopped" in door("stop", "counter").out
    door("spawn", "rival", "--write", "go")


def test_a_pod_that_ended_while_nobody_supervised_is_found_ended(own_door: Door) -> None:
    door = own_door
    door("spawn", "brief", "--agent", "echo", "--prompt", "last words", "--wait")
    pod = door.ask("ls")["pods"][0]
    kill_supervisor(door)
    keeper = int(Path(f"/proc/{pod['pid']}/stat").read_text().rpartition(")")[2].split()[1])
    held = os.pidfd_open(keeper)
    os.kill(pod["pid"], signal.SIGKILL)
    assert select.select([held], [], [], WAIT_SECONDS)[0]
    os.close(held)
    (row,) = door.ask("ls", "-a")["pods"]
    assert row["state"] == "failed"
    assert row["exit"]["status"] == signal.SIGKILL or row["exit"]["reason"] == "signalled"
    assert door("read", "brief").out == "last words\n"
    assert door.account().leases == []


def test_a_supervisor_that_is_idle_ends_by_itself(own_door: Door) -> None:
    argv = [*PODS[:-1], "pods.supervisor", "--name", "default", "--idle-exit-seconds", "0.2"]
    with subprocess.Popen(argv, env=own_door.environ) as process:
        assert process.wait(WAIT_SECONDS) == 0
    places = places_of(own_door.environ, "default")
    assert not os.path.exists(places.runtime)


def test_several_supervisors_share_one_registry_of_scopes(own_door: Door) -> None:
    door = own_door
    os.mkdir(f"{door.work}/shared")
    door("spawn", "here", "--write", "shared")
    try:
        refused = door("spawn", "there", "--write", "shared", "--supervisor", "other", code=5)
        assert "the pod 'here' holds write on" in refused.err
        door("spawn", "there", "--supervisor", "other")
        assert (door("ls", "-q").out, door("ls", "-q", "--supervisor", "other").out) == (
            "here\n",
            "there\n",
        )
    finally:
        door("down", "--stop-pods", "--supervisor", "other")
