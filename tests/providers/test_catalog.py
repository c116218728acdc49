"""The catalog of what can be called (providers/catalog.py)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from changes import feed
from providers import catalog
from providers.catalog import Catalog, build
from providers.models import Deployment, Endpoint, Key, Model, Provider
from providers.types import Candidate
from usage.pricing import ONE

pytestmark = [pytest.mark.django_db, pytest.mark.database]

SECRET = "sk-canary-0123456789abcdef"


def key(provider: Provider, name: str = "k1", secret: str = "", **fields: Any) -> Key:
    row = Key(provider=provider, name=name, **fields)
    row.set_secret(secret or f"{SECRET}-{provider.name}-{name}")
    row.save()
    return row


def provider(name: str = "acme", *formats: str, **fields: Any) -> Provider:
    """A provider with an endpoint in each format (openai_chat alone unless told) and no key."""
    row = Provider.objects.create(name=name, **fields)
    for each in formats or ("openai_chat",):
        Endpoint.objects.create(provider=row, format=each, base_url=f"https://{name}.example/{each}")
    return row


def model(name: str = "fast", *at: Provider, **fields: Any) -> Model:
    """A model with a deployment at each provider."""
    row = Model.objects.create(name=name, **{"price_input": "1", "price_output": "2", **fields})
    for each in at:
        Deployment.objects.create(model=row, provider=each, upstream_name=f"{each.name}-{name}")
    return row


def reasons(name: str = "fast", wire_format: str = "openai_chat") -> list[str]:
    """Why each candidate is skipped, as a fresh catalog says."""
    return [each.skipped for each in build().candidates(name, wire_format)]


def usable(candidates: tuple[Candidate, ...]) -> list[str]:
    return [f"{each.target.provider_name}/{each.target.key_name}" for each in candidates if not each.skipped]


class TestTargets:
    def test_a_target_holds_all_that_a_request_needs(self) -> None:
        acme = Provider.objects.create(name="acme", priority=7, billing="free", concurrency_limit=50)
        endpoint = Endpoint.objects.create(
            provider=acme, format="anthropic", base_url="http://10.0.0.5:8000", allow_private=True,
            credential_style="bearer", headers={"x-team": "blue"}, proxy="http://10.0.0.1:3128",
            quirks=["no_include_usage"], connect_timeout=1.5, first_byte_timeout=2, first_event_timeout=3,
            idle_timeout=4, total_timeout=5, concurrency_limit=40, when_client_leaves="drain",
        )  # fmt: skip
        row = key(
            acme, secret=SECRET, priority=3, weight=9, cost_multiplier=Decimal("0.8"),
            capabilities=["cache_1h"], exclusive=True, affinity_seconds=60,
            concurrency_limit=4,
        )  # fmt: skip
        fast = model("fast", acme, context_window=1_000, max_output_tokens=99, routing_mode="cheapest")
        Deployment.objects.update(capabilities=["vision"])
        (candidate,) = build().candidates("fast", "anthropic")
        target = candidate.target
        assert candidate.skipped == ""
        assert (target.provider_id, target.provider_name, target.provider_priority) == (acme.pk, "acme", 7)
        assert (target.endpoint_id, target.key_id, target.key_name) == (endpoint.pk, row.pk, "k1")
        assert (target.model_id, target.model_name, target.upstream_name) == (fast.pk, "fast", "acme-fast")
        assert (target.format, target.base_url) == ("anthropic", "http://10.0.0.5:8000")
        assert target.secret == SECRET
        assert target.headers == (("x-team", "blue"),)
        assert (target.credential_style, target.proxy) == ("bearer", "http://10.0.0.1:3128")
        assert target.allow_private
        assert target.quirks == {"no_include_usage"}
        assert (target.connect_timeout, target.first_byte_timeout, target.first_event_timeout) == (1.5, 2, 3)
        assert (target.idle_timeout, target.total_timeout) == (4, 5)
        assert target.drain
        assert target.price is not None
        assert target.price.source == "model fast"
        assert (target.cost_multiplier, target.free) == (8 * ONE // 10, True)
        assert (target.key_priority, target.weight) == (3, 9)
        assert (target.context_window, target.max_output_tokens) == (1_000, 99)
        assert target.capabilities == frozenset({"vision"})
        assert target.key_capabilities == frozenset({"cache_1h"})
        assert (target.exclusive, target.affinity_seconds) == (True, 60)
        assert target.limits == (
            ("key", row.pk, 4),
            ("endpoint", endpoint.pk, 40),
            ("provider", acme.pk, 50),
        )
        entry = build().model("fast")
        assert entry is not None
        assert entry.routing_mode == "cheapest"

    def test_no_repr_shows_a_secret_or_a_header(self) -> None:
        acme = provider()
        Endpoint.objects.update(headers={"x-team": "canary-header"})
        key(acme, secret=SECRET)
        model("fast", acme)
        found = build()
        candidates = found.candidates("fast", "openai_chat")
        shown = repr(found) + repr(candidates) + repr(found.model("fast"))
        assert candidates[0].target.secret == SECRET
        assert SECRET not in shown
        assert "canary-header" not in shown

    def test_candidates_are_deployments_times_keys_in_order_of_priority(self) -> None:
        second, first = provider("second", priority=20), provider("first", priority=10)
        for each in (second, first):
            key(each, "late", priority=200)
            key(each, "early", priority=50)
        model("fast", second, first)
        assert usable(build().candidates("fast", "openai_chat")) == [
            "first/early", "first/late", "second/early", "second/late",
        ]  # fmt: skip

    def test_only_endpoints_of_the_client_s_own_format_serve(self) -> None:
        both, one = provider("both", "anthropic", "gemini"), provider("one", "gemini")
        key(both), key(one)
        model("fast", both, one)
        found = build()
        assert usable(found.candidates("fast", "gemini")) == ["both/k1", "one/k1"]
        assert usable(found.candidates("fast", "anthropic")) == ["both/k1"]
        assert usable(found.candidates("fast", "openai_responses")) == []
        assert reasons("fast", "anthropic") == ["", "format not served"]

    def test_the_model_s_price_holds_unless_the_deployment_has_one(self) -> None:
        own, shared = provider("own"), provider("shared")
        key(own), key(shared)
        model("fast", own, shared)
        Deployment.objects.filter(provider=own).update(price_input=Decimal(5), price_output=Decimal(6))
        by_name = {
            each.target.provider_name: each.target for each in build().candidates("fast", "openai_chat")
        }
        prices = {name: target.price for name, target in by_name.items()}
        assert prices["own"] is not None
        assert prices["shared"] is not None
        assert prices["own"].source == "deployment fast at own"
        assert prices["own"].rates.input == 5 * 10**12
        assert prices["shared"].source == "model fast"

    def test_a_model_without_a_price_is_unpriced(self) -> None:
        acme = provider()
        key(acme)
        model("fast", acme, price_input=None, price_output=None)
        (candidate,) = build().candidates("fast", "openai_chat")
        assert candidate == Candidate(candidate.target, "")
        assert candidate.target.price is None


class TestSkipped:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda: Provider.objects.update(is_active=False), "provider disabled"),
            (lambda: Endpoint.objects.update(is_active=False), "endpoint disabled"),
            (lambda: Key.objects.update(is_active=False), "key disabled"),
            (lambda: Deployment.objects.update(is_active=False), "deployment disabled"),
            (lambda: Endpoint.objects.all().delete(), "format not served"),
            (lambda: Key.objects.all().delete(), "no key"),
            (lambda: Deployment.objects.update(formats=["gemini"]), "format not served for this model"),
            (lambda: Key.objects.update(formats=["gemini"]), "key not used for this format"),
            (lambda: Key.objects.update(allowed_models=[987_654]), "key not allowed on this model"),
            (lambda: Key.objects.update(allowed_models={"not": "a list"}), "key not allowed on this model"),
            (lambda: Key.objects.update(sealed="v1.test.AAAA"), "secret cannot be opened"),
            (lambda: Endpoint.objects.update(base_url="http://127.0.0.1:9000"), "private address"),
            (lambda: Endpoint.objects.update(base_url="http://[fd12::1]"), "private address"),
            (lambda: Model.objects.update(price_tiers=[{"up_to": "x"}]), "price not valid"),
            (lambda: Model.objects.update(price_fees=["x"]), "price not valid"),
        ],
    )
    def test_a_candidate_that_cannot_serve_stays_with_its_reason(self, change: Any, reason: str) -> None:
        acme = provider()
        key(acme)
        model("fast", acme)
        assert reasons() == [""]
        change()
        assert reasons() == [reason]
        (candidate,) = build().candidates("fast", "openai_chat")
        assert candidate.target.provider_name == "acme"
        assert candidate.target.upstream_name == "acme-fast"

    @pytest.mark.parametrize(
        "fields",
        [
            {"base_url": "ftp://vendor.example"},
            {"base_url": "https://user:pass@vendor.example"},
            {"base_url": "http://0x7f000001"},
            {"proxy": "socks5://proxy"},
            {"headers": {"host": "internal"}},
            {"headers": {"x": "a\r\nb: c"}},
            {"headers": ["x"]},
        ],
    )
    def test_an_endpoint_that_was_written_past_validation_is_not_called(self, fields: dict[str, Any]) -> None:
        acme = provider()
        key(acme)
        model("fast", acme)
        Endpoint.objects.update(**fields)
        (reason,) = reasons()
        assert reason.startswith("endpoint not valid: ")

    def test_a_secret_that_cannot_be_opened_stops_nobody_else(self, settings: Settings) -> None:
        acme = provider()
        settings.AETHER_ENCRYPTION_KEYS = {"lost": b"l" * 32}
        key(acme, "old")
        settings.AETHER_ENCRYPTION_KEYS = {"new": b"n" * 32}
        key(acme, "new")
        model("fast", acme)
        found = build().candidates("fast", "openai_chat")
        assert [(each.target.key_name, each.skipped) for each in found] == [
            ("old", "secret cannot be opened"), ("new", ""),
        ]  # fmt: skip
        assert found[0].target.secret == ""

    def test_swapped_ciphertexts_are_not_used(self) -> None:
        acme = provider()
        first, second = key(acme, "a"), key(acme, "b")
        Key.objects.filter(pk=first.pk).update(sealed=second.sealed)
        model("fast", acme)
        assert reasons() == ["secret cannot be opened", ""]

    def test_unknown_ids_in_an_allow_list_are_ignored_but_restrict(self) -> None:
        acme = provider()
        fast, slow = model("fast", acme), model("slow", acme)
        key(acme, allowed_models=[fast.pk, 987_654])
        assert reasons("fast") == [""]
        assert reasons("slow") == ["key not allowed on this model"]
        assert slow.pk not in (fast.pk, 987_654)


class TestNames:
    def test_a_model_is_known_by_its_name_and_its_aliases(self) -> None:
        acme = provider()
        key(acme)
        model("fast", acme, aliases=["fast-latest", "quick"])
        found = build()
        entry = found.model("fast")
        assert entry is not None
        assert entry.aliases == ("fast-latest", "quick")
        assert found.model("quick") is entry
        assert found.candidates("quick", "openai_chat") == found.candidates("fast", "openai_chat") != ()
        assert found.model("nobody") is None
        assert found.candidates("nobody", "openai_chat") == ()
        assert found.candidates("fast", "no such format") == ()

    def test_a_model_that_is_switched_off_is_not_known_nor_are_its_aliases(self) -> None:
        model("fast", is_active=False, aliases=["quick"])
        found = build()
        assert found.model("fast") is None
        assert found.model("quick") is None
        assert found.models() == ()

    def test_a_name_wins_over_an_alias_and_the_older_model_s_alias_over_the_newer_s(self) -> None:
        older = model("zulu", aliases=["shared", "alpha"])
        newer = model("alpha", aliases=["shared"])
        found = build()
        assert [getattr(found.model(name), "id", None) for name in ("shared", "alpha", "zulu")] == [
            older.pk, newer.pk, older.pk,
        ]  # fmt: skip

    def test_models_are_listed_by_name(self) -> None:
        for name in ("b", "c", "a"):
            model(name, capabilities=["vision"], allowed_formats=["gemini"])
        listed = build().models()
        assert [each.name for each in listed] == ["a", "b", "c"]
        assert listed[0].capabilities == ("vision",)
        assert listed[0].allowed_formats == frozenset({"gemini"})
        assert listed[0].created_at > 1_700_000_000

    def test_close_matches_name_only_what_the_caller_may_use(self) -> None:
        mini, maxi = model("gpt-5-mini", aliases=["gpt-5-Small"]), model("gpt-5-maxi")
        found = build()
        assert found.close_matches("gpt5-mini")[0] == "gpt-5-mini"
        assert set(found.close_matches("GPT-5-M", frozenset({maxi.pk}))) == {"gpt-5-maxi"}
        assert found.close_matches("gpt-5-small", frozenset({mini.pk}))[0] == "gpt-5-Small"
        assert found.close_matches("gpt-5-mini", frozenset()) == []
        assert found.close_matches("claude") == []
        assert found.close_matches("x" * 10_000) == []


class TestBuild:
    def test_an_empty_catalog_is_a_catalog(self) -> None:
        assert build() == Catalog()
        assert Catalog().model("fast") is None
        assert Catalog().close_matches("fast") == []

    def test_it_asks_the_same_few_queries_whatever_the_size(self) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                build()
            return len(captured)

        before = queries()
        for number in range(5):
            acme = provider(f"p{number}", "openai_chat", "anthropic")
            key(acme, "a"), key(acme, "b")
            model(f"m{number}", acme, aliases=[f"alias{number}"])
        assert queries() == before == 8

    def test_every_change_of_the_supply_side_moves_its_revision(self) -> None:
        acme = provider()
        row = key(acme)
        fast = model("fast", acme)
        for change in (
            acme.save,
            row.save,
            fast.save,
            Endpoint.objects.get().save,
            Deployment.objects.get().save,
            lambda: Key.objects.update(is_active=False),
            Key.objects.all().delete,
        ):
            before = build().revision
            change()
            news = feed.since(before)
            assert news
            assert {each.kind for each in news} <= catalog.KINDS
            assert build().revision == feed.latest() > before

    def test_it_does_not_change_with_the_rows(self) -> None:
        acme = provider()
        key(acme)
        model("fast", acme)
        found = build()
        before = found.candidates("fast", "openai_chat")
        Key.objects.all().delete()
        Model.objects.all().delete()
        assert found.candidates("fast", "openai_chat") == before
        assert not before[0].skipped
