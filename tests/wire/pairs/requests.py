"""What clients ask, case by case, in their own format's words: the requests of the golden corpus.

A case has a body for each format that can say it; a model's name is put in by whoever sends it. Numbers are
those of the cases in conversion.md.
"""

from __future__ import annotations

from typing import Any

from wire.neutral.parts import Signature
from wire.neutral.seals import sealed

Fields = dict[str, Any]
PNG = "iVBORw0KGgo="
PDF = "JVBERi0xLjQK"
WAV = "UklGRg=="
PICTURE = "https://example.com/a.png"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
HARD = {
    "type": "object",
    "$defs": {"unit": {"enum": ["C", "F"]}},
    "properties": {
        "city": {"type": ["string", "null"], "default": "Oslo", "examples": ["Oslo"]},
        "unit": {"$ref": "#/$defs/unit"},
        "kind": {"const": "now"},
    },
    "additionalProperties": False,
}
"""A schema with all that Gemini's older field does not take."""


BARE = {"type": "object"}
LISTS = {"type": "object", "properties": {"cities": {"type": "array"}}}
"""Of these OpenAI refuses the one without `properties` and the other without `items`."""


def chat(*messages: Any, **more: Any) -> Fields:
    """A request of Chat Completions; a string is what the user says."""
    return {"messages": [_chat(each) for each in messages or ("Hi",)], **more}


def _chat(said: Any) -> Any:
    return {"role": "user", "content": said} if isinstance(said, str) else said


def chat_call(*calls: tuple[str, str], **more: Any) -> Fields:
    """What the model called, by id and city."""
    told = [
        {
            "id": ident,
            "type": "function",
            "function": {"name": "weather", "arguments": f'{{"city":"{city}"}}'},
        }
        for ident, city in calls
    ]
    return {"role": "assistant", "content": None, "tool_calls": told, **more}


def chat_result(ident: str, content: Any) -> Fields:
    """What came of a call."""
    return {"role": "tool", "tool_call_id": ident, "content": content}


def chat_tool(name: str = "weather", schema: Any = SCHEMA) -> Fields:
    """A function."""
    return {"type": "function", "function": {"name": name, "description": "Now.", "parameters": schema}}


def responses(*items: Any, **more: Any) -> Fields:
    """A request of Responses."""
    return {"input": [_chat(each) for each in items or ("Hi",)], "store": False, **more}


def item_call(ident: str, city: str) -> Fields:
    """A call as an item."""
    return {"type": "function_call", "call_id": ident, "name": "weather", "arguments": f'{{"city":"{city}"}}'}


def item_result(ident: str, output: Any) -> Fields:
    """A result as an item."""
    return {"type": "function_call_output", "call_id": ident, "output": output}


def flat_tool(name: str = "weather", schema: Any = SCHEMA) -> Fields:
    """A function of Responses."""
    return {"type": "function", "name": name, "description": "Now.", "parameters": schema, "strict": False}


def claude(*messages: Any, **more: Any) -> Fields:
    """A request of Anthropic's."""
    return {"max_tokens": 4000, "messages": [_chat(each) for each in messages or ("Hi",)], **more}


def says(*blocks: Fields) -> Fields:
    """A message of the model's."""
    return {"role": "assistant", "content": list(blocks)}


def hears(*blocks: Fields) -> Fields:
    """A message of the user's."""
    return {"role": "user", "content": list(blocks)}


def use(ident: str, city: str) -> Fields:
    """A call as a block."""
    return {"type": "tool_use", "id": ident, "name": "weather", "input": {"city": city}}


def result(ident: str, content: Any, **more: Any) -> Fields:
    """A result as a block."""
    return {"type": "tool_result", "tool_use_id": ident, "content": content, **more}


def words(text: str, **more: Any) -> Fields:
    """A text block."""
    return {"type": "text", "text": text, **more}


