"""`pods acp`: a pod as an agent for editors that speak ACP, on this process's standard streams."""

from __future__ import annotations

import argparse

from pods.cli import options
from pods_protocol.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.description = (
        "Serve a pod to an editor that speaks the Agent Client Protocol: its command is "
        "`pods acp POD`. The pod lives on when the editor goes."
    )
    options.add_pod(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until the editor hangs up.

    Raises:
        UnknownPod: there is none.
        PodEnded: it has ended.
    """
    import trio  # the light verbs start without it

    from pods.cli.acp_stdio import serve
    from pods.client.aio import connect

    async def live() -> None:
        async with connect(args.supervisor) as client:
            found = await client.inspect(args.pod)
            await client.pod(found.pod.id).status()  # ended: say so before the editor speaks
            await serve(client.pod(found.pod.name), found.pod.id)

    trio.run(live)
    return ExitCode.OK
