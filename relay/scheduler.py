"""Who is tried, in which order (routing.md). Pure: candidates in, ordered targets out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from providers.types import Candidate, Target

Mode = Literal["provider_first", "key_first", "weighted", "cheapest", "fastest"]
Pace = Callable[[Target], float | None]
"""Recent milliseconds to a target's first token; None while nothing is known."""

UNPRICED = "no price yet"
EXCLUSIVE = "kept for requests that need what it alone offers"
LACKING = "capability missing"
"""With what is missing behind it, as `LACKING: vision`."""
FOUND = " (refused when conformance was run)"
"""Stands behind what no operator said, but a vendor."""
OF_KEYS = frozenset({"context_1m", "cache_1h"})
"""Capabilities that depend on the key's contract, and not on the model alone."""
ALIKE = math.log(1.25)
"""Paces within a quarter of each other count as one, or callers would move with every measurement."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A candidate that is not tried, and why."""

    target: Target
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The targets of a request in order, and who was left out. The `equals` first of them are of one rank:
    whichever of them serves, none is preferred to it. `steady`: the order is the same from request to
    request."""

    targets: tuple[Target, ...]
    skipped: tuple[Skipped, ...] = ()
    equals: int = 0
    steady: bool = True


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
    mode: Mode = "provider_first",
    needs: frozenset[str] = frozenset(),
    pace: Pace = lambda target: None,
    providers: frozenset[int] | None = None,
    pinned: tuple[int, int] | None = None,
    priced_only: bool = False,
    spoken: str = "",
) -> Plan:
    """Orders candidates by `mode`; equal rank is spread by weighted rendezvous hashing of (API key,
    candidate).

    Modes: `provider_first` goes by the provider's priority, then the key's, lower first; `key_first` by the
    key's alone, across providers; `weighted` by neither; `cheapest` by what the provider charges us;
    `fastest` by `pace`, the unknown first. Whatever the mode, a key that names what the request needs of a
    key goes before one that names nothing. `needs` are capabilities that the request needs, `providers` the
    ids the caller may reach (None: all), `pinned` the (endpoint, key) that alone can serve a request which
    continues a stored response. `priced_only` leaves out targets without a price. `spoken` is the client's
    format: of one rank, targets that speak it go before those that need conversion."""
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
        reason = reason or unfit(target, needs)
        if reason:
            skipped.append(Skipped(target, reason))
        else:
            usable.append(target)
    of_keys = needs & OF_KEYS
    ranked = sorted(
        (
            (
                (
                    not _named(target, of_keys),
                    *rank(target, mode, pace),
                    bool(spoken) and target.format != spoken,
                ),
                rendezvous(caller, target),
                target,
            )
            for target in usable
        ),
        key=lambda each: each[:2],
    )
    equals = sum(each[0] == ranked[0][0] for each in ranked)
    return Plan(tuple(each[2] for each in ranked), tuple(skipped), equals, steady=mode != "fastest")


def unfit(target: Target, needs: frozenset[str]) -> str:
    """Why a target does not suit a request with these needs; "" where it does.

    Deployment and key may name what they offer; who names nothing offers everything, less what the vendor was
    found to refuse. A key's word counts for what is its own (`OF_KEYS`), and adds to the deployment's."""
    offered, of_key = target.capabilities, target.key_capabilities
    missing = [
        need
        for need in sorted(needs)
        if (offered is not None and need not in offered and need not in (of_key or ()))
        or (need in OF_KEYS and of_key is not None and need not in of_key)
    ]
    if missing:
        return f"{LACKING}: {', '.join(missing)}"
    found = sorted((needs & target.refused) - (of_key or frozenset()))
    if found:
        return f"{LACKING}: {', '.join(found)}{FOUND}"
    if target.exclusive and not needs & (of_key or frozenset()):
        return EXCLUSIVE
    return ""


def _named(target: Target, of_keys: frozenset[str]) -> bool:
    return of_keys <= (target.key_capabilities or frozenset())


def rank(target: Target, mode: Mode, pace: Pace) -> tuple[float, ...]:
    """What a target is sorted by, lowest first."""
    match mode:
        case "provider_first":
            return (target.provider_priority, target.key_priority)
        case "key_first":
            return (target.key_priority,)
        case "weighted":
            return ()
        case "cheapest":
            return (own_rate(target),)
        case "fastest":
            known = pace(target)
            return (-math.inf if known is None else math.floor(math.log(max(known, 1.0)) / ALIKE),)


def own_rate(target: Target) -> float:
    """What a target charges us for three tokens in and one out, a common mixture, in a unit of its own; the
    unpriced count as dearest."""
    if target.free:
        return 0.0
    if target.price is None:
        return math.inf
    rates = target.price.rates
    return (3 * rates.input + rates.output) * target.cost_multiplier


def explain(plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """The plan as plain values, for a record: each target in order, each skipped one with its reason."""
    return {
        "targets": [_told(target) for target in plan.targets],
        "skipped": [{**_told(each.target), "reason": each.reason} for each in plan.skipped],
    }


def _told(target: Target) -> dict[str, Any]:
    return {
        "provider": target.provider_name,
        "format": target.format,
        "key": target.key_name,
        "model": target.upstream_name,
    }
