"""What vendors answer, case by case, in their own format's words: the answers of the golden corpus, streamed
and, where one is given, whole. Numbers are those of the cases in conversion.md."""

from __future__ import annotations

import json
from typing import Any

from tests.wire.cuts import transcript

Fields = dict[str, Any]


def data(*events: Any) -> bytes:
    """Events without names."""
    return b"".join(b"data: %b\n\n" % (each if isinstance(each, bytes) else _json(each)) for each in events)


def named(*events: Fields) -> bytes:
    """Events that are named by their type."""
    return b"".join(b"event: %b\ndata: %b\n\n" % (each["type"].encode(), _json(each)) for each in events)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


# Chat Completions.

CHAT_USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 12,
    "total_tokens": 42,
    "prompt_tokens_details": {"cached_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 5},
}


def chunk(delta: Fields, finish: str | None = None, index: int = 0) -> Fields:
    """One piece of a choice."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "up1", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": [choice]}


def chat(*chunks: Fields, finish: str = "stop", done: bool = True) -> bytes:
    """A stream of one choice: these deltas, an end, the usage."""
    usage = {**chunk({}), "choices": [], "usage": CHAT_USAGE}
    told = [each if "choices" in each else chunk(each) for each in chunks]
    return data(*told, chunk({}, finish), usage, *([b"[DONE]"] if done else []))


def piece(arguments: str, index: int = 0, ident: str = "", name: str = "", **more: Any) -> Fields:
    """A piece of a call."""
    function: Fields = {"arguments": arguments}
    told: Fields = {"index": index, "function": function, **more}
    if ident:
        told |= {"id": ident, "type": "function"}
        function["name"] = name or "weather"
    return {"tool_calls": [told]}


def completion(message: Fields, finish: str = "stop") -> bytes:
    """A whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return _json(
        {
            "id": "up1",
            "object": "chat.completion",
            "created": 1,
            "model": "up",
            "choices": [choice],
            "usage": CHAT_USAGE,
        }
    )


# Responses.

RESPONSES_USAGE = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 20},
    "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 42,
}


def response(*items: Fields, status: str = "completed", **more: Any) -> Fields:
    """The response itself."""
    return {
        "id": "resp_up1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": "up",
        "output": list(items),
        "usage": None if status == "in_progress" else RESPONSES_USAGE,
        **more,
    }


def ladder(*items: Fields, status: str = "completed", **more: Any) -> bytes:
    """A stream that tells these items, each in one delta."""
    events: list[Fields] = [{"type": "response.created", "response": response(status="in_progress")}]
    for at, item in enumerate(items):
        place = {"output_index": at, "item_id": item["id"]}
        bare = {**item, "status": "in_progress"}
        if item["type"] == "message":
            bare["content"] = []
        elif item["type"] == "reasoning":
            bare = {"id": item["id"], "type": "reasoning", "summary": []}
        else:
            bare["arguments"] = ""
        events.append({"type": "response.output_item.added", "output_index": at, "item": bare})
        events += _rungs(item, place)
        events.append({"type": "response.output_item.done", "output_index": at, "item": item})
    events.append({"type": f"response.{status}", "response": response(*items, status=status, **more)})
    return named(*({**event, "sequence_number": number} for number, event in enumerate(events)))


def _rungs(item: Fields, place: Fields) -> list[Fields]:
    told: list[Fields] = []
    for number, part in enumerate(item.get("content", ())):
        kind = "output_text" if part["type"] == "output_text" else "refusal"
        text = part.get("text") or part.get("refusal")
        told.append({"type": f"response.{kind}.delta", **place, "content_index": number, "delta": text})
    for number, part in enumerate(item.get("summary", ())):
        told.append(
            {
                "type": "response.reasoning_summary_text.delta",
                **place,
                "summary_index": number,
                "delta": part["text"],
            }
        )
    if item["type"] == "function_call":
        told.append({"type": "response.function_call_arguments.delta", **place, "delta": item["arguments"]})
    return told


def message(*content: Fields, ident: str = "msg_1", status: str = "completed") -> Fields:
    """A message as an item."""
    return {"type": "message", "id": ident, "role": "assistant", "status": status, "content": list(content)}


def output_text(text: str) -> Fields:
    """What a message says."""
    return {"type": "output_text", "text": text, "annotations": []}


def call_item(ident: str, arguments: str) -> Fields:
    """A call as an item."""
    return {
        "type": "function_call",
        "id": f"fc_{ident}",
        "call_id": ident,
        "name": "weather",
        "arguments": arguments,
        "status": "completed",
    }


THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Hm."}],
    "encrypted_content": "gAAA",
}

# Anthropic.

CLAUDE_USAGE = {
    "input_tokens": 6,
    "cache_read_input_tokens": 20,
    "cache_creation_input_tokens": 4,
    "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 1},
    "output_tokens": 1,
}


def opened(**usage: Any) -> Fields:
    """How a message begins."""
    told: Fields = {
        "id": "msg_up1",
        "type": "message",
        "role": "assistant",
        "model": "up",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage or CLAUDE_USAGE,
    }
    return {"type": "message_start", "message": told}


def claude(*blocks: tuple[Fields, list[Fields]], stop: str = "end_turn", sequence: Any = None) -> bytes:
    """A stream that tells these blocks, each by its deltas."""
    events = [opened()]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": stop, "stop_sequence": sequence}
    events.append({"type": "message_delta", "delta": end, "usage": {"output_tokens": 12}})
    return named(*events, {"type": "message_stop"})


def claude_text(*pieces: str) -> tuple[Fields, list[Fields]]:
    """A text block in pieces."""
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": each} for each in pieces]


def claude_thought(text: str, *signature: str) -> tuple[Fields, list[Fields]]:
    """A thought, its signature in pieces."""
    return {"type": "thinking", "thinking": "", "signature": ""}, [
        {"type": "thinking_delta", "thinking": text},
        *({"type": "signature_delta", "signature": each} for each in signature),
    ]


def claude_call(ident: str, *pieces: str) -> tuple[Fields, list[Fields]]:
    """A call, its arguments in pieces."""
    block = {"type": "tool_use", "id": ident, "name": "weather", "input": {}}
    return block, [{"type": "input_json_delta", "partial_json": each} for each in pieces]


def claude_whole(*content: Fields, stop: str = "end_turn", sequence: Any = None) -> bytes:
    """A whole message."""
    told = opened(**{**CLAUDE_USAGE, "output_tokens": 12})["message"]
    return _json({**told, "content": list(content), "stop_reason": stop, "stop_sequence": sequence})


# Gemini.

GEMINI_USAGE = {
    "promptTokenCount": 30,
    "cachedContentTokenCount": 20,
    "candidatesTokenCount": 7,
    "thoughtsTokenCount": 5,
    "totalTokenCount": 42,
}


def candidate(*parts: Fields, finish: str = "", usage: Fields | None = None, **more: Any) -> Fields:
    """One piece of an answer."""
    told: Fields = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **more}
    if finish:
        told["finishReason"] = finish
    return {
        "candidates": [told],
        "usageMetadata": usage or GEMINI_USAGE,
        "modelVersion": "up",
        "responseId": "up1",
    }


def gemini(*parts: Fields, finish: str = "STOP") -> bytes:
    """A stream that tells each part in a piece of its own."""
    growing = {**GEMINI_USAGE, "candidatesTokenCount": 2, "totalTokenCount": 37}
    return data(*(candidate(part, usage=growing) for part in parts), candidate({"text": ""}, finish=finish))


def gemini_call(city: str, **more: Any) -> Fields:
    """A call, without an id."""
    return {"functionCall": {"name": "weather", "args": {"city": city}}, **more}


OSLO, ROME = '{"city":"Oslo"}', '{"city":"Rome"}'

