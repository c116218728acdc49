"""The real coding agents over every vendor: they run their tools, and count the tokens the ledger has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any

import orjson
import pytest

from providers.models import Deployment, Model, Provider
from simulator.compose import AFTER_TOOL, TEXT
from tests.agents.conftest import Strangers, Ways
from tests.agents.programs import AGENTS, Told
from tests.conversion.test_loops import thought_of
from tests.counts import PROOF
from tests.relay.harness import PRICE, House, house
from wire import FORMATS

pytestmark = [
    pytest.mark.agents,
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("agents"),
]

THINKS = {
    "openai_chat": "gpt-5.1",
    "openai_responses": "gpt-5.1",
    "anthropic": "claude-opus-4-8",
    "gemini": "gemini-3.1-pro-preview",
}
PLAIN = {
    "openai_chat": "gpt-4.1",
    "openai_responses": "gpt-4.1",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-3-flash-preview",
}
"""A model of each vendor that thinks, and one that does not."""
SEARCHES = "gemini-3-flash-preview"
"""The model that Gemini CLI searches the web with, whatever model it was started with."""
CHOOSES = "gemini-3.5-flash-lite"
"""The model that chooses a model, where Gemini CLI was told none."""
OPTIONS = ".strict.steps-2.cached-64"
RUNS = [(agent, theirs, thinks) for agent, theirs in product(AGENTS, FORMATS) for thinks in (True, False)]
FEW = [
    ("claude", "openai_chat", False),
    ("claude", "openai_responses", True),
    ("claude", "anthropic", True),
    ("claude", "gemini", True),
    ("codex", "openai_responses", True),
    ("codex", "anthropic", True),
    ("codex", "gemini", False),
    ("gemini", "openai_responses", True),
]
"""Of all, those of `make test`."""


def served(model: str, upstream: str) -> Callable[[str], None]:
    """Makes the one model that is served, under the vendor's own name."""

    def make(url: str) -> None:
        row = Model(name=model, conversion="lenient", **PRICE)
        row.full_clean()
        row.save()
        Deployment.objects.create(model=row, provider=Provider.objects.get(), upstream_name=upstream)

    return make


def summed(records: list[dict[str, Any]]) -> Told:
    """The tokens of all records, as agents sum them up."""
    names = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
    return Told(*(sum(record.get(name, 0) for record in records) for name in names))


def results(relay: House) -> list[str]:
    """What the tools answered, as the vendor was told last."""
    found: list[str] = []

    def look(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("role") == "tool" or value.get("type") in ("tool_result", "function_call_output"):
                found.append(orjson.dumps(value).decode())
            elif "functionResponse" in value:
                found.append(orjson.dumps(value["functionResponse"]).decode())
            else:
                look(list(value.values()))
        elif isinstance(value, list):
            for each in value:
                look(each)

    look(orjson.loads(relay.vendor.requests[-1].body))
    return found


@pytest.mark.parametrize(
    ("name", "theirs", "thinks"),
    RUNS if PROOF else FEW,
    ids=lambda value: str(value) if isinstance(value, str) else "thinks" if value else "plain",
)
async def test_an_agent_works_with_its_tools_on_a_vendor_of_any_format(
    name: str, theirs: str, thinks: bool, ways: Ways, strangers: Strangers
) -> None:
    agent, model = AGENTS[name], (THINKS if thinks else PLAIN)[theirs]
    upstream = model + OPTIONS + (".think" if thinks else "")
    model = upstream if agent.format == theirs == "anthropic" else model
    async with house("asgi", formats=[theirs], models=[], prepare=served(model, upstream)) as relay:
        prompt = f"use {' and '.join(agent.tools)}"
        run = await agent.run(prompt, **ways(relay, model))
        await relay.idle()
        finals = relay.journal()
        answers = results(relay)
        thoughts = thought_of(relay.vendor.requests[-1], theirs)
    records = [final["record"] for final in finals]
    outcomes = Counter((record["outcome"], record["status_code"]) for record in records)
    assert outcomes == {("ok", 200): 3}, run.printed
    assert run.text == AFTER_TOOL
    assert len(answers) == 4, answers
    assert thoughts >= (2 if thinks and theirs != "openai_chat" else 0)
    told, kept = run.told, summed(records)
    assert (told.input, told.output) == (kept.input, kept.output)
    assert told.cached in (None, kept.cached)
    assert told.reasoning in (None, kept.reasoning)
    assert strangers.asked == []


@pytest.mark.parametrize("theirs", FORMATS if PROOF else ["openai_chat", "anthropic"])
async def test_claude_code_counts_tokens_on_a_vendor_of_any_format(
    theirs: str, ways: Ways, strangers: Strangers
) -> None:
    model = THINKS[theirs]
    async with house("asgi", formats=[theirs], models=[], prepare=served(model, model + OPTIONS)) as relay:
        run = await AGENTS["claude"].run("/context", **ways(relay, model))
        await relay.idle()
        records = [final["record"] for final in relay.journal()]
    assert "Context Usage" in run.text
    assert {(record["kind"], record["outcome"], record["status_code"]) for record in records} == {
        ("count_tokens", "ok", 200)
    }
    assert strangers.asked == []


async def test_gemini_cli_searches_with_a_model_of_its_own_choice(ways: Ways, strangers: Strangers) -> None:
    model = THINKS["openai_responses"]

    def both(url: str) -> None:
        for name in (model, SEARCHES):
            served(name, model + OPTIONS)(url)

    async with house("asgi", formats=["openai_responses"], models=[], prepare=both) as relay:
        run = await AGENTS["gemini"].run("use google_web_search", **ways(relay, model))
        await relay.idle()
        records = [final["record"] for final in relay.journal()]
        found = results(relay)
    assert [record["model_name"] for record in records] == [model, SEARCHES, model, SEARCHES, model]
    assert {record["outcome"] for record in records} == {"ok"}
    assert all(TEXT[:40] in each for each in found)
    assert (len(found), run.text) == (2, AFTER_TOOL)
    kept = summed(records)
    assert (run.told.input, run.told.output) == (kept.input, kept.output)


async def test_gemini_cli_left_to_choose_goes_on_without_the_model_that_would_choose(ways: Ways) -> None:
    model = THINKS["gemini"]
    prepare = served(model, THINKS["anthropic"] + OPTIONS)
    async with house("asgi", formats=["anthropic"], models=[], prepare=prepare) as relay:
        run = await AGENTS["gemini"].run("use read_file", **ways(relay, "auto"))
        await relay.idle()
        records = [final["record"] for final in relay.journal()]
    asked = Counter((record["model_name"], record["status_code"]) for record in records)
    assert asked == {(model, 200): 3, (CHOOSES, 404): 1}
    assert run.text == AFTER_TOOL
    kept = summed(records)
    assert (run.told.input, run.told.output) == (kept.input, kept.output)
