"""Anthropic's requests read and written: numbers are those of conversion.md's cases."""

from __future__ import annotations

import base64
import json
import random
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.counts import count
from tests.wire.neutral.anthropic_kit import DIALECT
from tests.wire.neutral.hostile import odd
from tests.wire.neutral.strategies_anthropic import Fields, plain, requests
from wire import DIALECTS
from wire.jsons import dumps
from wire.neutral.parts import (
    Foreign,
    Media,
    Part,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from wire.neutral.requests import (
    BuiltIn,
    CannotHold,
    Effort,
    Request,
    Shape,
    Target,
    Tool,
    ToolChoice,
    Written,
)
from wire.neutral.seals import MARK, sealed
from wire.types import COUNT_TOKENS, BadRequest, Brief

OPUS = Target("claude-opus-4-5", 64_000)


def read(fields: dict[str, Any] | None = None, **more: Any) -> Request:
    """What the middle makes of a client's request."""
    hello = [{"role": "user", "content": "Hi"}]
    body = {"model": "claude", "max_tokens": 100, "messages": hello, **(fields or {}), **more}
    return DIALECT.read_request(dumps(body), Brief("claude", stream=body.get("stream") is True))


def write(request: Request, target: Target = OPUS) -> tuple[dict[str, Any], Written]:
    """What goes to a model of Anthropic's."""
    written = DIALECT.write_request(request, target)
    return json.loads(written.body), written


def chat(*turns: Turn, **more: Any) -> Request:
    """A request that came in another format."""
    return Request("openai_chat", "gpt", turns, **more)


def user(*parts: Part | str) -> Turn:
    return Turn("user", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def assistant(*parts: Part | str) -> Turn:
    return Turn("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def system(text: str) -> Turn:
    return Turn("system", (Text(text),))


def test_a_request_with_tools_makes_the_round_trip() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}
    fields = {
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "Weather in Oslo?"},
            {"role": "assistant", "content": [call]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "Rain."}],
            },
        ],
        "tools": [{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {}}}}],
    }
    request = read(fields)
    assert request.turns == (
        system("Be brief."),
        user("Weather in Oslo?"),
        assistant(ToolCall("toolu_1", "weather", '{"city":"Oslo"}')),
        user(ToolResult("toolu_1", (Text("Rain."),))),
    )
    assert request.tools == (Tool("weather", schema={"type": "object", "properties": {"city": {}}}),)
    body, written = write(request)
    assert body == {
        "model": "claude-opus-4-5",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": fields["messages"],
        "tools": fields["tools"],
    }
    assert written.dropped == ()


