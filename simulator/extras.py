"""The other doors that speak JSON: token counts, embeddings, reranking, completions, moderation, images."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

import orjson

from simulator import ask as asks, audio, catalog, chat
from simulator.ask import Ask, BadRequestError, needed, words
from simulator.compose import CREATED, ID, Answer, Counts, compose
from simulator.core import Seen
from simulator.frames import encode
from simulator.made import EVENT_STREAM, Made
from simulator.options import HOSTILE, Options, parse

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""A picture of one pixel."""
MOST_NUMBERS = 1_000_000
_CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)


def answer(seen: Seen, dialect: str, model: str, verb: str) -> Made | None:
    """What one of these paths answers; None where there is no such path. `model`, `verb`: of a Gemini
    path. Raises BadRequestError, BadOptionError."""
    assert isinstance(seen.play, str)  # noqa: S101 - bytes were played before
    if seen.method == "GET":
        return catalog.answer(seen, dialect)
    if seen.method != "POST":
        return None
    if verb:
        maker = _GEMINI.get(verb)
        return maker(asks.load(seen.body), model, seen.play) if maker else None
    if seen.path.startswith("/v1/audio/"):
        return audio.answer(seen)
    make = _PATHS.get(seen.path)
    return make(asks.load(seen.body), seen.play) if make else None


def _made(body: dict[str, Any], options: Options, model: str, usage: str = "usage") -> Made:
    """A whole JSON answer; the variants of usage that a single number can have."""
    if options.usage == "missing":
        body.pop(usage, None)
    elif options.usage == "null":
        body[usage] = None
    told = orjson.dumps(body)
    if options.usage in HOSTILE and isinstance(body.get(usage), dict):
        plain = orjson.dumps(body[usage])
        hostile = b",".join(b'"%b":%b' % (name.encode(), HOSTILE[options.usage]) for name in body[usage])
        told = told.replace(plain, b"{" + hostile + b"}")
    return Made(options, [told], model=model)


def _input(options: Options, counted: int) -> int:
    if options.usage == "zero":
        return 0
    return counted if options.input is None else options.input


def count_tokens(body: dict[str, Any], play: str) -> Made:
    ask = asks.anthropic(body, counting=True)
    options = parse(ask.model, play)
    return _made({"input_tokens": _input(options, ask.words)}, options, ask.model, "input_tokens")


