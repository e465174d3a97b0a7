"""`pods answer`: answer a question of a pod, such as what its agent may do."""

from __future__ import annotations

import argparse

from pods.cli import options, render
from pods.cli.follow import open_for
from pods.client.plain import Json
from pods_protocol.errors import ExitCode, InvalidParams, UnknownQuestion


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.usage = "pods answer POD [QUESTION] ANSWER"
    options.add_pod(parser)
    parser.add_argument(
        "words",
        metavar="[QUESTION] ANSWER",
        nargs="+",
        help="the answer; before it the question's id, where several are open",
    )
    options.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Answer it, or say what is asked.

    Raises:
        UnknownQuestion: nothing is asked, or not that.
        InvalidParams: several are open and none was named; no such option.
        PodsError: unknown pod, ended, paused.
    """
    with open_for(args.pod, args.supervisor) as client:
        questions: list[Json] = client.call("inspect", {"pod": args.pod})["open_questions"]
        question_id, answer = _chosen(args.pod, args.words, questions)
        client.call("answer", {"pod": args.pod, "question_id": question_id, "answer": answer})
    if args.json:
        render.say_json({"pod": args.pod, "question_id": question_id, "answer": answer})
    else:
        render.say(f"{args.pod}: question {question_id} answered: {answer}")
    return ExitCode.OK


def _chosen(pod: str, words: list[str], questions: list[Json]) -> tuple[str, str]:
    """The question and the answer that the words mean."""
    known = [question["question_id"] for question in questions]
    if len(words) > 1 and (words[0] in known or _is_id(words[0])):
        return words[0], " ".join(words[1:])
    if not questions:
        raise UnknownQuestion(
            f"cannot answer pod {pod}: it asks nothing; `pods logs {pod}` shows what it does",
            question_id="",
            open=[],
        )
    if len(questions) > 1:
        listed = "; ".join(
            f"{one['question_id']}: {render.cell(one['prompt'])}" for one in questions
        )
        raise InvalidParams(
            f"cannot tell which question of pod {pod} that answers, {len(questions)} are open: "
            f"`pods answer {pod} QUESTION ANSWER` ({listed})",
            path="question_id",
            open=known,
        )
    return known[0], " ".join(words)


def _is_id(word: str) -> bool:
    """Whether a word has the form of a question's id, so that a closed one is not an answer."""
    return word[:1] == "q" and word[1:].isdecimal()