@settings(max_examples=count(100, 20_000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests())
def test_all_that_the_format_can_say_comes_back(fields: Fields) -> None:
    body, written = write(read(fields), Target(fields["model"], 64_000))
    assert plain(body) == plain(fields)
    assert written.dropped == ()
    assert written.shaped_by == ""
    assert written.names == {}


# Messages


def messages(*turns: Turn, target: Target = OPUS, **more: Any) -> list[dict[str, Any]]:
    """What goes upstream of a conversation that came in another format."""
    body, _ = write(chat(*turns, **more), target)
    told: list[dict[str, Any]] = body["messages"]
    return told


def use(ident: str, name: str = "f", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": ident, "name": name, "input": given}


def result(ident: str, content: Any = "ok", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": ident, "content": content, **more}


def say(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


OK = (Text("ok"),)


def test_case_32_results_in_a_row_are_one_turn_of_the_user_and_come_first() -> None:
    told = messages(
        user("go"),
        assistant(ToolCall("a", "f"), ToolCall("b", "f")),
        user("by the way"),
        user(ToolResult("b", OK)),
        user(ToolResult("a", OK)),
        user("and now?"),
    )
    assert told[1]["content"] == [use("a"), use("b")]
    assert told[2]["content"] == [result("a"), result("b"), say("by the way"), say("and now?")]
    assert len(told) == 3


def test_case_32_a_result_without_a_call_is_plain_text() -> None:
    picture = Media("image", "image/png", "QUJD")
    told = messages(user("go", ToolResult("lost", (Text("Rain."), picture))), assistant("ok"), user("on"))
    title, text, image = told[0]["content"][1:]
    assert "lost" in title["text"]
    assert text == say("Rain.")
    assert image["type"] == "image"


def test_case_33_a_call_that_nobody_answered_gets_a_result_that_says_so() -> None:
    told = messages(user("go"), assistant(ToolCall("a", "f"), ToolCall("b", "f")), user(ToolResult("b", OK)))
    missing, answered = told[2]["content"]
    assert (missing["tool_use_id"], missing["is_error"]) == ("a", True)
    assert answered == result("b")


@pytest.mark.parametrize("behind", [(), (assistant("Well."), user("on"))])
def test_case_33_also_where_no_turn_of_the_user_follows(behind: tuple[Turn, ...]) -> None:
    told = messages(user("go"), assistant(ToolCall("a", "f")), *behind)
    # Turns of the assistant in a row are one, so that the call is answered behind them.
    assert told[2]["content"][0]["tool_use_id"] == "a"
    assert told[2]["content"][0]["is_error"] is True


def test_case_33_a_result_that_came_late_stands_behind_its_call() -> None:
    told = messages(
        user("go"),
        assistant(ToolCall("a", "f")),
        user("wait"),
        assistant("I wait."),
        user(ToolResult("a", OK), "there"),
    )
    assert [each["role"] for each in told] == ["user", "assistant", "user", "assistant", "user"]
    assert told[2]["content"] == [result("a"), say("wait")]
    assert told[4]["content"] == "there"


def test_ids_that_a_vendor_gives_in_every_turn_are_told_apart() -> None:
    told = messages(
        user("go"),
        assistant(ToolCall("call_0", "f", '{"x":1}')),
        user(ToolResult("call_0", (Text("one"),))),
        assistant(ToolCall("call_0", "f", '{"x":2}')),
        user(ToolResult("call_0", (Text("two"),))),
        assistant(ToolCall("call_0", "f", '{"x":3}')),
        user("stop"),
    )
    blocks = [block for each in told[1:] for block in each["content"]]
    calls = [block for block in blocks if block["type"] == "tool_use"]
    answers = [block for block in blocks if block["type"] == "tool_result"]
    assert len({call["id"] for call in calls}) == 3
    assert [call["id"] for call in calls] == [answered["tool_use_id"] for answered in answers]
    assert [answered["content"] for answered in answers[:2]] == ["one", "two"]
    assert answers[2]["is_error"] is True


@pytest.mark.parametrize("ident", ["functions.read:0", "", "ä", "x" * 200])
def test_ids_fit_the_vendors_rule_and_stay_paired(ident: str) -> None:
    told = messages(user("go"), assistant(ToolCall(ident, "f")), user(ToolResult(ident, OK)))
    ours = told[1]["content"][0]["id"]
    assert re.fullmatch("[a-zA-Z0-9_-]{1,128}", ours)
    assert told[2]["content"][0] == result(ours)


def test_case_34_tool_results_hold_pictures_and_documents() -> None:
    parts = (
        Text("Seen:"),
        Media("image", "image/jpeg", "QUJD"),
        Media("document", "application/pdf", "QUJD"),
    )
    told = messages(user("go"), assistant(ToolCall("a", "f")), user(ToolResult("a", parts, failed=True)))
    answered = told[2]["content"][0]
    assert [block["type"] for block in answered["content"]] == ["text", "image", "document"]
    assert answered["is_error"] is True


def test_case_35_empty_texts_are_left_out_and_empty_results_stay() -> None:
    told = messages(
        user("go", "", " \n"),
        assistant("", ToolCall("a", "f")),
        user(ToolResult("a", (Text(""),)), ToolResult("b")),
    )
    assert told[0]["content"] == "go"
    assert told[1]["content"] == [use("a")]
    assert told[2]["content"][0] == result("a", "")


def test_case_35_an_empty_message_of_the_user_is_still_a_turn() -> None:
    told = messages(user("go"), assistant("ok"), user(""))
    assert [each["role"] for each in told] == ["user", "assistant", "user"]
    assert told[2]["content"].strip()


def test_case_50_a_cache_mark_outlives_an_empty_block() -> None:
    told = messages(user("go", Text("", cache="1h")))
    assert told[0]["content"] == [{**say("go"), "cache_control": {"type": "ephemeral", "ttl": "1h"}}]


def test_case_50_system_and_developer_messages_at_the_beginning_are_the_system_prompt_in_order() -> None:
    request = read(
        system=[say("one"), {**say("two"), "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "system", "content": "three"},
            {"role": "developer", "content": [say("four")]},
            {"role": "user", "content": "Hi"},
        ],
    )
    body, _ = write(request)
    assert body["system"] == [
        say("one"),
        {**say("two"), "cache_control": {"type": "ephemeral"}},
        say("three"),
        say("four"),
    ]
    assert body["messages"] == [{"role": "user", "content": "Hi"}]


NOTED = (user("go"), assistant("ok"), user("on"), system("Be brief."), assistant("Yes."), user("so?"))


def test_case_50_a_system_message_in_the_midst_stays_where_models_take_it() -> None:
    told = messages(*NOTED, target=Target("claude-opus-4-8"))
    assert told[3] == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize("model", ["claude-opus-4-7", "claude-sonnet-5", "glm-5"])
def test_case_50_for_other_models_it_is_a_reminder_at_its_place(model: str) -> None:
    told = messages(*NOTED, target=Target(model))
    assert [each["role"] for each in told] == ["user", "assistant", "user", "assistant", "user"]
    assert told[2]["content"] == [say("on"), say("<system-reminder>\nBe brief.\n</system-reminder>")]


@pytest.mark.parametrize(
    "turns",
    [
        (user("go"), assistant("ok"), system("Be brief."), user("on")),
        (user("go"), assistant(ToolCall("a", "f")), system("Be brief."), user(ToolResult("a", OK))),
        (user("go"), system("Be brief."), user("on")),
    ],
)
def test_case_50_also_where_a_system_message_must_not_stand(turns: tuple[Turn, ...]) -> None:
    told = messages(*turns, target=Target("claude-opus-5"))
    assert "system" not in [each["role"] for each in told]
    assert "<system-reminder>" in str(told)
    if len(turns) == 4 and told[1]["content"] != "ok":
        assert told[2]["content"][0] == result("a")


def test_case_52_turns_of_one_role_are_one() -> None:
    told = messages(user("a"), user("b"), assistant("c"), assistant("d"), user("e"))
    assert told == [
        {"role": "user", "content": [say("a"), say("b")]},
        {"role": "assistant", "content": [say("c"), say("d")]},
        {"role": "user", "content": "e"},
    ]


def test_case_52_a_conversation_of_system_messages_alone_is_asked_by_the_user() -> None:
    body, _ = write(chat(system("You are a bot."), system("Say hello.")))
    assert body["system"] == [say("You are a bot.")]
    assert body["messages"] == [{"role": "user", "content": "Say hello."}]


def test_case_52_a_conversation_that_begins_with_the_assistant_gets_a_beginning() -> None:
    told = messages(assistant("Hello!"), user("Hi"))
    assert [each["role"] for each in told] == ["user", "assistant", "user"]


def test_case_52_a_prefill_goes_to_models_that_take_it() -> None:
    told = messages(user("A poem?"), assistant("Roses are \n"), target=OPUS)
    assert told[-1] == {"role": "assistant", "content": "Roses are"}


@pytest.mark.parametrize("model", ["claude-opus-4-6", "claude-haiku-5-5", "claude-fable-5-1"])
def test_case_52_other_models_are_asked_to_go_on_and_the_client_is_told(model: str) -> None:
    body, written = write(chat(user("A poem?"), assistant("Roses are")), Target(model))
    assert [each["role"] for each in body["messages"]] == ["user", "assistant", "user"]
    assert written.dropped == ("prefill",)


@pytest.mark.parametrize("turns", [(), (system(""),), (assistant(""),)])
def test_nothing_to_answer_is_a_bad_request(turns: tuple[Turn, ...]) -> None:
    with pytest.raises(BadRequest) as caught:
        messages(*turns)
    assert caught.value.param == "messages"


def test_a_refusal_in_the_history_is_text() -> None:
    told = messages(user("go"), assistant(Refusal("I cannot.")), user("why?"))
    assert told[1] == {"role": "assistant", "content": "I cannot."}


def test_case_28_arguments_that_are_no_json_object_have_no_place() -> None:
    with pytest.raises(CannotHold, match="no JSON object") as caught:
        messages(user("go"), assistant(ToolCall("a", "f", '{"x":')), user(ToolResult("a", OK)))
    assert caught.value.param == "messages.1.content.0"


def test_free_text_for_a_tool_is_its_one_string() -> None:
    call = ToolCall("a", "patch", "*** Begin Patch", custom=True)
    told = messages(user("go"), assistant(call), user(ToolResult("a", OK, custom=True)))
    assert told[1]["content"] == [use("a", "patch", input="*** Begin Patch")]


def test_a_turn_of_which_nothing_is_left_parts_no_others() -> None:
    told = messages(user("a"), assistant(Thinking("Hm")), user("b"))
    assert told == [{"role": "user", "content": [say("a"), say("b")]}]
    told = messages(user("a"), assistant(ToolCall("c", "f")), assistant(""), user(ToolResult("c", OK)))
    assert [each["role"] for each in told] == ["user", "assistant", "user"]
    assert told[2]["content"] == [result("c")]


def test_the_name_of_who_speaks_is_told_to_be_lost() -> None:
    assert write(chat(Turn("user", (Text("Hi"),), name="Ann")))[1].dropped == ("name",)


def test_claude_codes_attribution_is_for_anthropic_alone() -> None:
    block = say("x-anthropic-billing-header: cc_version=2.1.77; cch=a1b2c")
    request = read(system=[block, say("You are Claude Code.")])
    assert [part.text for part in request.turns[0].parts if isinstance(part, Text)] == [
        "",
        "You are Claude Code.",
    ]
    assert write(request)[0]["system"] == [block, say("You are Claude Code.")]
    assert read(messages=[{"role": "user", "content": [block]}]).turns == (user(block["text"]),)


# Thoughts in the history

OWN = Thinking("Hm", Signature("anthropic", "EsEC"))


def test_case_42_own_thoughts_go_back_verbatim() -> None:
    blocks = [
        {"type": "thinking", "thinking": "Hm", "signature": "EsEC"},
        {"type": "redacted_thinking", "data": "EmwK"},
        {"type": "thinking", "thinking": "", "signature": "EosnCk"},
        say("Hi"),
    ]
    request = read(messages=[{"role": "user", "content": "x"}, {"role": "assistant", "content": blocks}])
    assert write(request)[0]["messages"][1]["content"] == blocks


@pytest.mark.parametrize("block", ["redacted_thinking", "thinking"])
def test_case_43_sealed_signatures_of_others_are_opened(block: str) -> None:
    gemini = Signature("gemini", "c2lnbmVk")
    key = "data" if block == "redacted_thinking" else "signature"
    request = read(
        messages=[
            {"role": "user", "content": "x"},
            {
                "role": "assistant",
                "content": [
                    {"type": block, "thinking": "", key: sealed(gemini, "next")},
                    use("a"),
                    use("b"),
                    say("Hi"),
                    {"type": block, "thinking": "", key: sealed(gemini, "last")},
                ],
            },
        ]
    )
    assert request.turns[1] == assistant(
        ToolCall("a", "f", "{}", signature=gemini), ToolCall("b", "f", "{}"), Text("Hi", gemini)
    )


@pytest.mark.parametrize(
    "thought",
    [
        Thinking("Secret", Signature("gemini", "c2ln")),
        Thinking("Secret", Signature("", "")),
        Thinking("Secret"),
        Thinking("", Signature("openai_responses", "gAAA", "rs_1")),
    ],
)
def test_case_44_and_47_thoughts_of_others_do_not_go_to_anthropic(thought: Thinking) -> None:
    told = messages(user("x"), assistant(thought, Text("Hi", Signature("gemini", "c2ln"))), user("y"))
    assert told[1] == {"role": "assistant", "content": "Hi"}


LOOP = (ToolCall("a", "f"), ToolCall("b", "f"))
ANSWERS = (user(ToolResult("a", OK)), user(ToolResult("b", OK)))
THINK = Effort(enabled=True, budget=2048)


def test_case_45_thinking_is_off_where_the_turn_that_called_has_no_thought() -> None:
    body, written = write(chat(user("go"), assistant(*LOOP), *ANSWERS, effort=THINK))
    assert body["thinking"] == {"type": "disabled"}
    assert written.dropped == ("effort",)


@pytest.mark.parametrize(
    "turns",
    [
        (user("go"), assistant(OWN, *LOOP), *ANSWERS),
        (user("go"), assistant(*LOOP), *ANSWERS, assistant("Done."), user("more")),
        (user("go"), assistant(OWN, LOOP[0]), ANSWERS[0], assistant(LOOP[1]), ANSWERS[1]),
        (user("go"), assistant("Hi", OWN, *LOOP), *ANSWERS),
    ],
)
def test_case_45_it_stays_on_where_there_is_one_or_none_is_wanted(turns: tuple[Turn, ...]) -> None:
    body, written = write(chat(*turns, effort=THINK))
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert written.dropped == ()
    if OWN in turns[1].parts:
        assert body["messages"][1]["content"][0]["type"] == "thinking"


def test_case_45_a_prefill_cannot_begin_with_a_thought() -> None:
    body, written = write(chat(user("A poem?"), assistant("Roses"), effort=THINK))
    assert body["thinking"] == {"type": "disabled"}
    assert written.dropped == ("effort",)


def test_case_45_models_that_think_as_they_find_fit_need_no_thought() -> None:
    body, written = write(
        chat(user("go"), assistant(*LOOP), *ANSWERS, effort=THINK), Target("claude-opus-4-6")
    )
    assert body["thinking"] == {"type": "adaptive"}
    assert written.dropped == ()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, ()),
        ({"citations": {"enabled": False}, "context": None}, ()),
        ({"citations": {"enabled": True}, "context": "Old."}, ("citations", "context")),
    ],
)
@pytest.mark.parametrize("inner", [False, True])
def test_what_only_this_format_says_of_a_file_is_told_where_it_is_lost(
    more: dict[str, Any], told: tuple[str, ...], inner: bool
) -> None:
    file = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "It rains."},
        **more,
    }
    content = [{"type": "tool_result", "tool_use_id": "a", "content": [file]}] if inner else [file]
    request = read(messages=[{"role": "user", "content": content}])
    assert write(request)[1].dropped == ()
    assert DIALECTS["openai_chat"].write_request(request, Target("gpt-4o")).dropped == told


