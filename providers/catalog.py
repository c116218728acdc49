"""The catalog: everything that can be called, built from the tables into one immutable value."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from itertools import chain
from typing import Any, cast
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

from changes.feed import latest
from providers import conformance
from providers.checks import FORMATS, check_base_url, check_headers, check_proxy, check_secret
from providers.dialer import Forbidden, check_host
from providers.failurerules import FailureRule as RuleRow
from providers.models import (
    Deployment,
    Endpoint,
    Key,
    Model,
    Provider,
    price_of,
)
from providers.rules import FailureRule
from providers.secrets import Unsealable
from providers.types import Candidate, Conversion, Limit, ModelEntry, Target
from usage.pico import to_pico
from usage.pricing import Price

logger = logging.getLogger(__name__)

KINDS = frozenset({"provider", "endpoint", "key", "model", "deployment", "failurerule", "conformance"})
"""Kinds of `Change` after which a catalog is stale."""

NOT_SERVED = frozenset({"format not served", "format not served for this model"})
"""Reasons that say what a provider does not offer, not that it is out of service."""
ALIKE = 0.6
MOST_COMPARED = 2_000
"""Names that a mistyped one is compared with: each costs some microseconds of the event loop."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """One state of the tables. `revision` is the id of the newest change that it is sure to hold. `rules` are
    the live failure rules in their order."""

    revision: int = 0
    rules: tuple[FailureRule, ...] = ()
    _models: tuple[ModelEntry, ...] = field(default=(), repr=False)
    _by_name: Mapping[str, ModelEntry] = field(default_factory=dict, repr=False)
    _candidates: Mapping[tuple[str, str], tuple[Candidate, ...]] = field(default_factory=dict, repr=False)
    _keys_at: Mapping[int, int] = field(default_factory=dict, repr=False)
    places: tuple[Target, ...] = field(default=(), repr=False)
    """A target of each endpoint with each key that can be used there."""

    def model(self, name: str) -> ModelEntry | None:
        """The model of that name or alias; None if there is none or it is switched off."""
        return self._by_name.get(name)

    def candidates(self, name: str, wire_format: str) -> tuple[Candidate, ...]:
        """Who could serve a model (by name or alias) in a format, by priority; skipped ones with their
        reason."""
        return self._candidates.get((name, wire_format), ())

    def others(self, name: str, wire_format: str) -> tuple[Candidate, ...]:
        """Who could serve a model in other formats than this one, and so by conversion; what a provider does
        not offer at all is left out."""
        entry = self._by_name.get(name)
        return tuple(
            each
            for each in (entry.candidates if entry else ())
            if each.target.format != wire_format
            and each.target.endpoint_id
            and each.skipped not in NOT_SERVED
        )

    def keys_at(self, endpoint_id: int) -> int:
        """How many keys can be used at an endpoint."""
        return self._keys_at.get(endpoint_id, 0)

    def models(self) -> tuple[ModelEntry, ...]:
        """Every model that is switched on, by name."""
        return self._models

    def close_matches(self, name: str, allowed: frozenset[int] | None = None) -> list[str]:
        """Up to three names or aliases like `name`, of the models with an id in `allowed` (None: all)."""
        names: dict[str, str] = {}
        for known, entry in self._by_name.items():
            if allowed is None or entry.id in allowed:
                names.setdefault(known.lower(), known)
            if len(names) == MOST_COMPARED:
                break
        return [names[each] for each in get_close_matches(name.lower(), names, n=3, cutoff=ALIKE)]


def build() -> Catalog:
    """Reads the tables, in eight queries whatever their size. A row that cannot be used never fails the
    whole: its candidates say why they are skipped. Blocking; raises django.db.Error."""
    # The revision comes first: a change that commits between these queries is then newer than the catalog,
    # and the catalog is built once more.
    revision = latest()
    providers = {each.pk: each for each in Provider.objects.all()}
    supplies = {pk: _Supply(provider) for pk, provider in providers.items()}
    refused = conformance.refusals()
    for endpoint in Endpoint.objects.order_by("pk"):
        if supply := supplies.get(endpoint.provider_id):
            supply.places[endpoint.format] = _place(endpoint)
    for key in Key.objects.order_by("priority", "pk"):
        if supply := supplies.get(key.provider_id):
            supply.keys.append(_opened(key))
    models = {each.pk: each for each in Model.objects.filter(is_active=True).order_by("name", "pk")}
    deployments: dict[int, list[Deployment]] = {pk: [] for pk in models}
    for deployment in Deployment.objects.order_by("pk"):
        if deployment.model_id in models and deployment.provider_id in providers:
            deployment.model = models[deployment.model_id]
            deployment.provider = providers[deployment.provider_id]
            deployments[deployment.model_id].append(deployment)
    for each in deployments.values():
        each.sort(key=lambda deployment: deployment.provider.priority)

    entries: dict[int, ModelEntry] = {}
    candidates: dict[tuple[int, str], tuple[Candidate, ...]] = {}
    for pk, model in models.items():
        offers = [
            _Offer(each, supplies[each.provider_id], *_price(each), refused) for each in deployments[pk]
        ]
        for wire_format in FORMATS:
            candidates[pk, wire_format] = tuple(
                candidate for offer in offers for candidate in _candidates(model, offer, wire_format)
            )
        entries[pk] = _entry(model, tuple(each for name in FORMATS for each in candidates[pk, name]))
    names = _names(entries.values())
    places: dict[tuple[int, int], Target] = {}
    for candidate in chain.from_iterable(candidates.values()):
        if not candidate.skipped:
            target = candidate.target
            places.setdefault((target.endpoint_id, target.key_id), target)
    return Catalog(
        revision,
        tuple(live_rules()),
        tuple(entries.values()),
        names,
        {(name, each): candidates[entry.id, each] for name, entry in names.items() for each in FORMATS},
        Counter(endpoint_id for endpoint_id, _ in places),
        tuple(places.values()),
    )


def live_rules() -> list[FailureRule]:
    """The failure rules that are on, in their order; one written past validation is left out."""
    found = []
    for row in RuleRow.objects.filter(is_active=True).order_by("order", "pk"):
        try:
            found.append(row.plain())
        except ValueError as error:
            logger.warning("the failure rule %s cannot be read: %s is no status", row.pk, error)
    return found


@dataclass(slots=True)
class _Place:
    """An endpoint: what a target holds of it, and why it cannot be called ("" where it can)."""

    fields: dict[str, Any] = field(repr=False)
    is_active: bool
    problem: str
    limit: int | None


@dataclass(slots=True)
class _OpenedKey:
    """A key: what a target holds of it, the secret too, and why it cannot be used ("" where it can)."""

    fields: dict[str, Any] = field(repr=False)
    formats: list[str]
    allowed_models: frozenset[int] | None
    problem: str
    limit: int | None


@dataclass(slots=True)
class _Supply:
    """A provider with its endpoints by format and its keys by priority."""

    row: Provider
    places: dict[str, _Place] = field(default_factory=dict)
    keys: list[_OpenedKey] = field(default_factory=list)


@dataclass(slots=True)
class _Offer:
    """A deployment at its provider, with its price or why that cannot be read, and what conformance found
    refused of every endpoint and model."""

    row: Deployment
    supply: _Supply
    price: Price | None
    problem: str
    refused: Mapping[tuple[int, str], frozenset[str]]

    def refused_at(self, endpoint_id: int) -> frozenset[str]:
        """What this endpoint was found to refuse of it. An operator's own word counts instead."""
        none: frozenset[str] = frozenset()
        return (
            none if self.row.capabilities else self.refused.get((endpoint_id, self.row.upstream_name), none)
        )


