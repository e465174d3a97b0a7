"""The environment of a pod: a short list, then the pod's own."""

from __future__ import annotations

import attrs

from pods.keeper.environ import inherited_environ, judging_environ, own_environ
from pods_protocol.process_messages import PodSpec
from pods_protocol.values import ScopeGrant


def spec_with(env: dict[str, str]) -> PodSpec:
    return PodSpec(
        id="0123456789ab", name="worker", agent="echo", parent=None, cwd="/", env=env,
        grant=ScopeGrant(), python=None, call_back=False, supervisor="default",
        supervisor_socket="/r/d/ctl.sock", pod_socket="/r/d/p/pod.sock",
        keeper_socket="/r/d/p/keeper.sock", state_directory="/s/p", runtime_directory="/r/d/p",
        token="secret", owner_digest="",
    )  # fmt: skip


def test_keys_and_sockets_of_the_launcher_are_not_inherited() -> None:
    inherited = {
        "PATH": "/bin", "LC_TIME": "C", "API_KEY": "x", "SSH_AUTH_SOCK": "y",
        "PODS_TOKEN_FILE": "z", "PYTHONPATH": "/tmp", "LD_PRELOAD": "/tmp/x.so", "TMPDIR": "/tmp",
    }  # fmt: skip
    assert inherited_environ(inherited) == {"PATH": "/bin", "LC_TIME": "C"}


def test_the_way_to_the_session_bus_is_not_inherited_and_pods_are_found_all_the_same() -> None:
    inherited = {"XDG_RUNTIME_DIR": "/run/user/7", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"}
    assert inherited_environ(inherited) == {"PODS_RUNTIME_DIR": "/run/user/7/pods"}
    asked = {**inherited, "PODS_RUNTIME_DIR": "/r/"}
    assert inherited_environ(asked) == {"PODS_RUNTIME_DIR": "/r"}


def test_each_pod_has_its_own_temporary_directory_and_knows_who_it_is() -> None:
    assert own_environ(spec_with({})) == {
        "TMPDIR": "/r/d/p/tmp",
        "PODS_NAME": "worker",
        "PODS_ID": "0123456789ab",
    }


def test_the_pods_own_variables_win_except_over_who_it_is() -> None:
    environ = own_environ(
        spec_with({"PATH": "/usr/bin", "TMPDIR": "/elsewhere", "PODS_NAME": "liar"})
    )
    assert environ["PATH"] == "/usr/bin"
    assert environ["TMPDIR"] == "/elsewhere"
    assert environ["PODS_NAME"] == "worker"


def test_a_pod_cannot_give_its_child_reads_by_a_path_of_its_choosing() -> None:
    launchers = {"PATH": "/usr/bin", "HOME": "/home/u"}
    asked = spec_with({"PATH": "/home/u/secret", "HOME": "/nowhere", "X": "1"})
    persons = judging_environ(attrs.evolve(asked, parent=None), launchers)
    assert (persons["PATH"], persons["HOME"]) == ("/home/u/secret", "/nowhere")
    pods = judging_environ(attrs.evolve(asked, parent="lead"), launchers)
    assert (pods["PATH"], pods["HOME"], pods["X"]) == ("/usr/bin", "/home/u", "1")
    assert judging_environ(attrs.evolve(asked, parent="lead"), {})["PATH"] == ""
