"""A supervisor inside a program: `async with open_supervisor() as supervisor`.

Owns the embedding: the service runs in the caller's trio, shielded, so that a cancelled body does
not cut the links to pods before they are stopped; the body's own exception comes out as it went
in. The client that the body gets is the ordinary one, over the ordinary socket.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import trio

from pods.client import aio
from pods.config import load_config, with_caps
from pods.paths import places_from
from pods.supervisor.core import Supervisor
from pods.supervisor.interrupts import no_interrupts_in_this_task
from pods.supervisor.launcher_process import launcher_environment
from pods.supervisor.options import Options
from pods.supervisor.service import serve

_opened = itertools.count(1)


@asynccontextmanager
@trio.lowlevel.enable_ki_protection  # not of the block's body, which runs beside it
async def open_supervisor(
    name: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    stop_pods: bool = True,
    max_depth: int | None = None,
    max_children: int | None = None,
    max_pods: int | None = None,
) -> AsyncGenerator[aio.PodsClient]:
    """A supervisor of this program's own, and a client with the owner's authority.

    It holds two descriptors a pod in this process, whose limit on open files it leaves alone; a
    spawn for which there is no room is refused as `capacity_reached`.

    Args:
        name: its name; None makes one up for the length of the block, and then its pods' journals
            go with it too. With a name they stay and can be read by the next of that name.
        environ: decides its places, and is what pods get a short list of; None is this process's.
        stop_pods: stop every pod at the end; else they live on, for the next of that name.
        max_depth, max_children, max_pods: the caps on the tree; None is what the user's
            configuration says.

    Raises:
        InvalidParams: the configuration is wrong; the message says where.
        StartFailed: it does not come up, or another of that name lives.
        PodsError: a directory is unsafe, the disk refuses.
    """
    given = dict(os.environ if environ is None else environ)
    places = places_from(given, os.geteuid())
    options = Options(
        places=places.supervisor(name or _own_name()),
        environ=launcher_environment(given, places),
        idle_exit_seconds=None,
        stop_pods=stop_pods,
        ephemeral=name is None and stop_pods,
        config=with_caps(
            load_config(places.config),
            max_depth=max_depth,
            max_children=max_children,
            max_pods=max_pods,
        ),
    )
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        coming = _Coming()
        nursery.start_soon(_serve_shielded, options, coming)
        try:
            started = await coming.wait()
            async with aio.connect_socket(options.places.socket, started.token) as client:
                yield client
        except BaseException as error:
            # Carried past the nursery, which would wrap it in a group.
            failure = error
        finally:
            coming.leave()
    if failure is not None:
        raise failure


class _Coming(trio.TaskStatus[Supervisor]):
    """A supervisor that comes up, for somebody who may have gone before it is there.

    In the place of `nursery.start`, whose child stays with it when it is cancelled: the supervisor,
    shielded, would never be handed on, and so nobody would tell it to leave.
    """

    def __init__(self) -> None:
        self._decided = trio.Event()
        self._supervisor: Supervisor | None = None
        self._failure: Exception | None = None
        self._left = False

    def started(self, value: Supervisor | None = None) -> None:
        """It answers."""
        assert value is not None, "it hands itself on"
        self._supervisor = value
        if self._left:
            value.leaving.set()
        self._decided.set()

    def failed(self, error: Exception) -> bool:
        """It ended; False where it was up before, so that this is no failure to start."""
        if self._supervisor is not None:
            return False
        # Whoever has left does not hear it: nothing has come up, which is what they wanted.
        self._failure = error
        self._decided.set()
        return True

    async def wait(self) -> Supervisor:
        """Wait until it answers.

        Raises:
            Exception: why it does not.
        """
        await self._decided.wait()
        if self._failure is not None:
            raise self._failure
        assert self._supervisor is not None, "one of the two has happened"
        return self._supervisor

    def leave(self) -> None:
        """Have it end: now, or as soon as it is up."""
        self._left = True
        if self._supervisor is not None:
            self._supervisor.leaving.set()


@trio.lowlevel.enable_ki_protection
async def _serve_shielded(options: Options, coming: _Coming) -> None:
    # Bounded where it waits: starting, stopping pods and ending the launcher have deadlines.
    with no_interrupts_in_this_task(), trio.CancelScope(shield=True):
        try:
            await serve(options, signals=False, task_status=coming)
        except Exception as error:
            if not coming.failed(error):
                raise


def _own_name() -> str:
    count = next(_opened)
    return f"embedded-{os.getpid()}" + (f"-{count}" if count > 1 else "")
