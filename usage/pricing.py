"""What a request costs: a price list as a plain value, and Usage times Price in exact decimals.

Prices are kept as whole pico-dollars per million tokens, which is what a price snapshot stores: with the
snapshot and the token counts of a record anybody can compute its cost again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from usage.pico import EXACT, PICO, SCALE, to_pico
from wire.types import Usage

READ_FACTOR = Decimal("0.1")
WRITE_5M_FACTOR = Decimal("1.25")
WRITE_1H_FACTOR = Decimal(2)
"""Cache prices as shares of the input price, where a price list gives none."""

ONE: int = 10**SCALE
_TOKEN_PRICES = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "reasoning")
_UNIT = -(2 * SCALE + 6)
"""Exponent of tokens x pico-dollars per million x pico-factor."""
PICO_UNITS = 10 ** (SCALE + 6)
"""How many of that unit are a pico-dollar."""
_FLAT = 10**6 * ONE
"""What a pico-dollar is in that unit."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Pico-dollars per million tokens. `defaulted` names the cache prices that were derived from the input
    price; `reasoning` is None where reasoning costs what output does."""

    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    reasoning: int | None
    defaulted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tier:
    """The rates of requests whose whole input is at most `up_to` tokens (None: any)."""

    up_to: int | None
    rates: Rates
    label: str


class Part(NamedTuple):
    """One summand of a cost. `name` is a token price, `fee NAME` or `request`. Of tokens `number` cost `rate`
    pico-dollars a million, before the service tier's factor; uses and requests cost `rate` each. Of
    reasoning, `rate` is what it costs more than output. `units` is the amount, unrounded."""

    name: str
    number: int
    rate: int
    units: int

    @property
    def amount(self) -> Decimal:
        """In dollars, unrounded."""
        return _dollars(self.units)


@dataclass(frozen=True, slots=True)
class Price:
    """The price list of one model or deployment. Built by `Price.build` or `Price.from_plain`, never by
    hand."""

    source: str
    version: str
    rates: Rates
    request: int
    """Pico-dollars for each request that delivered output."""
    tiers: tuple[Tier, ...] = ()
    fees: tuple[tuple[str, int], ...] = ()
    """Pico-dollars for each use of a server tool."""
    tier_factors: tuple[tuple[str, int], ...] = ()
    """Factors on token prices by service tier, in units of 1e-12."""
    _snapshots: dict[tuple[str, int], tuple[dict[str, Any], Raw]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _plain: list[Raw] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def build(
        cls,
        *,
        source: str,
        input: Decimal | str,  # noqa: A002 - the word of every price list
        output: Decimal | str,
        cache_read: Decimal | str | None = None,
        cache_write_5m: Decimal | str | None = None,
        cache_write_1h: Decimal | str | None = None,
        reasoning: Decimal | str | None = None,
        request: Decimal | str = Decimal(0),
        tiers: Iterable[Mapping[str, Any]] = (),
        fees: Mapping[str, Decimal | str] | None = None,
        tier_factors: Mapping[str, Decimal | str] | None = None,
        version: str = "",
    ) -> Price:
        """A price list in dollars per million tokens. Cache prices that are None follow from the input
        price, in tiers as well; a tier's input, output and reasoning that are missing are those of the list
        itself.

        Raises ValueError, naming the field, for what is no amount from 0 up.
        """
        given = {
            "input": input,
            "output": output,
            "cache_read": cache_read,
            "cache_write_5m": cache_write_5m,
            "cache_write_1h": cache_write_1h,
            "reasoning": reasoning,
        }
        rates = _rates(given, "price")
        return cls(
            source=source,
            version=version,
            rates=rates,
            request=_amount(request, "request"),
            tiers=_tiers(tiers, rates),
            fees=_amounts(fees, "fees"),
            tier_factors=_amounts(tier_factors, "tier_factors"),
        )

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Price:
        """The price list that `plain` gave. Raises KeyError or TypeError for anything else."""
        return cls(
            source=plain["source"],
            version=plain["version"],
            rates=_rates_from(plain["rates"]),
            request=plain["request"],
            tiers=tuple(
                Tier(each["up_to"], _rates_from(each["rates"]), each["label"]) for each in plain["tiers"]
            ),
            fees=tuple(sorted(plain["fees"].items())),
            tier_factors=tuple(sorted(plain["tier_factors"].items())),
        )

    @classmethod
    def from_snapshot(cls, columns: Mapping[str, Any]) -> Price:
        """The price that a PriceSnapshot holds, for requests of its own tier and service tier: to compute a
        record's cost again, with a Usage that names no service tier. Money in `columns` is pico-dollars.
        Raises KeyError, TypeError or ValueError for what is no snapshot."""
        return cls(
            source=columns["source"],
            version=columns["version"],
            rates=_rates_from({**columns, "defaulted": columns["defaulted"] or ()}),
            request=columns["request"],
            fees=_amounts(columns["fees"], "fees"),
            tier_factors=(("", columns["tier_factor"]),),
        )

    def plain(self) -> dict[str, Any]:
        """This price list as JSON-able data, exact."""
        return {
            "source": self.source,
            "version": self.version,
            "rates": _rates_plain(self.rates),
            "request": self.request,
            "tiers": [
                {"up_to": each.up_to, "rates": _rates_plain(each.rates), "label": each.label}
                for each in self.tiers
            ],
            "fees": dict(self.fees),
            "tier_factors": dict(self.tier_factors),
        }

    def plain_json(self) -> Raw:
        """The same as JSON, made once."""
        if not self._plain:
            self._plain.append(Raw(msgspec.json.encode(self.plain())))
        return self._plain[0]

    def tier_for(self, input_tokens: int) -> Tier | None:
        """The tier that prices a request of this whole input, cache included; beyond the last, the last."""
        for tier in self.tiers:
            if tier.up_to is None or input_tokens <= tier.up_to:
                return tier
        return self.tiers[-1] if self.tiers else None

    def cost(self, usage: Usage, *, delivered: bool, requests: int = 1) -> Decimal:
        """Dollars for these tokens, unrounded; `requests` times the fee per request only if output was
        delivered.

        Parts greater than their whole (cache beyond input, reasoning beyond output) are cut to it.
        """
        return _dollars(self.units(usage, delivered=delivered, requests=requests))

    def units(self, usage: Usage, *, delivered: bool, requests: int = 1) -> int:
        """The same as a whole number; `PICO_UNITS` of them are a pico-dollar."""
        rates = self._rates_for(usage.input_tokens) if self.tiers else self.rates
        given, output = max(0, usage.input_tokens), max(0, usage.output_tokens)
        tokens = given * rates.input + output * rates.output
        if usage.cache_read_tokens or usage.cache_write_5m_tokens or usage.cache_write_1h_tokens:
            left = given - (read := _within(usage.cache_read_tokens, given))
            left -= (write_5m := _within(usage.cache_write_5m_tokens, left))
            write_1h = _within(usage.cache_write_1h_tokens, left)
            tokens += read * (rates.cache_read - rates.input)
            tokens += write_5m * (rates.cache_write_5m - rates.input)
            tokens += write_1h * (rates.cache_write_1h - rates.input)
        if rates.reasoning is not None:
            tokens += _within(usage.reasoning_tokens, output) * (rates.reasoning - rates.output)
        flat = self.request * requests if delivered else 0
        if self.fees:
            flat += sum(fee * max(0, usage.tool_uses.get(name, 0)) for name, fee in self.fees)
        factor = self._factor(usage.service_tier) if self.tier_factors else ONE
        return tokens * factor + flat * _FLAT

    def parts(self, usage: Usage, *, delivered: bool, requests: int = 1) -> list[Part]:
        """What `cost` adds up; parts of nothing are left out."""
        factor = self._factor(usage.service_tier)
        counted = [(*each, factor) for each in self._tokens(usage)]
        counted += [(f"fee {name}", usage.tool_uses.get(name, 0), fee, _FLAT) for name, fee in self.fees]
        counted.append(("request", requests if delivered else 0, self.request, _FLAT))
        return [
            Part(name, number, rate, number * rate * unit)
            for name, number, rate, unit in counted
            if number > 0
        ]

    def _tokens(self, usage: Usage) -> list[tuple[str, int, int]]:
        """Tokens of each kind, and what a million of them costs."""
        rates = self._rates_for(usage.input_tokens)
        left = max(0, usage.input_tokens)
        left -= (read := _within(usage.cache_read_tokens, left))
        left -= (write_5m := _within(usage.cache_write_5m_tokens, left))
        left -= (write_1h := _within(usage.cache_write_1h_tokens, left))
        output = max(0, usage.output_tokens)
        counted = [
            ("input", left, rates.input),
            ("cache_read", read, rates.cache_read),
            ("cache_write_5m", write_5m, rates.cache_write_5m),
            ("cache_write_1h", write_1h, rates.cache_write_1h),
            ("output", output, rates.output),
        ]
        if rates.reasoning is not None:
            more = rates.reasoning - rates.output
            counted.append(("reasoning", _within(usage.reasoning_tokens, output), more))
        return counted

    def saved(self, usage: Usage) -> Decimal:
        """Dollars that the cache reads cost less than plain input would have, unrounded; negative where
        reading the cache is dearer."""
        return _dollars(self.saved_units(usage))

    def saved_units(self, usage: Usage) -> int:
        """The same as a whole number; `PICO_UNITS` of them are a pico-dollar."""
        if not usage.cache_read_tokens:
            return 0
        rates = self._rates_for(usage.input_tokens)
        read = _within(usage.cache_read_tokens, max(0, usage.input_tokens))
        return read * (rates.input - rates.cache_read) * self._factor(usage.service_tier)

    def snapshot(self, usage: Usage) -> dict[str, Any]:
        """Columns of the PriceSnapshot by which `usage` is billed, money in pico-dollars, with their `hash`.

        The same dictionary is handed out again for the same tier and factor: not to be changed.
        """
        return self._snapshot(usage)[0]

    def snapshot_json(self, usage: Usage) -> Raw:
        """The same as JSON, made once."""
        return self._snapshot(usage)[1]

    def _snapshot(self, usage: Usage) -> tuple[dict[str, Any], Raw]:
        tier = self.tier_for(usage.input_tokens) if self.tiers else None
        factor = self._factor(usage.service_tier) if self.tier_factors else ONE
        place = (tier.label if tier else "", factor)
        known = self._snapshots.get(place)
        if known is None:
            columns = self._columns(tier, factor)
            known = self._snapshots[place] = (columns, Raw(msgspec.json.encode(columns)))
        return known

    def _rates_for(self, input_tokens: int) -> Rates:
        if not self.tiers:
            return self.rates
        tier = self.tier_for(input_tokens)
        return tier.rates if tier else self.rates

    def _factor(self, service_tier: str) -> int:
        for name, factor in self.tier_factors:
            if name == service_tier:
                return factor
        return ONE

    def _columns(self, tier: Tier | None, factor: int) -> dict[str, Any]:
        rates = tier.rates if tier else self.rates
        columns: dict[str, Any] = {
            "source": self.source,
            "version": self.version,
            "tier": tier.label if tier else "",
            "input": rates.input,
            "output": rates.output,
            "cache_read": rates.cache_read,
            "cache_write_5m": rates.cache_write_5m,
            "cache_write_1h": rates.cache_write_1h,
            "reasoning": rates.reasoning,
            "request": self.request,
            "tier_factor": factor,
            "fees": {name: format(_scaled(fee, -SCALE).normalize(EXACT), "f") for name, fee in self.fees},
            "defaulted": list(rates.defaulted),
        }
        text = json.dumps(columns, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        columns["hash"] = hashlib.sha256(text.encode()).hexdigest()
        return columns


def _within(part: int, whole: int) -> int:
    return min(max(0, part), whole)


def _scaled(number: int, exponent: int) -> Decimal:
    return Decimal(number).scaleb(exponent, context=EXACT)


def _dollars(units: int) -> Decimal:
    return _scaled(units, _UNIT)


def _amount(value: Any, where: str) -> int:
    """A price from 0 up as pico-dollars. Raises ValueError naming `where`."""
    if isinstance(value, bool | float) or not isinstance(value, Decimal | str | int):
        raise ValueError(f"{where}: give an amount as text, such as 1.25")
    try:
        amount = Decimal(value)
        pico = to_pico(amount)
    except (InvalidOperation, OverflowError) as error:
        raise ValueError(f"{where}: not an amount of dollars") from error
    if pico < 0:
        raise ValueError(f"{where}: not below 0")
    return pico


def _amounts(values: Mapping[str, Any] | None, where: str) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((name, _amount(value, f"{where}: {name}")) for name, value in (values or {}).items()))


def _share(rate: int, factor: Decimal) -> int:
    return int(
        EXACT.quantize(EXACT.multiply(_scaled(rate, -SCALE), factor), PICO).scaleb(SCALE, context=EXACT)
    )


def _rates(given: Mapping[str, Any], where: str) -> Rates:
    own = {
        name: None if given[name] is None else _amount(given[name], f"{where}: {name}")
        for name in _TOKEN_PRICES
    }
    if own["input"] is None or own["output"] is None:
        raise ValueError(f"{where}: give both input and output")
    defaulted = []
    for name, factor in (
        ("cache_read", READ_FACTOR),
        ("cache_write_5m", WRITE_5M_FACTOR),
        ("cache_write_1h", WRITE_1H_FACTOR),
    ):
        if own[name] is None:
            own[name] = _share(own["input"], factor)
            defaulted.append(name)
    return Rates(**own, defaulted=tuple(defaulted))  # type: ignore[arg-type]  # None was replaced above


def _tiers(tiers: Iterable[Mapping[str, Any]], base: Rates) -> tuple[Tier, ...]:
    bounds: list[tuple[int | None, Mapping[str, Any]]] = []
    for entry in tiers:
        unknown = set(entry) - {"up_to", *_TOKEN_PRICES}
        if unknown:
            raise ValueError(f"tiers: unknown field {min(unknown)}")
        up_to = entry.get("up_to")
        if up_to is not None and (isinstance(up_to, bool) or not isinstance(up_to, int) or up_to < 0):
            raise ValueError("tiers: up_to is a whole number of tokens")
        bounds.append((up_to, entry))
    bounds.sort(key=lambda bound: (bound[0] is None, bound[0] or 0))
    if len({up_to for up_to, _ in bounds}) < len(bounds):
        raise ValueError("tiers: the same up_to twice")
    built: list[Tier] = []
    for up_to, entry in bounds:
        given = {name: entry.get(name) for name in _TOKEN_PRICES}
        inherits_input = given["input"] is None
        for name in _TOKEN_PRICES:
            # With the list's own input price its cache prices hold too; another input price brings its own.
            if given[name] is None and (inherits_input or not name.startswith("cache_")):
                inherited = getattr(base, name)
                given[name] = None if inherited is None else _scaled(inherited, -SCALE)
        rates = _rates(given, f"tier up to {up_to}")
        label = f"up to {up_to}" if up_to is not None else f"above {built[-1].up_to}" if built else "any"
        built.append(Tier(up_to, rates, label))
    return tuple(built)


def _rates_plain(rates: Rates) -> dict[str, Any]:
    plain: dict[str, Any] = {name: getattr(rates, name) for name in _TOKEN_PRICES}
    plain["defaulted"] = list(rates.defaulted)
    return plain


def _rates_from(plain: Mapping[str, Any]) -> Rates:
    return Rates(**{name: plain[name] for name in _TOKEN_PRICES}, defaulted=tuple(plain["defaulted"]))
