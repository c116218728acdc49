"""A relay in use: vendors, models, consumers, and a month of requests that cost what they must."""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.core.management import call_command

from consumers.models import ApiKey, Consumer
from providers.machine import KeyState
from providers.models import Deployment, Endpoint, Key, Model, Provider
from usage.charge import Charge, charge
from usage.ids import attempt_id, request_id
from usage.models import Attempt, PriceSnapshot, Record
from usage.pico import from_pico
from usage.pricing import ONE, Price
from wire.types import Usage

VENDORS = {
    "openai": ("openai_responses", "https://api.openai.com/v1"),
    "anthropic": ("anthropic", "https://api.anthropic.com"),
    "deepseek": ("openai_chat", "https://api.deepseek.com/v1"),
}
MODELS: dict[str, tuple[str, str, str, int]] = {
    "gpt-5": ("openai", "1.25", "10", 30),
    "gpt-5-mini": ("openai", "0.25", "2", 45),
    "claude-sonnet-4-5": ("anthropic", "3", "15", 40),
    "claude-haiku-4-5": ("anthropic", "1", "5", 20),
    "deepseek-chat": ("deepseek", "0.28", "0.42", 25),
}
"""Name -> vendor, dollars a million for input and output, how often it is asked for."""
CONSUMERS = {"web-app": ("production", "staging"), "research": ("notebooks",), "support": ("assistant",)}
FAILED = {"throttled": 429, "overloaded": 529, "first_byte_timeout": 0, "server_error": 500}
ENDS = {"ok": 93, "client_gone": 3, "upstream_error": 2, "partial": 1, "rejected": 1}


