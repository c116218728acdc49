"""The page that explains a route, and the record of a refused request, which tells why in words."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.test import AsyncClient, Client
from django.urls import reverse

from consumers.models import ApiKey, User
from providers.formats import Format
from providers.models import Deployment
from relay.scheduler import FOUND
from tests.pages import world
from usage import words
from usage.models import Outcome, Record
from usage.refusal import Rule, refusal_id

pytestmark = pytest.mark.django_db


def asked(api_key: ApiKey, **fields: Any) -> dict[str, Any]:
    return {"model": "acme-fast", "format": "openai_chat", "api_key": str(api_key.pk), **fields}


def test_the_plan_is_shown_with_the_reason_for_each_who_is_left_out(client_of_root: Client) -> None:
    world.supply()
    api_key, _secret = world.demand()
    page = client_of_root.get(reverse("explain_route"), asked(api_key))
    assert page.context["found"].live is False
    rows = [(row.place, row.target) for row in page.context["plan"]]
    assert rows == [("1", "acme / first")]
    text = page.content.decode()
    assert "acme-fast for alice / laptop" in text
    assert "provider&#x27;s priority, then key&#x27;s" in text
    Deployment.objects.update(capabilities=["tools"])
    page = client_of_root.get(reverse("explain_route"), asked(api_key, needs=["vision"]))
    assert [(row.place, row.why) for row in page.context["plan"]] == [("", "it does not offer: vision")]
    assert "Nobody is left: the client gets 400" in page.content.decode()


def test_a_rule_of_the_api_key_is_named(client_of_root: Client) -> None:
    world.supply()
    api_key, _secret = world.demand()
    ApiKey.objects.update(allowed_models=[0])
    page = client_of_root.get(reverse("explain_route"), asked(api_key)).content.decode()
    assert "The model exists, but the API key&#x27;s allowed models do not hold it." in page


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"model": ""}, "required"),
        ({"api_key": "99"}, "Select a valid choice"),
        ({"format": "x"}, "valid choice"),
    ],
)
def test_a_wrong_question_is_refused_in_the_form(
    client_of_root: Client, fields: dict[str, str], sentence: str
) -> None:
    api_key, _secret = world.demand()
    page = client_of_root.get(reverse("explain_route"), {**asked(api_key), **fields})
    assert page.status_code == 200
    assert sentence in page.content.decode()


def test_an_api_key_that_is_off_is_told_as_one(client_of_root: Client) -> None:
    api_key, _secret = world.demand()
    ApiKey.objects.update(is_active=False)
    page = client_of_root.get(reverse("explain_route"), asked(api_key))
    assert "every request gets 401" in page.content.decode()


def test_the_page_is_for_those_who_see_deployments_and_api_keys() -> None:
    api_key, _secret = world.demand()
    browser = Client()
    browser.force_login(world.staff("vera", "providers.view_deployment"))
    assert browser.get(reverse("explain_route")).status_code == 403
    browser.force_login(world.staff("olga", "providers.view_deployment", "consumers.view_apikey"))
    assert browser.get(reverse("explain_route"), asked(api_key)).status_code == 200


@pytest.mark.django_db(transaction=True)
async def test_it_is_answered_on_the_server_s_own_loop_too() -> None:
    def prepare() -> tuple[User, ApiKey]:
        world.supply()
        return world.superuser(), world.demand()[0]

    user, api_key = await sync_to_async(prepare)()
    client = AsyncClient()
    await client.aforce_login(user)
    page = await client.get(reverse("explain_route"), asked(api_key))
    assert [row.target for row in page.context["plan"]] == ["acme / first"]


TURNED_AWAY = refusal_id(1_763_812_800_123, Rule.EVENT_LOOP, 132, 3)
TOLD = "the event loop was late, or had been a moment before. Measured then: it was late by 132 ms."


def test_an_id_of_a_refusal_at_the_door_is_read_on_the_page(client_of_root: Client) -> None:
    page = client_of_root.get(reverse("explain_route"), {"request_id": f" {TURNED_AWAY}"})
    found = page.context["request_found"]
    assert TOLD in " ".join(found.sentences)
    assert found.sentences[-1] == "The client was told to wait 3 s, until 12:00:03."
    assert f"RELAY_MAX_LAG is {settings.RELAY_MAX_LAG} now." in page.content.decode()


def test_an_id_of_a_record_leads_to_it(client_of_root: Client) -> None:
    one = world.record(outcome=Outcome.REJECTED, status_code=403, error_text="Not so.")
    page = client_of_root.get(reverse("explain_route"), {"request_id": str(one.pk)}).content.decode()
    assert "Not so." in page
    assert world.address(Record, "change", one.pk) in page
    browser = Client()
    browser.force_login(world.staff("olga", "providers.view_deployment", "consumers.view_apikey"))
    page = browser.get(reverse("explain_route"), {"request_id": str(one.pk)}).content.decode()
    assert "Not so." not in page
    assert "none that you may see" in page


def test_the_search_of_records_reads_it_too(client_of_root: Client) -> None:
    page = client_of_root.get(world.address(Record, "changelist"), {"q": TURNED_AWAY})
    (said,) = page.context["messages"]
    assert TOLD in said.message
    page = client_of_root.get(world.address(Record, "changelist"), {"q": "no id"})
    assert not list(page.context["messages"])


def test_a_refused_request_s_record_tells_why_in_words(client_of_root: Client) -> None:
    named = {"provider": "acme", "format": "openai_chat", "model": "acme-fast-1"}
    one = world.record(
        outcome=Outcome.UPSTREAM_ERROR, status_code=429, error_code="rate_limited", error_text="All limited.",
        explanation={
            "targets": [{**named, "key": "first"}, {**named, "key": "second"}],
            "skipped": [
                {**named, "key": "third", "reason": "key: cooling, 90 s left"},
                {**named, "key": "fourth", "reason": "capability missing: vision"},
                {**named, "key": "fifth", "reason": "key: at concurrency limit, 3 of 3"},
                {**named, "key": "sixth", "reason": "a reason of tomorrow"},
            ],
        },
    )  # fmt: skip
    world.attempt(one, 1, verdict="next", reason="throttled", status_code=429)
    page = client_of_root.get(world.address(Record, "change", one.pk))
    assert [(row.place, row.why) for row in page.context["explanation"].rows] == [
        ("1", "tried: attempt #1"),
        ("2", "not tried: the rules for retries, or the time, ended it before"),
        ("", "the key cools after being throttled, until 12:01:30 (90 s)"),
        ("", "it does not offer: vision"),
        ("", "the key is at its limit: 3 of 3 requests at a time"),
        ("", "a reason of tomorrow"),
    ]
    assert "Why it was answered so" in page.content.decode()
    refused = world.record(1, outcome=Outcome.REJECTED, explanation={"rule": "formats of the model"})
    text = client_of_root.get(world.address(Record, "change", refused.pk)).content.decode()
    assert "The model&#x27;s allowed formats do not hold this one." in text
    fine = world.record(2)
    text = client_of_root.get(world.address(Record, "change", fine.pk)).content.decode()
    assert "Why it was answered so" not in text


def test_an_empty_request_id_is_asked_for_and_no_route(client_of_root: Client) -> None:
    page = client_of_root.get(reverse("explain_route"), {"request_id": " "})
    assert not page.context["form"].is_bound
    assert page.context["lookup"].errors == {"request_id": ["This field is required."]}
    assert "This field is required." in page.content.decode()


def test_an_id_of_nothing_is_told_as_that(client_of_root: Client) -> None:
    for term, told in (("hello", "This is no request id"), (str(UUID(int=7)), "There is no record with")):
        page = client_of_root.get(reverse("explain_route"), {"request_id": term})
        assert page.context["request_found"].sentences[0].startswith(told)


def test_formats_have_the_names_that_forms_give_them(client_of_root: Client) -> None:
    assert dict(Format.choices) == words.FORMATS
    world.supply()
    api_key, _secret = world.demand()
    page = client_of_root.get(reverse("explain_route"), asked(api_key))
    assert [row.format for row in page.context["plan"]] == ["OpenAI Chat"]
    one = world.record(client_format="gemini", conversion="lossless")
    text = client_of_root.get(world.address(Record, "change", one.pk)).content.decode()
    assert "Gemini" in text
    assert "OpenAI Chat" in text


def test_a_model_that_nobody_knows_is_not_told_as_one_without_targets(client_of_root: Client) -> None:
    api_key, _secret = world.demand()
    page = client_of_root.get(reverse("explain_route"), asked(api_key, model="nobody")).content.decode()
    assert "There is no model" in page
    assert "Nobody is left" not in page


def test_a_target_that_needs_conversion_says_so(client_of_root: Client) -> None:
    world.supply()
    api_key, _secret = world.demand()
    page = client_of_root.get(reverse("explain_route"), asked(api_key, format="gemini"))
    first = page.context["plan"][0]
    assert (first.format, first.why) == ("OpenAI Chat", "by conversion: it speaks another format")


REFUSED_BY_CONVERSION = [
    ("not in its format: images by address", "its format has no place for this: images by address"),
    ("exact: it would lose seed, n", "the model asks for exactness, and this would be lost: seed, n"),
    (f"capability missing: vision{FOUND}", "it does not offer: vision (refused when conformance was run)"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "told"), REFUSED_BY_CONVERSION)
def test_what_conversion_and_conformance_refuse_is_told_in_words(reason: str, told: str) -> None:
    assert words.skipped(reason, world.NOW) == told


CONVERSIONS = [
    ("lossy; dropped=seed,logprobs", "lossy: dropped these settings: seed, logprobs"),
    ("lossy; dropped=41", "lossy: dropped 41 settings"),
    ("lossless", "lossless: nothing was dropped"),
]


@pytest.mark.parametrize(("stored", "told"), CONVERSIONS)
def test_a_conversion_is_told_in_words_with_each_setting_that_was_dropped(
    client_of_root: Client, stored: str, told: str
) -> None:
    one = world.record(conversion=stored)
    page = client_of_root.get(world.address(Record, "change", one.pk)).content.decode()
    assert told in page
    same = world.record(1)
    assert told not in client_of_root.get(world.address(Record, "change", same.pk)).content.decode()


def test_each_field_is_described_by_the_help_that_stands_below_it(client_of_root: Client) -> None:
    world.supply()
    for address in (reverse("explain_route"), reverse("failure_dry_run")):
        page = client_of_root.get(address).content.decode()
        described = re.findall(r'aria-describedby="([^"]+)"', page)
        assert described
        for names in described:
            for name in names.split():
                assert f'id="{name}"' in page
        assert not re.search(r'<label for="">', page)
    page = client_of_root.get(reverse("explain_route"), {"model": "", "format": "x"}).content.decode()
    assert 'id="id_model_error"' in page
    assert re.search(r"<legend[^>]*>Needs</legend>", page)
