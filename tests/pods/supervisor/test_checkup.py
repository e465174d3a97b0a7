"""What belongs to no living supervisor: found, mended where that is safe, and found no more."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
import trio
from attrs import evolve

from leftover_support import plant_row, sleeper
from pods.journal.reader import iterate
from pods.journal.retention import Retention
from pods.journal.store import Journal, JournalWriter
from pods.paths import Places, SupervisorPlaces
from pods.records.table import PodTable
from pods.scope.identity import is_alive
from pods.scope.registry import ScopeRegistry
from pods.supervisor import checkup
from pods.supervisor.checkup import Checkup
from pods_protocol.supervisor_messages import Problem
from scope_support import lease, lend, me
from supervisor_support import WAIT_SECONDS, places_of, supervisor_and_client

POD = "0123456789ab"
OTHER = "ba9876543210"


def look(
    places: Places, *, fix: bool = False, started: list[str] | None = None
) -> dict[str, Problem]:
    """What is found, by code."""

    def start(supervisor: SupervisorPlaces) -> None:
        assert started is not None, "nothing may be started here"
        started.append(supervisor.name)

    return {problem.code: problem for problem in Checkup(places, fix, start).run()}


def found_and_mended(places: Places, code: str) -> Problem:
    """Make sure that this is all there is, that it is mended, and that it is found no more."""
    assert list(look(places)) == [code]
    mended = look(places, fix=True)[code]
    assert mended.fixed, mended
    assert look(places) == {}
    return mended


def remains(places: Places, code: str) -> Problem:
    """Make sure that it is found, and that mending leaves it alone."""
    assert list(look(places)) == [code]
    problem = look(places, fix=True)[code]
    assert not problem.fixed
    assert list(look(places)) == [code]
    return problem


def touch(path: str, content: str = "") -> str:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(path).write_text(content)
    return path


def test_where_nothing_ever_ran_nothing_is_wrong_and_nothing_is_made(places: Places) -> None:
    assert look(places, fix=True) == {}
    assert not os.path.exists(places.runtime)
    assert not os.path.exists(places.state)


def test_the_runtime_directory_of_a_supervisor_that_was_killed_goes(places: Places) -> None:
    one = places.supervisor("one")
    touch(one.life_lock)
    rehearsals = [f"{one.runtime}/{name}-4242/here" for name in ("rehearsal", "spare")]
    for path in (one.socket, one.owner_token, one.cgroup_note, one.pod_socket(POD), *rehearsals):
        touch(path)
    assert one.runtime in found_and_mended(places, "stale_runtime_directory").fix
    assert os.listdir(places.runtime) == ["one.lock"]


def test_directories_that_are_not_as_we_make_them_are_never_taken(places: Places) -> None:
    one = places.supervisor("one")
    touch(one.life_lock)
    kept = [
        touch(f"{one.runtime}/thesis.tex"),
        touch(f"{places.runtime}/photos/a.png"),
        touch(f"{places.state}/pods/my-project/main.c"),
    ]
    assert look(places, fix=True) == {}
    assert all(map(os.path.exists, kept))


def test_dead_leases_are_released_and_living_ones_stay(places: Places) -> None:
    registry = ScopeRegistry(places.registry)
    dead = evolve(me(), start_ticks=1)
    plant_row(places, "default", "living", "living", keeper=me())
    registry.transact_many([lend(lease("living")), lend(lease("dead", holder=dead))])
    assert set(look(places)) == {"dead_lease", "unsettled_pods"}
    assert look(places, fix=True, started=[])["dead_lease"].fixed
    assert list(registry.read().leases) == ["living"]
    assert "dead_lease" not in look(places)


def test_a_torn_registry_is_repaired_from_the_generation_before(places: Places) -> None:
    registry = ScopeRegistry(places.registry)
    plant_row(places, "default", "pod", "pod", keeper=me())
    registry.transact(lend(lease("pod")))
    registry.transact(lend(lease("newest")))
    content = Path(places.registry).read_bytes()
    Path(places.registry).write_bytes(content[: len(content) // 2])
    assert "torn_registry" in look(places)
    assert look(places, fix=True, started=[])["torn_registry"].fixed
    assert "torn_registry" not in look(places)
    assert list(ScopeRegistry(places.registry).read().leases) == ["pod"]


def test_a_registry_that_is_beyond_repair_is_set_aside(places: Places) -> None:
    for name in ("registry.json", "registry.json.previous"):
        touch(f"{places.state}/scopes/{name}", "{torn")
    found_and_mended(places, "registry_broken")
    aside = [name for name in os.listdir(f"{places.state}/scopes") if ".broken-" in name]
    assert len(aside) == 2
    assert ScopeRegistry(places.registry).transact(lend(lease("pod"))) == "pod"


def test_a_registry_beyond_repair_is_built_anew_where_a_pod_lives(places: Places) -> None:
    plant_row(places, "one", POD, "worker", keeper=me())
    touch(places.registry, "{torn")
    assert "the pod worker may be alive" in look(places)["registry_broken"].fix
    assert look(places, fix=True, started=[])["registry_broken"].fixed
    assert list(ScopeRegistry(places.registry).read().leases) == [POD]


def test_a_registry_beyond_repair_stays_where_a_supervisors_pods_cannot_be_known(
    places: Places,
) -> None:
    touch(f"{places.supervisor('one').state}/journal/{1:020}.jsonl", "torn\ntorn\n")
    touch(places.registry, "{torn")
    problem = look(places, fix=True, started=[])["registry_broken"]
    assert not problem.fixed
    assert "nobody knows what pods the supervisor one has" in problem.fix
    assert Path(places.registry).read_text() == "{torn"


def test_files_of_writes_that_were_cut_off_go(places: Places) -> None:
    left = touch(f"{places.registry}.0123abcd.tmp", "{")
    found_and_mended(places, "stale_temporary")
    assert not os.path.exists(left)


def test_a_state_directory_without_a_row_goes_if_it_holds_nothing(places: Places) -> None:
    plant_row(places, "one", OTHER, "known", ended=True)
    os.makedirs(places.pod_state(OTHER), mode=0o700)
    touch(f"{places.pod_state(POD)}/stderr.log", "Traceback")
    found_and_mended(places, "half_written_state")
    assert os.listdir(f"{places.state}/pods") == [OTHER]


def test_a_journal_that_nobody_knows_is_told_of_and_kept(places: Places) -> None:
    with Journal.open(f"{places.pod_state(POD)}/journal") as journal:
        journal.append("text", {"text": "the result of a night"})
    assert "rm -r" in remains(places, "unclaimed_state").fix


def test_nothing_is_judged_by_a_journal_that_cannot_be_read(places: Places) -> None:
    plant_row(places, "one", OTHER, "known", ended=True)
    (segment,) = Path(places.supervisor("one").state, "journal").glob("*.jsonl")
    segment.write_bytes(b"{torn\n" + segment.read_bytes())
    os.makedirs(places.pod_state(POD), mode=0o700)
    remains(places, "unreadable_journal")
    assert os.path.isdir(places.pod_state(POD))


def test_a_keeper_that_outlived_its_pods_end_is_ended(places: Places) -> None:
    with sleeper() as (process, identity):
        plant_row(places, "one", POD, "worker", keeper=identity, ended=True)
        os.makedirs(places.pod_state(POD), mode=0o700)
        assert str(process.pid) in found_and_mended(places, "orphaned_process").message
        assert not is_alive(identity)


def test_a_stranger_that_got_a_keepers_pid_is_not_touched(places: Places) -> None:
    with sleeper() as (process, identity):
        os.makedirs(places.pod_state(POD), mode=0o700)
        reused = evolve(identity, start_ticks=identity.start_ticks - 1)
        rebooted = evolve(identity, boot_id="the boot before")
        for number, keeper in enumerate((reused, rebooted)):
            plant_row(places, f"s{number}", POD, "worker", keeper=keeper, ended=True)
        assert look(places, fix=True) == {}
        assert process.poll() is None


def test_a_keeper_whose_supervisor_is_gone_with_all_its_records_is_ended_by_its_lease(
    places: Places,
) -> None:
    with sleeper() as (_, identity):
        ScopeRegistry(places.registry).transact(lend(lease(POD, holder=identity)))
        assert look(places, fix=True)["orphaned_process"].fixed
        assert not is_alive(identity)
        found_and_mended(places, "dead_lease")


def test_pods_whose_supervisor_is_gone_are_settled_by_starting_it(places: Places) -> None:
    started: list[str] = []
    plant_row(places, "one", POD, "half-started")
    problem = look(places)["unsettled_pods"]
    assert "half-started" in problem.message
    assert "pods --supervisor one ls" in problem.fix
    assert look(places, fix=True, started=started)["unsettled_pods"].fixed
    assert started == ["one"]


def test_the_supervisor_with_a_long_name_is_found_by_its_lease(places: Places) -> None:
    name = "a-supervisor-with-a-very-long-name"
    plant_row(places, name, POD, "worker", keeper=me())
    assert not look(places, fix=True)["unsettled_pods"].fixed
    held = evolve(lease(POD), supervisor=name)
    ScopeRegistry(places.registry).transact(lend(held))
    started: list[str] = []
    assert look(places, fix=True, started=started)["unsettled_pods"].fixed
    assert started == [name]


def test_a_supervisor_that_lives_and_does_not_answer_is_told_of(places: Places) -> None:
    one = places.supervisor("one")
    with open(touch(one.life_lock), "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        touch(one.pod_socket(POD))
        problem = remains(places, "supervisor_silent")
    assert f"kill -9 {os.getpid()}" in problem.fix
    assert os.path.exists(one.pod_socket(POD))


@pytest.mark.parametrize("root", ["runtime", "state"])
def test_a_root_that_is_open_to_others_is_closed(places: Places, root: str) -> None:
    path: str = getattr(places, root)
    os.makedirs(path)
    os.chmod(path, 0o755)
    found_and_mended(places, "unsafe_directory")
    assert os.stat(path).st_mode & 0o777 == 0o700


@pytest.mark.parametrize("root", ["runtime", "state"])
def test_a_root_that_is_a_link_is_said_to_be_one_and_left_alone(
    places: Places, tmp_path: Path, root: str
) -> None:
    path: str = getattr(places, root)
    os.symlink(tmp_path, path)
    problem = remains(places, "unsafe_directory")
    assert f"{path} cannot be used: it is a symbolic link" in problem.message
    assert problem.fix == f"set PODS_{root.upper()}_DIR to {tmp_path}"
    assert os.readlink(path) == str(tmp_path)


def test_a_file_in_place_of_a_root_is_said_to_be_one_and_left_alone(places: Places) -> None:
    touch(places.runtime)
    problem = remains(places, "unsafe_directory")
    assert "it is not a directory" in problem.message
    assert f"move {places.runtime} away" in problem.fix
    assert os.path.isfile(places.runtime)


def test_a_configuration_that_is_wrong_is_told_of(places: Places) -> None:
    wrong = places._replace(config=touch(f"{places.state}/config.toml", "[bounds]\ndepht = 2"))
    assert "did you mean `depth`" in remains(wrong, "invalid_config").message


async def test_nothing_of_a_living_pod_is_touched(
    pods_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise AssertionError("nothing is to be ended or removed")

    for name in ("end_and_say", "release_leases", "remove", "_tidy", "_start_anew"):
        monkeypatch.setattr(checkup, name, refuse)
    async with supervisor_and_client(pods_environ) as (_, client):
        with trio.fail_after(WAIT_SECONDS):
            await client.spawn("one", agent="echo", prompt="hi")
            await client.wait("one")
            places = places_of(pods_environ, "test").places
            assert await trio.to_thread.run_sync(lambda: look(places, fix=True)) == {}
            assert (await client.inspect("one")).pod.state == "idle"


def test_rows_that_only_a_snapshot_has_still_count(places: Places) -> None:
    one = places.supervisor("one")
    plant_row(places, "one", POD, "old", keeper=me())
    journal = f"{one.state}/journal"
    with JournalWriter[PodTable].open_with(
        PodTable(), journal, retention=Retention(max_bytes=1), snapshot_bytes=1024
    ) as writer:
        filler = {"id": "nobody", "pad": "x" * 100_000}
        while min(int(path.stem) for path in Path(journal).glob("*.jsonl")) == 1:
            writer.append("filler", filler)
    assert next(iterate(journal)).type == "gap"
    os.makedirs(places.pod_state(POD), mode=0o700)
    ScopeRegistry(places.registry).transact(lend(evolve(lease(POD), supervisor="one")))
    assert list(look(places, fix=True, started=[])) == ["unsettled_pods"]
    for snapshot in Path(journal).iterdir():
        if snapshot.suffix not in (".jsonl", ".lock"):
            snapshot.unlink()
    assert list(look(places, fix=True)) == ["unreadable_journal"]


def test_the_empty_cgroups_of_a_supervisor_that_is_gone_are_told_of(places: Places) -> None:
    one = places.supervisor("one")
    home = f"{places.state}/groups"  # the kernel's own remove what is in them with themselves
    for path in (one.life_lock, one.socket):
        touch(path)
    touch(one.cgroup_note, home)
    for name, events in ((POD, "populated 0\nfrozen 0\n"), (OTHER, "populated 1\nfrozen 0\n")):
        touch(f"{home}/{name}/cgroup.events", events)
    problem = look(places)["stale_cgroup"]
    assert home in problem.message
    assert problem.message.startswith("1 cgroups")
