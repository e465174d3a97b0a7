"""The deadline of `wait`, on a clock of the test's: no process, and no second of real time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

from clock_support import add_running, supervisor_on_clock
from pods.records.events import POD_ENDED, ended_data
from pods.supervisor.authority import Caller
from pods.supervisor.core import Supervisor
from pods.supervisor.wait import wait
from pods_protocol.bounds import MAX_WAIT_SECONDS
from pods_protocol.supervisor_messages import WaitPods
from pods_protocol.values import ExitRecord

OWNER = Caller(pod_id=None, session=cast("Any", SimpleNamespace()))


def end(supervisor: Supervisor, name: str) -> None:
    """Write down that a pod has ended, and tell who waits for it."""
    record = supervisor.known(name)
    exit_record = ExitRecord(status=0, reason="exited")
    data = ended_data(record, state="stopped", reason="", exit_record=exit_record, last_turn=None)
    supervisor.record(POD_ENDED, data)
    supervisor.pods[name].changed()


@pytest.mark.parametrize("seconds", [0.0, 30.0, MAX_WAIT_SECONDS])
async def test_a_wait_is_answered_at_its_deadline_and_not_before(
    short_dir: str, autojump_clock: trio.testing.MockClock, seconds: float
) -> None:
    async with supervisor_on_clock(short_dir) as supervisor:
        add_running(supervisor, "p")
        began = trio.current_time()
        request = WaitPods(pods=("p",), until="ended", timeout_seconds=seconds)
        answer = await wait(supervisor, OWNER, request)
        assert trio.current_time() - began == pytest.approx(seconds)
        assert answer.timed_out
        assert [one.pod for one in answer.pending] == ["p"]


async def test_an_end_in_the_last_moment_counts_and_one_before_the_call_is_not_missed(
    short_dir: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with supervisor_on_clock(short_dir) as supervisor:
        for name in ("early", "late"):
            add_running(supervisor, name)
        end(supervisor, "early")

        async def end_late() -> None:
            await trio.sleep(29.999)
            end(supervisor, "late")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_late)
            began = trio.current_time()
            request = WaitPods(pods=("early", "late"), until="ended", timeout_seconds=30.0)
            answer = await wait(supervisor, OWNER, request)
        assert trio.current_time() - began == pytest.approx(29.999)
        assert not answer.timed_out
        assert [one.pod for one in answer.ready] == ["early", "late"]
        again = WaitPods(pods=("early",), until="ended", timeout_seconds=0.0)
        assert not (await wait(supervisor, OWNER, again)).timed_out
