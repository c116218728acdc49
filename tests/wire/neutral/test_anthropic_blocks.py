"""Files and other blocks in Anthropic's requests: numbers are those of conversion.md's cases."""

from __future__ import annotations

import base64

import pytest

from tests.wire.neutral.anthropic_asks import (
    assistant,
    chat,
    messages,
    read,
    say,
    user,
    write,
)
from wire.neutral.parts import (
    Foreign,
    Media,
    Part,
    Text,
    ToolCall,
    ToolResult,
)
from wire.neutral.requests import (
    CannotHold,
)


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
