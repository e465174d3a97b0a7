"""A request on a real socket: who is answered, in what order, and with which error."""

from __future__ import annotations

import pytest
import trio
import trio.lowlevel
import trio.testing

from pods.rpc import server as server_module
from pods.rpc.client import RpcClient, open_rpc
from pods.rpc.server import Session
from pods_protocol.api import POD_API
from pods_protocol.bounds import MAX_LINE_BYTES
from pods_protocol.errors import (
    AlreadyRunning,
    Busy,
    InternalError,
    NotConnected,
    PodsError,
    TimedOut,
    TooLarge,
)
from pods_protocol.events import Event
from pods_protocol.pod_messages import (
    Cancel,
    CancelResult,
    GetHistory,
    GetHistoryResult,
    HistoryEntry,
    Ping,
    Run,
    RunResult,
    WaitFor,
    WaitForResult,
)
from process_support import WAIT_SECONDS
from rpc_support import TOKEN, StartServer, opened, pong


async def test_a_request_is_answered_to_its_asker(start_server: StartServer) -> None:
    def run(session: Session, message: Run) -> RunResult:
        return RunResult(message_id=message.input, state="started", turn=1)

    server = await start_server({"run": run})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as one, opened(server) as two:
            answers: list[RunResult] = []

            async def ask(client: RpcClient, text: str) -> None:
                answers.append(await client.request(Run(input=text)))
                assert answers[-1].message_id == text

            async with trio.open_nursery() as nursery:
                for client in (one, two):
                    for number in range(10):
                        nursery.start_soon(ask, client, f"{id(client)} {number}")
    assert len(answers) == 20


async def test_an_error_of_a_handler_reaches_the_asker_with_its_type_and_data(
    start_server: StartServer,
) -> None:
    def run(session: Session, message: Run) -> RunResult:
        raise AlreadyRunning("cannot run: busy; wait", turn=3)

    async def wait(session: Session, message: WaitFor) -> WaitForResult:
        await trio.lowlevel.checkpoint()
        raise TimedOut("cannot wait: too long", timeout_seconds=1)

    server = await start_server({"run": run, "wait": wait})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client:
            with pytest.raises(AlreadyRunning) as refused:
                await client.request(Run(input="x"))
            assert refused.value.data == {"turn": 3}
            with pytest.raises(TimedOut):
                await client.request(WaitFor())


async def test_a_bug_in_a_handler_is_answered_logged_and_survived(
    start_server: StartServer,
) -> None:
    def run(session: Session, message: Run) -> RunResult:
        raise ZeroDivisionError("a secret detail")

    async def wait(session: Session, message: WaitFor) -> WaitForResult:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("another")

    server = await start_server({"run": run, "wait": wait, "ping": pong})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client:
            with pytest.raises(InternalError) as first:
                await client.request(Run(input="x"))
            with pytest.raises(InternalError):
                await client.request(WaitFor())
            await client.request(Ping())
    assert "secret" not in first.value.message
    assert len(server.logged) == 2
    assert "ZeroDivisionError" in server.logged[0]


async def test_a_slow_request_does_not_hold_up_the_next(start_server: StartServer) -> None:
    async def wait(session: Session, message: WaitFor) -> WaitForResult:
        await trio.sleep_forever()
        raise AssertionError

    server = await start_server({"wait": wait, "ping": pong})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client, trio.open_nursery() as nursery:
            nursery.start_soon(client.request, WaitFor())
            await trio.testing.wait_all_tasks_blocked()
            await client.request(Ping())
            nursery.cancel_scope.cancel()


async def test_requests_under_way_are_bounded(start_server: StartServer) -> None:
    release = trio.Event()

    async def wait(session: Session, message: WaitFor) -> WaitForResult:
        await release.wait()
        return WaitForResult(reached=True, state="idle", last_seq=0)

    server = await start_server({"wait": wait})
    refused: list[PodsError] = []
    answered: list[WaitForResult] = []

    async def ask(client: RpcClient) -> None:
        try:
            answered.append(await client.request(WaitFor()))
        except Busy as error:
            refused.append(error)
            release.set()

    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client, trio.open_nursery() as nursery:
            for _ in range(server_module.MAX_IN_FLIGHT + 1):
                nursery.start_soon(ask, client)
    assert len(refused) == 1
    assert len(answered) == server_module.MAX_IN_FLIGHT