def ids(value: Any) -> frozenset[int] | None:
    """An allow-list of ids as it stands in a JSON column: None where it is empty (all). Whatever is no id
    is left out and restricts all the same."""
    if value is None or value == []:
        return None
    listed = value if isinstance(value, list) else []
    return frozenset(int(each) for each in listed if isinstance(each, int | str) and str(each).isdecimal())


def _names(entries: Iterable[ModelEntry]) -> dict[str, ModelEntry]:
    """Names and aliases. A name wins over an alias, an older model's alias over a newer one's."""
    by_age = sorted(entries, key=lambda entry: entry.id)
    found = {entry.name: entry for entry in by_age}
    for entry in by_age:
        for alias in entry.aliases:
            found.setdefault(alias, entry)
    return found


def problem_of(endpoint: Endpoint) -> str:
    """Why this endpoint cannot be called as it stands; "" where it can."""
    try:
        check_base_url(endpoint.base_url)
        check_proxy(endpoint.proxy)
        check_headers(endpoint.headers)
        # A name is judged when it is dialled. An address is judged here too: through a proxy nobody else
        # would.
        check_host(urlsplit(endpoint.base_url).hostname or "", allow_private=endpoint.allow_private)
    except Forbidden:
        return "private address"
    except ValidationError as error:
        return f"endpoint not valid: {error.messages[0]}"
    return ""


def _place(endpoint: Endpoint) -> _Place:
    problem = problem_of(endpoint)
    fields = {
        "endpoint_id": endpoint.pk,
        "base_url": endpoint.base_url,
        "headers": () if problem else tuple(endpoint.headers.items()),
        "credential_style": endpoint.credential_style,
        "proxy": endpoint.proxy,
        "allow_private": endpoint.allow_private,
        "quirks": frozenset(endpoint.quirks),
        "connect_timeout": endpoint.connect_timeout,
        "first_byte_timeout": endpoint.first_byte_timeout,
        "first_event_timeout": endpoint.first_event_timeout,
        "idle_timeout": endpoint.idle_timeout,
        "total_timeout": endpoint.total_timeout,
        "probe_seconds": endpoint.probe_seconds,
        "drain": endpoint.when_client_leaves == Endpoint.WhenClientLeaves.DRAIN,
    }
    return _Place(fields, endpoint.is_active, problem, endpoint.concurrency_limit)


