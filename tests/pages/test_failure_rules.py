"""Failure rules in the admin: what a form refuses, what the list tells, and the dry run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from changes.models import Change
from providers.catalog import NOT_SERVED
from providers.failurerules import FailureRule
from relay.breaker import COOLING, OPEN, PARKED, Part, Rules
from relay.failover import LINES, VERDICTS
from relay.scheduler import EXCLUSIVE, UNPRICED
from relay.slots import AT_LIMIT
from tests.pages import world
from tests.pages.test_forms import post
from usage import words

pytestmark = pytest.mark.django_db

ADD = "admin:providers_failurerule_add"
LIST = "admin:providers_failurerule_changelist"
RULE = {"name": "locked", "is_active": "on", "order": "100", "text": "is locked", "verdict": "key_refused"}


def rule(**columns: Any) -> FailureRule:
    filled = {"name": "wide", "text": "locked", "verdict": "key_refused"}
    return FailureRule.objects.create(**{**filled, **columns})


@pytest.mark.database
def test_a_rule_is_saved_with_a_change_that_the_relay_reads(client_of_root: Client) -> None:
    provider = world.supply()
    posted = {**RULE, "provider": str(provider.pk), "format": "openai_chat", "status": "400, 5XX"}
    assert post(client_of_root, reverse(ADD), posted).status_code == 302
    row = FailureRule.objects.get()
    assert (row.provider, row.plain().statuses >= {400, 503}) == (provider, True)
    assert Change.objects.filter(kind="failurerule", object_id=str(row.pk)).exists()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"text": "  "}, "It would take every error there is"),
        ({"status": "200"}, "“200” is no status of an error"),
        ({"status": "400-499"}, "“400-499” is no status of an error"),
        ({"text": "key [removed] is locked"}, "what was taken out of a message"),
        ({"format": "gemini", "provider": "1"}, "It can never hold: acme has no endpoint of this format"),
        ({"verdict": "retry"}, "not one of the available choices"),
        ({"verdict": ""}, "required"),
        ({"text": "x" * 301}, "at most 300 characters"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_with_the_reason(
    client_of_root: Client, fields: dict[str, str], sentence: str
) -> None:
    provider = world.supply()
    if "provider" in fields:
        fields = {**fields, "provider": str(provider.pk)}
    assert sentence in post(client_of_root, reverse(ADD), {**RULE, **fields})
    assert not FailureRule.objects.exists()


def test_a_rule_that_another_makes_idle_is_refused_by_name(client_of_root: Client) -> None:
    rule(order=50)
    assert "It can never decide: the rule “wide” is asked before it" in post(
        client_of_root, reverse(ADD), RULE
    )
    assert post(client_of_root, reverse(ADD), {**RULE, "order": "49"}).status_code == 302


def test_a_rule_that_asks_the_same_is_refused_wherever_it_stands(client_of_root: Client) -> None:
    rule(text="IS  Locked", order=50)
    for order in ("1", "99"):
        told = post(client_of_root, reverse(ADD), {**RULE, "order": order})
        assert "The rule “wide” asks for the same already" in told
    FailureRule.objects.update(is_active=False)
    assert post(client_of_root, reverse(ADD), RULE).status_code == 302


def test_a_rule_that_makes_others_idle_is_saved_with_a_warning(client_of_root: Client) -> None:
    rule(name="narrow", text="account is locked for good", order=50)
    answer = post(client_of_root, reverse(ADD), {**RULE, "order": "10"})
    said = [str(message) for message in get_messages(answer.wsgi_request)]
    assert any("can never decide, as “locked” goes before them: narrow." in each for each in said)
    page = client_of_root.get(reverse(LIST)).content.decode()
    assert "never decides" in page
    assert "“locked” goes before it" in page


@pytest.mark.database
def test_the_list_tells_each_rule_in_words_and_orders_and_switches_them(client_of_root: Client) -> None:
    provider = world.supply()
    first = rule(name="first", provider=provider, format="openai_chat", status="400", error_type="locked")
    second = rule(name="second", order=200, text="closed", verdict="policy")
    page = client_of_root.get(reverse(LIST)).content.decode()
    assert "acme · OpenAI Chat · status 400 · locked · “locked”" in page
    assert "passed on verbatim" in page
    posted = {
        "form-TOTAL_FORMS": "2", "form-INITIAL_FORMS": "2", "form-0-id": str(first.pk), "form-0-order": "9",
        "form-1-id": str(second.pk), "form-1-order": "1", "_save": "Save",
    }  # fmt: skip
    assert client_of_root.post(reverse(LIST), posted).status_code == 302
    assert [each.name for each in FailureRule.objects.all()] == ["second", "first"]
    asked = {"action": "disable", "_selected_action": [str(first.pk)], "index": "0"}
    client_of_root.post(reverse(LIST), asked)
    assert not FailureRule.objects.get(name="first").is_active


# The dry run


def judged(client: Client, *, status: int = 400, body: Any = "", **fields: Any) -> Any:
    """What the page makes of a pasted answer."""
    pasted = body if isinstance(body, str) else json.dumps(body)
    posted = {"format": "openai_chat", "status": status, "body": pasted, **fields}
    answer = client.post(reverse("failure_dry_run"), posted)
    assert answer.status_code == 200
    return answer.context["outcome"]


LOCKED = {"error": {"message": "Your account is locked.", "type": "invalid_request_error", "code": "locked"}}


def test_a_dry_run_tells_verdict_what_follows_and_the_row_that_gave_it(client_of_root: Client) -> None:
    row = rule()
    found = judged(client_of_root, body=LOCKED)
    assert found["verdict"] == "key refused"
    assert f"/failurerule/{row.pk}/change/" in found["by"]
    assert "“wide”" in found["by"]
    assert found["next"].startswith("The next target is tried")
    assert found["key"] == "it is left alone for 600 seconds"
    assert found["endpoint"] == "nothing is held against it"
    assert (found["status"], json.loads(found["body"])["error"]["type"]) == (502, "upstream_error")
    assert ("Type and code", "invalid_request_error / locked") in found["read"]


def test_it_counts_the_rules_that_were_asked_and_no_others(client_of_root: Client) -> None:
    acme = world.supply()
    rule(name="of acme", provider=acme, text="locked for good", order=1)
    rule(name="of gemini", format="gemini", text="locked", order=2)
    rule(name="first", text="nothing of the kind", order=3)
    assert judged(client_of_root, body=LOCKED)["asked"] == "1 live rule was asked before."
    found = judged(client_of_root, body=LOCKED, provider=acme.pk)
    assert found["asked"] == "2 live rules were asked before."
    row = rule(order=4)
    found = judged(client_of_root, body=LOCKED, provider=acme.pk)
    assert f"/failurerule/{row.pk}/change/" in found["by"]
    assert found["asked"] == "2 live rules were asked before."
    FailureRule.objects.exclude(pk=row.pk).delete()
    assert judged(client_of_root, body=LOCKED)["asked"] == "No live rule was asked before."
    page = client_of_root.get(reverse("failure_dry_run")).content.decode()
    assert "Rules of one provider are asked only where it is chosen." in page


@pytest.mark.parametrize(
    ("status", "body", "spoken", "told"),
    [
        (400, '{"error": {"message": "brok', "openai_chat", "It is no JSON: its text was taken"),
        (502, "<html>", "openai_chat", ""),
        (400, json.dumps([LOCKED]), "gemini", ""),
        (400, json.dumps(LOCKED), "openai_chat", ""),
        (400, "", "openai_chat", ""),
        (200, '{"choices": [', "openai_chat", "not valid JSON"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_pasted_body_is_told(
    client_of_root: Client, status: int, body: str, spoken: str, told: str
) -> None:
    found = dict(judged(client_of_root, status=status, body=body, format=spoken)["read"])
    assert told in found.get("Body", "")
    assert bool(told) == ("Body" in found)


def test_without_a_rule_it_names_the_built_in_line(client_of_root: Client) -> None:
    rule(is_active=False)
    found = judged(client_of_root, body=LOCKED)
    assert (found["verdict"], found["by"]) == (
        "the caller's own mistake",
        "built-in line: any other status 4xx",
    )
    assert found["stops"]
    assert found["key"] == found["endpoint"] == "nothing is held against it"
    assert found["status"] == 400
    assert json.loads(found["body"]) == LOCKED


ANTHROPIC_OVERLOAD = 'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"x"}}'


ONE_COUNTED = "one failure is counted"
FOLLOWS: list[tuple[dict[str, Any], str, str, str, int]] = [
    ({"status": 429}, "throttled", "left alone for 30 seconds, twice as long", "nothing", 429),
    ({"status": 429, "retry_after": 7}, "throttled", "left alone for 7 seconds", "nothing", 429),
    ({"status": 500}, "vendor failed", ONE_COUNTED, ONE_COUNTED, 502),
    ({"status": 404}, "model not served there", "nothing", "after all others, for 300 seconds", 404),
    ({"status": 403, "body": "no permission"}, "model not open", "after all others, for 300", "nothing", 502),
    ({"status": 302}, "a redirect", "nothing", "nothing", 502),
    ({"status": 200, "body": "<html>"}, "an HTML page", ONE_COUNTED, ONE_COUNTED, 502),
    ({"status": 200, "body": "{}"}, "an empty answer", ONE_COUNTED, ONE_COUNTED, 502),
    ({"status": 200, "body": "nonsense"}, "an answer that is not of", ONE_COUNTED, ONE_COUNTED, 502),
    ({"status": 200, "body": ANTHROPIC_OVERLOAD, "format": "anthropic"}, "vendor overloaded", "nothing",
     ONE_COUNTED, 529),
    ({"status": 200, "body": {"error": {"message": "x", "code": "insufficient_quota"}}},
     "key out of money", "left alone for 600 seconds", "nothing", 502),
]  # fmt: skip


@pytest.mark.parametrize("case", FOLLOWS, ids=lambda case: case[1])
def test_what_follows_is_what_the_relay_does(
    client_of_root: Client, case: tuple[dict[str, Any], str, str, str, int]
) -> None:
    fields, verdict, key, endpoint, status = case
    found = judged(client_of_root, **fields)
    assert found["verdict"].startswith(verdict)
    assert key in found["key"]
    assert endpoint in found["endpoint"]
    assert found["status"] == status


def test_an_answer_is_told_as_one(client_of_root: Client) -> None:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}}]}
    posted = {"format": "openai_chat", "status": 200, "body": json.dumps(body)}
    page = client_of_root.post(reverse("failure_dry_run"), posted)
    assert page.context["outcome"] is None
    assert "This is no failure" in page.content.decode()


def test_a_pasted_body_is_shown_and_never_run(client_of_root: Client) -> None:
    page = client_of_root.post(
        reverse("failure_dry_run"),
        {"format": "gemini", "status": 400, "body": '{"error":{"message":"<script>alert(1)</script>"}}'},
    ).content.decode()
    assert "<script>alert" not in page


@pytest.mark.database
def test_a_past_attempt_is_picked_and_judged_by_the_rules_of_now(client_of_root: Client) -> None:
    provider = world.supply()
    one = world.record()
    failed = world.attempt(
        one, 1, verdict="pass_on", reason="caller", status_code=400, decided_by="4xx",
        error_type="invalid_request_error / locked", error_text="Your account is locked.",
        provider_id=provider.pk,
    )  # fmt: skip
    cut = world.attempt(one, 2, verdict="next", reason="first_byte_timeout", status_code=0)
    world.attempt(one, 3)
    page = client_of_root.get(reverse("failure_dry_run"))
    urls = [each["url"] for each in page.context["failed"]]
    assert urls == [f"{reverse('failure_dry_run')}?attempt={each.pk}" for each in (cut, failed)]
    assert client_of_root.get(urls[1]).context["outcome"]["verdict"] == "the caller's own mistake"
    rule(provider=provider, error_type="locked", verdict="out_of_money")
    now = client_of_root.get(urls[1]).context
    assert now["outcome"]["verdict"] == "key out of money"
    assert json.loads(now["form"].initial["body"])["error"]["code"] == "locked"
    silent = client_of_root.get(urls[0]).context["outcome"]
    assert (silent["verdict"], silent["by"]) == ("no answer in time", "the transport")
    assert "no rule is asked" in silent["asked"]


@pytest.mark.parametrize("asked", ["x", "0", "00000000-0000-0000-0000-000000000000"])
def test_an_attempt_that_is_not_there_is_not_judged(client_of_root: Client, asked: str) -> None:
    page = client_of_root.get(reverse("failure_dry_run"), {"attempt": asked})
    assert (page.status_code, page.context["outcome"]) == (200, None)


def test_a_dry_run_is_for_those_who_see_rules_and_shows_attempts_to_those_who_see_them() -> None:
    failed = world.attempt(world.record(), 1, verdict="next", reason="throttled", status_code=429)
    browser = Client()
    browser.force_login(world.staff("vera", "providers.view_provider"))
    assert browser.get(reverse("failure_dry_run")).status_code == 403
    browser.force_login(world.staff("olga", "providers.view_failurerule"))
    page = browser.get(reverse("failure_dry_run"), {"attempt": str(failed.pk)})
    assert (page.context["failed"], page.context["outcome"]) == ([], None)


def test_a_dry_run_writes_nothing(client_of_root: Client) -> None:
    before = Change.objects.count()
    judged(client_of_root, body=LOCKED)
    assert Change.objects.count() == before


def test_a_record_names_in_words_why_an_attempt_failed_and_what_told(client_of_root: Client) -> None:
    row = rule()
    one = world.record()
    world.attempt(
        one, 1, verdict="next", reason="key_refused", status_code=400, error_type="locked",
        error_text="Your account is locked.", rule_id=row.pk, decided_by="wide",
    )  # fmt: skip
    second = world.attempt(one, 2, verdict="next", reason="throttled", status_code=429, decided_by="429")
    page = client_of_root.get(world.address(type(one), "change", one.pk)).content.decode()
    assert "failure rule “wide”" in page
    assert f"/failurerule/{row.pk}/change/" in page
    assert "built-in line: status 429" in page
    page = client_of_root.get(world.address(type(second), "change", second.pk)).content.decode()
    assert f"{reverse('failure_dry_run')}?attempt={second.pk}" in page


def test_every_reason_and_line_has_its_words() -> None:
    assert set(VERDICTS) <= set(words.REASONS)
    assert {line.name for line in LINES} == set(words.LINES)
    assert set(dict(FailureRule._meta.get_field("verdict").choices or ())) <= set(VERDICTS)


def test_every_reason_for_leaving_a_target_out_has_its_words() -> None:
    told = {UNPRICED, EXCLUSIVE, *NOT_SERVED, AT_LIMIT}
    told |= {f"key: {each}" for each in ("cooling", OPEN, *COOLING.values())}
    told |= {f"endpoint: {each}" for each in ("cooling", OPEN, COOLING[PARKED])}
    part = Part(Rules(in_a_row=1))
    part.failed(0.0, 0.0)
    part.enter(object(), 1000.0)
    told |= {f"{each}: {part.barred(1000.0)}" for each in ("key", "endpoint")}
    assert told <= set(words.SKIPPED)
