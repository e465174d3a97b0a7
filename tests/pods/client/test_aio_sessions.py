"""A session of the trio client: its pod is stopped, however the block ends."""

from __future__ import annotations

import pytest
import trio

from client_support import TOKEN, World, always, spawned, stop_result
from pods.client import aio
from pods_protocol.errors import ClientClosed, NameTaken, StorageFailed


def spawnable(fake: World) -> None:
    fake.supervisor.answers["spawn"] = always(spawned(fake))
    fake.supervisor.answers["stop"] = always(stop_result())


async def test_a_session_stops_its_pod_and_closing_again_is_nothing(fake: World) -> None:
    spawnable(fake)
    fake.supervisor.answers["remove"] = always({"pod": "api", "id": "i"})
    async with aio.connect() as client:
        async with client.session("api", remove=True) as session:
            pod = session.pod
            assert pod.spawned is not None
            assert TOKEN not in repr(pod.spawned)
        await session.close()
        assert session.closed
        with pytest.raises(ClientClosed):
            await session.turn("late")
    assert len(fake.supervisor.params_of("stop")) == 1
    assert len(fake.supervisor.params_of("remove")) == 1
    assert "closed=True" in repr(session)


async def test_a_failing_stop_never_hides_what_the_block_raised(fake: World) -> None:
    spawnable(fake)
    fake.supervisor.answers["stop"] = always(StorageFailed("cannot stop api: disk full"))
    async with aio.connect() as client:
        with pytest.raises(KeyError, match="mine") as caught:
            async with client.session("api"):
                raise KeyError("mine")
        assert "disk full" in caught.value.__notes__[0]
        session = client.session("api")
        with pytest.raises(StorageFailed):
            async with session:
                pass
        fake.supervisor.answers["stop"] = always(stop_result())
        await session.close()
        assert session.closed


async def test_a_session_that_cannot_be_opened_stops_nothing(fake: World) -> None:
    fake.supervisor.answers["spawn"] = always(NameTaken("cannot spawn api: taken"))
    async with aio.connect() as client:
        with pytest.raises(NameTaken):
            async with client.session("api"):
                raise AssertionError("it opened")
    assert fake.supervisor.params_of("stop") == []


async def test_a_session_cancelled_while_it_opens_leaves_no_pod(fake: World) -> None:
    spawnable(fake)
    async with aio.connect() as client:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with client.session("api"):
                raise AssertionError("it opened")
        assert scope.cancelled_caught
    assert len(fake.supervisor.params_of("stop")) == 1


async def test_a_session_cancelled_in_its_block_stops_its_pod(fake: World) -> None:
    spawnable(fake)
    async with aio.connect() as client:
        with trio.CancelScope() as scope:
            async with client.session("api"):
                scope.cancel()
                await trio.sleep_forever()
    assert len(fake.supervisor.params_of("stop")) == 1
