"""What vendors' own reports of usage cost, each worked out by hand.

Dollars for a million tokens: 3 input, 15 output, 20 reasoning (so 5 on top of output), 0.30 cache read, 3.75
cache write for five minutes, 6 for an hour; 0.01 for a search of the web. A request of 400 bytes stands for
100 tokens where a vendor tells no input, 8 bytes of text for 2 where it tells no output.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from tests.wire.cuts import follow
from tests.wire.usage_payloads import PAYLOADS, Payload
from usage.charge import charge
from usage.pico import from_pico
from usage.pricing import Price
from wire import FORMATS
from wire.types import Usage

LIST = Price.build(
    source="hand",
    input="3",
    output="15",
    reasoning="20",
    cache_read="0.30",
    cache_write_5m="3.75",
    cache_write_1h="6",
    fees={"web_search": "0.01"},
)
BY_REQUEST = Price.build(source="hand", input="3", output="15", request="0.002")
EXACT, ESTIMATED = "", "estimated"

# millionths of a dollar, and whether it is an estimate
COSTS = {
    "openai: a plain answer, every detail zero": ("5493", EXACT),  # 48 + 5,445
    "openai: a prompt from the cache": ("5334", EXACT),  # 258 + 576 + 4,500
    "openai: what was written to a cache, and what was read": ("7200", EXACT),  # 600 + 600 + 1,500 + 4,500
    "openai: sound among the output": ("651", EXACT),  # 51 + 600
    "openai: null details": ("3300", EXACT),  # 300 + 3,000
    "azure: reasoning within the output": ("1535", EXACT),  # 45 + 1,170 + 320
    "mistral: a prompt from the cache": ("767.4", EXACT),  # 15 + 302.4 + 450
    "mistral: no details at all": ("105", EXACT),  # 30 + 75
    "mistral: a tier of its own": ("87", EXACT),  # 57 + 30
    "mistral: told on every chunk, more reasoning than output": ("100", EXACT),  # 60 + 30 + 10
    "openrouter: what was written to a cache": ("46647", EXACT),  # 57 + 18,000 + 28,590
    "deepseek: nothing but reasoning": ("421", EXACT),  # 261 + 120 + 40
    "deepseek: usage in the chunk that finishes": ("344", EXACT),  # 264 + 60 + 20
    "deepseek: a tool call": ("2102", EXACT),  # 1,122 + 900 + 80
    "xai: reasoning counted beside the output": ("4384.2", EXACT),  # 141 + 73.2 + 3,225 + 945
    "xai: the same, streamed": ("4400", EXACT),  # 3 + 87 + 3,330 + 980
    "xai through a gateway: fields of the gateway's own": ("220.2", EXACT),  # 3 + 202.2 + 15
    "groq: usage under x_groq and again on top": ("855", EXACT),  # 630 + 225
    "openai: usage told once, before the end, is not final": ("57", ESTIMATED),  # 27 + 30
    "openai: no usage at all": ("330", ESTIMATED),  # 300 + 30
    "openai: reasoning within the output": ("23135", EXACT),  # 225 + 17,790 + 5,120
    "openai: no total": ("1750", EXACT),  # 150 + 1,500 + 100
    "openai: a custom tool": ("450", EXACT),  # 150 + 300
    "openai: a counter of cache writes": ("198", EXACT),  # 123 + 75
    "openai: a function call": ("510", EXACT),  # 135 + 375
    "openai: the shortest answer": ("66", EXACT),  # 36 + 30
    "openai: a search of the web": ("22531", EXACT),  # 981 + 11,550 + 10,000
    "openai: no details": ("3300", EXACT),  # 300 + 3,000
    "openai: cut short, no usage": ("330", ESTIMATED),  # 300 + 30
    "anthropic: input first, output last": ("123", EXACT),  # 33 + 90
    "anthropic: a tool call": ("2106", EXACT),  # 1,131 + 975
    "anthropic: a server tool": ("726", EXACT),  # 126 + 600
    "anthropic: a server tool and one of the client's": ("450", EXACT),  # 150 + 300
    "anthropic: nothing at the start": ("126", EXACT),  # 36 + 90
    "anthropic: no input at all": ("390", ESTIMATED),  # 300 + 90
    "anthropic: everything at the end": ("20060.75", EXACT),  # 33 + 1.5 + 11.25 + 15 + 20,000
    "anthropic: an object where one expects a count": ("195", EXACT),  # 75 + 120
    "anthropic: the input grows while the turn runs": ("213", EXACT),  # 183 + 30
    "anthropic: cached while the turn runs, the split told at the start only": (
        "17388.45",  # 18 + 1,886.7 + 12,513.75 + 2,970
        ESTIMATED,
    ),
    "anthropic: everything told twice": ("2415", EXACT),  # 1,695 + 720
    "anthropic: thinking within the output": ("5736", EXACT),  # 141 + 5,595
    "anthropic: refused before a word": ("129", EXACT),  # 54 + 75
    "anthropic: message_start twice": ("3456", EXACT),  # 51 + 3,405
    "anthropic: every cache counter zero": ("105", EXACT),  # 30 + 75
    "anthropic: two searches of the web": ("110354", EXACT),  # 81,354 + 9,000 + 20,000
    "anthropic: writes without their split": ("3428.25", ESTIMATED),  # 1,512 + 461.25 + 1,455
    "anthropic: no cache counters": ("2967", EXACT),  # 1,512 + 1,455
    "anthropic: writes of five minutes and of an hour": ("15384", EXACT),  # 6,144 + 540 + 555 + 600 + 7,545
    "anthropic: a recorded answer": ("1017", EXACT),  # 42 + 975
    "gemini: thoughts beside the candidates, growing": ("4072", EXACT),  # 27 + 3,120 + 925
    "gemini: a longer answer": ("5582", EXACT),  # 27 + 4,275 + 1,280
    "gemma: thoughts before any candidate": ("1553", EXACT),  # 18 + 1,155 + 380
    "gemini: a function call": ("1212", EXACT),  # 87 + 900 + 225
    "gemini: mostly thoughts": ("1033", EXACT),  # 18 + 765 + 250
    "gemini: prompts of tools": ("2317", EXACT),  # 432 + 1,605 + 280
    "gemini: prompts of tools, again": ("2771", EXACT),  # 231 + 2,130 + 410
    "gemini: prompts of tools and a little from the cache": ("3065.2", EXACT),  # 219 + 1.2 + 2,400 + 445
    "gemini: every counter, and fields of the future": ("1417.9", EXACT),  # 237 + 0.9 + 900 + 280
    "gemini: a prompt that was blocked": ("57", ESTIMATED),  # 27 + 30
    "gemini: tools and thoughts": ("3450", EXACT),  # 300 + 2,430 + 720
    "gemini: a prompt from the cache, with sound": ("11690.7", EXACT),  # 5,739 + 3,671.7 + 1,935 + 345
    "gemini: no total": ("9690", EXACT),  # 2,100 + 90 + 7,500
    "gemini: tools and thoughts without a total": ("230", EXACT),  # 105 + 105 + 20
    "gemini: a total that fits nothing": ("495", EXACT),  # 225 + 270
    "gemini: embeddings": ("36", EXACT),
    "openai: an embedding": ("24", EXACT),
    "mistral: embeddings": ("48", EXACT),
    "openai: an image": ("900", EXACT),  # 150 + 750
    "openai: a transcription by tokens": ("1071", EXACT),  # 366 + 705
    "openai: a transcription by its length": ("2000", ESTIMATED),  # no tokens: the price of a request
    "cohere: a ranking, billed by searches": ("2000", ESTIMATED),
}
PER_REQUEST = {"openai: a transcription by its length", "cohere: a ranking, billed by searches"}


def test_every_report_has_its_cost() -> None:
    assert len(COSTS) >= 40
    assert [payload.name for payload in PAYLOADS if payload.name not in COSTS] == []


def cost(payload: Payload, usage: Usage) -> tuple[Decimal | None, str]:
    price = BY_REQUEST if payload.name in PER_REQUEST else LIST
    made = charge(price, usage, kind=payload.kind, text_bytes=8, request_bytes=400)
    assert made.suspect == usage.suspect
    return None if made.list_pico is None else from_pico(
        made.list_pico
    ), ESTIMATED if made.estimated else EXACT


def by_hand(payload: Payload) -> tuple[Decimal, str]:
    millionths, how = COSTS[payload.name]
    return Decimal(millionths) / 1_000_000, how


@pytest.mark.parametrize("payload", [each for each in PAYLOADS if each.stream], ids=lambda each: each.name)
def test_a_streamed_answer_costs_what_a_hand_computes(payload: Payload) -> None:
    assert cost(payload, follow(payload.format, payload.brief)(payload.stream).usage) == by_hand(payload)


@pytest.mark.parametrize("payload", [each for each in PAYLOADS if each.whole], ids=lambda each: each.name)
def test_a_whole_answer_costs_what_a_hand_computes(payload: Payload) -> None:
    brief = msgspec.structs.replace(payload.brief, stream=False)
    assert cost(payload, FORMATS[payload.format].read_whole(payload.whole, brief).usage) == by_hand(payload)