DROPPING = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("claude-opus-5-5", None, DROPPING),
        ("claude-haiku-5-5", Effort(shown=True), {**DROPPING, "display": "summarized"}),
        ("claude-fable-5-1", Effort(enabled=False), DROPPING),
        ("claude-fable-5", None, None),
        ("claude-opus-5", None, None),
        ("claude-opus-4-6", Effort(level="high"), {"type": "adaptive"}),
    ],
)
def test_case_45_thoughts_that_no_longer_fit_are_no_reason_to_refuse(
    model: str, effort: Effort | None, thinking: dict[str, Any] | None
) -> None:
    body, written = write(chat(user("go"), assistant(OWN, *LOOP), *ANSWERS, effort=effort), Target(model))
    assert body.get("thinking") == thinking
    assert body["messages"][1]["content"][0]["type"] == "thinking"
    beta = "thinking-binding-controls-2026-08-01" if "block_binding" in (thinking or {}) else None
    assert written.headers.get("anthropic-beta") == beta


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-haiku-5-5"])
def test_case_45_where_thinking_is_off_no_thought_that_might_not_fit_goes_back(model: str) -> None:
    turns = (user("go"), assistant(OWN, *LOOP), *ANSWERS)
    body, written = write(chat(*turns, effort=Effort(enabled=False)), Target(model))
    assert "block_binding" not in body["thinking"]
    assert [block["type"] for block in body["messages"][1]["content"]] == ["tool_use", "tool_use"]
    assert "anthropic-beta" not in written.headers


