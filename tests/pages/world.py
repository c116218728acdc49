"""One row of everything, or more, for the pages to show; and the addresses of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, Permission
from django.db.models import Model as DjangoModel
from django.urls import reverse

from consumers.models import ApiKey, ApiKeyState, Consumer, Membership, User
from providers import states
from providers.drills import Drill
from providers.events import StateEvent
from providers.failurerules import FailureRule
from providers.machine import EndpointState, KeyState
from providers.models import Deployment, Endpoint, Key, Model, Provider
from usage.ids import attempt_id, request_id
from usage.models import (
    ApiKeyRollup,
    Attempt,
    AttemptRollup,
    Body,
    DeadLetter,
    JournalPosition,
    Outcome,
    PriceSnapshot,
    Record,
    Rollup,
    StoredResponse,
)
from usage.pages import Ledger

PASSWORD = "correct horse battery"
CANARY = "sk-canary-7Vq1ZkP0wXyT3uRb9mLs-never-shown"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def superuser(name: str = "root") -> User:
    return User.objects.create_superuser(name, f"{name}@example.com", PASSWORD)


def staff(name: str, *permissions: str) -> User:
    """Somebody of a lower role, with these permissions (`app.codename`)."""
    user = User.objects.create_user(name, f"{name}@example.com", PASSWORD, is_staff=True)
    for each in permissions:
        app, codename = each.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return user


def supply(name: str = "acme", *, secret: str = CANARY) -> Provider:
    """A provider with endpoint, key, priced model and deployment, and what the machine knows of them."""
    provider = Provider.objects.create(name=name)
    endpoint = Endpoint.objects.create(
        provider=provider,
        format="openai_chat",
        base_url="https://api.example.com/v1",
        headers={"x-team": "blue"},
    )
    key = Key(provider=provider, name="first")
    key.set_secret(secret)
    key.save()
    model = Model.objects.create(
        name=f"{name}-fast", aliases=[f"{name}-latest"], price_input=1, price_output="2.5",
        price_tiers=[{"up_to": 200_000, "input": "1.00", "output": "2.50"}],
        price_fees={"web_search": "0.01"},
    )  # fmt: skip
    Deployment.objects.create(model=model, provider=provider, upstream_name=f"{name}-fast-1")
    KeyState.objects.create(key=key, updated_at=NOW, last_used_at=NOW)
    EndpointState.objects.create(
        endpoint=endpoint, updated_at=NOW, disabled_at=NOW, reason="401 from upstream"
    )
    StateEvent.objects.create(
        id=states.event_id(round(NOW.timestamp() * 1000), name.encode()), at=NOW, endpoint=endpoint,
        condition="refused", reason="key_refused", process="w1",
    )  # fmt: skip
    return provider


def demand(name: str = "alice") -> tuple[ApiKey, str]:
    """A consumer with a used API key and a member. Returns the API key and its secret."""
    consumer = Consumer.objects.create(name=name)
    api_key, secret = ApiKey.issue(consumer=consumer, name="laptop")
    ApiKeyState.objects.create(api_key=api_key, last_used_at=NOW, last_address="192.0.2.7")
    user = User.objects.create_user(f"user-of-{name}", "", PASSWORD)
    Membership.objects.create(user=user, consumer=consumer)
    return api_key, secret


def record(number: int = 0, **columns: Any) -> Record:
    """A settled request; later numbers are later requests."""
    moment = NOW + timedelta(seconds=number)
    filled: dict[str, Any] = {
        "request_id": UUID(request_id(int(moment.timestamp() * 1000), (number << 8).to_bytes(9))),
        "started_at": moment, "consumer_name": "alice", "api_key_name": "laptop", "provider_name": "acme",
        "key_name": "first", "model_name": "fast", "upstream_model": "acme-fast-1",
        "client_format": "openai_chat",
        "upstream_format": "openai_chat", "is_stream": True, "outcome": Outcome.OK, "status_code": 200,
        "input_tokens": 1200, "output_tokens": 80, "cached_tokens": 1000, "list_cost": Decimal("0.00031"),
        "own_cost": Decimal("0.00031"), "first_token_ms": 240, "total_ms": 1840, "attempt_count": 1,
    }  # fmt: skip
    return Record.objects.create(**{**filled, **columns})


def attempt(of: Record, number: int = 1, **columns: Any) -> Attempt:
    filled: dict[str, Any] = {
        "id": attempt_id(UUID(str(of.request_id)), number), "record": of, "number": number,
        "started_at": of.started_at, "provider_name": "acme", "key_name": "first",
        "upstream_model": "acme-fast-1", "upstream_format": "openai_chat", "verdict": "ok",
        "status_code": 200, "input_tokens": 1200, "output_tokens": 80, "own_cost": Decimal("0.00031"),
        "total_ms": 1840,
    }  # fmt: skip
    return Attempt.objects.create(**{**filled, **columns})


def ledger() -> None:
    """One row in each table of the ledger."""
    snapshot = PriceSnapshot.objects.create(
        hash="0" * 64,
        source="model fast",
        input=1,
        output=2,
        cache_read=0,
        cache_write_5m=1,
        cache_write_1h=2,
    )
    one = record(price=snapshot)
    attempt(one, 1, verdict="next_key", reason="rate_limited", status_code=429)
    attempt(one, 2)
    Body.objects.create(
        request_id=one.request_id, client_request_headers={"x-a": "b"}, expires_at=NOW + timedelta(days=1)
    )
    Rollup.objects.create(quarter=NOW, outcome=Outcome.OK, requests=1, first_token_03=1, total_05=1)
    ApiKeyRollup.objects.create(quarter=NOW, requests=1)
    AttemptRollup.objects.create(quarter=NOW, verdict="ok", requests=1)
    StoredResponse.objects.create(response_id="resp_1", created_at=NOW, expires_at=NOW + timedelta(days=1))
    DeadLetter.objects.create(segment="w1-000001", position=7, kind="final", line="{}", reason="too long")
    JournalPosition.objects.create(segment="w1-000001", position=9, updated_at=NOW)


def everything(user: User) -> str:
    """At least one row in every table that the admin shows. Returns the secret of the API key."""
    provider = supply()
    FailureRule.objects.create(
        name="locked accounts", provider=provider, status="400", text="is locked", verdict="key_refused"
    )
    _api_key, secret = demand()
    ledger()
    Drill.objects.create(
        fault=Drill.Fault.CUT, key=Key.objects.get(), starts_at=NOW, ends_at=NOW + timedelta(minutes=5)
    )
    Group.objects.create(name="viewers")
    LogEntry.objects.log_actions(user.pk, Provider.objects.filter(pk=provider.pk), CHANGE, "Changed Name.")
    return secret


def shown() -> list[type[DjangoModel]]:
    """The models that have pages."""
    return list(admin.site._registry)


def read_only(model: type[DjangoModel], page: str) -> bool:
    """Whether `page` of a table that machines write is refused."""
    return page in {"add", "delete"} and isinstance(admin.site._registry[model], Ledger)


def address(model: type[DjangoModel], page: str, *args: Any) -> str:
    """`page` is changelist, add, change, delete or history."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def addresses() -> Iterator[tuple[str, str, type[DjangoModel]]]:
    """All pages of all tables: address, kind of page, model; for the first row of each table."""
    yield reverse("admin:index"), "index", LogEntry
    for app in sorted({model._meta.app_label for model in shown()}):
        yield reverse("admin:app_list", args=[app]), "app", LogEntry
    for model in shown():
        yield address(model, "changelist"), "changelist", model
        yield address(model, "add"), "add", model
        row = model._default_manager.first()
        assert row is not None, f"the world holds no {model._meta.label}"
        for page in ("change", "delete", "history"):
            yield address(model, page, row.pk), page, model
