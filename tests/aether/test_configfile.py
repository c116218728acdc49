"""The configuration file, in and out (aether/configfile.py, configread.py, configexport.py and their
commands)."""

from __future__ import annotations

import json
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command

from aether.configexport import as_yaml, export_config
from aether.configfile import ConfigError, Result, import_config
from changes import feed
from changes.models import Change
from consumers.auth import load
from consumers.digest import digest
from consumers.models import ApiKey, Consumer
from providers.catalog import build
from providers.failurerules import FailureRule
from providers.models import Deployment, Endpoint, Key, Model, Provider

pytestmark = [pytest.mark.django_db, pytest.mark.database]

SECRET = "sk-canary-upstream-0123456789"
CALLER = "sk-aether-canary-0123456789abcdef"
FILE = f"""
providers:
  - name: acme
    priority: 5
    billing: free
    website: https://acme.example
    limits: {{concurrency: 50}}
    endpoints:
      - {{format: openai_chat, base_url: "http://127.0.0.1:9000/v1", allow_private: true}}
      - format: anthropic
        base_url: http://127.0.0.1:9000
        allow_private: true
        credential_style: bearer
        headers: {{x-team: blue}}
        quirks: [no_include_usage]
        timeouts: {{connect: 1.5, idle: 30}}
        probe_seconds: 20
        when_client_leaves: drain
        limits: {{concurrency: 40}}
    keys:
      - {{name: k1, secret: "{SECRET}-1", priority: 10}}
      - {{name: k2, secret_env: ACME_KEY, endpoints: [anthropic], weight: 3, cost_multiplier: "0.8",
          allowed_models: [fast], capabilities: [cache_1h], exclusive: true, affinity_seconds: 60,
          limits: {{concurrency: 4}}}}
    models:
      - {{model: fast, upstream_name: acme-fast-1, capabilities: [vision]}}
      - {{model: slow, upstream_name: acme-slow-1, endpoints: [anthropic], price: {{input: 5, output: 6.50}}}}
models:
  - name: fast
    aliases: [fast-latest]
    price: {{input: "1.00", output: "2.00", cache_read: "0.10", cache_write_5m: "1.25",
             cache_write_1h: "2.00", request: "0", reasoning: "3",
             tiers: [{{up_to: 200000, input: "1", output: "2"}}, {{input: "2"}}],
             fees: {{web_search: "0.01"}}, tier_factors: {{flex: "0.5"}}}}
    capabilities: [vision]
    routing_mode: cheapest
    context_window: 100000
  - name: slow
consumers:
  - name: alice
    time_zone: Europe/Berlin
    allowed_formats: [anthropic, openai_chat]
    api_keys:
      - {{name: laptop, secret: "{CALLER}", limits: {{concurrency: 8}}}}
      - {{name: server, allowed_models: [fast], allowed_providers: [acme], allowed_networks: [10.0.0.0/8],
          expires_at: 2030-01-31T12:00:00Z, recording: headers, finish_streams: true,
          failover: false}}
failure_rules:
  - {{name: locked, order: 10, provider: acme, format: anthropic, status: 400, text: account is locked,
      verdict: key_refused}}
  - {{name: policy, error_type: content_policy, status: "4xx", verdict: policy, is_active: false}}
"""
ENVIRONMENT = {"ACME_KEY": f"{SECRET}-2"}

P = "providers:\n- name: a\n"
E = P + "  endpoints:\n  - format: gemini\n    base_url: http://h\n"
K = P + "  keys:\n  - name: k\n    secret: s\n"
M = "models:\n- name: m\n"
C = "consumers:\n- name: a\n"
R = "failure_rules:\n- name: r\n"


def bring(content: str, **options: Any) -> Result:
    return import_config(content, environ=ENVIRONMENT, **options)


def told(content: str) -> list[tuple[int, str]]:
    """The problems of a file."""
    with pytest.raises(ConfigError) as refusal:
        bring(content)
    return [(each.line, each.text) for each in refusal.value.problems]