def test_a_conversation_without_thoughts_needs_no_word_of_them() -> None:
    body, written = write(chat(user("go")), Target("claude-opus-5-5"))
    assert "thinking" not in body
    assert "anthropic-beta" not in written.headers


# Files


def test_case_48_pictures_go_as_they_came() -> None:
    told = messages(
        user(
            Media("image", "image/png", "QUJD", cache="5m"),
            Media("image", url="https://example.com/a.png"),
            Media("image", "image/jpg", "QUJD"),
        )
    )
    assert told[0]["content"] == [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"},
            "cache_control": {"type": "ephemeral"},
        },
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "QUJD"}},
    ]


def test_case_48_a_picture_that_the_model_made_stands_in_the_users_turn_behind() -> None:
    picture = Media("image", "image/png", "QUJD")
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}
    assert messages(user("draw"), assistant(Text("Here."), picture), user("in red")) == [
        {"role": "user", "content": "draw"},
        {"role": "assistant", "content": "Here."},
        {"role": "user", "content": [block, {"type": "text", "text": "in red"}]},
    ]


def test_case_48_results_stand_before_a_picture_that_the_model_made() -> None:
    picture = Media("image", "image/png", "QUJD")
    told = messages(
        user("draw"),
        assistant(picture, ToolCall("c1", "f", "{}")),
        user(ToolResult("c1", (Text("ok"),))),
    )
    assert [[block["type"] for block in each["content"]] for each in told[1:]] == [
        ["tool_use"],
        ["tool_result", "image"],
    ]


def test_case_48_the_fineness_of_a_picture_is_told_to_be_lost() -> None:
    request = chat(user(Media("image", url="https://a.b/c", detail="low")))
    assert write(request)[1].dropped == ("detail",)
    assert write(chat(user(Media("image", url="https://a.b/c", detail="auto"))))[1].dropped == ()


def test_case_49_documents_go_as_pdf_or_as_text() -> None:
    told = messages(
        user(
            Media("document", "application/pdf", "QUJD", name="a.pdf"),
            Media("document", url="https://example.com/a.pdf"),
            Media("document", "text/markdown", base64.b64encode("Grüße".encode()).decode()),
        )
    )
    assert [block["source"] for block in told[0]["content"]] == [
        {"type": "base64", "media_type": "application/pdf", "data": "QUJD"},
        {"type": "url", "url": "https://example.com/a.pdf"},
        {"type": "text", "media_type": "text/plain", "data": "Grüße"},
    ]
    assert told[0]["content"][0]["title"] == "a.pdf"


@pytest.mark.parametrize(
    "part",
    [
        Media("audio", "audio/wav", "QUJD"),
        Media("video", url="https://example.com/a.mp4"),
        Media("image", "image/heic", "QUJD"),
        Media("image", "image/png"),
        Media("image", file_id="file-openai"),
        Media("image", url="gs://bucket/a.png"),
        Media("document", "application/msword", "QUJD"),
        Media("document", "text/plain", "!"),
        Media("document", "text/plain", "//79"),
        Media("document", "text/html", url="https://example.com"),
        Foreign("openai_responses", {"type": "web_search_call"}),
    ],
)
def test_case_49_what_has_no_place_rules_the_target_out_by_name(part: Part) -> None:
    for content in ((part,), (ToolResult("a", (part,)),)):
        with pytest.raises(CannotHold, match="messages") as caught:
            messages(user("go"), assistant(ToolCall("a", "f")), user(*content))
        assert caught.value.param.startswith("messages.2.content.0")


def test_case_53_blocks_that_nobody_knows_come_back_as_they_were() -> None:
    block = {"type": "container_upload", "file_id": "file_1", "x": [1, {"y": None}]}
    request = read(messages=[{"role": "user", "content": [block]}])
    assert request.turns[0].parts == (Foreign("anthropic", block),)
    assert write(request)[0]["messages"][0]["content"] == [block]


def test_documents_for_this_vendor_alone_are_read_by_others() -> None:
    blocks = [
        {"type": "search_result", "title": "T", "source": "https://a.b", "content": [say("Found.")]},
        {"type": "document", "source": {"type": "content", "content": [say("one"), say("two")]}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}},
    ]
    found, made, text = read(messages=[{"role": "user", "content": blocks}]).turns[0].parts
    assert isinstance(found, Text)
    assert found.text == "T\nhttps://a.b\nFound."
    assert isinstance(made, Media)
    assert base64.b64decode(made.data) == b"one\n\ntwo"
    assert isinstance(text, Media)
    assert (text.mime, base64.b64decode(text.data)) == ("text/plain", b"plain")


# Tools


