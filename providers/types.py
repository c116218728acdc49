"""Plain values of the supply side: where a request can be sent, and what it is known as."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from usage.pricing import ONE, Price

Conversion = Literal["lenient", "exact", "off"]


class Limit(NamedTuple):
    """At most `concurrency` requests at a time at a place: a key, endpoint or provider, or of an API key, by
    its id."""

    place: Literal["key", "endpoint", "provider", "api_key"]
    id: int
    concurrency: int


@dataclass(frozen=True, slots=True)
class Target:
    """One concrete place to send: endpoint, key and the provider's name for the model.

    Ids are primary keys; 0 where a skipped candidate has none. Timeouts are seconds, None: the relay's
    default. `probe_seconds` lie between two probes of the endpoint, None: there are none. `drain`: a stream
    whose client left is read on, for what the vendor counts in the end. `headers` are name and value as the
    operator wrote them. `credential_style` is "" for the format's own way or "bearer". `price` is what the
    consumer is billed by, None: unpriced. `cost_multiplier` is in units of 1e-12. `free`: own cost counts as
    0. Lower priorities go first. `context_window` and `max_output_tokens` are tokens. `capabilities` are what
    the deployment offers, `key_capabilities` the key; None: everything. `refused` are capabilities that
    the vendor refused when conformance was run, where no operator named any. An `exclusive` key serves only
    requests that need one of its own. `limits` are those of its key, endpoint and provider that have one.
    """

    provider_id: int
    provider_name: str
    endpoint_id: int
    key_id: int
    key_name: str
    model_id: int
    model_name: str
    upstream_name: str
    format: str
    base_url: str
    secret: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    credential_style: str = ""
    proxy: str = ""
    allow_private: bool = False
    quirks: frozenset[str] = frozenset()
    connect_timeout: float | None = None
    first_byte_timeout: float | None = None
    first_event_timeout: float | None = None
    idle_timeout: float | None = None
    total_timeout: float | None = None
    probe_seconds: float | None = None
    drain: bool = False
    price: Price | None = None
    cost_multiplier: int = ONE
    free: bool = False
    provider_priority: int = 100
    key_priority: int = 100
    weight: int = 1
    context_window: int = 200_000
    max_output_tokens: int = 32_000
    capabilities: frozenset[str] | None = None
    key_capabilities: frozenset[str] | None = None
    refused: frozenset[str] = frozenset()
    exclusive: bool = False
    affinity_seconds: int = 0
    limits: tuple[Limit, ...] = ()
    memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What others derive from it once, each under a name of its own."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target that could serve a model, or cannot now: `skipped` says why, "" where it can."""

    target: Target
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model as clients may ask for it. `allowed_formats` None: all. `created_at` is seconds since 1970.
    `routing_mode` "": the relay's. `conversion`: whether targets of another format serve it too (`off`: none
    does), and whether settings that they lack are dropped (`lenient`) or refuse the request (`exact`).
    `candidates` holds every format's, in the order of the formats."""

    id: int
    name: str
    aliases: tuple[str, ...]
    capabilities: tuple[str, ...]
    context_window: int
    max_output_tokens: int
    allowed_formats: frozenset[str] | None
    created_at: int
    routing_mode: str = ""
    conversion: Conversion = "lenient"
    candidates: tuple[Candidate, ...] = field(default=(), repr=False)


class Stored(NamedTuple):
    """A row of KeyState or EndpointState as the engine reads it, at its start and after each change of kind
    `health`. `table` is `key` or `endpoint`. Instants are Unix milliseconds, None where there is none; those
    that have passed are told all the same.

    The machine's own: `breaker` is `closed`, `open`, `half_open` or empty; `openings` in a row;
    `opened_until`; `cooling_until` with `verdict`, the reason of `failover.VERDICTS` for which it is left
    alone (`key_refused`, `throttled`, ...); `refused_at`, since when its secret is; `learned_limit`.

    What operators asked: `parked_until`, None again once it is recovered; `recovered_at`: what was held
    against it before then holds no more; `probe_asked_at`: a probe is wanted, once for each such instant.
    """

    table: str
    id: int
    at: int | None
    breaker: str
    openings: int
    opened_until: int | None
    cooling_until: int | None
    verdict: str
    refused_at: int | None
    reason: str
    learned_limit: float | None
    parked_until: int | None
    recovered_at: int | None
    probe_asked_at: int | None