def summary(result: Result) -> list[str]:
    return [f"{each.action} {each.kind} {each.name}" for each in result.differences]


class TestImport:
    def test_the_shape_of_the_issue_brings_all_it_names(self) -> None:
        result = bring(FILE)
        acme = Provider.objects.get()
        assert (acme.name, acme.priority, acme.billing, acme.website) == (
            "acme",
            5,
            "free",
            "https://acme.example",
        )
        chat, anthropic = acme.endpoints.order_by("-format")
        assert (chat.format, chat.base_url, chat.allow_private) == (
            "openai_chat",
            "http://127.0.0.1:9000/v1",
            True,
        )
        assert (anthropic.credential_style, anthropic.headers) == ("bearer", {"x-team": "blue"})
        assert (anthropic.quirks, anthropic.connect_timeout, anthropic.idle_timeout) == (
            ["no_include_usage"],
            1.5,
            30,
        )
        assert (anthropic.probe_seconds, chat.probe_seconds) == (20, None)
        assert (anthropic.when_client_leaves, chat.when_client_leaves) == ("drain", "abort")
        assert (acme.concurrency_limit, anthropic.concurrency_limit, chat.concurrency_limit) == (50, 40, None)
        fast, slow = Model.objects.all()
        first, second = acme.keys.order_by("name")
        assert (first.secret(), first.priority, first.hint) == (f"{SECRET}-1", 10, "89-1")
        assert (second.secret(), second.weight, second.formats) == (f"{SECRET}-2", 3, ["anthropic"])
        assert (second.cost_multiplier, second.allowed_models) == (Decimal("0.8"), [fast.pk])
        assert (second.capabilities, second.exclusive, second.affinity_seconds) == (["cache_1h"], True, 60)
        assert (first.concurrency_limit, second.concurrency_limit) == (None, 4)
        assert fast.routing_mode == "cheapest"
        assert Deployment.objects.get(model=fast).capabilities == ["vision"]
        assert fast.aliases == ["fast-latest"]
        assert (fast.price_input, fast.price_cache_write_5m, fast.price_request) == (1, Decimal("1.25"), 0)
        assert fast.price_tiers == [{"up_to": 200000, "input": "1", "output": "2"}, {"input": "2"}]
        assert (fast.price_fees, fast.price_tier_factors) == ({"web_search": "0.01"}, {"flex": "0.5"})
        assert (fast.capabilities, fast.context_window, slow.context_window) == (["vision"], 100_000, 200_000)
        assert Deployment.objects.get(model=slow).price_output == Decimal("6.50")
        alice = Consumer.objects.get()
        assert (alice.time_zone, alice.allowed_formats) == ("Europe/Berlin", ["anthropic", "openai_chat"])
        server = alice.api_keys.get(name="server")
        assert (server.allowed_models, server.allowed_providers) == ([fast.pk], [acme.pk])
        assert (server.allowed_networks, server.recording) == (["10.0.0.0/8"], "headers")
        assert (server.finish_streams, server.failover) == (True, False)
        assert str(server.expires_at) == "2030-01-31 12:00:00+00:00"
        caller = load(digest(CALLER))
        assert caller is not None
        assert (caller.consumer_name, caller.api_key_name) == ("alice", "laptop")
        assert caller.concurrency_limit == 8
        locked, policy = FailureRule.objects.all()
        assert (locked.name, locked.order, locked.provider, locked.format) == (
            "locked",
            10,
            acme,
            "anthropic",
        )
        assert (locked.status, locked.text, locked.verdict) == ("400", "account is locked", "key_refused")
        assert (policy.error_type, policy.status, policy.order) == ("content_policy", "4xx", 100)
        assert [each.name for each in build().rules] == ["locked"]
        assert len(result.differences) == 14
        assert {each.action for each in result.differences} == {"create"}

    def test_what_it_brings_can_be_called(self) -> None:
        bring(FILE)
        candidates = build().candidates("fast-latest", "openai_chat")
        assert [(each.target.key_name, each.skipped) for each in candidates] == [
            ("k1", ""), ("k2", "key not used for this format"),
        ]  # fmt: skip
        assert candidates[0].target.secret == f"{SECRET}-1"

    def test_a_second_run_finds_no_difference_and_writes_nothing(self) -> None:
        bring(FILE)
        before, sealed = feed.latest(), list(Key.objects.values_list("sealed", flat=True))
        again = bring(FILE)
        assert again == Result((), ())
        assert feed.latest() == before
        assert list(Key.objects.values_list("sealed", flat=True)) == sealed

    def test_a_dry_run_tells_the_difference_and_writes_nothing(self) -> None:
        dry = bring(FILE, dry_run=True)
        assert not Provider.objects.exists()
        assert not Change.objects.exists()
        assert dry.generated == ()
        assert dry.differences == bring(FILE).differences

    def test_an_api_key_without_a_secret_gets_one_that_is_told_once(self) -> None:
        (new,) = bring(FILE).generated
        assert (new.consumer, new.name) == ("alice", "server")
        assert len(new.secret) >= 50
        assert load(digest(new.secret)) is not None
        assert new.secret not in repr(new)
        assert bring(FILE).generated == ()

    def test_changed_fields_are_told_with_before_and_after_and_nothing_else_is_written(self) -> None:
        bring(FILE)
        position = feed.latest()
        result = bring(FILE.replace("priority: 10", "priority: 20").replace("weight: 3", "weight: 4"))
        assert [(each.name, each.fields) for each in result.differences] == [
            ("acme / k1", {"priority": (10, 20)}), ("acme / k2", {"weight": (3, 4)}),
        ]  # fmt: skip
        assert [each.kind for each in feed.since(position)] == ["key", "key"]

    def test_allow_lists_are_told_by_name(self) -> None:
        bring(FILE)
        (api_key,) = bring(FILE.replace("[fast], allowed_p", "[slow, fast], allowed_p")).differences
        assert api_key.fields == {"allowed_models": (["fast"], ["slow", "fast"])}

    def test_a_field_that_is_taken_out_returns_to_its_default(self) -> None:
        bring(FILE)
        bring(FILE.replace(", priority: 10", "").replace("    aliases: [fast-latest]\n", ""))
        assert Key.objects.get(name="k1").priority == 100
        assert Model.objects.get(name="fast").aliases == []

    def test_rows_that_are_switched_off_come_back_where_the_file_names_them(self) -> None:
        bring(FILE)
        Key.objects.update(is_active=False)
        assert summary(bring(FILE)) == ["change key acme / k1", "change key acme / k2"]
        assert Key.objects.filter(is_active=True).count() == 2

    def test_an_unquoted_amount_keeps_every_digit(self) -> None:
        bring("models: [{name: m, price: {input: 0.1, output: 1.000000000001}}]")
        assert Model.objects.get().price_input == Decimal("0.1")
        assert Model.objects.get().price_output == Decimal("1.000000000001")

    def test_rules_may_change_places(self) -> None:
        wide, narrow = "name: w, text: a, verdict: caller", "name: n, text: ab, verdict: policy"
        both = f"failure_rules: [{{{{{wide}, order: {{}}}}}}, {{{{{narrow}, order: {{}}}}}}]"
        bring(both.format(20, 10))
        assert "never decide" in str(told(both.format(10, 20)))
        swapped = both.format(10, 20).replace("text: a,", "text: abc,")
        assert summary(bring(swapped)) == ["change failure_rule w", "change failure_rule n"]

    def test_an_empty_file_changes_nothing(self) -> None:
        for content in ("", "# nothing\n", "{}", "providers:\nmodels: []\n"):
            assert bring(content, prune=False) == Result((), ())

    def test_aliases_may_move_from_one_model_to_another(self) -> None:
        bring("models: [{name: b, aliases: [x]}, {name: c, aliases: [y]}]")
        bring("models: [{name: b, aliases: [y]}, {name: c, aliases: [x]}, {name: a}]")
        assert {each.name: each.aliases for each in Model.objects.all()} == {"a": [], "b": ["y"], "c": ["x"]}
        bring("models: [{name: y}, {name: b, aliases: []}]")
        assert Model.objects.get(name="b").aliases == []


