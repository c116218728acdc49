"""The plan that a request would get now, by the code that serves requests; nothing is sent, kept or
counted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from consumers import auth
from providers import catalog, states
from providers.types import Target
from relay.context import StreamContext
from relay.engine import Engine
from relay.errors import RelayError
from relay.knobs import Knobs
from relay.planning import Way, route_of
from relay.refusals import render
from relay.scheduler import Plan, explain
from wire.types import Brief


@dataclass(frozen=True, slots=True)
class Explained:
    """A plan, told. `targets` and `skipped` are rows as `relay.scheduler.explain` makes them, the first with
    `notes`. `mode` is "" where no model was found. `status` and `error` are what the client would be told
    where no target is left; 0 and "" else. `rule` names the allow-list that keeps the model away. `live`: the
    running server's own memory was asked, and not the tables alone."""

    model: str
    format: str
    api_key: str
    consumer: str
    needs: Sequence[str]
    mode: str
    targets: Sequence[Mapping[str, Any]]
    skipped: Sequence[Mapping[str, Any]]
    rule: str
    status: int
    error: str
    retry_after: int | None
    live: bool


def unopened() -> Engine:
    """An engine as it would be if the server started now: with the rows, and with what the tables hold
    against keys and endpoints. Blocking; raises django.db.Error."""
    engine = Engine(Knobs.from_settings())
    engine.catalog = catalog.build()
    wall, now = time.time(), time.monotonic()
    for row in states.load(None):
        engine.health.know(row, wall, now)
    return engine


async def explained(
    engine: Engine, caller: auth.Caller, *, model: str, wire_format: str, needs: frozenset[str], live: bool
) -> Explained:
    """What a request of this caller for a model (by name or alias) would get. Must run on the engine's own
    loop, if it has one."""
    seen = copy(engine)
    seen.health, seen.plans = engine.health.glance(), {}
    brief = Brief(model=model, needs=needs)
    ctx = StreamContext(model=model, api_format=wire_format)
    ctx.caller, ctx.brief, ctx.began = caller, brief, time.monotonic()
    way: Way | None = None
    refusal: RelayError | None = None
    try:
        way = await route_of(seen, ctx, caller, brief)
    except RelayError as error:
        refusal = error
    told: Mapping[str, Any] = ctx.explanation or {}
    targets: list[Mapping[str, Any]] = []
    if way is not None:
        told = explain(Plan(way.order, way.plan.skipped))
        targets = [
            {**row, "notes": _notes(seen, way, target, wire_format, caller.consumer_id)}
            for row, target in zip(told["targets"], way.order, strict=True)
        ]
    entry = engine.catalog.model(model)
    return Explained(
        model=ctx.model,
        format=wire_format,
        api_key=caller.api_key_name,
        consumer=caller.consumer_name,
        needs=sorted(needs),
        mode=(entry.routing_mode or engine.knobs.routing_mode) if entry else "",
        targets=targets,
        skipped=told.get("skipped", ()),
        rule=told.get("rule", ""),
        status=render(refusal, wire_format, "").status if refusal else 0,
        error=refusal.fault.text if refusal else "",
        retry_after=refusal.retry_after if refusal else None,
        live=live,
    )


def _notes(engine: Engine, way: Way, target: Target, wire_format: str, consumer: int) -> list[str]:
    """What is special about a target in its place: keys of `usage.words.NOTES`, and the limit that it is
    at."""
    now, notes = time.monotonic(), []
    if target is way.order[0] and way.plan.targets[0] is not target and target in way.plan.targets:
        before = way.plan.targets[: way.plan.targets.index(target)]
        if any(each in way.order for each in before):
            notes.append("affinity")
    if target.format != wire_format:
        notes.append("converted")
    if engine.health.is_parked(target, "generate", now):
        notes.append("parked")
    if engine.health.barred(target, now):
        notes.append("spared")
    elif any(part.state != "closed" for part in engine.health.parts_of(target)):
        notes.append("probe")
    if limit := engine.in_flight.limit_of(target, consumer):
        notes.append(limit)
    return notes