def test_case_38_what_is_to_be_called() -> None:
    for theirs, mode in (("auto", "auto"), ("any", "required"), ("none", "none")):
        request = read(tools=[{"name": "f", "input_schema": {}}], tool_choice={"type": theirs})
        assert request.tool_choice == ToolChoice(mode)  # type: ignore[arg-type]
        assert write(request)[0]["tool_choice"] == {"type": theirs}
    named = {"type": "tool", "name": "f", "disable_parallel_tool_use": True}
    request = read(tools=[{"name": "f", "input_schema": {}}], tool_choice=named)
    assert (request.tool_choice, request.parallel) == (ToolChoice("named", "f"), False)
    assert write(request)[0]["tool_choice"] == named


F, G = Tool("f"), Tool("g")


@pytest.mark.parametrize(
    ("choice", "parallel", "told"),
    [
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, True, None),
        (None, None, None),
        (ToolChoice("required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("none"), False, {"type": "none"}),
        (ToolChoice("named", "g"), True, {"type": "tool", "name": "g"}),
        (ToolChoice("named", "web_search"), None, None),
    ],
)
def test_case_38_and_whether_several_at_once(
    choice: ToolChoice | None, parallel: bool | None, told: dict[str, Any] | None
) -> None:
    body, _ = write(chat(user("go"), tools=(F, G), tool_choice=choice, parallel=parallel))
    assert body.get("tool_choice") == told


def test_case_38_of_tools_that_are_not_allowed_nobody_is_told() -> None:
    body, _ = write(chat(user("go"), tools=(F, G), tool_choice=ToolChoice("auto", names=("g",))))
    assert [tool["name"] for tool in body["tools"]] == ["g"]


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-fable-5-1", "claude-sonnet-5-5"])
def test_case_38_models_that_cannot_be_forced_choose_and_the_client_is_told(model: str) -> None:
    body, written = write(chat(user("go"), tools=(F,), tool_choice=ToolChoice("required")), Target(model))
    assert body["tool_choice"] == {"type": "auto"}
    assert written.dropped == ("tool_choice",)


def test_case_38_a_forced_tool_goes_before_thoughts() -> None:
    request = chat(user("go"), tools=(F,), tool_choice=ToolChoice("required"), effort=Effort(level="high"))
    body, written = write(request)
    assert body["tool_choice"] == {"type": "any"}
    assert body["thinking"] == {"type": "disabled"}
    assert written.dropped == ("effort",)


def test_case_38_a_model_that_thinks_unasked_is_asked_not_to_where_a_tool_is_forced() -> None:
    request = chat(user("go"), tools=(F,), tool_choice=ToolChoice("required"))
    body, written = write(request, Target("claude-opus-5"))
    assert body["thinking"] == {"type": "disabled"}
    assert written.dropped == ()


def test_case_39_names_are_made_to_fit_and_known_again() -> None:
    odd, long = "mcp.server/tool name", "x" * 200
    request = chat(
        user("go"),
        assistant(ToolCall("a", odd)),
        user(ToolResult("a", OK)),
        tools=(Tool(odd), Tool(long), Tool("fine-1_")),
        tool_choice=ToolChoice("named", odd),
    )
    body, written = write(request)
    names = [tool["name"] for tool in body["tools"]]
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,128}", name) for name in names)
    assert [written.names.get(name, name) for name in names] == [odd, long, "fine-1_"]
    assert body["tool_choice"]["name"] == body["messages"][1]["content"][0]["name"] == names[0]


def test_case_40_tools_that_the_vendor_runs_stay_in_the_family_and_others_are_told() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    request = read(tools=[search, {"name": "f", "input_schema": {"type": "object"}}])
    assert request.tools[0] == BuiltIn("anthropic", "web_search_20250305", search)
    assert write(request)[0]["tools"][0] == search
    foreign = BuiltIn("openai_responses", "web_search", {"type": "web_search"})
    body, written = write(chat(user("go"), tools=(foreign, F)))
    assert [tool["name"] for tool in body["tools"]] == ["f"]
    assert written.dropped == ("tools.web_search",)


def test_a_tool_without_a_schema_takes_nothing() -> None:
    body, _ = write(chat(user("go"), tools=(Tool("f", "Does it."),)))
    assert body["tools"] == [
        {"name": "f", "description": "Does it.", "input_schema": {"type": "object", "properties": {}}}
    ]


def test_alternatives_at_the_top_of_a_schema_are_loosened_and_told() -> None:
    schema = {
        "anyOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}, True],
        "properties": {"c": {}},
        "required": ["c"],
    }
    body, written = write(chat(user("go"), tools=(Tool("f", schema=schema),)))
    assert body["tools"][0]["input_schema"] == {
        "type": "object",
        "properties": {"a": {}, "b": {}, "c": {}},
        "required": ["c"],
    }
    assert written.dropped == ("tools.parameters",)


def test_a_tool_of_free_text_takes_one_string_and_its_grammar_is_told() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: begin_patch"}
    body, _ = write(chat(user("go"), tools=(Tool("patch", custom=True, grammar=grammar),)))
    schema = body["tools"][0]["input_schema"]
    assert schema["required"] == ["input"]
    assert "start: begin_patch" in schema["properties"]["input"]["description"]


CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
BOUND = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": 1}},
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "model", "strict"),
    [
        (CLOSED, "claude-opus-4-5", True),
        (CLOSED, "claude-opus-4-1", False),
        (BOUND, "claude-opus-4-5", False),
        ({"type": "object"}, "claude-opus-4-5", False),
    ],
)
def test_strict_tools_stay_strict_where_the_vendor_could_hold_them(
    schema: dict[str, Any], model: str, strict: bool
) -> None:
    body, written = write(chat(user("go"), tools=(Tool("f", schema=schema, strict=True),)), Target(model))
    assert body["tools"][0].get("strict", False) is strict
    assert written.dropped == (() if strict else ("strict",))
    assert body["tools"][0]["input_schema"] == schema


def test_no_more_tools_are_strict_than_the_vendor_takes() -> None:
    tools = tuple(Tool(f"f{number}", schema=CLOSED, strict=True) for number in range(25))
    body, written = write(chat(user("go"), tools=tools))
    assert sum(tool.get("strict", False) for tool in body["tools"]) == 20
    assert written.dropped == ("strict",)


def test_calls_in_a_history_without_tools_get_their_tools_declared() -> None:
    body, _ = write(chat(user("go"), assistant(ToolCall("a", "f")), user(ToolResult("a", OK), "Sum up.")))
    assert [tool["name"] for tool in body["tools"]] == ["f"]
    assert body["tool_choice"] == {"type": "none"}


