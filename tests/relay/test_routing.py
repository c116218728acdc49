"""Who serves a request: modes, capabilities and exclusive keys, through the whole relay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from providers.models import Deployment, Endpoint, Key, Model, Provider
from tests.relay.asks import Ask
from tests.relay.harness import BASES, House, house

pytestmark = [pytest.mark.django_db(transaction=True)]
CHAT, MESSAGES = Ask("openai_chat"), Ask("anthropic")
PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://e.example/a"}}]}]
LONG = {"role": "user", "content": [
    {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
]}  # fmt: skip


def second_provider(**key: Any) -> Callable[[str], None]:
    """A provider of lower priority beside the ordinary one, with one key."""

    def prepare(url: str) -> None:
        other = Provider.objects.create(name="second", priority=200)
        for each, base in BASES.items():
            Endpoint.objects.create(provider=other, format=each, base_url=url + base, allow_private=True)
        row = Key(provider=other, name="other", **key)
        row.set_secret("sk-vendor-other-key-9")
        row.save()
        Deployment.objects.create(model=Model.objects.get(), provider=other, upstream_name="sim")

    return prepare


async def served_by(each: House, ask: Ask, **more: Any) -> str:
    """The key that answers."""
    before = len(each.journal())
    answer = await ask.send(each, "sim", **more)
    assert answer.status_code == 200, answer.text
    return str((await each.settled(before + 1))[-1]["attempts"][-1]["key_name"])


@pytest.mark.parametrize(
    ("mode", "key", "expected"),
    [
        ("", {"priority": 0}, "key-1"),
        ("provider_first", {"priority": 0}, "key-1"),
        ("key_first", {"priority": 0}, "other"),
        ("cheapest", {"cost_multiplier": "0.5"}, "other"),
        ("cheapest", {"cost_multiplier": "2"}, "key-1"),
    ],
)
async def test_a_model_has_its_own_mode(door: str, mode: str, key: dict[str, Any], expected: str) -> None:
    def prepare(url: str) -> None:
        second_provider(**key)(url)
        Key.objects.filter(name="key-1").update(priority=50)
        Model.objects.update(routing_mode=mode)

    async with house(door, prepare=prepare) as each:
        assert await served_by(each, CHAT) == expected


async def test_the_relay_s_mode_holds_for_models_without_one(door: str) -> None:
    def prepare(url: str) -> None:
        second_provider(priority=0)(url)
        Key.objects.filter(name="key-1").update(priority=50)

    async with house(door, prepare=prepare, knobs={"routing_mode": "key_first"}) as each:
        assert await served_by(each, CHAT) == "other"


async def test_a_request_goes_where_what_it_needs_is_offered(door: str) -> None:
    def prepare(url: str) -> None:
        second_provider()(url)
        Deployment.objects.filter(provider__name="vendor").update(capabilities=["tools"])

    async with house(door, prepare=prepare) as each:
        assert await served_by(each, CHAT) == "key-1"
        assert await served_by(each, CHAT, messages=PICTURE) == "other"


@pytest.mark.parametrize("ask", [CHAT, MESSAGES], ids=str)
async def test_a_need_that_nobody_serves_is_named(door: str, ask: Ask) -> None:
    def prepare(url: str) -> None:
        Deployment.objects.update(capabilities=["tools"])

    thinking: dict[str, Any] = {"reasoning_effort": "high"}
    if ask is MESSAGES:
        thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}
    async with house(door, prepare=prepare) as each:
        answer = await ask.send(each, "sim", **thinking)
        assert answer.status_code == 400
        text = "No upstream of sim offers what this request needs: thinking."
        assert answer.json()["error"]["message"] == text
        (final,) = await each.settled()
        assert final["record"]["outcome"] == "rejected"
        skipped = final["record"]["explanation"]["skipped"]
        assert [one["reason"] for one in skipped] == ["capability missing: thinking"]


async def test_an_exclusive_key_is_kept_for_what_it_alone_offers(door: str) -> None:
    prepare = second_provider(priority=0, capabilities=["cache_1h"], exclusive=True)
    async with house(door, prepare=prepare, knobs={"routing_mode": "key_first"}) as each:
        assert await served_by(each, MESSAGES) == "key-1"
        assert await served_by(each, MESSAGES, messages=[LONG]) == "other"
