"""The blocking facade: the same client from ordinary code, several threads, and under Ctrl-C."""

from __future__ import annotations

import errno
import inspect
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import trio

from client_support import (
    TOKEN,
    Json,
    Peer,
    World,
    always,
    capacity,
    event,
    pod_info,
    pod_status,
    read_page,
    spawned,
    stop_result,
)
from pods.client import aio, sync
from pods.client.portal import Portal
from pods_protocol.errors import (
    ClientClosed,
    InvalidParams,
    NotConnected,
    StorageFailed,
    UnknownPod,
)
from pods_protocol.pod_messages import Ping
from pods_protocol.supervisor_messages import ListPods
from supervisor_support import WAIT_SECONDS, with_rooms


@pytest.fixture
def fake(fake: World) -> World:
    """A world that lists, spawns and stops."""
    fake.supervisor.answers["list"] = always({"pods": [pod_info()], "capacity": capacity()})
    fake.supervisor.answers["spawn"] = always(spawned(fake))
    fake.supervisor.answers["stop"] = always(stop_result())
    return fake


async def test_a_blocking_client_says_what_an_event_loop_has_instead(fake: World) -> None:
    with pytest.raises(TypeError, match=r"use `async with pods\.aio\.connect\(\)`"):
        async with sync.connect():
            raise AssertionError("it was entered")
    fake.close()  # waits for the connection's end: it was closed


def test_a_blocking_client_asks_and_closes(fake: World) -> None:
    with sync.connect() as client:
        assert client.list().pods[0].name == "api"
        assert client.request(ListPods()).pods[0].name == "api"
        assert TOKEN not in repr(client)
    client.close()
    with pytest.raises(ClientClosed):
        client.list()
    assert len(fake.supervisor.params_of("hello")) == 1


def test_it_connects_to_a_socket_too(fake: World) -> None:
    with sync.connect_socket(fake.supervisor.path, TOKEN) as client:
        assert client.list().pods


def test_a_refusal_and_a_failed_connect_are_raised_as_they_are(
    fake: World, pods_environ: dict[str, str]
) -> None:
    fake.supervisor.answers["inspect"] = always(UnknownPod("cannot inspect x: no such pod"))
    with sync.connect() as client, pytest.raises(UnknownPod):
        client.inspect("x")
    with pytest.raises(NotConnected):
        sync.connect(start=False, environ={**pods_environ, "PODS_RUNTIME_DIR": "/nowhere"})


def test_a_blocking_call_refuses_a_time_that_nobody_can_wait_too(fake: World) -> None:
    with sync.connect() as client:
        for seconds in (-1.0, float("nan")):
            with pytest.raises(InvalidParams, match="number of seconds"):
                client.wait("api", timeout_seconds=seconds)
            with pytest.raises(InvalidParams, match="number of seconds"):
                client.pod("api").turn("x", timeout_seconds=seconds)
    assert fake.pod.requests == []


def test_several_threads_may_use_one_client(fake: World) -> None:
    inside = threading.Barrier(4, timeout=WAIT_SECONDS)

    def slow_list(_peer: Peer, _params: Json) -> Json:
        inside.wait()  # passes only when four requests are under way at once
        return {"pods": [], "capacity": capacity()}

    answered: list[int] = []
    clients = [sync.connect() for _ in range(4)]
    fake.supervisor.answers["list"] = slow_list

    def ask(client: sync.BlockingClient) -> None:
        answered.append(len(client.list().pods))

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert answered == [0, 0, 0, 0]
    fake.supervisor.answers["list"] = always({"pods": [], "capacity": capacity()})
    shared = clients[0]
    sharing = [threading.Thread(target=shared.list) for _ in range(8)]
    for thread in sharing:
        thread.start()
    for thread in sharing:
        thread.join(WAIT_SECONDS)
    for client in clients:
        client.close()


def test_ctrl_c_cancels_the_call_and_the_client_goes_on(fake: World) -> None:
    release = threading.Event()

    def interrupt(_peer: Peer, _params: Json) -> Json:
        # To this thread: it interrupts no call of the one that waits, as if it came just before.
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        assert release.wait(WAIT_SECONDS)
        return {"pods": [], "capacity": capacity()}

    with sync.connect() as client:
        fake.supervisor.answers["list"] = interrupt
        with pytest.raises(KeyboardInterrupt):
            client.list()
        release.set()
        fake.supervisor.answers["list"] = always({"pods": [], "capacity": capacity()})
        assert client.list().pods == ()


@pytest.mark.parametrize("handed_over", [False, True])
def test_ctrl_c_as_a_call_is_handed_over_leaves_nothing_under_way(
    monkeypatch: pytest.MonkeyPatch, handed_over: bool
) -> None:
    portal, hand_over = Portal(trio.open_nursery, "a loop"), vars(Portal)["_soon"]
    done: list[str] = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            done.append("cancelled")

    def interrupted(portal: Portal[object], function: Callable[[], object]) -> None:
        monkeypatch.undo()
        if handed_over:
            hand_over(portal, function)
        raise KeyboardInterrupt

    portal.open()
    try:
        monkeypatch.setattr(Portal, "_soon", interrupted)
        with pytest.raises(KeyboardInterrupt):
            portal.call(work)
        assert done == ["cancelled"] * handed_over
    finally:
        portal.close()