def claude_tool(name: str = "weather", schema: Any = SCHEMA, **more: Any) -> Fields:
    """A tool of Anthropic's."""
    return {"name": name, "description": "Now.", "input_schema": schema, **more}


def gemini(*contents: Any, **more: Any) -> Fields:
    """A request of Gemini's."""
    return {"contents": [_gemini(each) for each in contents or ("Hi",)], **more}


def _gemini(said: Any) -> Any:
    return user({"text": said}) if isinstance(said, str) else said


def user(*parts: Fields) -> Fields:
    """A content of the user's."""
    return {"role": "user", "parts": list(parts)}


def model(*parts: Fields) -> Fields:
    """A content of the model's."""
    return {"role": "model", "parts": list(parts)}


def function_call(city: str, **more: Any) -> Fields:
    """A call as a part, which has no id."""
    return {"functionCall": {"name": "weather", "args": {"city": city}}, **more}


def function_response(response: Fields, **more: Any) -> Fields:
    """A result as a part."""
    return {"functionResponse": {"name": "weather", "response": response, **more}}


def declared(name: str = "weather", schema: Any = SCHEMA) -> list[Fields]:
    """Gemini's tools."""
    return [{"functionDeclarations": [{"name": name, "description": "Now.", "parametersJsonSchema": schema}]}]


def generating(**config: Any) -> Fields:
    """A request with these settings."""
    return gemini(generationConfig=config)


def anthropic_thought(thinking: str = "Hm.", signature: str = "sig-claude") -> Fields:
    """A signed thought as a block."""
    return {"type": "thinking", "thinking": thinking, "signature": signature}


def reasoning(encrypted: str, summary: str = "Hm.") -> Fields:
    """A reasoning item."""
    return {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": summary}],
        "encrypted_content": encrypted,
    }


CHAT_TOOLS, FLAT_TOOLS, CLAUDE_TOOLS = [chat_tool()], [flat_tool()], [claude_tool()]
GEMINIS = Signature("gemini", "c2ln")
CLAUDES = Signature("anthropic", "sig-claude")
OPENAIS = Signature("openai_responses", "gAAA", "rs_7")

