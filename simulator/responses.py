"""OpenAI Responses: a whole response, or its events."""

from __future__ import annotations

from typing import Any

import orjson

from simulator.compose import CREATED, ID, LITERAL, Answer, Call, Counts
from simulator.play import Event
from simulator.rules.responses import encrypted

ENCRYPTED = "Z0FBQUFBQnNpbXVsYXRvcg" * 4
_ECHOED = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "truncation",
    "user",
)
_DEFAULTS: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def usage(counts: Counts) -> dict[str, Any]:
    """Counts as Responses tells them: input holds the cached ones, output the reasoning."""
    literal = counts == Counts.literal()
    return {
        "input_tokens": counts.input,
        "input_tokens_details": {
            "cached_tokens": counts.cached,
            "cache_write_tokens": LITERAL if literal else counts.w5m + counts.w1h,
        },
        "output_tokens": counts.output,
        "output_tokens_details": {"reasoning_tokens": counts.reason},
        "total_tokens": LITERAL if literal else counts.input + counts.output,
    }


def settings(body: dict[str, Any]) -> bytes:
    """What an answer takes over from its request, to tell requests apart that get the same answer."""
    names = (*_ECHOED, "include")
    return orjson.dumps({name: body[name] for name in names if body.get(name) is not None})


def shell(body: dict[str, Any], model: str, status: str) -> dict[str, Any]:
    """A response object that holds nothing yet: the request's settings and the status."""
    return {
        "id": "resp_" + ID,
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "service_tier": "default",
        "usage": None,
        **_DEFAULTS,
        **{name: body[name] for name in _ECHOED if body.get(name) is not None},
    }


def whole(answer: Answer) -> dict[str, Any]:
    """The `response` object as it ends."""
    status = {"length": "incomplete", "filter": "incomplete"}.get(answer.finish, "completed")
    body = shell(answer.ask.body, answer.ask.model, status)
    body["output"] = [item for item, _ in _items(answer)]
    if status == "incomplete":
        reason = "max_output_tokens" if answer.finish == "length" else "content_filter"
        body["incomplete_details"] = {"reason": reason}
    else:
        body["completed_at"] = CREATED
    body["usage"] = None if answer.usage == "null" else usage(answer.counts)
    if answer.usage == "missing":
        del body["usage"]
    return body


def failed(body: dict[str, Any], model: str, code: str, message: str) -> dict[str, Any]:
    """The `response` object of a `response.failed` event."""
    return {**shell(body, model, "failed"), "error": {"code": code, "message": message}}


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _items(answer: Answer) -> list[tuple[dict[str, Any], Call | None]]:
    """Output items as they end, in order; a tool call beside its item."""
    items: list[tuple[dict[str, Any], Call | None]] = []
    if answer.thoughts:
        told = [{"type": "summary_text", "text": answer.full_thoughts}]
        reasoning: dict[str, Any] = {
            "id": "rs_" + (answer.tag or ID),
            "type": "reasoning",
            "summary": told if answer.ask.think or not answer.tag else [],
        }
        include = answer.ask.body.get("include")
        if isinstance(include, list) and "reasoning.encrypted_content" in include:
            reasoning["encrypted_content"] = encrypted(answer.tag) if answer.tag else ENCRYPTED
        items.append((reasoning, None))
    if answer.text:
        status = "incomplete" if answer.finish in ("length", "filter") else "completed"
        message = {
            "id": "msg_" + (answer.tag or ID),
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [_text_part(answer.full_text)],
        }
        items.append((message, None))
    items += [
        (
            {
                "id": "fc_" + call.id,
                "type": "function_call",
                "status": "completed",
                "arguments": call.json,
                "call_id": "call_" + call.id,
                "name": call.name,
            },
            call,
        )
        for call in answer.calls
    ]
    return items


class _Script:
    """Events in the making: numbers them in sequence."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def say(self, kind: str, **fields: Any) -> None:
        body = {"type": kind, "sequence_number": len(self.events), **fields}
        self.events.append((kind, orjson.dumps(body)))


def events(answer: Answer) -> list[Event]:
    """response.created to response.completed (or .incomplete), each item opened, told and closed."""
    script = _Script()
    opening = shell(answer.ask.body, answer.ask.model, "in_progress")
    if answer.usage in ("shrinking", "each", "start", "repeated"):
        opening["usage"] = usage(answer.shown)
    script.say("response.created", response=opening)
    script.say("response.in_progress", response=opening)
    for index, (item, call) in enumerate(_items(answer)):
        match item["type"]:
            case "reasoning":
                _tell_reasoning(script, answer, item, index)
            case "message":
                _tell_message(script, answer, item, index)
            case _ if call is not None:
                _tell_call(script, call, item, index)
    final = whole(answer)
    if answer.options.fault != "no-finish":
        script.say("response." + final["status"], response=final)
    return script.events


def _tell_reasoning(script: _Script, answer: Answer, item: dict[str, Any], index: int) -> None:
    opened = {**item, "summary": []}
    if answer.tag and "encrypted_content" in item:
        opened["encrypted_content"] = item["encrypted_content"][:16]  # "may be incomplete" until it is done
    script.say("response.output_item.added", output_index=index, item=opened)
    if not item["summary"]:
        script.say("response.output_item.done", output_index=index, item=item)
        return
    where = {"item_id": item["id"], "output_index": index, "summary_index": 0}
    script.say("response.reasoning_summary_part.added", **where, part={"type": "summary_text", "text": ""})
    for piece in answer.thoughts:
        script.say("response.reasoning_summary_text.delta", **where, delta=piece)
    script.say("response.reasoning_summary_text.done", **where, text=answer.full_thoughts)
    script.say("response.reasoning_summary_part.done", **where, part=item["summary"][0])
    script.say("response.output_item.done", output_index=index, item=item)


def _tell_message(script: _Script, answer: Answer, item: dict[str, Any], index: int) -> None:
    opened = {**item, "status": "in_progress", "content": []}
    script.say("response.output_item.added", output_index=index, item=opened)
    where = {"item_id": item["id"], "output_index": index, "content_index": 0}
    script.say("response.content_part.added", **where, part=_text_part(""))
    for piece in answer.text:
        script.say("response.output_text.delta", **where, delta=piece, logprobs=[])
    script.say("response.output_text.done", **where, text=answer.full_text, logprobs=[])
    script.say("response.content_part.done", **where, part=_text_part(answer.full_text))
    script.say("response.output_item.done", output_index=index, item=item)


def _tell_call(script: _Script, call: Call, item: dict[str, Any], index: int) -> None:
    opened = {**item, "status": "in_progress", "arguments": ""}
    script.say("response.output_item.added", output_index=index, item=opened)
    where = {"item_id": item["id"], "output_index": index}
    for piece in call.pieces:
        script.say("response.function_call_arguments.delta", **where, delta=piece)
    script.say("response.function_call_arguments.done", **where, name=call.name, arguments=call.json)
    script.say("response.output_item.done", output_index=index, item=item)