STREAMS: dict[str, dict[str, bytes]] = {
    "16 17 18 20 21 64: text, and usage": {
        "openai_chat": chat({"role": "assistant", "content": ""}, {"content": "Grüße"}, {"content": " 🎉"}),
        "openai_responses": ladder(message(output_text("Grüße 🎉"))),
        "anthropic": claude(claude_text("Grüße", " 🎉")),
        "gemini": gemini({"text": "Grüße"}, {"text": " 🎉"}),
    },
    "18: what was written to a cache": {
        "openai_chat": data(
            chunk({"content": "Yes."}),
            chunk({}, "stop"),
            {
                **chunk({}),
                "choices": [],
                "usage": {
                    **CHAT_USAGE,
                    "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 4},
                },
            },
            b"[DONE]",
        ),
        "openai_responses": ladder(
            message(output_text("Yes.")),
            usage={
                **RESPONSES_USAGE,
                "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 4},
            },
        ),
    },
    "14: pieces without choices": {"openai_chat": transcript("openai_chat/azure.sse")},
    "8: frames behind the end": {"openai_chat": transcript("openai_chat/trailing.sse")},
    "7: an end without its mark": {"openai_chat": chat({"content": "Yes."}, done=False)},
    "24 27 31: two calls": {
        "openai_chat": chat(
            {"role": "assistant", "content": None},
            piece("", 0, "c1"),
            piece('{"city":', 0),
            piece('"Oslo"}', 0),
            piece(ROME, 1, "c2"),
            finish="tool_calls",
        ),
        "openai_responses": ladder(call_item("c1", OSLO), call_item("c2", ROME)),
        "anthropic": claude(
            claude_call("c1", "", '{"city":', '"Oslo"}'), claude_call("c2", ROME), stop="tool_use"
        ),
        "gemini": gemini(gemini_call("Oslo"), gemini_call("Rome")),
    },
    "25: calls whose pieces interleave": {
        "openai_chat": chat(
            piece("", 0, "c1"),
            piece("", 1, "c2"),
            piece('{"city":', 1),
            piece('{"city":', 0),
            piece('"Rome"}', 1),
            piece('"Oslo"}', 0),
            finish="tool_calls",
        ),
    },
    "26: every call has index 0": {
        "openai_chat": chat(piece(OSLO, 0, "c1"), piece(ROME, 0, "c2"), finish="tool_calls"),
    },
    "27: a call without arguments": {
        "openai_chat": chat(piece("", 0, "c1"), finish="tool_calls"),
        "openai_responses": ladder(call_item("c1", "")),
        "anthropic": claude(claude_call("c1"), stop="tool_use"),
        "gemini": gemini({"functionCall": {"name": "weather"}}),
    },
    "28: arguments that are no JSON": {
        "openai_chat": chat(piece('{"city":"Os', 0, "c1"), finish="length"),
        "openai_responses": ladder(call_item("c1", '{"city":"Os')),
        "anthropic": claude(claude_call("c1", '{"city":"Os'), stop="max_tokens"),
    },
    "41 42 65: thoughts, signed and sealed, before an answer": {
        "openai_chat": chat({"reasoning_content": "Hm."}, {"content": "42"}),
        "openai_responses": ladder(THOUGHT, message(output_text("42"))),
        "anthropic": claude(
            claude_thought("Hm.", "sig-", "one"),
            ({"type": "redacted_thinking", "data": "hidden"}, []),
            claude_thought("Hm?", "sig-two"),
            claude_text("42"),
        ),
        "gemini": gemini({"text": "Hm.", "thought": True}, {"text": "42", "thoughtSignature": "c2ln"}),
    },
    "43: two calls, the first signed": {
        "openai_chat": chat(
            piece(OSLO, 0, "c1", extra_content={"google": {"thought_signature": "c2ln"}}),
            piece(ROME, 1, "c2"),
            finish="tool_calls",
        ),
        "gemini": gemini(gemini_call("Oslo", thoughtSignature="c2ln"), gemini_call("Rome")),
    },
    "47: thinking in the text": {"openai_chat": chat({"content": "<think>Hm.</think>"}, {"content": "42"})},
    "58: two choices": {
        "openai_chat": data(
            chunk({"content": "One."}),
            chunk({"content": "Two."}, index=1),
            chunk({}, "stop"),
            chunk({}, "length", index=1),
            b"[DONE]",
        ),
        "gemini": data(
            candidate({"text": "One."}, finish="STOP"),
            {"candidates": [{**candidate({"text": "Two."})["candidates"][0], "index": 1}]},
            {"candidates": [{"index": 1, "finishReason": "MAX_TOKENS"}], "usageMetadata": GEMINI_USAGE},
        ),
    },
    "59 66: the limit of tokens": {
        "openai_chat": chat({"content": "Once upon"}, finish="length"),
        "openai_responses": ladder(
            message(output_text("Once upon"), status="incomplete"),
            status="incomplete",
            incomplete_details={"reason": "max_output_tokens"},
        ),
        "anthropic": claude(claude_text("Once upon"), stop="max_tokens"),
        "gemini": gemini({"text": "Once upon"}, finish="MAX_TOKENS"),
    },
    "59: a stop sequence": {
        "openai_chat": data(
            chunk({"content": "1 2 3"}),
            {
                **chunk({}),
                "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}],
            },
            b"[DONE]",
        ),
        "anthropic": claude(claude_text("1 2 3"), stop="stop_sequence", sequence="END"),
    },
    "59: a pause": {"anthropic": claude(claude_text("Wait."), stop="pause_turn")},
    "59: the context is full": {
        "anthropic": claude(claude_text("Once"), stop="model_context_window_exceeded")
    },
    "59: a malformed call": {"gemini": gemini(finish="MALFORMED_FUNCTION_CALL")},
    "59: an end without a word": {"gemini": gemini(finish="OTHER")},
    "60: a call, and stop": {
        "openai_chat": chat(piece(OSLO, 0, "c1"), finish="stop"),
        "anthropic": claude(claude_call("c1", OSLO), stop="end_turn"),
        "gemini": gemini(gemini_call("Oslo")),
    },
    "61: a refusal": {
        "openai_chat": chat({"refusal": "I can"}, {"refusal": "not."}),
        "openai_responses": ladder(message({"type": "refusal", "refusal": "I cannot."})),
        "anthropic": claude(claude_text("I cannot."), stop="refusal"),
        "gemini": transcript("gemini/blocked.sse"),
    },
    "61: a filter": {
        "openai_chat": chat({"content": "Ho"}, finish="content_filter"),
        "openai_responses": ladder(
            message(output_text("Ho"), status="incomplete"),
            status="incomplete",
            incomplete_details={"reason": "content_filter"},
        ),
        "anthropic": claude(stop="refusal"),
        "gemini": gemini({"text": "Ho"}, finish="SAFETY"),
    },
}

