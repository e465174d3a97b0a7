"""`send`, `notify`, `withdraw`, `answer`: a pod's mailbox for those whom it does not answer itself.

Owns what becomes of a message to a pod that is paused or has ended. There is one mailbox a pod, its
journal: a paused pod's own process is woken alone for as long as it takes to write the message
there. What an ended pod had accepted is looked up there, so that a repeat of it has its one answer.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from pods.journal.fold import PodFold
from pods.journal.reader import read_events
from pods.lifecycle import Life
from pods.pod.answers import noted
from pods.records.record import PodRecord
from pods.supervisor.authority import Caller, find_pod, known_as
from pods.supervisor.core import Supervisor
from pods.supervisor.freeze import awake
from pods.supervisor.pause import ask_pod, living
from pods_protocol.bounds import MAX_READ_BYTES, MAX_READ_LIMIT
from pods_protocol.errors import PodEnded, PodPaused
from pods_protocol.pod_messages import (
    AnswerQuestion,
    Empty,
    Notify,
    NotifyResult,
    Run,
    RunResult,
    Withdraw,
)
from pods_protocol.supervisor_messages import AnswerPod, NotifyPod, SendMessage, WithdrawMessage

_ACCEPTED: Final = frozenset({"message_accepted"})


async def send(supervisor: Supervisor, caller: Caller, request: SendMessage) -> RunResult:
    """Give a pod a message.

    Raises:
        UnknownPod: the caller has no such pod.
        PodEnded: it has ended, and had not accepted this before.
        PodPaused: it is paused, and the message is not to be queued.
        PodsError: its refusal.
    """
    record = find_pod(supervisor, caller, request.pod)
    if request.if_busy != "queue" and record.life is Life.PAUSED:
        raise PodPaused(
            f"cannot send to pod {record.name}: it is paused; resume it (`pods resume "
            f"{record.name}`), or send with if_busy `queue` (`--if-busy queue`), and it "
            "runs once somebody does",
            pod=record.name,
        )
    run = Run(
        input=request.input,
        if_busy=request.if_busy,
        message_id=request.message_id,
        sender=_sender(supervisor, caller, request.sender),
    )
    try:
        answer: RunResult = await _ask(supervisor, record, "send to", run)
    except PodEnded as ended:
        return await _accepted(supervisor, record, request.message_id, ended)
    return answer


async def notify(supervisor: Supervisor, caller: Caller, request: NotifyPod) -> NotifyResult:
    """Tell a pod something.

    Raises:
        UnknownPod: the caller has no such pod.
        PodEnded: it has ended, and had not accepted this before.
        PodsError: its refusal.
    """
    record = find_pod(supervisor, caller, request.pod)
    message = Notify(
        message=request.message,
        wake=request.wake,
        message_id=request.message_id,
        sender=_sender(supervisor, caller, request.sender),
    )
    try:
        answer: NotifyResult = await _ask(supervisor, record, "notify", message)
    except PodEnded as ended:
        return noted(await _accepted(supervisor, record, request.message_id, ended))
    return answer


async def withdraw(supervisor: Supervisor, caller: Caller, request: WithdrawMessage) -> Empty:
    """Take a message back that waits.

    Raises:
        UnknownPod: the caller has no such pod.
        UnknownMessage: it does not wait (any more).
        PodEnded: the pod has ended.
    """
    record = find_pod(supervisor, caller, request.pod)
    message = Withdraw(message_id=request.message_id)
    answer: Empty = await _ask(supervisor, record, "withdraw from", message)
    return answer


async def answer(supervisor: Supervisor, caller: Caller, request: AnswerPod) -> Empty:
    """Answer a question of a pod.

    Raises:
        UnknownPod: the caller has no such pod.
        UnknownQuestion: none of that id is open.
        PodEnded: the pod has ended.
        PodsError: its refusal.
    """
    record = find_pod(supervisor, caller, request.pod)
    message = AnswerQuestion(question_id=request.question_id, answer=request.answer)
    given: Empty = await _ask(supervisor, record, "answer", message)
    return given


async def _ask(
    supervisor: Supervisor,
    record: PodRecord,
    verb: str,
    message: Run | Notify | Withdraw | AnswerQuestion,
) -> Any:
    live = await living(supervisor, record, verb)
    if supervisor.known(live.id).life is not Life.PAUSED:
        return await ask_pod(supervisor, live, message)
    async with live.holding:
        if live.thawed is None:  # resumed or being stopped meanwhile
            return await ask_pod(supervisor, live, message)
        async with awake(live):
            return await ask_pod(supervisor, live, message)


async def _accepted(
    supervisor: Supervisor, record: PodRecord, message_id: str | None, ended: PodEnded
) -> RunResult:
    """The answer that an ended pod gave when it accepted this message.

    Raises:
        PodEnded: `ended`, where it did not.
    """
    if message_id is None:
        raise ended
    known = await trio.to_thread.run_sync(
        _find_accepted, supervisor.journal_of(record.id), message_id
    )
    if known is None:
        raise ended
    return known


def _find_accepted(directory: str, message_id: str) -> RunResult | None:
    fold, since = PodFold(), 0
    while True:
        piece = read_events(
            directory, since, kinds=_ACCEPTED, limit=MAX_READ_LIMIT, max_bytes=MAX_READ_BYTES
        )
        fold.apply_many(piece.events)
        known = fold.message(message_id)
        if known is not None or not piece.truncated:
            return known
        since = piece.next


def _sender(supervisor: Supervisor, caller: Caller, claimed: str) -> str:
    own = known_as(supervisor, caller)
    return claimed or own if caller.pod_id is None else own
