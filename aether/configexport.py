"""Writes the tables as a configuration file, without secrets; what stands at its default is left out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import yaml
from django.db.models import Model as Table

from aether.configfile import (
    API_KEY,
    CONSUMER,
    DELETED,
    DEPLOYMENT,
    ENDPOINT,
    FAILURE_RULE,
    KEY,
    LIMITS,
    MODEL,
    PRICE,
    PROVIDER,
    TIMEOUTS,
    default,
)  # fmt: skip
from consumers.models import ApiKey, Consumer
from providers.catalog import ids
from providers.failurerules import FailureRule
from providers.models import Deployment, Endpoint, Key, Model, Provider

HEAD = """\
# Aether's configuration, for `manage.py import_config`. Secrets are left out: a key that is there keeps its
# own, a new one needs `secret` or `secret_env`, a new API key gets a fresh secret. `hint` is what a secret
# ends in.
"""


def export_config() -> dict[str, Any]:
    """The tables in the shape of the file."""
    models = {each.pk: each.name for each in Model.objects.all()}
    providers = {each.pk: each.name for each in Provider.objects.all()}
    return {
        "providers": [
            _provider(each, models)
            for each in Provider.objects.order_by("name").prefetch_related(
                "endpoints", "keys", "deployments__model"
            )
        ],
        "models": [_model(each) for each in Model.objects.order_by("name")],
        "consumers": [
            _consumer(each, models, providers)
            for each in Consumer.objects.order_by("name").prefetch_related("api_keys")
        ],
        "failure_rules": [_failure_rule(each) for each in FailureRule.objects.select_related("provider")],
    }


def as_yaml(config: Mapping[str, Any]) -> str:
    """The file's text."""
    return HEAD + yaml.safe_dump(
        dict(config), sort_keys=False, allow_unicode=True, default_flow_style=False, width=110
    )


def _provider(provider: Provider, models: Mapping[int, str]) -> dict[str, Any]:
    return {
        "name": provider.name,
        **_given(provider, PROVIDER),
        **_limits(provider),
        "endpoints": [
            _endpoint(each) for each in sorted(provider.endpoints.all(), key=lambda row: row.format)
        ],
        "keys": [_key(each, models) for each in sorted(provider.keys.all(), key=lambda row: row.name)],
        "models": [
            _deployment(each)
            for each in sorted(
                provider.deployments.all(), key=lambda row: (row.model.name, row.upstream_name)
            )
        ],
    }


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    timeouts = _given(endpoint, TIMEOUTS)
    return {
        "format": endpoint.format,
        "base_url": endpoint.base_url,
        **_given(endpoint, {name: column for name, column in ENDPOINT.items() if name != "base_url"}),
        **({"timeouts": timeouts} if timeouts else {}),
        **_limits(endpoint),
    }


def _key(key: Key, models: Mapping[int, str]) -> dict[str, Any]:
    return {
        "name": key.name,
        **({"hint": key.hint} if key.hint else {}),
        **_given(key, KEY),
        **_limits(key),
        **_allowed(key, allowed_models=models),
    }


def _deployment(deployment: Deployment) -> dict[str, Any]:
    return {
        "model": deployment.model.name,
        "upstream_name": deployment.upstream_name,
        **_given(deployment, DEPLOYMENT),
        **_price(deployment),
    }


def _model(model: Model) -> dict[str, Any]:
    return {"name": model.name, **_given(model, MODEL), **_price(model)}


def _consumer(consumer: Consumer, models: Mapping[int, str], providers: Mapping[int, str]) -> dict[str, Any]:
    return {
        "name": consumer.name,
        **_given(consumer, CONSUMER),
        **_allowed(consumer, allowed_models=models, allowed_providers=providers),
        "api_keys": [
            _api_key(each, models, providers)
            for each in sorted(consumer.api_keys.all(), key=lambda row: row.name)
        ],
    }


def _api_key(api_key: ApiKey, models: Mapping[int, str], providers: Mapping[int, str]) -> dict[str, Any]:
    return {
        "name": api_key.name,
        **_given(api_key, API_KEY),
        **_limits(api_key),
        **_allowed(api_key, allowed_models=models, allowed_providers=providers),
    }


def _failure_rule(rule: FailureRule) -> dict[str, Any]:
    provider = {"provider": rule.provider.name} if rule.provider else {}
    return {"name": rule.name, **provider, **_given(rule, FAILURE_RULE)}


def _price(row: Model | Deployment) -> dict[str, Any]:
    price = _given(row, {each: f"price_{each}" for each in PRICE})
    return {"price": price} if price else {}


def _limits(row: Provider | Endpoint | Key | ApiKey) -> dict[str, Any]:
    limits = _given(row, LIMITS)
    return {"limits": limits} if limits else {}


def _given(row: Table, names: Mapping[str, str]) -> dict[str, Any]:
    """The columns of `names` (field of the file -> column) that are not at their default."""
    return {
        name: plain(getattr(row, column))
        for name, column in names.items()
        if getattr(row, column) != default(type(row), column)
    }


def _allowed(row: Table, **lists: Mapping[int, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for column, names in lists.items():
        listed = ids(getattr(row, column))
        if listed is not None:
            known = sorted(names[each] for each in listed if each in names)
            # A list that has lost rows, or was never readable, must not come back shorter: empty, it allows
            # all.
            found[column] = known if len(known) == len(listed) and known else [*known, DELETED]
    return found


def plain(value: Any) -> Any:
    """A column's value as YAML and JSON hold it."""
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, datetime):
        return value.isoformat()
    return value
