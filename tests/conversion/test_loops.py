"""Loops of tools and thoughts, by each client over each vendor, that keep every rule of the vendor's."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import orjson
import pytest

from simulator.compose import AFTER_TOOL, BEFORE_TOOLS, THOUGHTS
from simulator.core import Seen
from simulator.rules.gemini import SKIPPED
from tests.conversion.talkers import TOOLS, talking
from tests.relay.harness import house
from wire import DIALECTS, FORMATS

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # google-genai subclasses aiohttp's session, which aiohttp discourages.
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
]

MODELS = {
    "openai_chat": "gpt-5.1",
    "openai_responses": "gpt-5.1",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-3-pro-preview",
}
"""A model for each vendor whose rules are its strictest."""
UNSHOWN = ("openai_chat", "openai_responses")
"""A client of Chat Completions has no word to ask for a summary, and OpenAI gives one to whom asks alone."""
LOOP = ".strict.think.tools-2.steps-3"
PAIRS = [(ours, theirs) for ours, theirs in product(FORMATS, FORMATS) if {ours, theirs} <= DIALECTS.keys()]
pairs = pytest.mark.parametrize(("ours", "theirs"), PAIRS)
CROSSED = [pair for pair in PAIRS if pair[0] != pair[1]]
ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
LOSSY = [(*pair, lossy) for pair in PAIRS for lossy in (False, True) if not lossy or pair in CROSSED]


def thought_of(seen: Seen, form: str) -> int:
    """How many thoughts a vendor was given back, as it signed them."""
    body = orjson.loads(seen.body)
    match form:
        case "anthropic":
            parts = [part for message in body["messages"] for part in _objects(message["content"])]
            return sum(part["type"] == "thinking" for part in parts)
        case "openai_responses":
            return sum(item.get("type") == "reasoning" for item in body["input"])
        case "gemini":
            parts = [part for content in body["contents"] for part in content["parts"]]
            signatures = [part.get("thoughtSignature") for part in parts if "functionCall" in part]
            return len([each for each in signatures if each and each not in SKIPPED])
        case _:
            return 0


def _objects(content: Any) -> list[Any]:
    return content if isinstance(content, list) else []


@pytest.mark.parametrize(
    ("ours", "theirs", "lossy"),
    LOSSY,
    ids=[f"{ours}-{theirs}-{'forgetful' if lossy else 'faithful'}" for ours, theirs, lossy in LOSSY],
)
@ways
async def test_three_rounds_of_parallel_tools_with_thoughts(
    ours: str, theirs: str, lossy: bool, stream: bool
) -> None:
    model = MODELS[theirs] + LOOP
    async with (
        house("asgi", formats=[theirs], models=[model], conversion="lenient") as relay,
        talking(ours, relay.url, relay.secret, model, lossy=lossy) as talker,
    ):
        steps = 0
        for question in ("what is new", "and what else"):
            talker.say(question)
            for step in range(3):
                heard = await talker.ask(stream=stream)
                assert heard.text == BEFORE_TOOLS
                shown = f"Step {step + 1}: {THOUGHTS}"
                assert heard.thoughts == ("" if (ours, theirs) == UNSHOWN else shown)
                assert [call.name for call in heard.calls] == [*TOOLS]
                assert [call.arguments["city"] for call in heard.calls] == [
                    f"Paris {step + 1}.{number}" for number in (1, 2)
                ]
                assert len({call.id for call in heard.calls}) == 2
                steps += 1
                if theirs != "openai_chat":
                    told = thought_of(relay.vendor.requests[-1], theirs)
                    assert told >= step, "thoughts of this turn did not come back"
                talker.report([(call, f"sunny in {call.arguments['city']}") for call in heard.calls])
            heard = await talker.ask(stream=stream)
            assert (heard.text, heard.calls) == (AFTER_TOOL, ())
        finals = await relay.settled(8)
    outcomes = Counter((final["record"]["outcome"], len(final["attempts"])) for final in finals)
    assert outcomes == {("ok", 1): 8}


@pytest.mark.parametrize(
    ("model", "gone"),
    [
        ("claude-sonnet-4-5", slice(None)),
        ("claude-opus-4-6", slice(None)),
        ("claude-opus-5-5", slice(None)),
        ("claude-opus-5-5", slice(1)),
    ],
    ids=["budget", "adaptive", "bound", "bound-first"],
)
async def test_thoughts_that_nobody_keeps_any_longer_cost_no_answer(model: str, gone: slice) -> None:
    """What the relay kept for a client that keeps nothing is bounded, and may be gone, all of it or the first
    alone, behind which the others were thought."""
    async with (
        house("asgi", formats=["anthropic"], models=[model + LOOP], conversion="lenient") as relay,
        talking("openai_chat", relay.url, relay.secret, model + LOOP, lossy=True) as talker,
    ):
        talker.say("what is new")
        for _ in range(2):
            heard = await talker.ask(stream=True)
            talker.report([(call, "sunny") for call in heard.calls])
        kept = relay.engine.keeping._kept
        assert len(kept) == 2
        for name in [*kept][gone]:
            del kept[name]
        heard = await talker.ask(stream=True)
        assert len(heard.calls) == 2
        beta = relay.vendor.requests[-1].header("anthropic-beta")
        assert (beta is not None) is ("5-5" in model and gone == slice(1))
        finals = await relay.settled(3)
    assert {(final["record"]["outcome"], len(final["attempts"])) for final in finals} == {("ok", 1)}


COUNTED = ".in-1000.out-50.cached-800.reason-20.think"


@pairs
@ways
async def test_a_client_is_told_the_tokens_that_the_ledger_has(ours: str, theirs: str, stream: bool) -> None:
    model = MODELS[theirs] + COUNTED
    async with (
        house("asgi", formats=[theirs], models=[model], conversion="lenient") as relay,
        talking(ours, relay.url, relay.secret, model) as talker,
    ):
        talker.say("what is new")
        heard = await talker.ask(stream=stream)
        (final,) = await relay.settled()
    record = final["record"]
    names = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
    kept = tuple(record.get(name, 0) for name in names)
    told = tuple(kept[at] if count is None else count for at, count in enumerate(heard.usage))
    assert told == kept == (1000, 50, 800, kept[3])
    if ours == "anthropic" and stream:
        assert heard.opening is not None
        assert heard.opening > 0