REQUESTS: dict[str, dict[str, Fields]] = {
    "29 30 32: two calls of one tool and their results, in another order": {
        "openai_chat": chat(
            "Weather?",
            chat_call(("c1", "Oslo"), ("c2", "Rome")),
            chat_result("c2", "sun"),
            chat_result("c1", "rain"),
            "And?",
            tools=CHAT_TOOLS,
        ),
        "openai_responses": responses(
            "Weather?",
            item_call("c1", "Oslo"),
            item_call("c2", "Rome"),
            item_result("c2", "sun"),
            item_result("c1", "rain"),
            "And?",
            tools=FLAT_TOOLS,
        ),
        "anthropic": claude(
            "Weather?",
            says(use("c1", "Oslo"), use("c2", "Rome")),
            hears(result("c2", "sun"), result("c1", "rain"), words("And?")),
            tools=CLAUDE_TOOLS,
        ),
        "gemini": gemini(
            "Weather?",
            model(function_call("Oslo"), function_call("Rome")),
            user(function_response({"output": "rain"}), function_response({"output": "sun"})),
            "And?",
            tools=declared(),
        ),
    },
    "32: a result without its call": {
        "openai_chat": chat("Go.", chat_result("c9", "rain")),
        "openai_responses": responses("Go.", item_result("c9", "rain")),
        "anthropic": claude("Go.", says(words("Yes.")), hears(result("c9", "rain"))),
        "gemini": gemini("Go.", user(function_response({"output": "rain"}))),
    },
    "33: a call without a result": {
        "openai_chat": chat("Go.", chat_call(("c1", "Oslo")), "Never mind.", tools=CHAT_TOOLS),
        "openai_responses": responses("Go.", item_call("c1", "Oslo"), "Never mind.", tools=FLAT_TOOLS),
        "anthropic": claude("Go.", says(use("c1", "Oslo")), "Never mind.", tools=CLAUDE_TOOLS),
        "gemini": gemini("Go.", model(function_call("Oslo")), "Never mind.", tools=declared()),
    },
    "34: a result with a picture": {
        "openai_responses": responses(
            "Go.",
            item_call("c1", "Oslo"),
            item_result(
                "c1",
                [
                    {"type": "input_text", "text": "see"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
                ],
            ),
        ),
        "anthropic": claude(
            "Go.",
            says(use("c1", "Oslo")),
            hears(
                result(
                    "c1",
                    [
                        words("see"),
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                        },
                    ],
                )
            ),
        ),
        "gemini": gemini(
            "Go.",
            model(function_call("Oslo")),
            user(
                function_response(
                    {"output": "see"}, parts=[{"inlineData": {"mimeType": "image/png", "data": PNG}}]
                )
            ),
        ),
    },
    "35: empty results and empty texts": {
        "openai_chat": chat("Go.", chat_call(("c1", "Oslo"), content=""), chat_result("c1", ""), ""),
        "openai_responses": responses("Go.", item_call("c1", "Oslo"), item_result("c1", ""), ""),
        "anthropic": claude("Go.", says(words(""), use("c1", "Oslo")), hears(result("c1", ""), words(""))),
        "gemini": gemini(
            "Go.", model({"text": ""}, function_call("Oslo")), user(function_response({})), user({"text": ""})
        ),
    },
    "36: a schema with references, constants and several types": {
        "openai_chat": chat(tools=[chat_tool(schema=HARD)]),
        "openai_responses": responses(tools=[flat_tool(schema=HARD)]),
        "anthropic": claude(tools=[claude_tool(schema=HARD)]),
        "gemini": gemini(tools=declared(schema=HARD)),
    },
    "36: schemas that say little": {
        "openai_chat": chat(tools=[chat_tool(schema=BARE), chat_tool("lists", LISTS)]),
        "openai_responses": responses(tools=[flat_tool(schema=BARE), flat_tool("lists", LISTS)]),
        "anthropic": claude(tools=[claude_tool(schema=BARE), claude_tool("lists", LISTS)]),
        "gemini": gemini(tools=declared(schema=BARE) + declared("lists", LISTS)),
    },
    "37: a result that looks like a reference": {
        "openai_chat": chat("Go.", chat_call(("c1", "Oslo")), chat_result("c1", '{"$ref":"#/x"}')),
        "openai_responses": responses("Go.", item_call("c1", "Oslo"), item_result("c1", '{"$ref":"#/x"}')),
        "anthropic": claude("Go.", says(use("c1", "Oslo")), hears(result("c1", '{"$ref":"#/x"}'))),
    },
    "38: one tool is forced, one call at a time": {
        "openai_chat": chat(
            tools=CHAT_TOOLS,
            tool_choice={"type": "function", "function": {"name": "weather"}},
            parallel_tool_calls=False,
        ),
        "openai_responses": responses(
            tools=FLAT_TOOLS,
            tool_choice={"type": "function", "name": "weather"},
            parallel_tool_calls=False,
        ),
        "anthropic": claude(
            tools=CLAUDE_TOOLS,
            tool_choice={"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        ),
        "gemini": gemini(
            tools=declared(),
            toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
        ),
    },
    "38: some tool is forced": {
        "openai_chat": chat(tools=CHAT_TOOLS, tool_choice="required"),
        "openai_responses": responses(tools=FLAT_TOOLS, tool_choice="required"),
        "anthropic": claude(tools=CLAUDE_TOOLS, tool_choice={"type": "any"}),
        "gemini": gemini(tools=declared(), toolConfig={"functionCallingConfig": {"mode": "ANY"}}),
    },
    "38: some of the tools may be called": {
        "openai_chat": chat(
            tools=[*CHAT_TOOLS, chat_tool("time"), chat_tool("place")],
            tool_choice={
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [
                        {"type": "function", "function": {"name": "weather"}},
                        {"type": "function", "function": {"name": "time"}},
                    ],
                },
            },
        ),
        "openai_responses": responses(
            tools=[*FLAT_TOOLS, flat_tool("time"), flat_tool("place")],
            tool_choice={
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "weather"}, {"type": "function", "name": "time"}],
            },
        ),
    },
    "38: some of the tools are forced": {
        "openai_responses": responses(
            tools=[*FLAT_TOOLS, flat_tool("time"), flat_tool("place")],
            tool_choice={
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "weather"}, {"type": "function", "name": "time"}],
            },
        ),
        "gemini": gemini(
            tools=[*declared(), *declared("time"), *declared("place")],
            toolConfig={
                "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather", "time"]}
            },
        ),
    },
    "38: no tool may be called": {
        "openai_chat": chat(tools=CHAT_TOOLS, tool_choice="none"),
        "openai_responses": responses(tools=FLAT_TOOLS, tool_choice="none"),
        "anthropic": claude(tools=CLAUDE_TOOLS, tool_choice={"type": "none"}),
        "gemini": gemini(tools=declared(), toolConfig={"functionCallingConfig": {"mode": "NONE"}}),
    },
    "39: names that others do not take": {
        "openai_chat": chat(tools=[chat_tool("7_of_nine")]),
        "openai_responses": responses(tools=[flat_tool("7_of_nine")]),
        "anthropic": claude(tools=[claude_tool("mcp__a_server_with_a_name__" + "a" * 90)]),
        "gemini": gemini(tools=declared("mcp.server:tool")),
    },
    "40: a tool that the vendor runs": {
        "openai_responses": responses(tools=[{"type": "web_search"}, *FLAT_TOOLS]),
        "anthropic": claude(tools=[{"type": "web_search_20250305", "name": "web_search"}, *CLAUDE_TOOLS]),
        "gemini": gemini(tools=[{"googleSearch": {}}, *declared()]),
    },
    "40: what a search of the vendor's left in the history": {
        "openai_responses": responses(
            "News?",
            {
                "type": "web_search_call",
                "id": "ws_1",
                "status": "completed",
                "action": {"type": "search", "query": "news"},
            },
            {"role": "assistant", "content": "Rain."},
            "And?",
        ),
        "anthropic": claude(
            "News?",
            says(
                {
                    "type": "server_tool_use",
                    "id": "srvtoolu_1",
                    "name": "web_search",
                    "input": {"query": "news"},
                },
                {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
                words("Rain."),
            ),
            "And?",
        ),
        "gemini": gemini(
            "Sum?",
            model(
                {"executableCode": {"language": "PYTHON", "code": "print(2 + 2)"}},
                {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "4"}},
                {"text": "It is 4."},
            ),
            "And?",
        ),
    },
    "40: a search of the vendor's that no word followed": {
        "openai_responses": responses(
            "News?",
            {
                "type": "web_search_call",
                "id": "ws_1",
                "status": "completed",
                "action": {"type": "search", "query": "news"},
            },
        ),
    },
    "41 42 44 45: thoughts of the vendor that the client knows, before a call": {
        "openai_chat": chat(
            "Go.",
            chat_call(("c1", "Oslo"), reasoning_content="Hm."),
            chat_result("c1", "rain"),
            tools=CHAT_TOOLS,
            reasoning_effort="high",
            max_completion_tokens=30_000,
        ),
        "openai_responses": responses(
            "Go.",
            reasoning("gAAA"),
            item_call("c1", "Oslo"),
            item_result("c1", "rain"),
            tools=FLAT_TOOLS,
            reasoning={"effort": "high"},
        ),
        "anthropic": claude(
            "Go.",
            says(anthropic_thought(), {"type": "redacted_thinking", "data": "hidden"}, use("c1", "Oslo")),
            hears(result("c1", "rain")),
            tools=CLAUDE_TOOLS,
            thinking={"type": "enabled", "budget_tokens": 2000},
        ),
        "gemini": gemini(
            "Go.",
            model({"text": "Hm.", "thought": True}, function_call("Oslo", thoughtSignature="c2ln")),
            user(function_response({"output": "rain"})),
            tools=declared(),
            generationConfig={"thinkingConfig": {"thinkingBudget": 2000, "includeThoughts": True}},
        ),
    },
    "43: Gemini's signature of a call, in the slot of another format": {
        "openai_chat": chat(
            "Go.",
            {
                **chat_call(("c1", "Oslo")),
                "tool_calls": [
                    {
                        **chat_call(("c1", "Oslo"))["tool_calls"][0],
                        "extra_content": {"google": {"thought_signature": "c2ln"}},
                    }
                ],
            },
            chat_result("c1", "rain"),
        ),
        "openai_responses": responses(
            "Go.",
            {**reasoning(sealed(GEMINIS, "next")), "summary": []},
            item_call("c1", "Oslo"),
            item_result("c1", "rain"),
        ),
        "anthropic": claude(
            "Go.",
            says(anthropic_thought("", sealed(GEMINIS, "next")), use("c1", "Oslo")),
            hears(result("c1", "rain")),
        ),
    },
    "44: a thought of Anthropic's, in the slot of another format": {
        "openai_responses": responses(
            "Go.",
            reasoning(sealed(CLAUDES)),
            item_call("c1", "Oslo"),
            item_result("c1", "rain"),
            reasoning={"effort": "high"},
        ),
        "gemini": gemini(
            "Go.",
            model(
                {"text": "Hm.", "thought": True, "thoughtSignature": sealed(CLAUDES)}, function_call("Oslo")
            ),
            user(function_response({"output": "rain"})),
            generationConfig={"thinkingConfig": {"thinkingBudget": 2000}},
        ),
    },
    "44 65: reasoning of OpenAI's, in the slot of another format": {
        "anthropic": claude(
            "Go.",
            says(anthropic_thought("Hm.", sealed(OPENAIS)), use("c1", "Oslo")),
            hears(result("c1", "rain")),
            thinking={"type": "enabled", "budget_tokens": 2000},
        ),
        "gemini": gemini(
            "Go.",
            model(
                {"text": "Hm.", "thought": True, "thoughtSignature": sealed(OPENAIS)}, function_call("Oslo")
            ),
            user(function_response({"output": "rain"})),
        ),
    },
    "46: much thinking": {
        "openai_chat": chat(reasoning_effort="high", max_completion_tokens=40_000),
        "openai_responses": responses(
            reasoning={"effort": "high", "summary": "auto"}, max_output_tokens=40_000
        ),
        "anthropic": claude(thinking={"type": "enabled", "budget_tokens": 24_576}, max_tokens=40_000),
        "gemini": generating(
            thinkingConfig={"thinkingBudget": 24_576, "includeThoughts": True}, maxOutputTokens=40_000
        ),
    },
    "46: no thinking": {
        "openai_chat": chat(reasoning_effort="none"),
        "openai_responses": responses(reasoning={"effort": "none"}),
        "anthropic": claude(thinking={"type": "disabled"}),
        "gemini": generating(thinkingConfig={"thinkingBudget": 0}),
    },
    "46 54: more thinking than the answer has room for": {
        "openai_chat": chat(reasoning_effort="high", max_completion_tokens=3000),
        "openai_responses": responses(reasoning={"effort": "high"}, max_output_tokens=3000),
        "gemini": generating(thinkingConfig={"thinkingBudget": 9000}, maxOutputTokens=3000),
    },
    "47: thoughts without a signature": {
        "openai_chat": chat(
            "Go.", {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}, "On."
        ),
        "openai_responses": responses(
            "Go.",
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {"role": "assistant", "content": "Yes."},
            "On.",
        ),
        "anthropic": claude("Go.", says(anthropic_thought("Hm.", ""), words("Yes.")), "On."),
        "gemini": gemini("Go.", model({"text": "Hm.", "thought": True}, {"text": "Yes."}), "On."),
    },
    "48: a picture by its bytes and one by its address": {
        "openai_chat": chat(
            hears(
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": PICTURE}},
                words("What?"),
            )
        ),
        "openai_responses": responses(
            hears(
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "low"},
                {"type": "input_image", "image_url": PICTURE},
                {"type": "input_text", "text": "What?"},
            )
        ),
        "anthropic": claude(
            hears(
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                {"type": "image", "source": {"type": "url", "url": PICTURE}},
                words("What?"),
            )
        ),
        "gemini": gemini(
            user(
                {"inlineData": {"mimeType": "image/png", "data": PNG}},
                {"fileData": {"mimeType": "image/png", "fileUri": PICTURE}},
                {"text": "What?"},
            )
        ),
    },
    "48: a picture that the model made": {
        "openai_responses": responses(
            "Draw.",
            {
                "type": "image_generation_call",
                "id": "ig_1",
                "status": "completed",
                "result": PNG,
                "output_format": "png",
            },
            "Now in red.",
        ),
        "gemini": gemini(
            "Draw.", model({"inlineData": {"mimeType": "image/png", "data": PNG}}), "Now in red."
        ),
    },
    "49: a document": {
        "openai_chat": chat(
            hears(
                {
                    "type": "file",
                    "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"},
                }
            )
        ),
        "openai_responses": responses(
            hears(
                {
                    "type": "input_file",
                    "file_data": f"data:application/pdf;base64,{PDF}",
                    "filename": "a.pdf",
                }
            )
        ),
        "anthropic": claude(
            hears(
                {
                    "type": "document",
                    "title": "a.pdf",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                }
            )
        ),
        "gemini": gemini(user({"inlineData": {"mimeType": "application/pdf", "data": PDF}})),
    },
    "36 49: a document to cite, and a tool with examples": {
        "anthropic": claude(
            hears(
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "It rains."},
                    "context": "Of today.",
                    "citations": {"enabled": True},
                },
            ),
            tools=[claude_tool(input_examples=[{"city": "Oslo"}], eager_input_streaming=True)],
        ),
    },
    "49: a sound": {
        "openai_chat": chat(hears({"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}})),
        "gemini": gemini(user({"inlineData": {"mimeType": "audio/wav", "data": WAV}})),
    },
    "49: a film": {
        "gemini": gemini(user({"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}})),
    },
    "50: system messages, the last in the midst": {
        "openai_chat": chat(
            {"role": "system", "content": "One."},
            {"role": "developer", "content": "Two."},
            "Hi",
            {"role": "assistant", "content": "Yes?"},
            {"role": "system", "content": "Three."},
            "Go.",
        ),
        "openai_responses": responses(
            {"role": "developer", "content": "Two."},
            "Hi",
            {"role": "assistant", "content": "Yes?"},
            {"role": "system", "content": "Three."},
            "Go.",
            instructions="One.",
        ),
        "anthropic": claude(
            "Hi",
            says(words("Yes?")),
            "Go.",
            {"role": "system", "content": "Three."},
            system=[words("One."), words("Two.")],
        ),
        "gemini": gemini(systemInstruction={"parts": [{"text": "One."}, {"text": "Two."}]}),
    },
    "50 51: marks of what is to be cached": {
        "openai_chat": chat(
            {"role": "system", "content": [words("One.", cache_control={"type": "ephemeral"})]}, "Hi"
        ),
        "anthropic": claude(
            hears(words("Hi", cache_control={"type": "ephemeral"})),
            system=[words("One.", cache_control={"type": "ephemeral", "ttl": "1h"})],
            tools=[claude_tool(cache_control={"type": "ephemeral"})],
        ),
    },
    "52: system messages alone": {
        "openai_chat": chat({"role": "system", "content": "One."}),
        "openai_responses": responses({"role": "developer", "content": "One."}),
    },
    "52: the model speaks first, and twice": {
        "openai_chat": chat(
            {"role": "assistant", "content": "Hello."}, {"role": "assistant", "content": "Well?"}, "Hi"
        ),
        "openai_responses": responses(
            {"role": "assistant", "content": "Hello."}, {"role": "assistant", "content": "Well?"}, "Hi"
        ),
        "anthropic": claude(says(words("Hello.")), says(words("Well?")), "Hi"),
        "gemini": gemini(model({"text": "Hello."}), model({"text": "Well?"}), "Hi"),
    },
    "52: the model's words in the pieces of a stream": {
        "gemini": gemini(
            "Hi", model({"text": "Hello."}), model({"text": "\n\n"}), model({"text": "Well?"}), "Go."
        ),
    },
    "52: the model's own words last": {
        "openai_chat": chat("Hi", {"role": "assistant", "content": "I say:"}),
        "openai_responses": responses("Hi", {"role": "assistant", "content": "I say:"}),
        "anthropic": claude("Hi", says(words("I say:"))),
        "gemini": gemini("Hi", model({"text": "I say:"})),
    },
    "53: a block that nobody knows": {
        "openai_chat": chat(hears(words("Hi"), {"type": "hologram", "hologram": {"a": 1}})),
        "openai_responses": responses("Hi", {"type": "hologram", "a": 1}),
        "anthropic": claude(hears(words("Hi"), {"type": "hologram", "a": 1})),
        "gemini": gemini(user({"text": "Hi"}, {"hologram": {"a": 1}})),
    },
    "54: a limit of tokens": {
        "openai_chat": chat(max_tokens=500),
        "openai_responses": responses(max_output_tokens=500),
        "anthropic": claude(max_tokens=500),
        "gemini": generating(maxOutputTokens=500),
    },
    "54: no limit of tokens": {
        "openai_chat": chat(),
        "openai_responses": responses(),
        "gemini": gemini(),
    },
    "55: stop sequences": {
        "openai_chat": chat(stop="END"),
        "anthropic": claude(stop_sequences=["1", "2", "3", "4", "5"]),
        "gemini": generating(stopSequences=["1", "2", "3", "4", "5"]),
    },
    "56: sampling": {
        "openai_chat": chat(temperature=1.5, top_p=0.9),
        "openai_responses": responses(temperature=1.5, top_p=0.9),
        "anthropic": claude(temperature=0.5, top_k=40),
        "gemini": generating(temperature=1.5, topP=0.9, topK=40),
    },
    "57: an answer of a shape": {
        "openai_chat": chat(
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "place", "schema": SCHEMA, "strict": True},
            }
        ),
        "openai_responses": responses(
            text={"format": {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}}
        ),
        "anthropic": claude(output_config={"format": {"type": "json_schema", "schema": SCHEMA}}),
        "gemini": generating(responseMimeType="application/json", responseJsonSchema=SCHEMA),
    },
    "58: settings that few know": {
        "openai_chat": chat(
            n=2, logprobs=True, top_logprobs=2, seed=7, logit_bias={"1": -100}, presence_penalty=0.5
        ),
        "openai_responses": responses(top_logprobs=2, truncation="auto"),
        "gemini": generating(candidateCount=2, seed=7, presencePenalty=0.5, frequencyPenalty=0.5),
    },
    "65: an answer that the vendor holds": {
        "openai_responses": responses("On.", previous_response_id="resp_1"),
    },
    "65: a beginning that the vendor holds": {
        "gemini": gemini("On.", cachedContent="cachedContents/1"),
    },
}
