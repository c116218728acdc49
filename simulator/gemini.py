"""Gemini generateContent: a whole answer, or its chunks."""

from __future__ import annotations

from typing import Any

import orjson

from simulator.compose import ID, LITERAL, Answer, Counts
from simulator.play import Event
from simulator.rules.gemini import signed

_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool": "STOP", "filter": "SAFETY"}
SIGNATURE = "Q2lRQjBlMnVoc2ltdWxhdG9yc2lnbmF0dXJl"


def usage(counts: Counts, kind: str = "") -> dict[str, Any]:
    """Counts as Gemini tells them: candidates and thoughts apart, tool use beside the prompt. `inside`
    tells the thoughts inside the candidates, as some models do."""
    if counts == Counts.literal():
        names = ("promptTokenCount", "candidatesTokenCount", "totalTokenCount")
        return dict.fromkeys((*names, "cachedContentTokenCount", "thoughtsTokenCount"), LITERAL)
    prompt = counts.input - counts.tooluse
    told: dict[str, Any] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": counts.output if kind == "inside" else counts.output - counts.reason,
        "totalTokenCount": counts.input + counts.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    }
    if counts.cached:
        told["cachedContentTokenCount"] = counts.cached
    if counts.reason:
        told["thoughtsTokenCount"] = counts.reason
    if counts.tooluse:
        told["toolUsePromptTokenCount"] = counts.tooluse
    return told


def _body(
    answer: Answer, parts: list[dict[str, Any]] | None, finish: str | None, told: object
) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if parts is not None:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}}
        if finish:
            candidate["finishReason"] = finish
        count = answer.ask.count
        body["candidates"] = [{**candidate, "index": index} for index in range(count)]
    if answer.finish == "block":
        body = {"promptFeedback": {"blockReason": "SAFETY"}}
    if answer.usage == "null":
        body["usageMetadata"] = None
    elif told is not None and answer.usage != "missing":
        body["usageMetadata"] = told
    body["modelVersion"] = answer.ask.model
    body["responseId"] = ID
    return body


def _thought(text: str) -> dict[str, Any]:
    return {"text": text, "thought": True}


def _tail(answer: Answer) -> list[dict[str, Any]]:
    """Tool calls come whole, in one part each; the first carries the signature of the thoughts before it, and
    where the vendor is strict, always one: it wants it back."""
    parts: list[dict[str, Any]] = [
        {"functionCall": {"id": call.id, "name": call.name, "args": call.arguments}} for call in answer.calls
    ]
    if (answer.thoughts or answer.tag) and parts:
        parts[0]["thoughtSignature"] = _signature(answer, parts[0])
    return parts


def _signature(answer: Answer, part: dict[str, Any]) -> str:
    return signed(part) if answer.tag else SIGNATURE


def _shown(answer: Answer) -> tuple[str, ...]:
    """Its thoughts as far as they are told: a strict vendor shows them to whom asks."""
    return answer.thoughts if answer.ask.think or not answer.tag else ()


def whole(answer: Answer) -> dict[str, Any]:
    """The `GenerateContentResponse` object."""
    parts = [_thought(answer.full_thoughts)] if _shown(answer) else []
    if answer.text:
        said: dict[str, Any] = {"text": answer.full_text}
        if answer.thoughts and not (answer.tag and answer.calls):
            said["thoughtSignature"] = _signature(answer, said)
        parts.append(said)
    parts += _tail(answer)
    return _body(answer, parts, _end(answer), usage(answer.counts, answer.usage))


def _end(answer: Answer) -> str | None:
    return None if answer.options.fault == "no-finish" else _FINISH.get(answer.finish)


def events(answer: Answer) -> list[Event]:
    """Chunks; each carries usage so far, the last the finish reason."""
    frames: list[Event] = []
    kind = answer.usage

    def chunk(parts: list[dict[str, Any]] | None, finish: str | None, told: Counts | None) -> None:
        counted = None if told is None else usage(told, kind)
        frames.append(("", orjson.dumps(_body(answer, parts, finish, counted))))

    def running(said: int) -> Counts:
        counts = answer.shown
        if kind == "shrinking" or counts == Counts.literal():
            return counts
        output = min(said, counts.output)
        return Counts(
            counts.input,
            output,
            counts.cached,
            counts.w5m,
            counts.w1h,
            min(counts.reason, output),
            counts.tooluse,
        )

    if answer.finish == "block":
        chunk(None, None, answer.counts)
        return frames
    early = kind not in ("late", "finish")
    said = 0
    for thought in _shown(answer):
        said += 1
        chunk([_thought(thought)], None, running(said) if early else None)
    *texts, last = (*answer.text, "") if answer.text and answer.calls else answer.text or ("",)
    for piece in texts:
        said += 1
        chunk([{"text": piece}], None, running(said) if early else None)
    closing: list[dict[str, Any]] = _tail(answer) or [{"text": last}]
    if answer.thoughts and not answer.calls:
        closing[0]["thoughtSignature"] = _signature(answer, closing[0])
    chunk(closing, _end(answer), None if kind == "late" else answer.counts)
    if kind == "repeated":
        chunk([{"text": ""}], _end(answer), answer.counts)
    if kind == "late":
        chunk(None, None, answer.counts)
    return frames
