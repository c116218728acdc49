"""The option `strict`: each vendor's rules, and conversations that keep them."""

from __future__ import annotations

import pytest

from simulator.compose import AFTER_TOOL, BEFORE_TOOLS, THOUGHTS
from simulator.rules import TABLES
from simulator.server import Simulator
from tests.conversion.talkers import TOOLS, talking

# google-genai subclasses aiohttp's session, which aiohttp discourages.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

MODELS = {
    "openai_chat": "gpt-5.1",
    "openai_responses": "gpt-5.1",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-3-pro-preview",
}
OPTIONS = ".strict.think.tools-2.steps-3"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("form", TABLES)
async def test_a_client_that_gives_back_what_it_got_breaks_no_rule(
    vendor: Simulator, form: str, stream: bool
) -> None:
    async with talking(form, vendor.url, "sk-a", MODELS[form] + OPTIONS) as talker:
        for question in ("what is new", "and what else"):
            talker.say(question)
            for step in range(3):
                heard = await talker.ask(stream=stream)
                assert heard.text == BEFORE_TOOLS
                assert heard.thoughts == f"Step {step + 1}: {THOUGHTS}"
                assert [call.name for call in heard.calls] == [*TOOLS]
                cities = [call.arguments["city"] for call in heard.calls]
                assert cities == [f"Paris {step + 1}.1", f"Paris {step + 1}.2"]
                talker.report([(call, f"sunny in {call.arguments['city']}") for call in heard.calls])
            heard = await talker.ask(stream=stream)
            assert (heard.text, heard.calls) == (AFTER_TOOL, ())
