"""A model that does what small exercises ask, so that whoever tries out a vendor has something to see; and a
vendor that refuses parts of what may be asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import orjson

from simulator.ask import Ask, texts

_WORD = re.compile(r"\bthe (?:code )?word (?:is )?(\w+)", re.I)
_COUNT = re.compile(r"from (\d) to (\d)")
_DEGREES = re.compile(r"degrees\D{0,6}(\d+)")
_PICTURE = re.compile(rb'"(?:image_url|input_image|inlineData|inline_data)"|"type":"image"')
_THINKING = re.compile(rb'"(?:reasoning_effort|thinking|reasoning|thinkingConfig|thinking_config)":[^n]')
_STOPS = ("stop", "stop_sequences", "stopSequences")


def answer(ask: Ask) -> str:
    """What a pupil says: the number it was told, a count, the colour of a picture (red, unseen), or the word
    that it was told to say."""
    said = "\n".join(_all_texts(ask))
    degrees = _DEGREES.search(said.replace("_", " "))
    if ask.answered and degrees:
        return f"{degrees[1]} degrees."
    count = _COUNT.search(ask.prompt)
    if count:
        return _stopped(" ".join(map(str, range(int(count[1]), int(count[2]) + 1))), _stops(ask))
    if _PICTURE.search(orjson.dumps(ask.body)):
        return "Red."
    words = _WORD.findall(said)
    return words[-1] if words else "I do not know."


def refused(ask: Ask, parts: Sequence[str]) -> str:
    """The first of these parts (`options.REFUSED`) that the request has; "" for none."""
    body = orjson.dumps(ask.body)
    has = {
        "images": bool(_PICTURE.search(body)),
        "schema": ask.schema is not None,
        "stop": bool(_stops(ask)),
        "streams": ask.stream,
        "thinking": thinks(ask),
        "tools": bool(ask.tools),
    }
    return next((part for part in parts if has[part]), "")


def thinks(ask: Ask) -> bool:
    """Whether the request asks for thinking, in whatever way."""
    return ask.think or bool(_THINKING.search(orjson.dumps(ask.body)))


def _all_texts(ask: Ask) -> Iterable[str]:
    for name in ("system", "instructions", "systemInstruction", "messages", "input", "contents"):
        yield from texts(ask.body.get(name))
    yield orjson.dumps(ask.body.get("contents")).decode()  # Gemini's results are objects


def _stops(ask: Ask) -> list[str]:
    config = ask.body.get("generationConfig")
    for holder in (ask.body, config if isinstance(config, dict) else {}):
        for name in _STOPS:
            told = holder.get(name)
            if told:
                return [told] if isinstance(told, str) else [str(each) for each in told]
    return []


def _stopped(text: str, stops: Iterable[str]) -> str:
    for stop in stops:
        text = text.partition(stop)[0]
    return text
