"""Running conformance: what is asked, what is made of the answers, and what the router makes of those."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from providers import catalog, conformance
from providers.conformance import Conformance, Row, Verdict
from providers.corpus import THINKING_TOKENS, TITLES
from providers.models import Deployment, Endpoint, Key, Model, Provider
from providers.probe import ProbeError
from providers.runs import Busy, begin, carry_out, models_of
from providers.trying import try_out
from relay.scheduler import FOUND, LACKING, plan
from simulator.server import Simulator
from tests.providers.vendor import simulated
from wire import DIALECTS

pytestmark = pytest.mark.django_db

SECRET = "sk-canary-0123456789abcdef"
BASES = {"openai_chat": "/v1", "openai_responses": "/v1", "anthropic": "", "gemini": ""}
PUPIL = "sim.obey"
THINKERS = {
    "openai_chat": "gpt-oss.obey",
    "openai_responses": "o3.obey",
    "anthropic": PUPIL,
    "gemini": "gemini-2.5-flash.obey",
}
"""Models whose names tell that they can think."""


@pytest.fixture
def vendor() -> Iterator[Simulator]:
    with simulated() as simulator:
        yield simulator


def endpoint(vendor: Simulator, wire_format: str = "openai_chat", **fields: Any) -> Endpoint:
    """An endpoint at the simulator, with a key and one deployed model."""
    acme = Provider.objects.create(name="acme")
    key = Key(provider=acme, name="first")
    key.set_secret(SECRET)
    key.save()
    model = Model.objects.create(name="fast", price_input=1, price_output=2)
    Deployment.objects.create(model=model, provider=acme, upstream_name=PUPIL)
    return Endpoint.objects.create(
        **{
            "provider": acme,
            "format": wire_format,
            "base_url": vendor.url + BASES[wire_format],
            "allow_private": True,
            **fields,
        }
    )


def found(rows: list[Row]) -> dict[str, str]:
    return {row.name: row.verdict for row in rows}


@pytest.mark.parametrize("wire_format", DIALECTS)
def test_a_vendor_that_does_all_of_it_works_in_every_row(vendor: Simulator, wire_format: str) -> None:
    rows = try_out(endpoint(vendor, wire_format), model=THINKERS[wire_format])
    counts = wire_format in ("anthropic", "gemini")
    absent = {} if counts else {"count_tokens": "absent"}
    if wire_format == "openai_responses":
        absent["stop"] = "absent"
    assert found(rows) == {name: absent.get(name, "works") for name in TITLES}, rows
    assert not any(row.said for row in rows if row.verdict == Verdict.WORKS)


def test_it_asks_a_score_of_times_at_most_and_each_answer_is_bounded(vendor: Simulator) -> None:
    try_out(endpoint(vendor), model=PUPIL)
    assert vendor.total <= 20
    bodies = [json.loads(seen.body) for seen in vendor.requests]
    assert all(0 < each["max_tokens"] <= THINKING_TOKENS for each in bodies)
    assert sum(each["max_tokens"] for each in bodies) < 20_000
    assert all(seen.header("authorization") == f"Bearer {SECRET}" for seen in vendor.requests)


@pytest.mark.parametrize("wire_format", DIALECTS)
def test_what_the_vendor_refuses_is_told_in_its_words(vendor: Simulator, wire_format: str) -> None:
    vendor.script(["no-images_tools"])
    rows = try_out(endpoint(vendor, wire_format), model=THINKERS[wire_format])
    told = {row.name: row for row in rows}
    assert told["images"] == Row("images", "refused", "400: This model does not support images.")
    assert told["tools"] == Row("tools", "refused", "400: This model does not support tools.")
    assert told["parallel_tools"].verdict == "refused"
    assert told["tool_results"] == Row("tool_results", "untried", "no tool was called")
    assert told["text"].verdict == told["thinking"].verdict == "works"
    assert conformance.missing(rows) == {"vision", "tools"}


def test_a_vendor_that_knows_no_streams_gets_no_row_about_their_usage(vendor: Simulator) -> None:
    told = found(try_out(endpoint(vendor), model=f"{PUPIL}.no-streams"))
    assert (told["streaming"], told["usage_streamed"], told["text"]) == ("refused", "untried", "works")


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        ("sim", {"text", "streaming", "system", "stop", "tool_results", "images"}),
        (f"{PUPIL}.usage-missing", {"usage", "usage_streamed"}),
        (f"{PUPIL}.usage-zero", {"usage", "usage_streamed"}),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_wrong(
    vendor: Simulator, model: str, wrong: set[str]
) -> None:
    rows = try_out(endpoint(vendor), model=model)
    assert {row.name for row in rows if row.verdict == "wrong"} >= wrong, rows
    assert all(row.said for row in rows if row.verdict == "wrong")


@pytest.mark.parametrize("fault", ["swap", "truncated", "bad-json-2", "html", "cut", "empty"])
def test_a_broken_answer_is_told_and_never_raised(vendor: Simulator, fault: str) -> None:
    rows = try_out(endpoint(vendor), model=f"{PUPIL}.fault-{fault}")
    assert [row.name for row in rows] == list(TITLES) or {row.name for row in rows} == set(TITLES)
    assert any(row.verdict in ("wrong", "untried") and row.said for row in rows)


@pytest.mark.parametrize("fault", ["401", "404", "429-quota", "500"])
def test_where_plain_text_fails_nothing_else_is_held_against_the_vendor(
    vendor: Simulator, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr("providers.trying.LONGEST_PAUSE", 0.0)
    rows = try_out(endpoint(vendor), model=f"{PUPIL}.fault-{fault}")
    assert vendor.total <= 2
    assert {row.verdict for row in rows if row.name != "text"} == {"untried"}
    assert conformance.missing(rows) == frozenset()


def test_a_throttled_exercise_is_tried_once_more(vendor: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.trying.LONGEST_PAUSE", 0.0)
    vendor.script(["fault-429", "ok"], secret=SECRET)
    assert found(try_out(endpoint(vendor), model=PUPIL))["text"] == "works"


def test_no_secret_and_no_address_stands_in_a_matrix(vendor: Simulator) -> None:
    rows = try_out(endpoint(vendor), model=f"{PUPIL}.fault-400.leak")
    assert rows[0].verdict == "refused"
    assert SECRET not in repr(rows)
    assert "10.0.0.7" not in repr(rows)
    assert "12.34" not in repr(rows)


def test_a_closed_address_is_not_called(vendor: Simulator) -> None:
    with pytest.raises(ProbeError, match="private"):
        try_out(endpoint(vendor, allow_private=False), model=PUPIL)
    assert vendor.total == 0


# What is kept
# ---------------------------------------------------------------------------------------------------------


def kept(place: Endpoint, model: str = PUPIL, **verdicts: str) -> Conformance:
    run = Conformance(endpoint=place, model=model)
    run.rows = [[name, verdicts.get(name, "works"), ""] for name in TITLES]
    run.save()
    run.finish(timezone.now())
    return run


def reasons(needs: set[str]) -> list[str]:
    chosen = plan(catalog.build().candidates("fast", "openai_chat"), caller=1, needs=frozenset(needs))
    return [each.reason for each in chosen.skipped]


def test_what_was_refused_counts_as_missing_of_that_model_there(vendor: Simulator) -> None:
    place = endpoint(vendor)
    assert reasons({"vision"}) == []
    kept(place, images="refused")
    assert reasons({"vision"}) == [f"{LACKING}: vision{FOUND}"]
    assert reasons({"tools"}) == []
    kept(place, "another-model", tools="refused")
    assert reasons({"tools"}) == []


@pytest.mark.parametrize("verdict", ["works", "wrong", "absent", "untried"])
def test_only_a_refusal_counts(vendor: Simulator, verdict: str) -> None:
    kept(endpoint(vendor), images=verdict)
    assert reasons({"vision"}) == []


def test_an_operators_own_word_counts_instead(vendor: Simulator) -> None:
    kept(endpoint(vendor), images="refused")
    Deployment.objects.update(capabilities=["vision", "tools"])
    assert reasons({"vision"}) == []


def test_a_newer_run_replaces_the_older_one_and_forgetting_drops_all(vendor: Simulator) -> None:
    place = endpoint(vendor)
    kept(place, images="refused")
    kept(place)
    assert Conformance.objects.count() == 1
    assert reasons({"vision"}) == []
    kept(place, images="refused")
    assert conformance.forget(place.pk) == 1
    assert reasons({"vision"}) == []


def test_a_run_that_tried_nothing_takes_back_nothing_that_was_found(vendor: Simulator) -> None:
    place = endpoint(vendor)
    kept(place, images="refused")
    for _ in range(2):
        kept(place, **dict.fromkeys(TITLES, "untried"))
    assert reasons({"vision"}) == [f"{LACKING}: vision{FOUND}"]
    assert Conformance.objects.count() == 2
    kept(place)
    assert Conformance.objects.count() == 1
    assert reasons({"vision"}) == []


def test_a_run_that_is_under_way_counts_for_nothing(vendor: Simulator) -> None:
    Conformance.objects.create(endpoint=endpoint(vendor), model=PUPIL, rows=[["images", "refused", ""]])
    assert reasons({"vision"}) == []


def test_the_catalog_hears_of_a_result_and_of_its_end(vendor: Simulator) -> None:
    place = endpoint(vendor)
    before = catalog.build().revision
    kept(place)
    kept_at = catalog.build().revision
    assert kept_at > before
    conformance.forget(place.pk)
    assert catalog.build().revision > kept_at
    assert conformance.KIND in catalog.KINDS


def test_a_run_in_the_background_keeps_each_row_as_it_comes(vendor: Simulator) -> None:
    run = Conformance.objects.create(endpoint=endpoint(vendor), model=f"{PUPIL}.no-images")
    carry_out(run.pk)
    run.refresh_from_db()
    assert run.finished_at is not None
    assert found(run.matrix())["images"] == "refused"
    assert [row.name for row in run.matrix()] == list(TITLES)


def test_a_run_that_cannot_be_carried_out_says_why_and_ends(vendor: Simulator) -> None:
    place = endpoint(vendor, allow_private=False)
    run = Conformance.objects.create(endpoint=place, model=PUPIL)
    carry_out(run.pk)
    run.refresh_from_db()
    assert run.finished_at is not None
    assert {row.verdict for row in run.matrix()} == {"untried"}
    assert "private" in run.matrix()[0].said


def test_an_endpoint_is_tried_out_once_at_a_time(vendor: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.runs.threading.Thread.start", lambda thread: None)
    place = endpoint(vendor)
    first = begin(place, model=PUPIL, user_name="root")
    with pytest.raises(Busy):
        begin(place, model=PUPIL, user_name="root")
    Conformance.objects.update(started_at=timezone.now() - 2 * conformance.LONGEST)
    assert begin(place, model=PUPIL, user_name="root").pk != first.pk
    assert Conformance.objects.count() == 1


def test_models_are_offered_by_the_vendors_names(vendor: Simulator) -> None:
    place = endpoint(vendor)
    other = Model.objects.create(name="other")
    Deployment.objects.create(
        model=other, provider=place.provider, upstream_name="elsewhere", formats=["anthropic"]
    )
    assert models_of(place) == [PUPIL]


# The command
# ---------------------------------------------------------------------------------------------------------


def command(*words: str) -> str:
    out = StringIO()
    call_command("conformance", *words, stdout=out)
    return out.getvalue()


def test_the_command_shows_a_matrix_and_keeps_it(vendor: Simulator) -> None:
    endpoint(vendor)
    told = command("acme/openai_chat", "--model", f"{PUPIL}.no-tools")
    assert "+ text" in told
    assert "x tools" in told
    assert "refused: 400: This model does not support tools." in told
    (run,) = Conformance.objects.all()
    assert run.finished_at is not None
    assert run.key_name == "first"


def test_the_command_speaks_json_and_takes_a_number_and_the_first_model(vendor: Simulator) -> None:
    place = endpoint(vendor)
    told = json.loads(command(str(place.pk), "--json"))
    assert told["model"] == PUPIL
    assert {each["name"]: each["verdict"] for each in told["rows"]}["tools"] == "works"


def test_the_command_forgets(vendor: Simulator) -> None:
    kept(endpoint(vendor), images="refused")
    assert command("acme/openai_chat", "--forget") == "1 result dropped.\n"
    assert command("acme/openai_chat", "--forget") == "0 results dropped.\n"
    assert not Conformance.objects.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["acme/gemini"], "There is no endpoint acme/gemini. There are: acme/openai_chat."),
        (["999"], "There is no endpoint 999"),
        (["acme/openai_chat", "--key", "none"], "has no key none"),
    ],
)
def test_the_command_names_what_is_wrong(vendor: Simulator, words: list[str], said: str) -> None:
    endpoint(vendor)
    with pytest.raises(CommandError, match=said):
        command(*words)
    assert not Conformance.objects.exists()


def test_a_command_that_cannot_call_leaves_nothing_behind(vendor: Simulator) -> None:
    endpoint(vendor, allow_private=False)
    with pytest.raises(CommandError, match="private"):
        command("acme/openai_chat")
    assert not Conformance.objects.exists()