def _opened(key: Key) -> _OpenedKey:
    secret, problem = "", ""
    if not key.is_active:
        problem = "key disabled"
    else:
        try:
            secret = key.secret()
            check_secret(secret)
        except (Unsealable, ValidationError) as error:
            logger.warning("key %s of provider %s cannot be used: %s", key.pk, key.provider_id, error)
            secret, problem = "", "secret cannot be opened"
    fields = {
        "key_id": key.pk,
        "key_name": key.name,
        "secret": secret,
        "cost_multiplier": to_pico(key.cost_multiplier),
        "key_priority": key.priority,
        "weight": key.weight,
        "key_capabilities": frozenset(key.capabilities) or None,
        "exclusive": key.exclusive,
        "affinity_seconds": key.affinity_seconds,
    }
    return _OpenedKey(fields, key.formats, ids(key.allowed_models), problem, key.concurrency_limit)


def _price(deployment: Deployment) -> tuple[Price | None, str]:
    try:
        return price_of(deployment), ""
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
        # A price that was written past validation. Skipped, or it would be served unpriced.
        logger.warning("the price of deployment %s cannot be read: save it again", deployment.pk)
        return None, "price not valid"


def _candidates(model: Model, offer: _Offer, wire_format: str) -> Iterator[Candidate]:
    """The candidates of one deployment in one format; a single one, without key, where the reason lies before
    it."""
    place = offer.supply.places.get(wire_format)
    reason = _reason_before_key(model, offer, place, wire_format)
    target = _target(model, offer, wire_format, place)
    if reason or not offer.supply.keys:
        yield Candidate(target(key_id=0, key_name="", secret=""), reason or "no key")
        return
    for key in offer.supply.keys:
        reason = key.problem
        if not reason and key.formats and wire_format not in key.formats:
            reason = "key not used for this format"
        if not reason and key.allowed_models is not None and model.pk not in key.allowed_models:
            reason = "key not allowed on this model"
        yield Candidate(target(**key.fields, limits=_limits(offer.supply.row, place, key)), reason)


def _limits(provider: Provider, place: _Place | None, key: _OpenedKey) -> tuple[Limit, ...]:
    """The limits that are set: one below 1 was written past validation and counts as none."""
    limits = [Limit("key", key.fields["key_id"], key.limit or 0)]
    if place is not None:
        limits.append(Limit("endpoint", place.fields["endpoint_id"], place.limit or 0))
    limits.append(Limit("provider", provider.pk, provider.concurrency_limit or 0))
    return tuple(each for each in limits if each.concurrency > 0)


def _reason_before_key(model: Model, offer: _Offer, place: _Place | None, wire_format: str) -> str:
    if not offer.supply.row.is_active:
        return "provider disabled"
    if not offer.row.is_active:
        return "deployment disabled"
    if place is None:
        return "format not served"
    if offer.row.formats and wire_format not in offer.row.formats:
        return "format not served for this model"
    if not place.is_active:
        return "endpoint disabled"
    return place.problem or offer.problem


def _target(model: Model, offer: _Offer, wire_format: str, place: _Place | None) -> Callable[..., Target]:
    """Makes targets of one deployment at one endpoint; what the key brings is still to be given."""
    provider = offer.supply.row
    return partial(
        Target,
        provider_id=provider.pk,
        provider_name=provider.name,
        model_id=model.pk,
        model_name=model.name,
        upstream_name=offer.row.upstream_name,
        format=wire_format,
        price=offer.price,
        free=provider.billing == Provider.Billing.FREE,
        provider_priority=provider.priority,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        capabilities=frozenset(offer.row.capabilities) or None,
        refused=offer.refused_at(place.fields["endpoint_id"]) if place else frozenset(),
        **(place.fields if place else {"endpoint_id": 0, "base_url": ""}),
    )


def _entry(model: Model, candidates: tuple[Candidate, ...]) -> ModelEntry:
    return ModelEntry(
        id=model.pk,
        name=model.name,
        aliases=tuple(model.aliases),
        capabilities=tuple(model.capabilities),
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        allowed_formats=frozenset(model.allowed_formats) if model.allowed_formats else None,
        created_at=int(model.created_at.timestamp()),
        routing_mode=model.routing_mode,
        conversion=cast("Conversion", model.conversion),
        candidates=candidates,
    )
