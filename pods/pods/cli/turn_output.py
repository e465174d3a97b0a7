"""What `send` and `spawn` print about a message and, with `--wait`, about its turn.

Owns the two forms of that answer and its exit code. Used by `send` and `spawn`.
"""

from __future__ import annotations

from typing import Final

from pods.agents import hints
from pods.cli import render
from pods.cli.follow import follow_turn
from pods.cli.transcript import TEXT_KINDS
from pods.client.plain import Json, PlainClient
from pods_protocol.errors import ExitCode

NO_TURN: Final = {
    "undelivered": "undelivered, the pod ended before the message had its turn",
    "withdrawn": "withdrawn before the message had its turn",
}
"""Why a message that was accepted had no turn, by the reason of its `message_withdrawn`."""


def _outcome(ended: Json | None) -> Json:
    """How it went, from the event that `follow_turn` gave back."""
    if ended is not None and ended["type"] == "turn_ended":
        data: Json = ended["data"]
        return data
    reason = "undelivered" if ended is None else ended["data"]["reason"]
    return {"stop_reason": reason, "message": NO_TURN.get(reason, "")}


def fate(name: str, message: Json, supervisor: str | None) -> str:
    """What became of an accepted message, in words; `supervisor` as it was given."""
    if message["state"] == "started":
        return f"{name}: turn {message['turn']} started"
    return (
        f"{name}: queued at position {message['position']}; "
        f"`{render.command(supervisor)} withdraw {name} {message['message_id']}` takes it back"
    )


def wait_for_turn(
    client: PlainClient,
    pod: PlainClient | None,
    name: str,
    message: Json,
    *,
    since: int,
    timeout: float | None,
    as_json: bool,
    supervisor: str | None,
    stays: bool = True,
) -> int:
    """Print the turn's output as it comes, and return the exit code for its outcome.

    With `as_json` one document at the end: `{message, turn, stop_reason, exit_status, text}`; the
    `stop_reason` of a message that never had a turn is `undelivered` or `withdrawn`.

    Raises:
        TimedOut: the turn takes longer; the pod goes on.
        KeyboardInterrupt: the pod is not to stay without whoever waits.
    """
    pieces: list[str] = []
    pods = render.command(supervisor)

    def show(event: Json) -> None:
        if event["type"] in TEXT_KINDS:
            pieces.append(event["data"]["text"])
            if not as_json:
                render.write(event["data"]["text"])
                render.flush()
                pieces[:] = pieces[-1:]
        elif event["type"] == "question" and not as_json:
            render.note(f"{name} asks: {render.clean_lines(event['data']['prompt'])}")
            render.note(f"`{pods} answer {name} {event['data']['question_id']} ANSWER` answers it")

    try:
        ended = follow_turn(
            client, pod, name, message, since=since, show=show, timeout=timeout, pods=pods
        )
    except KeyboardInterrupt:
        if not stays:
            raise
        render.note(f"no longer waiting; {name} goes on (`{pods} logs -f {name}` follows it)")
        return ExitCode.INTERRUPTED
    outcome = _outcome(ended)
    if not stays and outcome.get("message"):
        told = str(outcome["message"]).replace(hints.refused(name), hints.refused_and_gone())
        outcome = {**outcome, "message": told}
    if as_json:
        render.say_json(
            {
                "message": message,
                "turn": None if ended is None else ended["turn"],
                "stop_reason": outcome["stop_reason"],
                "exit_status": outcome.get("exit_status"),
                "text": "".join(pieces),
            }
        )
    else:
        if pieces and not pieces[-1].endswith("\n"):
            render.say()
        if outcome["stop_reason"] != "end_turn":
            if outcome["stop_reason"] in NO_TURN:
                render.note(
                    f"{name} did not answer: the message was {NO_TURN[outcome['stop_reason']]}"
                )
            else:
                render.note(f"the turn of {name} ended: {render.outcome(outcome)}")
    return ExitCode.OK if outcome["stop_reason"] == "end_turn" else ExitCode.FAILED
