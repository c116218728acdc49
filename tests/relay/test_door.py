"""Both doors: one whole and one streamed answer."""

from __future__ import annotations

import pytest

from tests.relay.harness import house

pytestmark = pytest.mark.django_db(transaction=True)
HELLO = {"model": "sim", "messages": [{"role": "user", "content": "hello"}]}


async def test_a_whole_answer_passes_and_leaves_one_record(door: str) -> None:
    async with house(door) as each:
        answer = await each.http.post("/v1/chat/completions", json=HELLO)
        assert answer.status_code == 200
        record = each.record()
        assert record["outcome"] == "ok"
        usage = answer.json()["usage"]
        assert (record["input_tokens"], record["output_tokens"]) == (
            usage["prompt_tokens"],
            usage["completion_tokens"],
        )
        await each.idle()


async def test_a_streamed_answer_passes_and_leaves_one_record(door: str) -> None:
    async with house(door) as each:
        answer = await each.http.post("/v1/chat/completions", json={**HELLO, "stream": True})
        assert answer.text.endswith("data: [DONE]\n\n")
        await each.idle()
        assert each.record()["outcome"] == "ok"
