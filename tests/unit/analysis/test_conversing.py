"""Whatever a model answers, a conversation ends, says why, and stays within its bounds."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.conversations import FINAL, FakeToolbox, Talk
from harness.openai_server import (
    ServerReply,
    calls,
    completion,
    fails,
    openai_server,
    raw,
    says,
)
from training_monitor.analysis.model.bounds import Limits
from training_monitor.analysis.model.conversing import converse

OK = {"status": "ok", "summary": "all is well"}


def roles(body: dict[str, Any]) -> list[str]:
    return [message["role"] for message in body["messages"]]


def names(body: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in body.get("tools", [])]


def test_tools_are_answered_in_order_until_the_final_call(tmp_path: Path) -> None:
    script = [
        calls(("metrics_list", {}), ("steps_tail", {"last": 3})),
        calls(("report_analysis", OK)),
    ]
    with openai_server(script) as server:
        talk = Talk(tmp_path, server.base_url)
        outcome = talk()
    assert outcome.final == OK
    assert (outcome.rung, outcome.calls, outcome.requests) == ("tools", 2, 2)
    assert (outcome.trouble, outcome.stopped) == (None, "")
    assert talk.toolbox.called == [("metrics_list", {}), ("steps_tail", {"last": 3})]
    assert outcome.tool_results == ("metrics_list of {}", "steps_tail of {'last': 3}")
    second = server.requests[1].body
    assert roles(second) == ["system", "user", "assistant", "tool", "tool"]
    asked = [call["id"] for call in second["messages"][2]["tool_calls"]]
    assert [one["tool_call_id"] for one in second["messages"][3:]] == asked
    assert names(second) == ["metrics_list", "steps_tail", "report_analysis"]
    assert outcome.prompt_tokens > 0


def test_usage_of_the_server_is_what_counts(tmp_path: Path) -> None:
    reply = calls(("report_analysis", OK), usage={"prompt_tokens": 250, "completion_tokens": 31})
    with openai_server([reply]) as server:
        outcome = Talk(tmp_path, server.base_url)()
    assert (outcome.prompt_tokens, outcome.completion_tokens) == (250, 31)


def test_conversation_without_final_tool_ends_with_words(tmp_path: Path) -> None:
    with openai_server([calls(("steps_tail", {})), says("it fell")]) as server:
        outcome = Talk(tmp_path, server.base_url)(final_tool=None, read_final=None)
    assert (outcome.text, outcome.final, outcome.stopped) == ("it fell", None, "")


def test_final_tool_may_be_given_with_its_type_around_it(tmp_path: Path) -> None:
    with openai_server([calls(("report_analysis", OK))]) as server:
        outcome = Talk(tmp_path, server.base_url)(
            final_tool={"type": "function", "function": FINAL}
        )
    assert outcome.final == OK
    assert names(server.requests[0].body)[-1] == "report_analysis"


def test_refused_final_call_is_told_back(tmp_path: Path) -> None:
    script = [
        calls(("report_analysis", {"status": "fine"})),
        calls(("report_analysis", '{"status": ')),
        calls(("report_analysis", OK)),
    ]
    with openai_server(script) as server:
        outcome = Talk(tmp_path, server.base_url)()
    assert (outcome.final, outcome.stopped) == (OK, "")
    assert server.requests[1].body["messages"][-1]["content"] == (
        "error: status must be ok or critical"
    )
    last = server.requests[2].body["messages"]
    assert last[-1]["content"].startswith("error: the arguments are no JSON")
    # Templates of some servers fail on arguments that are none.
    assert last[-2]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_final_call_that_never_does_ends_with_what_there_is(tmp_path: Path) -> None:
    with openai_server([calls(("report_analysis", {"status": "fine"}))]) as server:
        outcome = Talk(tmp_path, server.base_url)()
    assert (outcome.final, outcome.requests) == (None, 3)
    assert "report_analysis was refused: status must be" in outcome.stopped
    assert outcome.text == '{"status": "fine"}'


def test_words_in_the_place_of_the_final_call_are_kept(tmp_path: Path) -> None:
    with openai_server([says("it diverged at step 3")]) as server:
        outcome = Talk(tmp_path, server.base_url)()
    assert (outcome.text, outcome.final) == ("it diverged at step 3", None)
    assert (outcome.rung, outcome.stopped) == ("tools", "the model did not call report_analysis")
    assert outcome.requests == 3
    assert server.requests[1].body["messages"][-1]["content"] == (
        "Please end by a call of report_analysis."
    )


def test_reminded_model_calls_the_final_tool(tmp_path: Path) -> None:
    with openai_server([says("hm"), calls(("report_analysis", OK))]) as server:
        outcome = Talk(tmp_path, server.base_url)()
    assert (outcome.final, outcome.text, outcome.stopped) == (OK, "hm", "")


@pytest.mark.parametrize("final", [FINAL, None])
def test_empty_answers_end(final: dict[str, Any] | None, tmp_path: Path) -> None:
    with openai_server([says(None)]) as server:
        outcome = Talk(tmp_path, server.base_url)(final_tool=final)
    assert (outcome.rung, outcome.text, outcome.final) == ("rules", "", None)
    assert outcome.requests == 3
    assert outcome.stopped


def test_unknown_tools_and_broken_arguments_are_told(tmp_path: Path) -> None:
    script = [
        calls(("rm_rf", {}), ("steps_tail", '{"last": '), ("", ""), ("steps_tail", "[1]")),
        calls(("report_analysis", OK)),
    ]
    with openai_server(script) as server:
        talk = Talk(tmp_path, server.base_url)
        assert talk().final == OK
    answers = [one["content"] for one in server.requests[1].body["messages"][3:]]
    assert answers[0] == "error: no tool 'rm_rf'; there are: metrics_list, steps_tail"
    assert answers[2].startswith("error: no tool ''")
    # What is no JSON is handed on as it is: the tool says what is wrong with it.
    assert talk.toolbox.called == [("steps_tail", '{"last": '), ("steps_tail", [1])]


def test_tool_that_fails_is_told(tmp_path: Path) -> None:
    def answers(name: str, arguments: object) -> str:
        raise OSError("gone")

    script = [calls(("steps_tail", {})), calls(("report_analysis", OK))]
    with openai_server(script) as server:
        outcome = Talk(tmp_path, server.base_url, toolbox=FakeToolbox(answers=answers))()
    assert outcome.final == OK
    assert outcome.tool_results == ("error: steps_tail failed: OSError",)


def test_calls_without_names_or_with_the_same_get_their_own(tmp_path: Path) -> None:
    one = {"type": "function", "function": {"name": "steps_tail", "arguments": "{}"}}
    made = [one, one | {"id": "x"}, one | {"id": "x"}, one | {"id": "not good\n" * 50}]
    made[1]["function"] = {"name": "steps_tail", "arguments": '{"a": 1}'}
    made[2]["function"] = {"name": "steps_tail", "arguments": '{"a": 2}'}
    script = [completion({"tool_calls": made}), calls(("report_analysis", OK))]
    with openai_server(script) as server:
        assert Talk(tmp_path, server.base_url)().final == OK
    messages = server.requests[1].body["messages"]
    asked = [call["id"] for call in messages[2]["tool_calls"]]
    assert len(set(asked)) == 4
    assert asked == [message["tool_call_id"] for message in messages[3:]]


def test_same_call_a_third_time_ends_the_conversation(tmp_path: Path) -> None:
    def script(messages: list[Any], tools: list[Any] | None) -> ServerReply:
        if tools is not None and len(tools) == 1:
            return calls(("report_analysis", OK))
        return calls(("steps_tail", '{"a": 1, "b": 2}' if len(messages) % 4 else '{"b":2,"a":1}'))

    with openai_server(script) as server:
        talk = Talk(tmp_path, server.base_url)
        outcome = talk()
    assert len(talk.toolbox.called) == 2
    assert (outcome.final, outcome.requests) == (OK, 4)
    told = server.requests[-1].body["messages"][-1]["content"]
    assert told.startswith("you asked this before")
    assert "Call report_analysis now" in told


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        (Limits(requests=5), {"requests": 5}),
        (Limits(tool_calls=7), {"calls": 7}),
        (Limits(tokens=20_000), {}),
        (Limits(calls_per_hour=4), {"requests": 4}),
        (Limits(tokens_per_hour=20_000), {}),
        (Limits(cost_per_hour=0.05, price_in=2.0, price_out=8.0), {}),
    ],
)
def test_model_that_asks_for_ever_stays_within_each_bound(
    limits: Limits, most: dict[str, int], tmp_path: Path
) -> None:
    number = iter(range(10**6))

    def script(messages: list[Any], tools: list[Any] | None) -> ServerReply:
        return calls(*(("steps_tail", {"n": next(number)}) for _ in range(3)))

    with openai_server(script) as server:
        talk = Talk(tmp_path, server.base_url, limits=limits)
        outcome = talk()
        again = talk() if limits.calls_per_hour == 4 else None
    assert outcome.stopped
    assert outcome.final is None
    for name, bound in most.items():
        assert getattr(outcome, name) <= bound
    assert outcome.requests == len(server.requests) >= 1
    assert outcome.calls == len(talk.toolbox.called)
    assert outcome.prompt_tokens + outcome.completion_tokens <= limits.tokens
    assert talk.bounds.spent.tokens <= limits.tokens_per_hour
    if limits.cost_per_hour is not None:
        assert talk.bounds.cost <= limits.cost_per_hour
    if again is not None:
        assert (again.requests, again.stopped) == (0, "llm_calls_per_hour=4 is reached")
        assert talk.ladder.take_notices() == [
            "The model is not asked for now: llm_calls_per_hour=4 is reached"
        ]


def test_last_request_offers_the_final_tool_alone(tmp_path: Path) -> None:
    def script(messages: list[Any], tools: list[Any] | None) -> ServerReply:
        if tools is not None and len(tools) == 1:
            return calls(("report_analysis", OK))
        return calls(("steps_tail", {"n": len(messages)}))

    with openai_server(script) as server:
        outcome = Talk(tmp_path, server.base_url, limits=Limits(requests=3))()
    assert (outcome.final, outcome.requests) == (OK, 3)
    assert names(server.requests[-1].body) == ["report_analysis"]
    assert server.requests[-1].body["messages"][-1]["role"] == "tool"


def test_seconds_of_a_conversation_are_a_bound(tmp_path: Path) -> None:
    with openai_server([says("x").but(never=True)]) as server:
        outcome = Talk(tmp_path, server.base_url, limits=Limits(seconds=1.0))()
    assert outcome.trouble is not None
    assert outcome.trouble.kind == "timeout"
    assert outcome.rung == "rules"


def test_old_answers_of_tools_are_shortened_and_new_ones_are_not(tmp_path: Path) -> None:
    toolbox = FakeToolbox(answers=lambda _, arguments: f"{arguments}" + "0.25 " * 500)
    number = iter(range(100))

    def script(messages: list[Any], tools: list[Any] | None) -> ServerReply:
        n = next(number)
        return calls(("steps_tail", {"n": n})) if n < 8 else calls(("report_analysis", OK))

    with openai_server(script) as server:
        outcome = Talk(tmp_path, server.base_url, toolbox=toolbox)(max_prompt_tokens=2000)
    assert outcome.final == OK
    for request in server.requests[1:]:
        tools = [one["content"] for one in request.body["messages"] if one["role"] == "tool"]
        assert len(tools[-1]) > 2500
        assert len(request.raw) < 12_000
    assert "[shortened from 2508 characters" in tools[0]
    assert tools[0].startswith("{'n': 0}")


def test_server_without_tools_gets_the_packed_prompt_from_then_on(tmp_path: Path) -> None:
    script = [fails(400, '"auto" tool choice requires --enable-auto-tool-choice'), says("nan")]
    with openai_server(script) as server:
        talk = Talk(tmp_path, server.base_url)
        outcome = talk()
        assert (outcome.rung, outcome.text) == ("packed", "nan")
        assert (outcome.trouble, outcome.stopped) == (None, "")
        assert talk().rung == "packed"
    bodies = [request.body for request in server.requests]
    assert ["tools" in body for body in bodies] == [True, False, False]
    assert bodies[1]["messages"][0]["content"] == "all there is: loss is nan"
    (notice,) = talk.ladder.take_notices()
    assert "--tool-call-parser" in notice
    assert "put into the prompt instead" in notice


def test_prompt_that_is_too_long_is_halved_then_packed(tmp_path: Path) -> None:
    def script(messages: list[Any], tools: list[Any] | None) -> ServerReply:
        if tools is None:
            return says("short enough")
        if len(json.dumps(messages)) > 3000:
            return fails(400, "This model's maximum context length is 1024 tokens")
        return calls(("steps_tail", {"n": len(messages)}))

    toolbox = FakeToolbox(answers=lambda *_: "0.25 " * 800)
    with openai_server(script) as server:
        outcome = Talk(tmp_path, server.base_url, toolbox=toolbox)()
    assert (outcome.rung, outcome.text) == ("packed", "short enough")
    assert outcome.requests == len(server.requests)


def test_server_that_stumbles_is_asked_again(tmp_path: Path) -> None:
    script = [
        fails(502),
        says("x").but(cut=3),
        calls(("report_analysis", OK)),
    ]
    with openai_server(script) as server:
        talk = Talk(tmp_path, server.base_url)
        outcome = talk()
    assert (outcome.final, outcome.requests) == (OK, 3)
    assert talk.clock.waits == [1.0, 4.0]
    assert talk.ladder.take_notices() == []


def test_short_retry_after_is_waited_for_and_a_long_one_ends(tmp_path: Path) -> None:
    script = [
        fails(429, headers={"Retry-After": "7"}),
        calls(("steps_tail", {})),
        fails(429, headers={"Retry-After": "300"}),
        calls(("report_analysis", OK)),
    ]
    with openai_server(script) as server:
        talk = Talk(tmp_path, server.base_url)
        outcome = talk()
        assert (outcome.rung, outcome.calls) == ("rules", 1)
        assert outcome.trouble is not None
        assert outcome.trouble.kind == "rate_limit"
        assert talk.clock.waits == [7.0]
        assert talk().stopped == "the model is left alone for now"
        assert len(server.requests) == 3
        talk.clock.now += 301
        assert talk().final == OK
    assert len(talk.ladder.take_notices()) == 1


@pytest.mark.parametrize(
    ("reply", "kind", "requests"),
    [
        (fails(401, "wrong key"), "auth", 1),
        (fails(404, "no model"), "unknown_model", 1),
        (fails(429, "no", code="insufficient_quota"), "quota", 1),
        (fails(500, "boom"), "server", 3),
        (raw(b"<html>"), "bad_answer", 1),
    ],
)
def test_trouble_leaves_the_rules_and_one_notice(
    reply: ServerReply, kind: str, requests: int, tmp_path: Path
) -> None:
    with openai_server([reply]) as server:
        talk = Talk(tmp_path, server.base_url)
        outcomes = [talk() for _ in range(3)]
    assert outcomes[0].trouble is not None
    assert outcomes[0].trouble.kind == kind
    assert {outcome.rung for outcome in outcomes} == {"rules"}
    assert len(server.requests) == requests
    (notice,) = talk.ladder.take_notices()
    assert "Recording, findings and alerts go on without it; it is asked again in" in notice


def test_refused_options_are_dropped_with_one_notice(tmp_path: Path) -> None:
    script = [
        fails(400, "Unsupported parameter: 'max_completion_tokens'"),
        fails(400, "unknown field reasoning_effort"),
        calls(("report_analysis", OK)),
    ]
    with openai_server(script) as server:
        talk = Talk(tmp_path, server.base_url, reasoning_effort="low")
        assert talk().final == OK
        assert talk().final == OK
    assert len(server.requests) == 4
    (notice,) = talk.ladder.take_notices()
    assert "reasoning_effort='low'" in notice


def test_privacy_off_asks_nothing(tmp_path: Path) -> None:
    with openai_server() as server:
        talk = Talk(tmp_path, server.base_url, privacy="off")
        outcome = talk()
    assert server.requests == []
    assert (outcome.rung, outcome.requests) == ("rules", 0)
    assert "privacy is 'off'" in outcome.stopped
    assert talk.bounds.spent.calls == 0
    assert talk.ladder.take_notices() == []


def test_without_a_client_there_are_the_rules(tmp_path: Path) -> None:
    talk = Talk(tmp_path, "http://127.0.0.1:9/v1")
    outcome = converse(
        None,
        [],
        None,
        final_tool=None,
        read_final=None,
        bounds=talk.bounds,
        ladder=talk.ladder,
        outgoing=talk.outgoing,
        packed=list,
    )
    assert (outcome.rung, outcome.stopped) == ("rules", "there is no model to ask")
