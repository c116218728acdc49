"""The states of keys and endpoints: what the machine tells of them becomes rows, and so does what operators
ask of the machine. The operator's own switch, `is_active`, is never touched here."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import Q
from django.utils import timezone

from changes.models import note
from providers.events import Condition, StateEvent
from providers.machine import EndpointState, KeyState, MachineState
from providers.models import Endpoint, Key
from providers.types import Stored
from usage.columns import Table
from usage.ids import request_id
from usage.states import Apply, StateChange, state_table

HEALTH = "health"
"""The kind of `Change` after which a state is to be read once more. Its object is `key:ID` or
`endpoint:ID`; empty: all."""
FOREVER = datetime(9000, 1, 1, tzinfo=UTC)
"""Until when something is parked that has no end."""
KEY, ENDPOINT = "key", "endpoint"
STATES: Mapping[str, type[KeyState] | type[EndpointState]] = {KEY: KeyState, ENDPOINT: EndpointState}
TURN = "breaker"
"""A `state` line that tells this column is a change of state, and becomes an event; the others tell when a
place was last used, or what it last said."""


# What the machine tells


def applier(table: str) -> Apply:
    """Writes the journal's `state` lines of keys or of endpoints: the newest word into the row, and each
    change of state as an event. The same line makes the same event, however often it comes."""
    keep = state_table(STATES[table], stamp="updated_at")
    events: dict[str, Table] = {}

    def apply(changes: Sequence[StateChange], using: str) -> None:
        keep(changes, using)
        connection = connections[using]
        into = events.setdefault(connection.vendor, Table(StateEvent, connection))
        turns = {each.place: each for each in changes if TURN in each.columns}
        with connection.cursor() as cursor:
            into.insert(cursor, [into.row(_event(table, turns[place])) for place in sorted(turns)])

    return apply


def _event(table: str, change: StateChange) -> dict[str, Any]:
    columns = change.columns
    condition = _condition(
        refused=bool(columns.get("disabled_at")),
        cooling=bool(columns.get("cooling_until")),
        parked=columns.get("verdict") == Condition.PARKED,
        breaker=columns[TURN],
    )
    until = columns.get("opened_until") if condition == Condition.OPEN else columns.get("cooling_until")
    return {
        "id": event_id(change.at, change.place.encode()),
        f"{table}_id": change.id,
        "at": change.at,
        "condition": condition,
        "reason": columns.get("reason", ""),
        "until": until,
        "process": change.place.partition("/")[0],
    }


def event_id(milliseconds: int, source: bytes) -> UUID:
    """The id of the event that `source` tells of."""
    return UUID(request_id(milliseconds, blake2b(source, digest_size=9).digest()))


def _condition(*, refused: bool, cooling: bool, breaker: str, parked: bool = False) -> Condition:
    if parked:
        return Condition.PARKED
    if refused:
        return Condition.REFUSED
    if cooling:
        return Condition.COOLING
    return {"open": Condition.OPEN, "half_open": Condition.HALF_OPEN}.get(breaker, Condition.READY)


class Standing(NamedTuple):
    """What holds of a key or endpoint at an instant: the state, until when (None: nobody knows) and why."""

    condition: Condition
    until: datetime | None = None
    reason: str = ""


def standing(state: MachineState | None, now: datetime) -> Standing:
    """What holds now, by the row. What has run out holds no more, whether the machine said so yet or not:
    but a breaker stays half open, as only an answer closes it."""
    if state is None:
        return Standing(Condition.READY)
    if state.parked_until and state.parked_until > now:
        until = None if state.parked_until >= FOREVER else state.parked_until
        return Standing(Condition.PARKED, until, state.parked_reason)
    cooling = state.cooling_until is not None and state.cooling_until > now
    breaker = state.breaker
    if breaker == "open" and (state.opened_until is None or state.opened_until <= now):
        breaker = "half_open"
    condition = _condition(
        refused=state.disabled_at is not None and (cooling or state.cooling_until is None),
        cooling=cooling,
        breaker=breaker,
    )
    if condition == Condition.READY:
        return Standing(condition)
    until = state.opened_until if condition == Condition.OPEN else state.cooling_until
    return Standing(condition, None if condition == Condition.HALF_OPEN else until, state.reason)


def out(prefix: str, now: datetime) -> Q:
    """Rows that something but the operator's switch keeps out: those whose `standing` is neither ready nor
    half open. `prefix` leads to the state, such as `state__`."""
    parts = (
        Q(**{f"{prefix}parked_until__gt": now}),
        Q(**{f"{prefix}cooling_until__gt": now}),
        Q(**{f"{prefix}disabled_at__isnull": False, f"{prefix}cooling_until": None}),
        Q(**{f"{prefix}breaker": "open", f"{prefix}opened_until__gt": now}),
    )
    return parts[0] | parts[1] | parts[2] | parts[3]


# What operators ask


def recover(rows: Iterable[Key | Endpoint], *, by: str, reason: str = "") -> int:
    """Holds nothing against these any more: no cooldown, no breaker, no parking, no learned limit. Returns
    how many."""
    now = timezone.now()
    cleared: dict[str, Any] = {
        "breaker": "closed",
        "opened_until": None,
        "openings": 0,
        "cooling_until": None,
        "disabled_at": None,
        "verdict": "",
        "reason": "",
        "parked_until": None,
        "parked_reason": "",
        "parked_by": "",
        "learned_limit": None,
        "detail": {},
        "recovered_at": now,
        # What the machine told before this, and the recorder has not written yet, comes too late.
        "updated_at": now,
    }
    return _ask(rows, cleared, StateEvent.Action.RECOVER, by=by, at=now, reason=reason)


def park(rows: Iterable[Key | Endpoint], until: datetime | None, *, by: str, reason: str) -> int:
    """Leaves these alone until then; None: until somebody recovers them. Returns how many."""
    until = until or FOREVER
    parked = {"parked_until": until, "parked_reason": reason, "parked_by": by}
    return _ask(rows, parked, StateEvent.Action.PARK, by=by, at=timezone.now(), reason=reason, until=until)


def ask_probe(rows: Iterable[Key | Endpoint], *, by: str) -> int:
    """Asks each process of the relay to probe these now. Returns how many."""
    now = timezone.now()
    return _ask(rows, {"probe_asked_at": now}, StateEvent.Action.PROBE, by=by, at=now)


def _ask(
    rows: Iterable[Key | Endpoint],
    columns: Mapping[str, Any],
    action: StateEvent.Action,
    *,
    by: str,
    at: datetime,
    reason: str = "",
    until: datetime | None = None,
) -> int:
    """Writes rows, events and changes in one transaction."""
    objects = []
    with transaction.atomic():
        for row in rows:
            table = KEY if isinstance(row, Key) else ENDPOINT
            state, _ = STATES[table]._default_manager.update_or_create(pk=row.pk, defaults=dict(columns))
            StateEvent.objects.create(
                id=event_id(round(at.timestamp() * 1000), os.urandom(16)),
                at=at,
                **{f"{table}_id": row.pk},
                condition=standing(state, at).condition,
                reason=reason,
                until=None if until == FOREVER else until,
                action=action,
                user_name=by,
            )
            objects.append(f"{table}:{row.pk}")
        note(HEALTH, objects, using=DEFAULT_DB_ALIAS)
    return len(objects)


# What the engine reads


COLUMNS = (
    "pk", "updated_at", "breaker", "openings", "opened_until", "cooling_until", "verdict", "disabled_at",
    "reason", "learned_limit", "parked_until", "recovered_at", "probe_asked_at",
)  # fmt: skip


def load(objects: Collection[str] | None = None) -> list[Stored]:
    """The states of these objects (`key:ID`, `endpoint:ID`, as a `Change` of kind `health` names them). None,
    or an empty name among them: all that hold anything, as at a process's start. What has no row, or is no
    such name, is left out. Blocking; raises django.db.Error."""
    found: list[Stored] = []
    for table, model in STATES.items():
        rows = model._default_manager.order_by("pk")
        if objects is None or "" in objects:
            rows = rows.filter(
                ~Q(breaker__in=("", "closed"))
                | Q(cooling_until__gt=timezone.now())
                | Q(disabled_at__isnull=False)
                | Q(parked_until__gt=timezone.now())
                | Q(learned_limit__isnull=False)
            )
        else:
            names = (each.split(":", 1) for each in objects)
            ids = [int(name[1]) for name in names if name[0] == table and name[-1].isdecimal()]
            if not ids:
                continue
            rows = rows.filter(pk__in=ids)
        found += [Stored(table, *map(_plain, row)) for row in rows.values_list(*COLUMNS)]
    return found


def _plain(value: Any) -> Any:
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else value
