"""Hundreds of thousands of keys: no list, search or picker asks more often than with ten (pains.md, 4)."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from consumers.models import ApiKey, Consumer
from providers.models import Key, Provider
from tests.counts import count
from tests.pages import world

pytestmark = [pytest.mark.django_db, pytest.mark.database]

FEW = 2_000
TIMES = count(1, 200)
MOST_QUERIES = 10


def multiply(model: type[Any], fresh: dict[str, str]) -> None:
    """Copies the rows of `model` until there are `TIMES` as many. `fresh` gives, for each column that must
    differ, an expression with `{step}` in it: 16 hexadecimal digits, another for each copy."""
    columns = [field.column for field in model._meta.concrete_fields if not field.primary_key]
    last = model.objects.order_by("-pk").values_list("pk", flat=True)[0]
    with connection.cursor() as cursor:
        for step in range(1, TIMES):
            values = ", ".join(fresh.get(each, f'"{each}"').format(step=f"{step:016x}") for each in columns)
            names = ", ".join(f'"{each}"' for each in columns)
            table = model._meta.db_table
            cursor.execute(
                f'INSERT INTO "{table}" ({names}) SELECT {values} FROM "{table}" WHERE id <= {last}'
            )


def sow() -> None:
    provider, consumer = Provider.objects.create(name="acme"), Consumer.objects.create(name="alice")
    pattern = Key(provider=provider, name="pattern")
    pattern.set_secret("sk-pattern-0123456789abcdef")
    Key.objects.bulk_create(
        Key(
            provider=provider, name=f"key-{number:06d}", sealed=pattern.sealed, hint="cdef",
            secret_digest=f"{number:048x}{0:016x}",
        )
        for number in range(FEW)
    )  # fmt: skip
    ApiKey.objects.bulk_create(
        ApiKey(
            consumer=consumer,
            name=f"program-{number:06d}",
            prefix="abcdefgh",
            digest=f"{number:048x}{0:016x}",
        )
        for number in range(FEW)
    )


def reap() -> None:
    """Many times as many."""
    postgres = connection.vendor == "postgresql"
    seal = "md5(seal_id::text || '{step}')::uuid" if postgres else "substr(seal_id, 1, 16) || '{step}'"
    name = "name || '{step}'"
    multiply(
        Key, {"name": name, "seal_id": seal, "secret_digest": "substr(secret_digest, 1, 48) || '{step}'"}
    )
    multiply(ApiKey, {"name": name, "digest": "substr(digest, 1, 48) || '{step}'"})


def picker(field: str, model: str, term: str) -> tuple[str, dict[str, str]]:
    asked = {"app_label": "usage", "model_name": model, "field_name": field, "term": term}
    return reverse("admin:autocomplete"), asked


def test_many_keys_take_no_more_queries_than_few(client_of_root: Client) -> None:
    sow()
    world.record()
    keys, api_keys = reverse("admin:providers_key_changelist"), reverse("admin:consumers_apikey_changelist")
    pages: list[tuple[str, dict[str, str]]] = [
        (keys, {}), (keys, {"p": "20"}), (keys, {"q": "key-001"}), (keys, {"q": "nothing at all"}),
        (keys, {"is_active__exact": "1"}), (api_keys, {}), (api_keys, {"q": "program-0019"}),
        picker("api_key", "record", "program-001"), picker("key", "attempt", "key-0019"),
        (reverse("admin:index"), {}), (reverse("admin:providers_provider_changelist"), {}),
        (reverse("admin:providers_provider_change", args=[Provider.objects.get().pk]), {}),
    ]  # fmt: skip
    reap()
    for url, query in pages:
        with CaptureQueriesContext(connection) as captured:
            assert client_of_root.get(url, query).status_code == 200
        most = MOST_QUERIES + (4 if url.endswith("/change/") else 0)  # a row with its tables inside
        assert len(captured) <= most, (url, query, [each["sql"] for each in captured])