# Thinking


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "word"),
    [
        ("claude-opus-4-5", Effort(level="low"), {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-opus-4-5", Effort(level="high"), {"type": "enabled", "budget_tokens": 24576}, None),
        ("glm-5", Effort(enabled=True), {"type": "enabled", "budget_tokens": 8192}, None),
        ("glm-5", Effort(budget=100), {"type": "enabled", "budget_tokens": 1024}, None),
        ("glm-5", Effort(enabled=True, budget=-1), {"type": "enabled", "budget_tokens": 8192}, None),
        ("claude-opus-4-6", Effort(level="xhigh"), {"type": "adaptive"}, "high"),
        ("claude-opus-4-6", Effort(level="max"), {"type": "adaptive"}, "max"),
        ("claude-opus-4-7", Effort(level="xhigh"), {"type": "adaptive"}, "xhigh"),
        ("claude-opus-4-7", Effort(level="minimal"), {"type": "adaptive"}, "low"),
        ("claude-opus-4-7", Effort(level="odd"), {"type": "adaptive"}, "medium"),
        ("claude-opus-5", Effort(budget=30_000), {"type": "adaptive"}, "high"),
        ("claude-opus-5", Effort(budget=-1, shown=True), {"type": "adaptive", "display": "summarized"}, None),
        ("claude-opus-5", Effort(shown=True), {"type": "adaptive", "display": "summarized"}, None),
        ("claude-opus-5", Effort(enabled=False), {"type": "disabled"}, None),
        ("claude-sonnet-5-5", Effort(enabled=False), {"type": "between_tools"}, None),
        ("claude-opus-4-5", Effort(shown=True), None, None),
        ("claude-3-5-haiku-20241022", Effort(enabled=False), None, None),
        ("claude-opus-5", None, None, None),
    ],
)
def test_case_46_how_much_to_think(
    model: str, effort: Effort | None, thinking: dict[str, Any] | None, word: str | None
) -> None:
    body, written = write(chat(user("go"), effort=effort), Target(model, 64_000))
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == word
    assert written.dropped == ()
    if thinking and thinking["type"] == "enabled":
        assert thinking["budget_tokens"] < body["max_tokens"]


@pytest.mark.parametrize(
    ("model", "effort", "word"),
    [
        ("claude-opus-5-5", Effort(enabled=False), "low"),
        ("claude-fable-5", Effort(enabled=False), "low"),
        ("claude-3-5-haiku-20241022", Effort(level="high"), None),
    ],
)
def test_case_46_what_a_model_cannot_do_is_told(model: str, effort: Effort, word: str | None) -> None:
    body, written = write(chat(user("go"), effort=effort), Target(model))
    assert "thinking" not in body
    assert body.get("output_config", {}).get("effort") == word
    assert written.dropped == ("effort",)


@pytest.mark.parametrize(
    ("limit", "effort", "budget"),
    [
        (4096, Effort(budget=9000), 4095),
        (4096, Effort(level="high"), 2048),
        (1500, Effort(level="high"), 1024),
        (1024, Effort(level="high"), None),
        (500, Effort(budget=9000), None),
    ],
)
def test_case_46_the_budget_is_within_the_limit_of_the_answer(
    limit: int, effort: Effort, budget: int | None
) -> None:
    body, written = write(chat(user("go"), effort=effort, max_tokens=limit))
    assert body["max_tokens"] == limit
    if budget is None:
        assert body["thinking"] == {"type": "disabled"}
        assert written.dropped == ("effort",)
    else:
        assert body["thinking"]["budget_tokens"] == budget


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        ({"type": "enabled", "budget_tokens": 2048}, Effort(True, "", 2048)),
        ({"type": "adaptive", "display": "summarized"}, Effort(True, "", -1, True)),
        ({"type": "adaptive", "display": "omitted"}, Effort(True, "", -1, False)),
        ({"type": "disabled"}, Effort(False)),
        ({"type": "between_tools"}, Effort(False)),
    ],
)
def test_case_46_thinking_is_read(thinking: dict[str, Any], effort: Effort) -> None:
    assert read(thinking=thinking).effort == effort


def test_case_46_an_effort_alone_is_read_and_goes_back_alone() -> None:
    request = read(output_config={"effort": "xhigh"})
    assert request.effort == Effort(level="xhigh")
    body, _ = write(request, Target("claude-opus-4-8"))
    assert body["output_config"] == {"effort": "xhigh"}
    assert "thinking" not in body


# Settings


@pytest.mark.parametrize(
    ("model", "own", "asked", "limit"),
    [
        ("claude-opus-4-5", 64_000, None, 32_000),
        ("claude-opus-4-5", 16_000, None, 16_000),
        ("claude-3-opus-20240229", 64_000, None, 4_096),
        ("glm-5", 64_000, None, 32_000),
        ("claude-opus-4-5", 1, 50_000, 50_000),
        ("glm-5", 1, 500_000, 500_000),
    ],
)
def test_case_54_there_is_always_a_limit(model: str, own: int, asked: int | None, limit: int) -> None:
    body, written = write(chat(user("go"), max_tokens=asked), Target(model, own))
    assert body["max_tokens"] == limit
    assert written.dropped == ()


def test_case_54_a_limit_beyond_the_models_own_is_lowered_and_told() -> None:
    body, written = write(chat(user("go"), max_tokens=128_000))
    assert body["max_tokens"] == 64_000
    assert written.dropped == ("max_tokens",)


def test_case_55_stops_that_the_vendor_refuses_are_told() -> None:
    assert read(stop_sequences=["END"]).stop == ("END",)
    body, written = write(chat(user("go"), stop=("END", "\n")))
    assert body["stop_sequences"] == ["END"]
    assert written.dropped == ("stop",)


SAMPLING = ("temperature", "top_p", "top_k")


