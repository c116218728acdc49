"""What the cells of the ledger's pages show, and how a row is found by its id."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from usage.figures import dollars
from usage.models import Outcome, Record
from usage.pages import badge, link, money, whole

TONES = {
    Outcome.OK: "good",
    Outcome.PARTIAL: "warn",
    Outcome.UPSTREAM_ERROR: "bad",
    Outcome.REJECTED: "warn",
    Outcome.CLIENT_GONE: "info",
    Outcome.INTERRUPTED: "warn",
}
FLAGS = {
    "estimated": _("estimated: tokens were counted by us, not reported"),
    "suspect": _("suspect: upstream reported a number that cannot be"),
    "truncated": _("truncated: the stream ended without its own end"),
    "lossy": _("lossy: the conversion dropped something"),
    "unpriced": _("unpriced: no price was known"),
    "body_lost": _("body lost: there was no room to store it"),
}
M = TypeVar("M", bound=Model)
RECENTLY = timedelta(hours=24)
"""How far back a client's own request id is looked for: that column has no index."""


def outcome_badge(record: Record) -> SafeString:
    """The outcome in a word; the error's code is to be seen on it."""
    return badge(
        record.get_outcome_display(), TONES.get(Outcome(record.outcome), "plain"), title=record.error_code
    )


def tokens(row: Any) -> SafeString:
    """Input and output, with what they contain to be seen on them."""
    parts = (
        (_("cache read"), row.cached_tokens),
        (_("cache write"), row.cache_creation_tokens),
        (_("reasoning"), row.reasoning_tokens),
    )
    inside = ", ".join(f"{name} {whole(count)}" for name, count in parts if count)
    return format_html(
        '<span class="whole" title="{}">{} → {}</span>',
        inside,
        whole(row.input_tokens),
        whole(row.output_tokens),
    )


def cost(record: Any) -> SafeString | str:
    """The list cost, or the word that there is no price."""
    return badge(_("unpriced"), "warn") if record.list_cost is None else money(record.list_cost)


def cost_in_short(record: Any) -> SafeString | str:
    """As `cost`, rounded where it has many digits; all of them are to be seen on it."""
    return cost(record) if record.list_cost is None else dollars(record.list_cost)


def target(row: Any) -> str:
    """Provider and key by their names at the time."""
    return " / ".join(filter(None, (row.provider_name, row.key_name))) or "–"


def by_name(view: str, name: str, number: int | None) -> SafeString | str:
    """The name a row had at the time, linked to the row, which may be gone by now."""
    if number is None:
        return name or "–"
    return link(name or f"#{number}", view, number)


def named_by_id(term: str) -> UUID | None:
    """The id that somebody pasted, with or without its dashes; None for anything else."""
    try:
        return UUID(term.strip())
    except ValueError:
        return None


def by_request_id(rows: QuerySet[M], term: str) -> QuerySet[M]:
    """The row whose primary key is `term`: all rows for an empty one, none for what is no id."""
    if not term.strip():
        return rows
    identifier = named_by_id(term)
    return rows.none() if identifier is None else rows.filter(pk=identifier)