def _gemini_count(body: dict[str, Any], model: str, play: str) -> Made:
    inner = body.get("generateContentRequest")
    options = parse(model, play)
    total = _input(
        options, asks.gemini(model, inner if isinstance(inner, dict) else body, stream=False).words
    )
    told = {"totalTokens": total, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": total}]}
    return _made(told, options, model, "totalTokens")


def vector(text: str, size: int) -> list[float]:
    """Numbers of one text, the same each time."""
    seed = sum(text.encode())
    return [((seed * 31 + place * 17) % 200 - 100) / 128 for place in range(size)]


def _gemini_embed(body: dict[str, Any], model: str, play: str) -> Made:
    options = parse(model, play)
    told = {
        "embedding": {"values": _gemini_vector(body)},
        "usageMetadata": {"promptTokenCount": _input(options, words(body))},
    }
    return _made(told, options, model, "usageMetadata")


def _gemini_batch(body: dict[str, Any], model: str, play: str) -> Made:
    options, requests = parse(model, play), needed(body, "requests", list)
    told = {
        "embeddings": [{"values": _gemini_vector(request)} for request in requests],
        "usageMetadata": {"promptTokenCount": _input(options, words(requests))},
    }
    return _made(told, options, model, "usageMetadata")


def _gemini_vector(request: dict[str, Any]) -> list[float]:
    content = needed(request, "content", dict)
    size = request.get("outputDimensionality") or 8
    return vector(" ".join(asks.texts(content)), min(int(size), 3072))


def _embeddings(body: dict[str, Any], play: str) -> Made:
    model, given = needed(body, "model", str), needed(body, "input", (str, list))
    inputs = given if isinstance(given, list) and not (given and isinstance(given[0], int)) else [given]
    options = parse(model, play)
    size = int(body.get("dimensions") or 8)
    if len(inputs) * size > MOST_NUMBERS:
        raise BadRequestError("Too many inputs, or too many dimensions.", "input")
    data = []
    for index, each in enumerate(inputs):
        numbers: object = vector(str(each), size)
        if body.get("encoding_format") == "base64":
            numbers = base64.b64encode(struct.pack(f"<{size}f", *vector(str(each), size))).decode()
        data.append({"object": "embedding", "index": index, "embedding": numbers})
    counted = sum(len(each) if isinstance(each, list) else len(str(each).split()) for each in inputs)
    total = _input(options, counted)
    told = {
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": total, "total_tokens": total},
    }
    return _made(told, options, model)


def _rerank(body: dict[str, Any], play: str) -> Made:
    model, documents = needed(body, "model", str), needed(body, "documents", list)
    query = needed(body, "query", (str, dict))
    options = parse(model, play)
    shown = [each if isinstance(each, dict) else {"text": str(each)} for each in documents]
    scored = sorted(range(len(shown)), key=lambda index: (-len(str(shown[index])), index))
    results = [
        {"index": index, "relevance_score": round(0.98 / (place + 1), 4), "document": shown[index]}
        for place, index in enumerate(scored[: body.get("top_n") or len(scored)])
    ]
    if body.get("return_documents") is False:
        results = [{name: value for name, value in each.items() if name != "document"} for each in results]
    total = _input(options, words(query, shown))
    told = {
        "id": ID,
        "object": "list",
        "model": model,
        "results": results,
        "usage": {"prompt_tokens": total, "total_tokens": total},
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
    }
    return _made(told, options, model)


def _completions(body: dict[str, Any], play: str) -> Made:
    prompt = needed(body, "prompt", (str, list))
    turned = {**body, "messages": [{"role": "user", "content": prompt}]}
    ask: Ask = asks.chat(turned)
    options = parse(ask.model, play)
    made = compose(ask, options)
    if not ask.stream:
        told = {**_completion(made, made.full_text, "stop"), "usage": chat.usage(made.counts)}
        return _made(told, options, ask.model)
    events = [_completion(made, piece, None) for piece in made.text]
    events.append(_completion(made, "", "length" if made.finish == "length" else "stop"))
    if ask.include_usage and options.usage != "missing":
        events = [{**event, "usage": None} for event in events]
        events.append({**_completion(made, "", None), "choices": [], "usage": chat.usage(made.counts)})
    frames = encode([*(("", orjson.dumps(event)) for event in events), chat.DONE], "openai_chat", options)
    return Made(options, frames, EVENT_STREAM, ask.model, streamed=True)


def _completion(made: Answer, text: str, finish: str | None) -> dict[str, Any]:
    return {
        "id": "cmpl-" + ID,
        "object": "text_completion",
        "created": CREATED,
        "model": made.ask.model,
        "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}],
    }


def _moderations(body: dict[str, Any], play: str) -> Made:
    model, given = body.get("model") or "omni-moderation-latest", needed(body, "input", (str, list))
    options = parse(model, play)
    many = given if isinstance(given, list) and given and isinstance(given[0], str) else [given]
    result = {
        "flagged": False,
        "categories": dict.fromkeys(_CATEGORIES, False),
        "category_scores": dict.fromkeys(_CATEGORIES, 0.0001),
        "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
    }
    return _made({"id": "modr-" + ID, "model": model, "results": [result] * len(many)}, options, model)


def _images(body: dict[str, Any], play: str) -> Made:
    prompt, model = needed(body, "prompt", str), body.get("model") or "sim"
    options = parse(model, play)
    count = body.get("n") or 1
    if not isinstance(count, int) or not 1 <= count <= 10:
        raise BadRequestError("'n' must be from 1 to 10.", "n")
    image: dict[str, Any] = {"b64_json": PNG}
    if body.get("response_format") == "url":
        image = {"url": "https://images.invalid/simulator.png", "revised_prompt": prompt}
    output = 100 * count if options.output is None else options.output
    counts = Counts(0, 0) if options.usage == "zero" else Counts(_input(options, words(prompt)), output)
    usage = {
        "input_tokens": counts.input,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": counts.input},
        "output_tokens": counts.output,
        "total_tokens": counts.input + counts.output,
    }
    return _made({"created": CREATED, "data": [image] * count, "usage": usage}, options, model)


_GEMINI: dict[str, Callable[[dict[str, Any], str, str], Made]] = {
    "countTokens": _gemini_count,
    "embedContent": _gemini_embed,
    "batchEmbedContents": _gemini_batch,
}
_PATHS: dict[str, Callable[[dict[str, Any], str], Made]] = {
    "/v1/messages/count_tokens": count_tokens,
    "/v1/embeddings": _embeddings,
    "/v1/rerank": _rerank,
    "/v1/completions": _completions,
    "/v1/moderations": _moderations,
    "/v1/images/generations": _images,
}
