"""`manage.py explain_route`."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from aether.management.commands.explain_route import table
from consumers.models import ApiKey, Consumer
from providers.machine import KeyState
from providers.models import Deployment, Key, Model, Provider
from tests.pages import world
from usage.models import Outcome
from usage.refusal import Rule, refusal_id

pytestmark = pytest.mark.django_db

PREFIX = "abcdefgh"


@pytest.fixture
def api_key() -> ApiKey:
    """One that begins with PREFIX, beside a supply with a spare key, and a spare provider that is off."""
    provider = world.supply()
    spare = Key(provider=provider, name="spare", priority=200)
    spare.set_secret("sk-spare-0123456789")
    spare.save()
    other = Provider.objects.create(name="other", is_active=False)
    Deployment.objects.create(
        model=Deployment.objects.get().model, provider=other, upstream_name="other-fast"
    )
    consumer = Consumer.objects.create(name="alice")
    return ApiKey.issue(consumer=consumer, name="laptop", secret=f"sk-aether-{PREFIX}{'0' * 30}")[0]


def run(*words: str) -> str:
    out = StringIO()
    call_command("explain_route", *words, stdout=out)
    return out.getvalue()


@pytest.mark.usefixtures("api_key")
@pytest.mark.parametrize("given", [PREFIX, PREFIX[:3], f"sk-aether-{PREFIX}", f"{PREFIX}…", f"{PREFIX}0000"])
def test_it_prints_the_plan_as_a_table(given: str) -> None:
    lines = run("acme-latest", "--api-key", given).splitlines()
    assert lines[0] == "acme-fast in openai_chat for alice / laptop, mode provider_first"
    assert [line.split()[:4] for line in lines[3:]] == [
        ["1", "acme", "/", "first"], ["2", "acme", "/", "spare"], ["–", "other", "openai_chat", "other-fast"],
    ]  # fmt: skip
    assert lines[-1].endswith("the provider is switched off")


@pytest.mark.usefixtures("api_key")
def test_it_tells_what_the_machine_holds_against_a_key_and_until_when() -> None:
    until = timezone.now() + timedelta(seconds=90)
    KeyState.objects.filter(key__name="first").update(
        cooling_until=until, verdict="throttled", updated_at=timezone.now(), disabled_at=None
    )
    lines = run("acme-fast", "--api-key", PREFIX).splitlines()
    assert lines[3].split()[:4] == ["1", "acme", "/", "spare"]
    (told,) = [line for line in lines if "acme / first" in line]
    assert "the key cools after being throttled, until " in told


@pytest.mark.usefixtures("api_key")
def test_it_prints_json_for_machines() -> None:
    Model.objects.update(conversion="off")
    told = json.loads(run("acme-fast", "--api-key", PREFIX, "--format", "gemini", "--json"))
    assert (told["status"], told["targets"], told["live"]) == (503, [], False)
    assert told["error"] == "No upstream for acme-fast is in service right now."
    assert [each["reason"] for each in told["skipped"]] == ["format not served", "provider disabled"]


@pytest.mark.usefixtures("api_key")
def test_what_a_request_needs_can_be_given() -> None:
    Deployment.objects.update(capabilities=["tools"])
    told = run("acme-fast", "--api-key", PREFIX, "--needs", "vision, tools")
    assert "it does not offer: vision" in told
    assert "Nobody is left: the client gets" in told


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ((), "Give MODEL and --api-key, or --request-id."),
        (("--api-key", "zzz"), "No API key begins with “zzz”"),
        (("--api-key", ""), "No API key begins with"),
        (("--api-key", PREFIX, "--needs", "wings"), "“wings” is no capability: choose from vision"),
        (("--api-key", "b"), "Several API keys begin with “b”: bob / one"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_the_remedy(
    api_key: ApiKey, words: tuple[str, ...], refusal: str
) -> None:
    bob = Consumer.objects.create(name="bob")
    for number, name in enumerate(("one", "two")):
        ApiKey.issue(consumer=bob, name=name, secret=f"sk-aether-b{number}{'1' * 30}")
    with pytest.raises(CommandError, match=refusal):
        run("acme-fast", *words)
    api_key.is_active = False
    api_key.save()
    with pytest.raises(CommandError, match="switched off or expired"):
        run("acme-fast", "--api-key", PREFIX)


def test_an_id_that_no_record_has_is_read_for_itself() -> None:
    identifier = refusal_id(1_763_812_800_123, Rule.UNDER_WAY, 10_000, 3)
    assert run("--request-id", identifier).splitlines() == [
        "Refused at 2025-11-22 12:00:00.123 UTC: too many requests were under way for one of its rank.",
        "Measured then: 10000 were under way.",
        "RELAY_MAX_IN_FLIGHT is 10000 now.",
        "The client was told to wait 3 s, until 12:00:03.",
    ]
    assert json.loads(run("--request-id", identifier, "--json"))["targets"] == []


def test_an_id_of_a_record_leads_to_why_it_was_refused() -> None:
    target = {"provider": "acme", "key": "first", "format": "openai_chat", "model": "acme-fast-1"}
    record = world.record(
        outcome=Outcome.REJECTED, status_code=503, error_text="Too much.", total_ms=2_000,
        explanation={
            "skipped": [{**target, "reason": "key: cooling, 90 s left"}],
            "refused": {"rule": "body_memory", "measured": 512}, "retry_after": 3,
        },
    )  # fmt: skip
    lines = run("--request-id", str(record.pk)).splitlines()
    assert lines[:2] == ["Recorded at 2026-11-22 12:00:00 UTC: rejected, status 503.", "Too much."]
    assert lines[2].endswith("too many request bodies were held in memory.")
    assert lines[3:6] == [
        "Measured then: 512 MB were held.", "RELAY_BODY_MEMORY is 512000000 now.",
        "The client was told to wait 3 s, until 12:00:05.",
    ]  # fmt: skip
    assert lines[-1].startswith("–")
    assert "acme / first" in lines[-1]


def test_what_leads_nowhere_is_told_as_that() -> None:
    assert run("--request-id", "hello").startswith("This is no request id")
    assert run("--request-id", str(UUID(int=7))).startswith("There is no record with this id")


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows: Any = [("a", "b", "c"), ("漢字", "bb", "a long one")]
    assert table(rows) == ["a     b   c", "漢字  bb  a long one"]
