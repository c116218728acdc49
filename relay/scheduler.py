"""Who is tried, in which order. Pure: candidates in, ordered targets out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from providers.types import Candidate, Target

UNPRICED = "no price yet"
NOT_SERVED = frozenset({"format not served", "format not served for this model"})
"""Reasons of the catalog that say what a provider does not offer, not that it is out of service."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A candidate that is not tried, and why."""

    target: Target
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The targets of a request in order, and who was left out."""

    targets: tuple[Target, ...]
    skipped: tuple[Skipped, ...] = ()


def rendezvous(caller: int, target: Target) -> float:
    """Weighted rendezvous score: lower goes first. One caller keeps its order while the set of targets
    changes; callers spread over targets by weight (Schindelhauer and Schomaker's logarithmic method)."""
    seed = f"{caller}/{target.endpoint_id}/{target.key_id}/{target.upstream_name}".encode()
    share = (int.from_bytes(blake2b(seed, digest_size=8).digest(), "big") + 1) / (2**64 + 1)
    return -math.log(share) / max(target.weight, 1)


def plan(
    candidates: Iterable[Candidate],
    *,
    caller: int,
    providers: frozenset[int] | None = None,
    pinned: tuple[int, int] | None = None,
    priced_only: bool = False,
) -> Plan:
    """Orders candidates in mode `provider_first`: provider priority, then key priority, lower first, equal
    rank spread by weighted rendezvous hashing of (API key, candidate). `providers` are the ids the caller may
    reach (None: all); `pinned` the (endpoint, key) that alone can serve a request which continues a stored
    response. `priced_only` leaves out targets without a price."""
    usable: list[Target] = []
    skipped: list[Skipped] = []
    for candidate in candidates:
        target = candidate.target
        reason = candidate.skipped
        if not reason and providers is not None and target.provider_id not in providers:
            reason = "provider not allowed for this caller"
        if not reason and pinned is not None and (target.endpoint_id, target.key_id) != pinned:
            reason = "another key holds the response that this one continues"
        if not reason and priced_only and target.price is None:
            reason = UNPRICED
        if reason:
            skipped.append(Skipped(target, reason))
        else:
            usable.append(target)
    usable.sort(key=lambda each: (each.provider_priority, each.key_priority, rendezvous(caller, each)))
    return Plan(tuple(usable), tuple(skipped))


def explain(plan: Plan) -> dict[str, Sequence[dict[str, object]]]:
    """The plan as plain values, for a record: each target in order, each skipped one with its reason."""
    return {
        "targets": [_named(target) for target in plan.targets],
        "skipped": [{**_named(each.target), "reason": each.reason} for each in plan.skipped],
    }


def _named(target: Target) -> dict[str, object]:
    return {
        "provider": target.provider_name,
        "format": target.format,
        "key": target.key_name,
        "model": target.upstream_name,
    }