class TestSecrets:
    def keys(self, *lines: str) -> str:
        return "providers:\n  - name: acme\n    keys:\n" + "".join(f"      - {{{each}}}\n" for each in lines)

    def test_another_secret_replaces_the_one_that_is_there(self) -> None:
        bring(self.keys("name: k1, secret: one"))
        result = bring(self.keys("name: k1, secret: two"))
        assert Key.objects.get().secret() == "two"
        assert [each.fields for each in result.differences] == [{"secret": ("••••", "••••")}]

    def test_a_key_known_by_its_secret_takes_its_new_name(self) -> None:
        bring(self.keys("name: k1, secret: one"))
        before = Key.objects.get()
        result = bring(self.keys("name: k9, secret: one"))
        assert Key.objects.get().pk == before.pk
        assert Key.objects.get().sealed == before.sealed
        assert result.differences[0].fields == {"name": ("k1", "k9")}

    def test_two_keys_may_exchange_their_secrets(self) -> None:
        bring(self.keys("name: k1, secret: one", "name: k2, secret: two"))
        bring(self.keys("name: k1, secret: two", "name: k2, secret: one"))
        assert {each.name: each.secret() for each in Key.objects.all()} == {"k1": "two", "k2": "one"}

    def test_a_key_without_a_secret_keeps_its_own_and_a_new_one_needs_one(self) -> None:
        bring(self.keys("name: k1, secret: one"))
        assert bring(self.keys("name: k1")) == Result((), ())
        assert told(self.keys("name: k1", "name: k2")) == [
            (5, "name: this key is new here: give its secret, or secret_env.")
        ]

    @pytest.mark.parametrize(
        ("lines", "problem"),
        [
            (
                ["name: k1, secret_env: NOT_THERE"],
                "secret_env: the environment variable NOT_THERE is not set",
            ),
            (["name: k1, secret: a, secret_env: ACME_KEY"], "give secret or secret_env, not both"),
            (["name: k1, secret: ''"], "printable ASCII"),
            (["name: k1, secret: 'a b'"], "printable ASCII"),
            (["name: k1, secret: a", "name: k2, secret: a"], "this secret stands here twice"),
            (["name: k1, secret: a", "name: k1, secret: b"], "this stands in line 4 already"),
        ],
    )
    def test_a_secret_that_cannot_be_taken_is_told_without_it(self, lines: list[str], problem: str) -> None:
        ((line, text),) = told(self.keys(*lines))
        assert line == 3 + len(lines)
        assert problem in text

    @pytest.mark.parametrize(
        "content",
        [
            f"providers: [{{name: a, keys: [{{name: k, secret: '{SECRET} x'}}]}}]",
            f"providers: [{{name: a, keys: [{{name: k, secrets: '{SECRET}'}}]}}]",
            f"providers: [{{name: a, keys: [{{name: k, secret: [{SECRET}]}}]}}]",
            f"consumers: [{{name: a, api_keys: [{{name: k, secret: '{SECRET}!'}}]}}]",
            f"providers: [{{name: a, keys: [{{name: k, secret: *{SECRET}}}]}}]",
            f'providers: [{{name: a, keys: [{{name: k, secret: "{SECRET}]',
            f"providers: [{{name: a, keys: [{{name: k, secret: @{SECRET}}}]}}]",
            f"secret: {SECRET}: {SECRET}",
        ],
    )
    def test_no_refusal_repeats_a_secret(self, content: str) -> None:
        assert "canary" not in str(told(content))

    def test_a_caller_s_secret_that_belongs_to_another_is_refused(self) -> None:
        bring(FILE)
        ((line, text),) = told(f"consumers:\n- name: bob\n  api_keys: [{{name: x, secret: {CALLER}}}]")
        assert (line, text) == (3, "secret: this secret belongs to another API key: give each its own.")

    def test_a_caller_s_secret_that_stands_twice_in_the_file_is_refused(self) -> None:
        one = f"  api_keys: [{{name: x, secret: {CALLER}}}]\n"
        problems = told(f"consumers:\n- name: alice\n{one}- name: bob\n{one}")
        assert problems == [(5, "secret: this secret stands here twice: keep one.")]

    def test_an_api_key_can_be_given_another_secret_or_name(self) -> None:
        bring(FILE)
        bring(FILE.replace(CALLER, "sk-aether-another-0123456789"))
        assert load(digest(CALLER)) is None
        assert load(digest("sk-aether-another-0123456789")) is not None
        before = ApiKey.objects.get(name="laptop").pk
        bring("consumers: [{name: alice, api_keys: [{name: desk, secret: sk-aether-another-0123456789}]}]")
        assert ApiKey.objects.get(name="desk").pk == before


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "line", "words"),
        [
            ("provider: []", 1, "unknown field “provider”: did you mean “providers”?"),
            (P + "  colour: blue", 3, "unknown field “colour”: take it out; known here are name,"),
            (P + "  endpoints:\n  - {format: gemini, base_url: 'http://h', url: x}", 4, "“url”"),
            (K + "    prio: 1", 6, "unknown field “prio”"),
            (M + "  price:\n    input: 1\n    ouput: 2", 5, "did you mean “output”?"),
            (M + "  price: {tiers: [{upto: 5}]}", 3, "did you mean “up_to”?"),
            (C + "  limits: {rpm: 5}", 3, "“limits” is not enforced yet: leave it out."),
            (C + "  budgets: []", 3, "“budgets” is not enforced yet"),
            (C + "  model_limits: {}", 3, "“model_limits” is not enforced yet"),
            (C + "  api_keys:\n  - name: k\n    balance: 5", 5, "“balance” is not enforced yet"),
            (P + "  monthly_quota: 5", 3, "“monthly_quota” is not enforced yet"),
            (K + "    limits: {rpm: 5}", 6, "“rpm” is not enforced yet"),
            (K + "    limits: {concurrency: 0}", 6, "limits: "),
            (E + "    limits: {concurrency: many}", 6, "concurrency: give a whole number"),
            (P + "  limits: {concurency: 5}", 3, "did you mean “concurrency”?"),
            (P + "  limits: 5", 3, "limits: give a mapping"),
            ("providers:\n- priority: 5", 2, "“name” is missing"),
            (P + "  endpoints: [{format: gemini}]", 3, "“base_url” is missing"),
            (P + "- name: a", 3, "this stands in line 2 already"),
            (P + "  name: b", 3, "“name” stands here twice"),
            (P + "  priority: high", 3, "priority: give a whole number"),
            (P + "  priority: 1.5", 3, "priority: give a whole number"),
            (P + "  priority: true", 3, "priority: give a whole number"),
            (P + "  is_active: 'yes'", 3, "is_active: give true or false"),
            ("providers:\n- name:\n", 2, "name: give a text"),
            ("providers:\n- name: [a]\n", 2, "name: give a text"),
            ("providers: acme", 1, "providers: give a list"),
            ("providers:\n- acme", 2, "give a mapping"),
            ("- providers", 1, "give a mapping"),
            (P + "  billing: cheap", 3, "billing: choose from metered, free."),
            (P + "  website: 'javascript:alert(1)'", 3, "website: "),
            (E.replace("gemini", "grpc"), 4, "format: choose from openai_chat"),
            (E.replace("http:", "ftp:"), 5, "base_url: Begin the address"),
            (E.replace("//h", "//u:p@h"), 5, "Leave out the user"),
            (E + "    headers: {host: x}", 6, "headers: "),
            (E + "    timeouts: {idle: 0}", 6, "timeouts: "),
            (E + "    timeouts: {idle: soon}", 6, "idle: give a number of seconds"),
            (E + "    probe_seconds: 0.5", 6, "probe_seconds: "),
            (E + "    when_client_leaves: stay", 6, "when_client_leaves: choose from abort, drain."),
            (E + "    probe_seconds: often", 6, "probe_seconds: give a number of seconds"),
            (E + "    quirks: [odd]", 6, "quirks: "),
            (P + "  models:\n  - model: gone\n    upstream_name: x", 4, "model: there is no model “gone”"),
            ("models: [{name: m}]\n" + P + "  models: [{model: m, upstream_name: a b}]", 4, "upstream_name"),
            (K + "    weight: 0", 6, "weight: "),
            (K + "    endpoints: [x]", 6, "endpoints: "),
            (K + "    allowed_models: [gone]", 6, "there is no “gone”"),
            ("models:\n- name: 'a b'", 2, "name: A model's name"),
            (M + "  price: {input: -1, output: 1}", 3, "input: “-1” is no amount"),
            (M + "  price: {input: 1e3, output: 1}", 3, "is no amount"),
            (M + "  price: {input: 1}", 3, "price: Give the output price too"),
            (M + "  price: {tiers: [{up_to: 5, input: 1}, {up_to: 4, input: 1}]}", 3, "price: "),
            (M + "  context_window: 0", 3, "context_window: "),
            (M + "  capabilities: [flying]", 3, "capabilities: “flying” is unknown"),
            (M + "  aliases: [x]\n- name: x", 4, "“x” is a name of the model “m” already"),
            (C + "  time_zone: Mars", 3, "time_zone: Unknown time zone"),
            (C + "  allowed_networks: [10.0.0.1/8]", 3, "allowed_networks: "),
            (C + "  api_keys:\n  - {name: k, expires_at: tomorrow}", 4, "expires_at: give an instant"),
            (C + "  api_keys:\n  - {name: k, recording: all}", 4, "recording: choose from none, headers"),
            (C + "  api_keys:\n  - {name: k, secret: short}", 4, "an API key is 20 to 200"),
            (R + "  verdict: key_refused", 2, "It would take every error there is"),
            (R + "  status: 400", 2, "“verdict” is missing"),
            (R + "  status: 200\n  verdict: caller", 3, "status: “200” is no status of an error"),
            (R + "  status: 400\n  verdict: retry", 4, "verdict: choose from caller, policy"),
            (R + "  status: 400\n  verdict: caller\n  provider: gone", 5, "there is no “gone”"),
            (R + "  status: 400\n  verdict: caller\n  format: grpc", 5, "format: choose from openai_chat"),
            (R + "  text: x\n  verdict: caller\n  pattern: .*", 5, "unknown field “pattern”"),
            (R + "  text: a\n  verdict: caller\n- name: s\n  text: A\n  verdict: policy", 5, "asks for the"),
            (R + "  text: a\n  verdict: caller\n- name: s\n  text: ab\n  verdict: policy", 5, "never decide"),
            ("a: [", 1, "This is no YAML"),
            ("a:\n\tb: 1", 2, "This is no YAML"),
            ("a: 1\n--- \nb: 2", 2, "This is no YAML"),
            ("x: \x00", 0, "This is no YAML"),
            ("[" * 3000, 0, "This is no YAML"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_taken_is_told_with_its_line_and_the_remedy(
        self, content: str, line: int, words: str
    ) -> None:
        problems = told(content)
        assert any(found == line and words in text for found, text in problems), problems
        assert not Change.objects.exists()

    def test_all_problems_are_told_at_once_in_order_of_lines(self) -> None:
        problems = told("providers:\n- name: a\n  x: 1\n  y: 2\nmodels:\n- z: 3\n")
        assert [line for line, _ in problems] == [3, 4, 6, 6]

    def test_one_refused_row_keeps_the_whole_file_out(self) -> None:
        told(FILE + "  - name: bob\n    time_zone: Mars\n")
        assert not Provider.objects.exists()
        assert not Change.objects.exists()

    def test_text_that_is_no_utf_8_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="UTF-8"):
            import_config(b"a: \xff\xfe\xfa", environ={})


class TestPrune:
    def test_without_it_what_the_file_does_not_name_stays(self) -> None:
        bring(FILE)
        assert bring("providers: []\nmodels: []\nconsumers: []") == Result((), ())

    def test_it_switches_off_what_the_file_does_not_name(self) -> None:
        bring(FILE)
        smaller = """
providers:
  - name: acme
    priority: 5
    billing: free
    website: https://acme.example
    limits: {concurrency: 50}
    endpoints:
      - {format: openai_chat, base_url: "http://127.0.0.1:9000/v1", allow_private: true}
    keys: [{name: k1, priority: 10}]
    models: [{model: fast, upstream_name: acme-fast-1, capabilities: [vision]}]
consumers: []
"""
        assert bring(smaller) == Result((), ())
        position = feed.latest()
        result = bring(smaller, prune=True)
        assert summary(result) == [
            "switch off endpoint acme / anthropic",
            "switch off key acme / k2",
            "switch off deployment acme / slow / acme-slow-1",
            "switch off consumer alice",
        ]
        assert {each.kind for each in feed.since(position)} == {"endpoint", "key", "deployment", "consumer"}
        assert Model.objects.filter(is_active=True).count() == 2  # that list does not stand in the file
        assert ApiKey.objects.filter(is_active=True).count() == 2
        assert bring(smaller, prune=True) == Result((), ())

    def test_a_dry_run_of_it_switches_nothing_off(self) -> None:
        bring(FILE)
        assert summary(bring("providers: []", prune=True, dry_run=True)) == ["switch off provider acme"]
        assert Provider.objects.get().is_active


class TestExport:
    def test_import_of_an_export_finds_no_difference(self) -> None:
        bring(FILE)
        position = feed.latest()
        text = as_yaml(export_config())
        assert import_config(text, environ={}) == Result((), ())
        assert import_config(text, environ={}, prune=True) == Result((), ())
        assert feed.latest() == position
        assert load(digest(CALLER)) is not None

    def test_an_export_carries_everything_to_an_empty_database_but_the_secrets(self) -> None:
        bring(FILE)
        config = export_config()
        for model in (FailureRule, Provider, Model, Consumer):
            model.objects.all().delete()
        for each in config["providers"][0]["keys"]:
            each["secret"] = f"{SECRET}-{each['name']}"
        import_config(as_yaml(config), environ={})
        again = export_config()
        for each in (*config["providers"][0]["keys"], *again["providers"][0]["keys"]):
            each.pop("secret", None), each.pop("hint", None)
        assert again == config

    def test_it_holds_no_secret_and_no_digest(self) -> None:
        bring(FILE)
        text = as_yaml(export_config()) + json.dumps(export_config())
        for canary in (SECRET, CALLER, "sealed", digest(CALLER), Key.objects.get(name="k1").secret_digest):
            assert canary not in text
        assert "hint: 89-1" in text

    def test_what_stands_at_its_default_is_left_out(self) -> None:
        bring(
            "providers: [{name: a, endpoints: [{format: gemini, base_url: 'https://g.example'}]}]\n"
            "models: [{name: m}]"
        )
        assert export_config() == {
            "providers": [
                {
                    "name": "a",
                    "endpoints": [{"format": "gemini", "base_url": "https://g.example"}],
                    "keys": [],
                    "models": [],
                }
            ],
            "models": [{"name": "m"}],
            "consumers": [],
            "failure_rules": [],
        }

    def test_an_allow_list_that_lost_its_rows_never_comes_back_as_all(self) -> None:
        bring(FILE)
        Model.objects.get(name="fast").delete()
        config = export_config()
        (server,) = [each for each in config["consumers"][0]["api_keys"] if each["name"] == "server"]
        assert server["allowed_models"] == ["(deleted)"]
        assert import_config(as_yaml(config), environ={}) == Result((), ())
        Consumer.objects.all().delete()
        import_config(as_yaml(config), environ={})
        assert ApiKey.objects.get(name="server").allowed_models == [0]

    def test_odd_names_survive(self) -> None:
        for name in ("yes", "007", "null", "a: b", "# c", "“ü” 漢字 🙂", "- x", "1.0", "'q'", '"', "{", "~"):
            Consumer.objects.create(name=name)
        names = set(Consumer.objects.values_list("name", flat=True))
        text = as_yaml(export_config())
        assert {each["name"] for each in yaml.safe_load(text)["consumers"]} == names
        assert import_config(text, environ={}) == Result((), ())


class TestCommands:
    @pytest.fixture
    def file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("ACME_KEY", ENVIRONMENT["ACME_KEY"])
        path = tmp_path / "config.yaml"
        path.write_text(FILE, encoding="utf-8")
        return path

    def run(self, *words: str) -> str:
        out = StringIO()
        call_command(*words, stdout=out)
        return out.getvalue()

    def test_import_prints_each_difference_and_new_secrets_once(self, file: Path) -> None:
        dry = self.run("import_config", str(file), "--dry-run")
        assert "14 differences, not applied." in dry
        assert "+ failure rule locked: provider acme, order 10, format anthropic" in dry
        assert "+ key acme / k1: priority 10, secret ••••" in dry
        assert "sk-aether-" not in dry
        out = self.run("import_config", str(file))
        assert "14 differences, applied." in out
        assert out.count("The API key alice / server, shown only now: sk-aether-") == 1
        assert "canary" not in out
        assert self.run("import_config", str(file)) == "No difference.\n"
        file.write_text(FILE.replace("priority: 10", "priority: 20"), encoding="utf-8")
        assert self.run("import_config", str(file)).splitlines() == [
            "~ key acme / k1: priority 10 → 20", "1 difference, applied.",
        ]  # fmt: skip

    def test_import_prints_json_for_machines(self, file: Path) -> None:
        told = json.loads(self.run("import_config", str(file), "--json"))
        assert told["applied"]
        assert len(told["differences"]) == 14
        assert told["generated"][0]["secret"].startswith("sk-aether-")
        key = next(each for each in told["differences"] if each["name"] == "acme / k2")
        assert key["fields"]["cost_multiplier"] == {"before": None, "after": "0.8"}
        assert json.loads(self.run("import_config", str(file), "--json", "--dry-run")) == {
            "applied": False, "differences": [], "generated": [],
        }  # fmt: skip

    def test_import_names_file_line_and_remedy(self, file: Path) -> None:
        file.write_text("providers:\n- name: a\n  colour: blue\n", encoding="utf-8")
        with pytest.raises(CommandError, match=r"config\.yaml, line 3: unknown field “colour”: take it out"):
            self.run("import_config", str(file))
        with pytest.raises(CommandError, match=r"gone\.yaml cannot be read: No such file"):
            self.run("import_config", str(file.with_name("gone.yaml")))

    @pytest.mark.parametrize("flags", [(), ("--json",)])
    def test_export_prints_what_import_takes(self, file: Path, flags: tuple[str, ...]) -> None:
        self.run("import_config", str(file))
        file.write_text(self.run("export_config", *flags), encoding="utf-8")
        assert self.run("import_config", str(file), "--prune") == "No difference.\n"

    def test_prune_switches_off(self, file: Path) -> None:
        self.run("import_config", str(file))
        file.write_text("consumers: []", encoding="utf-8")
        assert (
            self.run("import_config", str(file), "--prune").splitlines()[0]
            == "- consumer alice: is_active true → false"
        )
        assert not Consumer.objects.get().is_active
        assert Endpoint.objects.filter(is_active=True).count() == 2
