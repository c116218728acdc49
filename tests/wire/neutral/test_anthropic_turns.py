"""The messages of Anthropic's requests read and written: numbers are those of conversion.md's cases."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.wire.neutral.anthropic_asks import (
    OK,
    OPUS,
    THINK,
    assistant,
    chat,
    messages,
    read,
    result,
    say,
    system,
    use,
    user,
    write,
)
from wire import DIALECTS
from wire.neutral.parts import (
    Media,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from wire.neutral.requests import (
    CannotHold,
    Effort,
    Target,
)
from wire.neutral.seals import sealed
from wire.types import BadRequest


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