WHOLE: dict[str, dict[str, bytes]] = {
    "16 17 18 20 21 64: text, and usage": {
        "openai_chat": completion({"content": "Grüße 🎉"}),
        "openai_responses": _json(response(message(output_text("Grüße 🎉")))),
        "anthropic": claude_whole({"type": "text", "text": "Grüße 🎉"}),
        "gemini": _json(candidate({"text": "Grüße 🎉"}, finish="STOP")),
    },
    "24 27 31: two calls": {
        "openai_chat": completion(
            {
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": OSLO}},
                    {"id": "c2", "type": "function", "function": {"name": "weather", "arguments": ROME}},
                ],
            },
            "tool_calls",
        ),
        "openai_responses": _json(response(call_item("c1", OSLO), call_item("c2", ROME))),
        "anthropic": claude_whole(
            {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo"}},
            {"type": "tool_use", "id": "c2", "name": "weather", "input": {"city": "Rome"}},
            stop="tool_use",
        ),
        "gemini": _json(candidate(gemini_call("Oslo"), gemini_call("Rome"), finish="STOP")),
    },
    "27: a call without arguments": {
        "openai_chat": completion(
            {
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}}
                ],
            },
            "tool_calls",
        ),
        "openai_responses": _json(response(call_item("c1", ""))),
        "anthropic": claude_whole(
            {"type": "tool_use", "id": "c1", "name": "weather", "input": {}}, stop="tool_use"
        ),
        "gemini": _json(candidate({"functionCall": {"name": "weather"}}, finish="STOP")),
    },
    "41 42 65: thoughts, signed and sealed, before an answer": {
        "openai_chat": completion({"reasoning_content": "Hm.", "content": "42"}),
        "openai_responses": _json(response(THOUGHT, message(output_text("42")))),
        "anthropic": claude_whole(
            {"type": "thinking", "thinking": "Hm.", "signature": "sig-one"},
            {"type": "redacted_thinking", "data": "hidden"},
            {"type": "thinking", "thinking": "Hm?", "signature": "sig-two"},
            {"type": "text", "text": "42"},
        ),
        "gemini": _json(
            candidate(
                {"text": "Hm.", "thought": True}, {"text": "42", "thoughtSignature": "c2ln"}, finish="STOP"
            )
        ),
    },
    "59 66: the limit of tokens": {
        "openai_chat": completion({"content": "Once upon"}, "length"),
        "openai_responses": _json(
            response(
                message(output_text("Once upon"), status="incomplete"),
                status="incomplete",
                incomplete_details={"reason": "max_output_tokens"},
            )
        ),
        "anthropic": claude_whole({"type": "text", "text": "Once upon"}, stop="max_tokens"),
        "gemini": _json(candidate({"text": "Once upon"}, finish="MAX_TOKENS")),
    },
    "61: a refusal": {
        "openai_chat": completion({"content": None, "refusal": "I cannot."}),
        "openai_responses": _json(response(message({"type": "refusal", "refusal": "I cannot."}))),
        "anthropic": claude_whole({"type": "text", "text": "I cannot."}, stop="refusal"),
        "gemini": transcript("gemini/blocked.json"),
    },
}
"""The whole answer that says the same as the stream of the same case."""
