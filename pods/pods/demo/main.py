"""The demo from its command line to its last line.

Owns the temporary directory, the embedded supervisor and the order of the show. The work itself is
the coordinator's. Called by the package's `main`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Final

import trio

from pods.demo.endings import Endings
from pods.demo.tree import Tree, copy_tree
from pods.demo.view import View
from pods.supervisor.embedded import open_supervisor
from pods_protocol.errors import ExitCode, PodsError
from pods_protocol.values import StopReason

COORDINATOR: Final = "coordinator"


def main(words: Sequence[str], endings: Endings) -> int:
    """Run the demo; the exit code comes back.

    Args:
        words: its command line.
        endings: what may end it early; heard for as long as this runs.
    """
    parser = argparse.ArgumentParser(
        prog="pods demo", description="The main job, on a copy of a tree."
    )
    parser.add_argument("--tree", help="the source tree to work on, as a copy (default: our own)")
    parser.add_argument("--plain", action="store_true", help="lines, also on a terminal")
    arguments = parser.parse_args(words)
    # Short, because sockets lie in it; private, because tokens do.
    directory = tempfile.mkdtemp(prefix="pods-demo-", dir="/tmp")
    plain = arguments.plain or not sys.stdout.isatty()
    try:
        endings.check()
        tree = copy_tree(arguments.tree, f"{directory}/tree")
        view = _view_of(tree.root, plain=plain)
        return trio.run(_show_until_told, endings, view, tree, directory)
    except PodsError as error:
        sys.stderr.write(f"pods: {error.message}\n")
        return error.EXIT_CODE
    except SystemExit:
        return ExitCode.OK  # as for every verb: whoever read has had enough
    except KeyboardInterrupt:
        sys.stderr.write("pods: interrupted; everything that the demo started is stopped\n")
        return ExitCode.INTERRUPTED
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _view_of(root: str, *, plain: bool) -> View:
    if plain:
        return View(root)
    from pods.demo.live_view import LiveView  # brings rich

    return LiveView(root)


async def _show_until_told(endings: Endings, view: View, tree: Tree, directory: str) -> int:
    """The show; an ending cancels it, and then all that it started is stopped first.

    Raises:
        KeyboardInterrupt: it was ended.
        PodsError: the show's own.
        SystemExit, OSError: nobody reads what it says any more; the first is how rich tells.
    """
    token = trio.lowlevel.current_trio_token()
    scope = trio.CancelScope()
    with scope, endings.acting(lambda: token.run_sync_soon(scope.cancel)):
        return await _show(view, tree, directory)
    raise KeyboardInterrupt


def _environ(directory: str) -> dict[str, str]:
    """An environment whose pods are the demo's alone."""
    environ = dict(os.environ)
    for name in ("PODS_SOCKET", "PODS_TOKEN_FILE", "PODS_SUPERVISOR"):
        environ.pop(name, None)
    environ["PODS_RUNTIME_DIR"] = f"{directory}/run"
    environ["PODS_STATE_DIR"] = f"{directory}/state"
    return environ


async def _show(view: View, tree: Tree, directory: str) -> int:
    begun = time.monotonic()
    outcome: StopReason | None = None
    with view:
        view.say(f"A parent and its pods share {len(tree.packages)} packages of a source tree:")
        view.say(f"{tree.root}: {', '.join(tree.packages)}")
        async with open_supervisor(environ=_environ(directory)) as client:
            coordinator = await client.spawn(
                COORDINATOR,
                agent="pods.demo.coordinator:Coordinator",
                write=[tree.root],
                cwd=tree.root,
                options={"packages": list(tree.packages), "python": sys.executable},
                prompt="share the tree out",
                description="parent of the demo",
            )
            async with coordinator.events() as events:
                async for event in events:
                    view.event(event)
                    if event.type in {"progress", "tool_result", "turn_ended"}:
                        view.pods((await client.list()).pods)
                    if event.type == "progress" and event.data.get("step") == 3:
                        view.overview()
                    if event.type == "turn_ended":
                        outcome = event.data["stop_reason"]
                        break
            view.overview()
            view.leave()
            view.say("What the pods reported, read by their parent:", "bold")
            view.say((await coordinator.read_text()).strip())
        left = _left_over(directory)
        seconds = time.monotonic() - begun
        if outcome != "end_turn" or left:
            view.say(f"the show went wrong: turn ended {outcome}, left behind: {left}", "red")
            return ExitCode.FAILED
        view.say(f"Everything is stopped; nothing is left behind. {seconds:.1f} s.", "bold")
    return ExitCode.OK


def _left_over(directory: str) -> list[str]:
    """Sockets, tokens and leases that outlived the supervisor; lock files may stay."""
    left: list[str] = []
    for root, _, files in os.walk(f"{directory}/run"):
        left += [os.path.join(root, name) for name in files if not name.endswith(".lock")]
    return left
