"""One question in every format, and what its answer says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.relay.harness import House

FORMATS = ("openai_chat", "openai_responses", "anthropic", "gemini")
HELLO = "hello there"
Headers = Mapping[str, str]


@dataclass(frozen=True)
class Ask:
    """A way to ask: a format, whole or streamed; `array` is Gemini's stream without events."""

    format: str
    stream: bool = False
    array: bool = False

    def __str__(self) -> str:
        return f"{self.format} {'array' if self.array else 'stream' if self.stream else 'whole'}"

    def path(self, model: str = "sim") -> str:
        """Where it is posted."""
        match self.format:
            case "openai_chat":
                return "/v1/chat/completions"
            case "openai_responses":
                return "/v1/responses"
            case "anthropic":
                return "/v1/messages"
            case _ if self.array:
                return f"/v1beta/models/{model}:streamGenerateContent"
            case _ if self.stream:
                return f"/v1beta/models/{model}:streamGenerateContent?alt=sse"
            case _:
                return f"/v1beta/models/{model}:generateContent"

    def body(self, model: str = "sim", **more: Any) -> dict[str, Any]:
        """What is posted."""
        messages = [{"role": "user", "content": HELLO}]
        body: dict[str, Any]
        match self.format:
            case "openai_chat":
                body = {"model": model, "messages": messages}
            case "openai_responses":
                body = {"model": model, "input": HELLO}
            case "anthropic":
                body = {"model": model, "max_tokens": 1000, "messages": messages}
            case _:
                return {"contents": [{"role": "user", "parts": [{"text": HELLO}]}], **more}
        return {**body, **({"stream": True} if self.stream else {}), **more}

    @property
    def headers(self) -> dict[str, str]:
        """What the format's own client sends beside its credential."""
        return {"anthropic-version": "2023-06-01"} if self.format == "anthropic" else {}

    async def send(
        self, house: House, model: str = "sim", headers: Headers | None = None, **more: Any
    ) -> httpx.Response:
        """The whole answer of the relay; `more` are fields of the body."""
        return await house.http.post(
            self.path(model), json=self.body(model, **more), headers={**self.headers, **(headers or {})}
        )


WHOLE = tuple(Ask(each) for each in FORMATS)
STREAMED = (*(Ask(each, stream=True) for each in FORMATS), Ask("gemini", stream=True, array=True))
ASKS = (*WHOLE, *STREAMED)


def events(body: str) -> list[tuple[str, Any]]:
    """The events of a stream with their data parsed; `[DONE]` stays text."""
    found: list[tuple[str, Any]] = []
    for block in body.replace("\r\n", "\n").split("\n\n"):
        lines = block.split("\n")
        data = "\n".join(line[5:].removeprefix(" ") for line in lines if line.startswith("data:"))
        name = next((line[6:].strip() for line in lines if line.startswith("event:")), "")
        if data:
            found.append((name, data if data == "[DONE]" else json.loads(data)))
    return found


def values(ask: Ask, body: str) -> list[Any]:
    """The JSON values of an answer, however it came."""
    if ask.array:
        return list(json.loads(body))
    if ask.stream:
        return [value for _, value in events(body) if value != "[DONE]"]
    return [json.loads(body)]


def text(ask: Ask, body: str) -> str:
    """The text that an answer holds."""
    return "".join(_text(ask.format, value) for value in values(ask, body))


def _text(form: str, value: dict[str, Any]) -> str:
    match form:
        case "openai_chat":
            choice = (value.get("choices") or [{}])[0]
            return (choice.get("delta") or choice.get("message") or {}).get("content") or ""
        case "openai_responses":
            if value.get("type") == "response.output_text.delta":
                return str(value["delta"])
            parts = [part for item in value.get("output", ()) for part in item.get("content", ())]
            return "".join(part.get("text", "") for part in parts)
        case "anthropic":
            if value.get("type") == "content_block_delta":
                return str(value["delta"].get("text", ""))
            return "".join(part.get("text", "") for part in value.get("content", ()))
        case _:
            parts = (value.get("candidates") or [{}])[0].get("content", {}).get("parts", ())
            return "".join(part.get("text", "") for part in parts)


def openers(ask: Ask, body: str) -> int:
    """How many answers begin in this one."""
    match ask.format:
        case "openai_chat":
            return len({value["id"] for value in values(ask, body)})
        case "openai_responses":
            found = values(ask, body)
            return sum(value.get("type", "response.created") == "response.created" for value in found)
        case "anthropic":
            return sum(value["type"] in ("message_start", "message") for value in values(ask, body))
        case _:
            return len({value["responseId"] for value in values(ask, body)})


def ends(ask: Ask, body: str) -> bool:
    """Whether a stream holds its format's own end, at its end."""
    if ask.array:
        return _finished(json.loads(body)[-1])
    if not ask.stream:
        return True
    name, last = events(body)[-1]
    match ask.format:
        case "openai_chat":
            return bool(last == "[DONE]")
        case "openai_responses":
            return name in ("response.completed", "response.incomplete")
        case "anthropic":
            return name == "message_stop"
        case _:
            return _finished(last)


def _finished(piece: dict[str, Any]) -> bool:
    """Whether a piece of Gemini's says why its answer ended; one that tells an error does not."""
    return any("finishReason" in candidate for candidate in piece.get("candidates", ()))


def error(ask: Ask, body: str) -> dict[str, Any]:
    """The error object of a refusal before the first byte, its envelope checked."""
    value: dict[str, Any] = json.loads(body)
    told: dict[str, Any] = value["error"]
    match ask.format:
        case "anthropic":
            assert value["type"] == "error"
            assert set(told) == {"type", "message"}
            assert value["request_id"]
        case "gemini":
            assert set(told) == {"code", "message", "status"}
        case _:
            assert set(told) == {"message", "type", "param", "code"}
    return told