class Busy:
    """Makes it; `now` is when the last request began."""

    def __init__(self, chance: random.Random, now: datetime) -> None:
        self.chance = chance
        self.now = now
        self.keys: dict[str, list[Key]] = {}
        self.snapshots: dict[str, PriceSnapshot] = {}
        self.records: list[Record] = []
        self.attempts: list[Attempt] = []
        for vendor, (wire, base) in VENDORS.items():
            provider = Provider.objects.create(name=vendor)
            Endpoint.objects.create(provider=provider, format=wire, base_url=base)
            self.keys[vendor] = [self._key(provider, name) for name in ("main", "spare")]
        self.models = {name: self._model(name) for name in MODELS}
        self.prices = {
            name: Price.build(
                source=f"model {name}", input=each[1], output=each[2], fees={"web_search": "0.01"}
            )
            for name, each in MODELS.items()
        }  # fmt: skip
        self.api_keys = [
            ApiKey.issue(consumer=consumer, name=program)[0]
            for consumer, programs in (
                (Consumer.objects.create(name=name), programs) for name, programs in CONSUMERS.items()
            )
            for program in programs
        ]

    def _key(self, provider: Provider, name: str) -> Key:
        key = Key(provider=provider, name=name)
        key.set_secret(f"sk-{self.chance.getrandbits(160):040x}")
        key.save()
        KeyState.objects.create(key=key, updated_at=self.now, last_used_at=self.now)
        return key

    def _model(self, name: str) -> Model:
        vendor, given, taken, _often = MODELS[name]
        model = Model.objects.create(name=name, price_input=given, price_output=taken)
        Deployment.objects.create(model=model, provider=Provider.objects.get(name=vendor), upstream_name=name)
        return model

    def serve(self, number: int, days: int = 30) -> None:
        """So many requests over so many days, more of them by day than by night; their sums as well."""
        for place in range(number):
            hours = days * 24 * (1 - (place + self.chance.random()) / number)
            moment = self.now - timedelta(hours=hours)
            if self.chance.random() < 0.3 + 0.7 * math.sin(math.pi * moment.hour / 24):
                self._request(moment)
        Record.objects.bulk_create(self.records, batch_size=400)
        Attempt.objects.bulk_create(self.attempts, batch_size=400)
        call_command("rollup", "--rebuild", verbosity=0)

    def _request(self, moment: datetime) -> None:
        chance: random.Random = self.chance
        moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
        name = chance.choices([*MODELS], [each[3] for each in MODELS.values()])[0]
        api_key: Any = chance.choice(self.api_keys)
        outcome = chance.choices([*ENDS], [*ENDS.values()])[0]
        wire, keys = VENDORS[MODELS[name][0]][0], self.keys[MODELS[name][0]]
        identifier = UUID(request_id(round(moment.timestamp() * 1000), chance.randbytes(9)))
        first = round(chance.lognormvariate(6.3, 0.5))
        total = first + round(chance.lognormvariate(8, 0.8))
        failures = chance.choices([0, 1, 2], [88, 9, 3])[0]
        usage = self._usage() if outcome in {"ok", "client_gone", "partial"} else Usage()
        bill = charge(
            self.prices[name], usage, outcome=outcome, delivered=bool(usage.output_tokens),
            committed=bool(usage.output_tokens), cost_multiplier=9 * ONE // 10,
        )  # fmt: skip
        status = {"rejected": 400, "upstream_error": 502}.get(outcome, 200)
        record: Any = Record(
            request_id=identifier, started_at=moment, consumer_id=api_key.consumer_id,
            consumer_name=api_key.consumer.name, api_key_id=api_key.pk, api_key_name=api_key.name,
            model_id=self.models[name].pk, model_name=name, client_format=wire, outcome=outcome,
            status_code=status, error_code="" if outcome in {"ok", "client_gone"} else outcome,
            is_stream=chance.random() < 0.8, usage_source=bill.usage_source,
            first_token_ms=first if usage.output_tokens else None, total_ms=total, estimated=bill.estimated,
            overhead_us=chance.randrange(400, 900), address="192.0.2.7", **_tokens(bill.usage),
        )  # fmt: skip
        record.list_cost = None if bill.list_pico is None else from_pico(bill.list_pico)
        record.tool_uses = bill.usage.tool_uses or None
        record.saved_cost = from_pico(bill.saved_pico)
        if bill.list_pico:
            record.price_id = self._snapshot(name, bill.usage).pk
        if outcome != "rejected":
            self._tries(record, keys, bill, failures=failures, first=first)
        self.records.append(record)

    def _usage(self) -> Usage:
        chance = self.chance
        given = round(chance.lognormvariate(8, 1))
        read = chance.choice([0, given * 3 // 4])
        written = chance.choice([0, 0, (given - read) // 2])
        output = round(chance.lognormvariate(6, 0.8)) + 1
        return Usage(
            given, output, read, written, 0, chance.choice([0, output // 3]),
            tool_uses=chance.choice([{}, {}, {}, {"web_search": 1}]),
            input_reported=True, output_reported=True, final=True,
        )  # fmt: skip

    def _snapshot(self, name: str, usage: Usage) -> PriceSnapshot:
        if name not in self.snapshots:
            columns = self.prices[name].snapshot(usage)
            money = (
                "input",
                "output",
                "cache_read",
                "cache_write_5m",
                "cache_write_1h",
                "request",
                "tier_factor",
            )
            self.snapshots[name] = PriceSnapshot.objects.create(
                **{**columns, **{each: from_pico(columns[each]) for each in money}}
            )
        return self.snapshots[name]

    def _tries(self, record: Any, keys: list[Key], bill: Charge, *, failures: int, first: int) -> None:
        began, total, wire = 0, record.total_ms, record.client_format
        for number in range(1, failures + 2):
            last = number == failures + 1
            key: Any = keys[(number - 1) % len(keys)]
            took = total if last else self.chance.randrange(40, 900)
            reason = "" if last and record.outcome == "ok" else self.chance.choice([*FAILED])
            attempt: Any = Attempt(
                id=attempt_id(UUID(str(record.request_id)), number), record=record, number=number,
                started_at=record.started_at + timedelta(milliseconds=began), provider_id=key.provider_id,
                provider_name=key.provider.name, key_id=key.pk, key_name=key.name, model_id=record.model_id,
                upstream_model=record.model_name, upstream_format=wire, reason=reason,
                verdict="ok" if not reason else "next", total_ms=took,
                status_code=200 if not reason else FAILED[reason],
            )  # fmt: skip
            attempt.list_cost, attempt.cost_multiplier = Decimal(0), Decimal("0.9")
            if last:
                if record.outcome in {"client_gone", "partial"}:
                    attempt.verdict, attempt.reason, attempt.status_code = record.outcome, record.outcome, 200
                record.total_ms = began + total
                if bill.usage.output_tokens:
                    attempt.first_token_ms, record.first_token_ms = first, began + first
                attempt.list_cost = from_pico(bill.attempt_list_pico or 0)
                attempt.own_cost = from_pico(bill.own_pico)
                for column, value in _tokens(bill.attempt_usage).items():
                    setattr(attempt, column, value)
                record.provider_id, record.provider_name = key.provider_id, key.provider.name
                record.key_id, record.key_name = key.pk, key.name
                record.upstream_model, record.upstream_format = record.model_name, wire
            self.attempts.append(attempt)
            began += took + 2
        record.attempt_count = failures + 1
        record.own_cost = from_pico(bill.own_pico)


def _tokens(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cache_read_tokens, "cache_creation_tokens": usage.cache_write_tokens,
        "cache_creation_1h_tokens": usage.cache_write_1h_tokens, "reasoning_tokens": usage.reasoning_tokens,
    }  # fmt: skip