def test_a_call_needs_no_descriptor(fake: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with sync.connect() as client:
        monkeypatch.setattr(socket, "socketpair", refuse)
        assert client.list().pods
        monkeypatch.undo()


def test_closing_wakes_whoever_waits(fake: World) -> None:
    asked, release = threading.Event(), threading.Event()

    def never(_peer: Peer, _params: Json) -> Json:
        asked.set()
        assert release.wait(WAIT_SECONDS)
        return {"pods": [], "capacity": capacity()}

    caught: list[BaseException] = []

    def ask() -> None:
        try:
            client.list()
        except BaseException as error:
            caught.append(error)

    client = sync.connect()
    fake.supervisor.answers["list"] = never
    thread = threading.Thread(target=ask)
    thread.start()
    assert asked.wait(WAIT_SECONDS)
    client.close()
    thread.join(WAIT_SECONDS)
    release.set()
    assert [type(error) for error in caught] == [ClientClosed]


def test_events_are_an_ordinary_iterator(fake: World) -> None:
    fake.pod.answers["subscribe"] = always({"last_seq": 0})
    fake.pod.answers["after subscribe"] = lambda peer, _params: peer.event(
        event(1, "text", text="x")
    )
    with sync.connect() as client:
        for one in client.events("api"):
            assert one.seq == 1
            break
        first = next(client.pod("api").events(since=0))
        assert first.data["text"] == "x"


def test_the_events_of_an_ended_pod_come_to_an_end(fake: World) -> None:
    from pods_protocol.errors import PodEnded

    fake.supervisor.answers["connect"] = always(PodEnded("cannot connect: ended"))
    fake.supervisor.answers["read"] = always(read_page([event(1, "text", text="x")]))
    with sync.connect() as client:
        assert [one.seq for one in client.events("api")] == [1]


def test_a_session_stops_its_pod_and_never_hides_the_block_s_exception(fake: World) -> None:
    with sync.connect() as client:
        with client.session("api") as session:
            assert session.pod.name == "api"
            assert "closed=False" in repr(session)
        session.close()
        assert "closed=True" in repr(session)
        fake.supervisor.answers["stop"] = always(StorageFailed("cannot stop api: disk full"))
        with pytest.raises(KeyError, match="mine") as caught, client.session("api"):
            raise KeyError("mine")
        assert "disk full" in caught.value.__notes__[0]
        with pytest.raises(StorageFailed), client.session("api"):
            pass
    assert len(fake.supervisor.params_of("stop")) == 3


def test_every_method_is_that_of_the_trio_client(fake: World) -> None:
    fake.pod.answers.update(
        {
            "ping": always({}),
            "run": always({"message_id": "m", "state": "started", "turn": 1}),
            "status": always(pod_status()),
            "cancel": always({"turn": None}),
            "answer": always({}),
            "withdraw": always({}),
        }
    )
    waited: Json = {"ready": [], "pending": [], "timed_out": False}
    fake.supervisor.answers.update(
        {
            "read": always(read_page([event(1, "text", text="x")])),
            "advance": always({}),
            "wait": always(waited),
            "remove": always({"pod": "api", "id": "i"}),
            "prune": always({"removed": [], "would_remove": [], "uncertain": []}),
            "scope.show": always({"holders": []}),
            "scope.check": always({"granted": True, "normalised": []}),
            "shutdown": always({"stopped": ["api"]}),
        }
    )
    with sync.connect() as client:
        client.ask("api", Ping())
        pod = client.spawn("api")
        assert pod.spawned is not None
        assert "api" in repr(pod)
        assert client.send("api", "x").message_id == "m"
        assert pod.send("x").turn == 1
        pod.cancel()
        pod.answer("q", "y")
        pod.withdraw("m")
        assert pod.status().state == "idle"
        assert pod.read_text() == client.read_text("api", since=0) == "x"
        assert client.read("api").events[0].seq == 1
        client.advance("api", 1)
        assert not pod.wait().timed_out
        assert not client.wait("api").timed_out
        assert client.prune(5).removed == ()
        assert client.scopes() == ()
        assert client.check_scope(write=["/x"]).granted
        assert pod.stop().state == client.stop("api").state == "stopped"
        assert pod.remove().id == client.remove("api").id == "i"
        assert client.shutdown().stopped == ("api",)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(sync.BlockingClient, aio.PodsClient), (sync.connect, aio.connect)],
)
def test_the_facade_takes_the_arguments_of_what_it_stands_for(
    ours: Callable[..., object], theirs: Callable[..., object]
) -> None:
    if not inspect.isclass(ours):
        assert inspect.signature(ours).parameters.keys() == (
            inspect.signature(theirs).parameters.keys()
        )
        return
    for name, method in inspect.getmembers(theirs, inspect.isfunction):
        if not name.startswith("_"):
            twin = getattr(ours, name)
            known = set(inspect.signature(method).parameters)
            assert set(inspect.signature(twin).parameters) <= known, name


@pytest.mark.slow
def test_a_blocking_session_with_real_pods_on_a_supervisor_that_it_starts(
    pods_environ: dict[str, str],
) -> None:
    environ = with_rooms(pods_environ)
    with sync.connect(environ=environ) as client:
        try:
            with client.session("worker", prompt="true") as session:
                session.pod.wait()
                assert session.turn("echo hello").text == "hello\n"
                assert not session.pod.turn("exit 1").ok
                assert session.pod.inspect().pod.state == "idle"
            assert client.doctor().pods == {"stopped": 1}
        finally:
            client.shutdown(stop_pods=True)


NEVER_CLOSED = """
import contextlib
from pods.client.portal import Portal

@contextlib.asynccontextmanager
async def held():
    try:
        yield 1
    finally:
        print("left")

assert Portal(held, "held").open() == 1
"""


def test_a_client_that_was_never_closed_is_left_before_the_interpreter_ends(
    pods_environ: dict[str, str],
) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", NEVER_CLOSED],
        env=with_rooms(pods_environ),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")
