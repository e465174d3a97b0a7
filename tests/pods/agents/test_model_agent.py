"""The model agent in a pod with a real journal, against the scripted endpoint in both APIs."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_endpoint import ModelEndpoint
from model_support import KEY, Api, Json, agent_for, call, one_turn, results, served
from pod_support import data, until, until_idle
from pods.agents.model.agent import CUT_MARK, ModelAgent
from pods_protocol.errors import AgentError
from pods_protocol.pod_messages import Cancel, Notify, Run
from pods_protocol.values import Doors

APIS: tuple[Api, ...] = ("anthropic", "openai")

both = pytest.mark.parametrize("api", APIS)


def write(directory: str, name: str, text: str) -> Path:
    path = Path(directory, name)
    path.write_text(text)
    return path


def read(path: Path) -> str:
    return path.read_text()


@both
async def test_an_answer_streams_into_the_turn_with_its_cost(short_dir: str, api: Api) -> None:
    script = [{"text": "Hel|lo| wör|ld", "usage": [7, 3]}]
    pod, endpoint = await one_turn(short_dir, script, "say hello", api=api)
    assert pod.texts() == "Hello wörld"
    assert pod.ends()[0]["stop_reason"] == "end_turn"
    assert data(pod, "usage") == [{"input_tokens": 7, "output_tokens": 3}]
    asked = endpoint.asked[0]
    assert asked.users == ("say hello",)
    assert asked.system.startswith("You are an agent in the pod `worker`")
    assert short_dir in asked.system
    assert KEY not in asked.everything
    headers = endpoint.requests[0].headers
    assert KEY in (headers.get("x-api-key", ""), headers.get("authorization", "")[7:])


@both
async def test_tools_run_and_their_results_go_back(short_dir: str, api: Api) -> None:
    file = write(short_dir, "a.txt", "one\ntwo\n")
    script: list[Json] = [
        {
            "text": "I look.",
            "tools": [
                call("read_file", path="a.txt"),
                call("run_command", command="echo $((6*7))"),
            ],
        },
        {"tools": [call("edit_file", path="a.txt", old="two", new="2")]},
        {"text": "done", "usage": [20, 2]},
    ]
    pod, endpoint = await one_turn(short_dir, script, api=api)
    assert endpoint.problems == []
    assert read(file) == "one\n2\n"
    assert results(pod)[2].startswith("Replaced 1 place")
    assert {results(pod)[0], results(pod)[1]} == {"one\ntwo\n", "42\n[exit status 0]"}
    assert pod.texts() == "I look.\n\ndone"
    assert [one["name"] for one in data(pod, "tool_call")] == [
        "read_file", "run_command", "edit_file",
    ]  # fmt: skip
    assert [asked.results for asked in endpoint.asked] == [0, 2, 3]
    assert "42" in endpoint.asked[1].everything
    assert data(pod, "usage")[-1] == {"input_tokens": 40, "output_tokens": 12}


async def test_calls_of_one_answer_run_side_by_side(short_dir: str) -> None:
    """Each of the two waits for what the other one writes."""
    first = "echo a > a; while [ ! -e b ]; do sleep 0.01; done; echo first"
    second = "while [ ! -e a ]; do sleep 0.01; done; echo b > b; echo second"
    script: list[Json] = [
        {"tools": [call("run_command", command=first), call("run_command", command=second)]},
        {"text": "done"},
    ]
    pod, _ = await one_turn(short_dir, script)
    assert {one.splitlines()[0] for one in results(pod)} == {"first", "second"}
    assert pod.ends()[0]["stop_reason"] == "end_turn"


@both
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"error": 429, "retry_after": 0.01}, "429"),
        ({"error": 500, "retry_after": 0}, "500"),
        ({"text": "x|y", "cut": True}, "broke"),
        ({"text": "x|y", "fail": True}, "overloaded_error"),
    ],
)
async def test_what_fails_for_the_moment_is_asked_again_and_told(
    short_dir: str, api: Api, fault: Json, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pods.agents.model.faults.FIRST_PAUSE_SECONDS", 0.01)
    pod, _ = await one_turn(short_dir, [fault, {"text": "now"}], api=api)
    assert pod.ends()[0]["stop_reason"] == "end_turn"
    warning = data(pod, "warning")[0]
    assert warning["code"] == "model_retry"
    assert words in warning["message"] or "529" in warning["message"]
    assert "attempt 1 of 6" in warning["message"]
    said = pod.texts()
    assert said.endswith("now")
    assert (CUT_MARK in said) == ("text" in fault and said != "now")


async def test_after_so_many_attempts_the_turn_ends_with_the_reason(short_dir: str) -> None:
    script = [{"error": 503, "retry_after": 0, "repeat": 0}]
    pod, endpoint = await one_turn(short_dir, script, max_attempts=3)
    assert len(endpoint.asked) == 3
    end = pod.ends()[0]
    assert end["stop_reason"] == "error"
    assert "(3 attempts)" in end["message"]
    assert "503" in end["message"]


@both
async def test_a_refused_key_ends_the_turn_at_once_and_says_what_to_do(
    short_dir: str, api: Api
) -> None:
    pod, endpoint = await one_turn(short_dir, [{"error": 401}], api=api)
    end = pod.ends()[0]
    assert end["stop_reason"] == "error"
    assert "--key-file" in end["message"]
    assert len(endpoint.asked) == 1
    assert KEY not in str(pod.events())


@both
@pytest.mark.parametrize(
    ("stop", "reason"), [("length", "max_tokens"), ("refusal", "refusal"), ("end", "end_turn")]
)
async def test_why_the_model_stopped_is_how_the_turn_ended(
    short_dir: str, api: Api, stop: str, reason: str
) -> None:
    pod, _ = await one_turn(short_dir, [{"text": "so", "stop": stop}], api=api)
    assert pod.ends()[0]["stop_reason"] == reason


async def test_a_model_that_never_ends_is_ended(short_dir: str) -> None:
    script: list[Json] = [{"tool": "list_files", "arguments": {}, "repeat": 0}]
    pod, endpoint = await one_turn(short_dir, script, max_requests=3)
    assert pod.ends()[0]["stop_reason"] == "max_turn_requests"
    assert len(endpoint.asked) == 3


@both
async def test_the_next_turn_goes_on_with_the_conversation(short_dir: str, api: Api) -> None:
    with ModelEndpoint([{"text": "a"}, {"text": "b"}]) as endpoint:
        agent = agent_for(endpoint, api)
        async with served(short_dir, agent) as (_pod, client):
            await client.request(Run(input="first"))
            await until_idle(client)
            await client.request(Notify(message="it rains"))
            await client.request(Run(input="second"))
            await until_idle(client)
    assert endpoint.asked[1].users == ("first", "[note] it rains\n\nsecond")


async def test_a_process_that_comes_after_another_remembers_what_was_said(short_dir: str) -> None:
    with ModelEndpoint([{"text": "a"}, {"text": "b"}]) as endpoint:
        for message in ("first", "second"):
            agent = agent_for(endpoint)
            async with served(short_dir, agent) as (_pod, client):
                await client.request(Run(input=message))
                await until_idle(client)
    users = endpoint.asked[1].users
    assert (users[0], users[-1].splitlines()[-1]) == ("first", "second")
    assert '"content": "a"' in endpoint.asked[1].everything


@both
async def test_a_turn_that_is_cancelled_hangs_up_and_the_next_one_works(
    short_dir: str, api: Api
) -> None:
    script: list[Json] = [{"text": "a|b|c|d", "hold": True}, {"text": "well"}]
    with ModelEndpoint(script) as endpoint:
        agent = agent_for(endpoint, api)
        async with served(short_dir, agent) as (pod, client):
            await client.request(Run(input="first"))
            await until(lambda: "text_delta" in pod.kinds(), pod)
            await client.request(Cancel())
            await until_idle(client)
            await client.request(Run(input="second"))
            await until_idle(client)
            assert [end["stop_reason"] for end in pod.ends()] == ["cancelled", "end_turn"]


async def test_a_tool_that_is_cancelled_leaves_a_conversation_that_goes_on(short_dir: str) -> None:
    script: list[Json] = [
        {"tool": "run_command", "arguments": {"command": "echo begun > begun; sleep 60"}},
        {"text": "well"},
    ]
    with ModelEndpoint(script) as endpoint:
        agent = agent_for(endpoint)
        async with served(short_dir, agent) as (pod, client):
            await client.request(Run(input="first"))
            await until(lambda: "tool_call" in pod.kinds(), pod)
            await client.request(Cancel())
            await until_idle(client)
            await client.request(Run(input="second"))
            await until_idle(client)
            assert pod.texts() == "well"
    assert "the turn ended before it did" in endpoint.asked[1].everything


@both
async def test_a_conversation_that_grows_too_long_loses_its_middle_and_says_so(
    short_dir: str, api: Api
) -> None:
    big = "x" * 8000
    script: list[Json] = [
        *({"tool": "run_command", "arguments": {"command": f"echo {n}{big}"}} for n in range(5)),
        {"text": "done"},
    ]
    pod, endpoint = await one_turn(short_dir, script, "the task", api=api, context_tokens=7000)
    assert pod.ends()[0]["stop_reason"] == "end_turn"
    assert data(pod, "warning")[0]["code"] == "gap"
    last = endpoint.asked[-1]
    assert last.users[0].startswith("the task")
    assert "earlier messages were left out here" in last.everything
    assert f"0{big}" not in last.everything
    assert f"4{big}" in last.everything


@both
async def test_an_endpoint_that_finds_it_too_long_is_asked_with_less(
    short_dir: str, api: Api
) -> None:
    look = {"tool": "run_command", "arguments": {"command": "seq 1000"}}
    script: list[Json] = [look, look, look, {"error": 413}, {"text": "done"}]
    pod, endpoint = await one_turn(short_dir, script, "the task", api=api)
    assert pod.ends()[0]["stop_reason"] == "end_turn"
    assert [one["code"] for one in data(pod, "warning")] == ["gap"]
    assert "earlier messages were left out" in endpoint.asked[-1].everything
    assert len(endpoint.asked[-1].everything) < len(endpoint.asked[-2].everything)


async def test_one_that_never_finds_it_short_enough_ends_the_turn(short_dir: str) -> None:
    pod, endpoint = await one_turn(short_dir, [{"error": 413, "repeat": 0}])
    assert pod.ends()[0]["stop_reason"] == "error"
    assert "context_tokens" in pod.ends()[0]["message"]
    assert len(endpoint.asked) == 2


@both
async def test_thoughts_are_told_apart_from_the_answer(short_dir: str, api: Api) -> None:
    pod, _ = await one_turn(short_dir, [{"thought": "hm", "text": "ha"}], api=api)
    assert [one["text"] for one in data(pod, "thought")] == ["hm"]
    assert pod.texts() == "ha"


async def test_without_a_network_the_turn_says_so_at_once(short_dir: str) -> None:
    spec = {"doors": Doors(network="none")}
    pod, endpoint = await one_turn(short_dir, [{"text": "never"}], spec=spec)
    assert "--network open" in pod.ends()[0]["message"]
    assert endpoint.requests == []


async def test_nobody_at_the_address_is_said_with_what_to_check(short_dir: str) -> None:
    agent = ModelAgent(
        {"model": "m", "base_url": "http://127.0.0.1:9", "max_attempts": 1}, secrets={}
    )
    async with served(short_dir, agent) as (pod, client):
        await client.request(Run(input="x"))
        await until_idle(client)
        assert "check --base-url" in pod.ends()[0]["message"]


@both
async def test_a_key_that_an_endpoint_repeats_is_not_journaled(short_dir: str, api: Api) -> None:
    told: list[Json] = [{"error": 401, "words": f"no such key: {KEY}"}]
    failed: list[Json] = [{"text": "x|y", "fail": True, "words": f"who is {KEY}?"}, *told]
    for script in (told, failed):
        pod, _ = await one_turn(short_dir, script, api=api)
        assert KEY not in str([event.data for event in pod.events()])
        assert "[the key]" in pod.ends()[-1]["message"]


@pytest.mark.parametrize("key", ["sk-one\nsk-two", "sk one", "sk-é", "sk-\x7f"])
def test_a_key_that_no_header_takes_is_refused_and_never_shown(key: str) -> None:
    with pytest.raises(AgentError) as caught:
        ModelAgent({"model": "m"}, {"MODEL_KEY": key})
    assert "one word of ASCII" in caught.value.message
    assert "sk" not in f"{caught.value.message}{caught.value.data}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no model is named"),
        ({"model": "m", "modle": 1}, "there is no option `modle`"),
        ({"model": "m", "api": "soap"}, "not one of anthropic, openai"),
        ({"model": "m", "base_url": "ftp://x"}, "no http:// or https:// address"),
        ({"model": "m", "base_url": "https://me:pw@x/v1"}, "use --key-file"),
        ({"model": "m", "api": 3}, "`api` is not a text"),
        ({"model": "m", "system": "x" * 70_000}, "`system` has more than"),
        ({"model": "m", "max_requests": 0}, "`max_requests` is not a whole number"),
    ],
)
def test_options_that_cannot_be_are_refused_with_the_right_ones(options: Json, words: str) -> None:
    with pytest.raises(AgentError) as caught:
        ModelAgent(options, {})
    assert words in caught.value.message
    assert "pw" not in caught.value.message.replace("pods", "")


def test_without_httpx_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_: str) -> None:
        return None

    monkeypatch.setattr("pods.agents.model.agent.find_spec", nothing)
    with pytest.raises(AgentError, match=r"pip install 'agent-pods\[model\]'"):
        ModelAgent({"model": "m"}, {})