async def test_an_answer_over_the_line_cap_becomes_an_error(start_server: StartServer) -> None:
    def history(session: Session, message: GetHistory) -> GetHistoryResult:
        entry = HistoryEntry(role="user", text="x" * MAX_LINE_BYTES, turn=1, seq=1)
        return GetHistoryResult(entries=(entry,), next=1)

    server = await start_server({"history": history, "ping": pong})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client:
            with pytest.raises(TooLarge):
                await client.request(GetHistory())
            await client.request(Ping())


async def test_notifications_reach_the_callback_in_order(start_server: StartServer) -> None:
    def cancel(session: Session, message: Cancel) -> CancelResult:
        for seq in range(1, 4):
            session.notify("event", Event(seq=seq, time=0.0, turn=None, type="status", data={}))
        return CancelResult(turn=None)

    server = await start_server({"cancel": cancel})
    seen: list[tuple[str, int]] = []
    with trio.fail_after(WAIT_SECONDS):
        async with open_rpc(
            server.path,
            POD_API,
            token=TOKEN,
            on_notification=lambda method, event: seen.append((method, event.seq)),
        ) as client:
            await client.request(Cancel())
    assert seen == [("event", 1), ("event", 2), ("event", 3)]


async def test_waiting_requests_fail_when_the_server_goes(start_server: StartServer) -> None:
    async def wait(session: Session, message: WaitFor) -> WaitForResult:
        session.close()
        await trio.sleep_forever()
        raise AssertionError

    server = await start_server({"wait": wait})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client:
            with pytest.raises(NotConnected):
                await client.request(WaitFor())
            await client.closed.wait()
            with pytest.raises(NotConnected):
                await client.request(Ping())
            await client.aclose()


async def test_an_answer_nobody_waits_for_any_more_is_dropped(start_server: StartServer) -> None:
    release = trio.Event()

    async def wait(session: Session, message: WaitFor) -> WaitForResult:
        await release.wait()
        return WaitForResult(reached=True, state="idle", last_seq=0)

    server = await start_server({"wait": wait, "ping": pong})
    with trio.fail_after(WAIT_SECONDS):
        async with opened(server) as client:
            with pytest.raises(TimedOut, match="may still act"):
                await client.request(WaitFor(), timeout_seconds=0.01)
            release.set()
            await client.request(Ping())


async def test_each_request_waits_for_its_own_time_and_no_longer(
    start_server: StartServer, autojump_clock: trio.testing.MockClock
) -> None:
    async def wait(session: Session, message: WaitFor) -> WaitForResult:
        await trio.sleep(message.timeout_seconds)
        return WaitForResult(reached=True, state="idle", last_seq=0)

    server = await start_server({"wait": wait, "ping": pong})
    ended: list[tuple[float, str]] = []

    async with opened(server) as client, trio.open_nursery() as nursery:
        began = trio.current_time()

        async def ask(answer_after: float, patience: float | None) -> None:
            try:
                await client.request(
                    WaitFor(timeout_seconds=answer_after), timeout_seconds=patience
                )
                outcome = "answered"
            except TimedOut as error:
                outcome = f"late after {error.data['timeout_seconds']:g}"
            ended.append((round(trio.current_time() - began), outcome))

        for case in ((20, 50), (30, 3), (40, None), (60, 10), (5, 4000)):
            nursery.start_soon(ask, *case)
    assert ended == [
        (3, "late after 3"),
        (5, "answered"),
        (10, "late after 10"),
        (20, "answered"),
        (40, "answered"),
    ]
    async with opened(server) as client:
        # An alarm that was set for a request which has been answered rings for nobody.
        await client.request(Ping(), timeout_seconds=1)
        assert (await client.request(WaitFor(timeout_seconds=5), timeout_seconds=9)).reached