@pytest.mark.parametrize(
    ("model", "effort", "knobs", "kept", "dropped"),
    [
        ("glm-5", None, {"temperature": 0.3, "top_p": 0.5, "top_k": 4}, SAMPLING, ()),
        ("claude-opus-4-5", None, {"temperature": 0.3, "top_p": 0.5}, ("temperature",), ("top_p",)),
        ("claude-opus-4-5", None, {"temperature": 0.3, "top_p": 1}, ("temperature",), ()),
        ("claude-opus-4-5", THINK, {"temperature": 0.3, "top_k": 4}, (), ("temperature", "top_k")),
        ("claude-opus-4-5", THINK, {"temperature": 1}, ("temperature",), ()),
        ("claude-opus-4-5", THINK, {"top_p": 0.96}, ("top_p",), ()),
        ("claude-opus-4-5", THINK, {"top_p": 0.5}, (), ("top_p",)),
        ("claude-opus-4-7", None, {"temperature": 0, "top_p": 0.9, "top_k": 4}, (), SAMPLING),
        ("claude-opus-4-7", None, {"temperature": 1, "top_p": 1}, (), ()),
    ],
)
def test_case_56_sampling(
    model: str,
    effort: Effort | None,
    knobs: dict[str, Any],
    kept: tuple[str, ...],
    dropped: tuple[str, ...],
) -> None:
    body, written = write(chat(user("go"), knobs=knobs, effort=effort), Target(model))
    assert {name: body[name] for name in knobs if name in body} == {name: knobs[name] for name in kept}
    assert written.dropped == dropped


def test_case_56_a_temperature_beyond_one_is_one_and_told() -> None:
    body, written = write(chat(user("go"), knobs={"temperature": 1.7}))
    assert (body["temperature"], written.dropped) == (1, ("temperature",))


def test_case_58_settings_without_a_counterpart_are_told_unless_they_ask_for_nothing() -> None:
    knobs = {
        "n": 2,
        "seed": 1,
        "logprobs": True,
        "logit_bias": {"1": 2},
        "presence_penalty": 0.5,
        "verbosity": "low",
    }
    _, written = write(chat(user("go"), knobs=knobs))
    assert set(written.dropped) == set(knobs)
    nothing = {"n": 1, "logprobs": False, "logit_bias": {}, "presence_penalty": 0, "frequency_penalty": 0.0}
    assert write(chat(user("go"), knobs=nothing))[1].dropped == ()


def test_what_only_the_clients_format_knows_is_told_and_metadata_is_not() -> None:
    bag = {"openai_chat": {"prediction": {}, "store": True, "metadata": {"a": "b"}}}
    assert write(chat(user("go"), extras=bag))[1].dropped == ("prediction",)


@pytest.mark.parametrize(
    ("tier", "ours", "dropped"),
    [
        ("auto", "auto", ()),
        ("default", "standard_only", ()),
        ("flex", None, ("service_tier",)),
        ("priority", None, ("service_tier",)),
    ],
)
def test_tiers_of_service(tier: str, ours: str | None, dropped: tuple[str, ...]) -> None:
    body, written = write(chat(user("go"), knobs={"service_tier": tier}))
    assert (body.get("service_tier"), written.dropped) == (ours, dropped)


def test_the_end_user_is_told_by_an_id_that_fits() -> None:
    assert write(chat(user("go"), knobs={"user": "u-1"}))[0]["metadata"] == {"user_id": "u-1"}
    body, written = write(chat(user("go"), knobs={"user": "u" * 257}))
    assert "metadata" not in body
    assert written.dropped == ()
    assert read(metadata={"user_id": "u-1"}).knobs == {"user": "u-1"}


# The answer's shape

SHAPE = Shape("json_schema", CLOSED, "city", "A city.")
BOUND_SHAPE = Shape("json_schema", {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}})


def test_case_57_models_that_know_shapes_are_told_by_the_formats_own_word() -> None:
    body, written = write(chat(user("go"), shape=SHAPE))
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": CLOSED}}
    assert (written.shaped_by, written.dropped) == ("", ())


def test_case_57_bounds_that_the_vendor_cannot_hold_are_words() -> None:
    body, _ = write(chat(user("go"), shape=BOUND_SHAPE))
    schema = body["output_config"]["format"]["schema"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["n"] == {"type": "integer", "description": '{"minimum":1}'}


def test_case_57_other_models_call_a_tool_of_that_shape() -> None:
    body, written = write(chat(user("go"), shape=SHAPE), Target("claude-opus-4-1"))
    assert body["tools"] == [{"name": "city", "description": "A city.", "input_schema": CLOSED}]
    assert body["tool_choice"] == {"type": "tool", "name": "city"}
    assert (written.shaped_by, written.dropped) == ("city", ())


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (None, {"type": "any"}),
        (ToolChoice("auto"), {"type": "any"}),
        (ToolChoice("none"), {"type": "tool", "name": "city_"}),
    ],
)
def test_case_57_beside_tools_of_the_client_one_of_them_or_the_shape_is_called(
    choice: ToolChoice | None, told: dict[str, Any]
) -> None:
    tools = (Tool("city"),)
    body, written = write(chat(user("go"), shape=SHAPE, tools=tools, tool_choice=choice), Target("glm-5"))
    assert [tool["name"] for tool in body["tools"]] == ["city", "city_"]
    assert body["tool_choice"] == told
    assert written.shaped_by == "city_"


@pytest.mark.parametrize(
    ("shape", "effort", "model"),
    [
        (Shape("json_object"), None, "claude-opus-4-5"),
        (SHAPE, THINK, "glm-5"),
        (Shape("json_schema", {"type": "array"}), None, "glm-5"),
        (Shape("json_schema", {"type": "object", "additionalProperties": True}), None, "claude-opus-5-5"),
    ],
)
def test_case_57_else_the_model_is_asked_and_the_client_told(
    shape: Shape, effort: Effort | None, model: str
) -> None:
    request = chat(system("Be brief."), user("go"), shape=shape, effort=effort)
    body, written = write(request, Target(model))
    assert body["system"][0] == say("Be brief.")
    assert "JSON" in body["system"][1]["text"]
    assert (written.shaped_by, written.dropped) == ("", ("shape",))


def test_case_57_what_the_format_was_called_before_is_read() -> None:
    schema = {"type": "json_schema", "schema": CLOSED}
    assert read(output_format=schema).shape == read(output_config={"format": schema}).shape
    assert read(output_format=schema).shape == Shape("json_schema", CLOSED)


# Other


def test_previous_answers_that_are_not_at_hand_rule_the_target_out() -> None:
    with pytest.raises(CannotHold) as refused:
        write(chat(user("go"), previous_id="resp_1"))
    assert refused.value.param == "previous_response_id"


