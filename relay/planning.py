"""Which model a request means, and who may serve it now: by the tables, the caller's rights and health."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import msgspec

from consumers import auth
from providers.catalog import NOT_SERVED
from providers.types import ModelEntry, Target
from relay import stored
from relay.affinity import Session
from relay.call import printable
from relay.context import StreamContext
from relay.engine import Engine
from relay.errors import SOON, Exhausted, Refused, RelayError, some_of
from relay.failover import final_fault, wait_told
from relay.scheduler import (
    EXCLUSIVE,
    FOUND,
    LACKING,
    OF_KEYS,
    UNPRICED,
    Mode,
    Plan,
    Skipped,
    explain,
    plan,
)
from wire.types import GENERATE, Brief, Fault

LONGEST_WAIT = 600.0
"""Seconds that a client is ever told to wait."""
NOBODY_SECONDS = 30.0
"""Seconds that it is told to wait, on the average, where nobody knows when there will be an upstream."""


class Way(msgspec.Struct, eq=False):
    """Where a request may go: the plan, with whom health leaves out among the skipped, and its targets in the
    order in which they are tried now."""

    plan: Plan
    order: tuple[Target, ...]
    session: Session


async def route_of(engine: Engine, ctx: StreamContext, caller: auth.Caller, brief: Brief) -> Way:
    """Finds the model and who may serve it now. Raises RelayError where nobody may; the context holds the
    explanation then."""
    entry = _model(engine, ctx, caller, brief)
    ctx.model_id, ctx.model = entry.id, entry.name
    chosen = await _plan(engine, ctx, caller, brief, entry)
    session = (caller.api_key_id, entry.name, ctx.api_format, brief.needs & OF_KEYS)
    order = engine.affinity.order(session, chosen, ctx.began)
    if not engine.health.well:
        order, barred = _healthy(engine, ctx, Plan(order, chosen.skipped), brief.kind)
        if barred:
            chosen = replace(chosen, skipped=(*chosen.skipped, *barred))
    return Way(chosen, order, session)


def _model(engine: Engine, ctx: StreamContext, caller: auth.Caller, brief: Brief) -> ModelEntry:
    """The model that was asked for, if this caller may call it in this format. A model out of the caller's
    reach is told as one that does not exist."""
    catalog = engine.catalog
    ctx.revision = catalog.revision
    entry = catalog.model(brief.model)
    if entry is not None and caller.allowed_models is not None and entry.id not in caller.allowed_models:
        ctx.explanation = {"rule": "models of the API key"}
        entry = None
    if entry is None:
        near = catalog.close_matches(brief.model, caller.allowed_models)
        hint = (
            f" Did you mean {', '.join(near)}?"
            if near
            else " GET /v1/models lists what this API key may call."
        )
        raise Refused(
            Fault(
                "model_not_found", f"There is no model {printable(brief.model, 200)!r} here.{hint}", "model"
            )
        )
    ours, its = caller.allowed_formats, entry.allowed_formats
    if (ours is not None and ctx.api_format not in ours) or (its is not None and ctx.api_format not in its):
        by_model = its is not None and ctx.api_format not in its
        ctx.explanation = {"rule": "formats of the model" if by_model else "formats of the API key"}
        raise Refused(
            Fault("forbidden", f"The model {entry.name} may not be called in this format with this API key.")
        )
    return entry


async def _plan(
    engine: Engine, ctx: StreamContext, caller: auth.Caller, brief: Brief, entry: ModelEntry
) -> Plan:
    pinned: tuple[int, int] | None = None
    if brief.previous_id:
        ref = await stored.holder(engine, brief.previous_id, caller)
        pinned = (ref.endpoint_id, ref.key_id)
    converts = brief.kind == GENERATE and entry.conversion != "off" and pinned is None
    known = (caller.api_key_id, caller.allowed_providers, entry.name, ctx.api_format, brief.needs, converts)
    chosen = engine.plans.get(known) if pinned is None else None
    if chosen is None:
        mode = cast("Mode", entry.routing_mode or engine.knobs.routing_mode)
        candidates = engine.catalog.candidates(entry.name, ctx.api_format)
        if converts:
            candidates = (*candidates, *engine.catalog.others(entry.name, ctx.api_format))
        chosen = plan(
            candidates,
            caller=caller.api_key_id,
            mode=mode,
            needs=brief.needs,
            pace=engine.paces.of,
            providers=caller.allowed_providers,
            pinned=pinned,
            priced_only=engine.knobs.unpriced == "refuse",
            spoken=ctx.api_format,
        )
        if pinned is None and chosen.steady:
            engine.remember_plan(known, chosen)
    if not chosen.targets:
        ctx.explanation = explain(chosen)
        raise _nobody(entry, {each.reason for each in chosen.skipped}, pinned=pinned is not None)
    return chosen


def _healthy(
    engine: Engine, ctx: StreamContext, chosen: Plan, kind: str
) -> tuple[tuple[Target, ...], Sequence[Skipped]]:
    """Those of a plan that may be asked now, and the others. Raises Exhausted, with the earliest return,
    where none may."""
    now = time.monotonic()
    order, barred = engine.health.order(chosen.targets, kind, now)
    if order:
        return order, barred
    ctx.explanation = explain(Plan((), (*chosen.skipped, *barred)))
    fault, back = final_fault(engine.health.failures(chosen.targets, now))
    promised = fault.code != "unavailable"  # by a vendor; a breaker's time is our own
    back = None if back is None else min(back, LONGEST_WAIT)
    wait = wait_told(fault, back if promised else None, back, some_of(SOON))
    raise Exhausted(fault, retry_after=wait)


def _nobody(entry: ModelEntry, reasons: set[str], *, pinned: bool) -> RelayError:
    """Why no target is left, by the reasons for which all were skipped."""
    if pinned:
        return Exhausted(
            Fault("upstream_error", "The key that holds the previous response is out of service.")
        )
    lacking = sorted(reason for reason in reasons if reason.startswith(LACKING))
    if lacking and reasons <= {*lacking, EXCLUSIVE, *NOT_SERVED}:
        missing = lacking[0].removeprefix(f"{LACKING}: ").removesuffix(FOUND)
        text = f"No upstream of {entry.name} offers what this request needs: {missing}."
        return Refused(Fault("invalid_request", text))
    if UNPRICED in reasons:
        return Refused(Fault("invalid_request", f"The model {entry.name} has no price yet.", "model"))
    if reasons <= NOT_SERVED:
        formats = {each.target.format for each in entry.candidates if not each.skipped}
        others = ", ".join(sorted(formats)) or "none"
        text = f"{entry.name} is not served in this format; it is served in: {others}."
        return Refused(Fault("model_not_found", text, "model"))
    return Exhausted(
        Fault("unavailable", f"No upstream for {entry.name} is in service right now."),
        retry_after=some_of(2 * NOBODY_SECONDS),
    )