def test_streams_are_asked_for_and_the_upstreams_own_name_of_the_model() -> None:
    body, _ = write(chat(user("go"), stream=True))
    assert (body["stream"], body["model"]) == (True, "claude-opus-4-5")
    assert "stream" not in write(chat(user("go")))[0]


def test_paths_and_words_for_people() -> None:
    assert DIALECT.path(Brief("m")) == "/v1/messages"
    assert DIALECT.path(Brief("m", kind=COUNT_TOKENS)) == "/v1/messages/count_tokens"
    assert DIALECT.spelled("stop") == "stop_sequences"
    assert DIALECT.spelled("temperature") == "temperature"


def of(block: Any) -> dict[str, Any]:
    """A request whose user says this one block."""
    return {"messages": [{"role": "user", "content": [block]}]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": "x"}, "messages"),
        ({"messages": [1]}, "messages.0"),
        ({"messages": [{"role": "tool"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content"),
        ({"messages": [{"role": "assistant", "content": [result("a")]}]}, "messages.0.content.0"),
        (of({}), "messages.0.content.0.type"),
        (of(use("a")), "messages.0.content.0"),
        (of({"type": "image"}), "messages.0.content.0.source"),
        (of({"type": "image", "source": {"type": "url", "url": 1}}), "messages.0.content.0.source.url"),
        (of(result("a", [{"type": "text", "text": 1}])), "messages.0.content.0.content.0.text"),
        (of(result("a", is_error=2)), "messages.0.content.0.is_error"),
        ({"system": 1}, "system"),
        ({"tools": [{}]}, "tools.0.name"),
        ({"tools": [{"name": "f", "strict": "x"}]}, "tools.0.strict"),
        ({"tool_choice": {"type": "x"}}, "tool_choice.type"),
        ({"thinking": {"type": "x"}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": "x"}}, "thinking.budget_tokens"),
        ({"output_config": {"format": {"type": "x"}}}, "output_config.format.type"),
        ({"max_tokens": "x"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop_sequences": [1]}, "stop_sequences.0"),
        ({"metadata": {"user_id": 1}}, "metadata.user_id"),
        ({"cache_control": 1}, "body.cache_control"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_read_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(fields)
    assert caught.value.param == param
    assert param in caught.value.text


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"null", b"[" * 5000, b'{"a":' * 3000 + b"1" + b"}" * 3000]
)
def test_a_body_that_is_no_object_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        DIALECT.read_request(body, Brief("m"))


def test_lone_surrogates_make_the_round_trip() -> None:
    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"\\ud83d"}]}'
    request = DIALECT.read_request(body, Brief("m"))
    assert b"\\ud83d" in DIALECT.write_request(request, OPUS).body


def odd_request(rng: random.Random) -> dict[str, Any]:
    """A request as nobody sends it."""
    source = {"type": odd(rng, "base64", "url", "text", "file", "content"), "data": odd(rng, "QUJD")}
    source.update(media_type=odd(rng, "image/png"), url=odd(rng, "https://a"), content=odd(rng, [say("x")]))
    blocks = [
        {
            "type": odd(rng, *BLOCKS),
            "text": odd(rng, "x"),
            "thinking": odd(rng, "x"),
            "signature": odd(rng, "QUJD", sealed(Signature("gemini", "x"), "next"), MARK.decode() + "A"),
            "data": odd(rng, "QUJD"),
            "id": odd(rng, "a", "b"),
            "tool_use_id": odd(rng, "a", "b"),
            "name": odd(rng, "f"),
            "input": odd(rng, {}),
            "source": odd(rng, source),
            "content": odd(rng, "x", [say("x")], [{"type": "image", "source": source}]),
            "cache_control": odd(rng, {"type": "ephemeral"}, None),
            "is_error": odd(rng, True, None),
        }
        for _ in range(rng.randrange(4))
    ]
    turns = [
        {
            "role": odd(rng, "user", "assistant", "system"),
            "content": odd(rng, rng.sample(blocks, len(blocks))),
        }
        for _ in range(rng.randrange(4))
    ]
    tool = {
        "name": odd(rng, "f"),
        "input_schema": odd(rng, {"type": "object"}),
        "type": odd(rng, None, "custom"),
    }
    fields = {
        "model": "m",
        "messages": odd(rng, turns),
        "system": odd(rng, "x", [say("x")]),
        "tools": odd(rng, [tool]),
        "tool_choice": odd(rng, {"type": "any"}, {"type": "tool", "name": odd(rng, "f")}),
        "thinking": odd(rng, {"type": "enabled", "budget_tokens": odd(rng, 2048)}, {"type": "adaptive"}),
        "output_config": odd(rng, {"effort": odd(rng, "low"), "format": odd(rng, None)}),
        "max_tokens": odd(rng, 5000),
        "temperature": odd(rng, 1),
        "top_p": odd(rng, 0.5),
        "stop_sequences": odd(rng, ["x"]),
        "metadata": odd(rng, {"user_id": odd(rng, "x")}),
        "service_tier": odd(rng, "auto"),
        "cache_control": odd(rng, None),
    }
    return {key: value for key, value in fields.items() if rng.random() < 0.7 or key == "messages"}


BLOCKS = (
    "text",
    "image",
    "document",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "tool_result",
    "search_result",
)


@pytest.mark.parametrize("block", range(4))
def test_whatever_a_client_sends_is_read_or_a_bad_request(block: int) -> None:
    read_well = 0
    for seed in range(count(400, 25_000)):
        rng = random.Random(block * 1_000_000 + seed)
        body = dumps(odd_request(rng))
        try:
            request = DIALECT.read_request(body, Brief("m"))
            model = rng.choice(("claude-opus-4-5", "claude-opus-4-8", "claude-fable-5-1", "glm-5"))
            written = DIALECT.write_request(request, Target(model))
        except BadRequest:
            continue
        read_well += 1
        json.loads(written.body)
    assert read_well


@pytest.mark.parametrize("name", [["x"], {"a": 1}, 7, None])
def test_a_built_in_tool_may_have_anything_for_a_name(name: object) -> None:
    tools = [{"type": "computer_20251124", "name": name}, {"name": "f", "input_schema": {"type": "object"}}]
    asked = read({"tools": tools, "tool_choice": {"type": "tool", "name": "f"}})
    body, _ = write(asked)
    assert [tool.get("name") for tool in body["tools"]] == [name, "f"]
