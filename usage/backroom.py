"""The ledger's back room: prices, sums, and what the recorder keeps for itself."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _now, gettext_lazy as _, ngettext

from usage.measures import FIRST_TOKEN_BOUNDS, TOTAL_BOUNDS, Measures, percentile
from usage.models import DeadLetter, JournalPosition, PriceSnapshot, StoredResponse
from usage.pages import Ledger, badge, column, instant, milliseconds, money, whole

SUMS: tuple[Any, ...] = (
    (None, {"fields": ("quarter_shown", "dimensions")}),
    (_("Requests"), {"fields": (("requests_shown", "succeeded"), ("unpriced", "estimated"))}),
    (
        _("Tokens"),
        {
            "fields": (
                ("input_shown", "output_shown", "reasoning_shown"),
                ("cached_shown", "written_shown", "written_1h_shown"),
            )
        },
    ),
    (_("Money"), {"fields": (("list_shown", "own_shown", "saved_shown"),)}),
    (_("Time"), {"fields": (("first_token_shown", "total_shown"),)}),
)


class PriceSnapshotAdmin(Ledger[PriceSnapshot]):
    list_display = (
        "source",
        "tier",
        "input_shown",
        "output_shown",
        "read_shown",
        "write_shown",
        "request_shown",
        "since",
    )
    search_fields = ("source__startswith",)
    search_help_text = _("How the source begins, such as “model fast”.")
    fieldsets = (
        (None, {"fields": (("source", "version"), ("tier", "since"))}),
        (
            _("Dollars per million tokens"),
            {
                "fields": (
                    ("input_shown", "output_shown", "reasoning_shown"),
                    ("read_shown", "write_shown", "write_1h_shown"),
                    "defaulted",
                )
            },
        ),
        (_("Else"), {"fields": (("request_shown", "factor_shown"), "fees", "hash")}),
    )

    input_shown = column("input", money, _("input"))
    output_shown = column("output", money, _("output"))
    read_shown = column("cache_read", money, _("cache read"))
    write_shown = column("cache_write_5m", money, _("cache write, 5 minutes"))
    write_1h_shown = column("cache_write_1h", money, _("cache write, 1 hour"))
    reasoning_shown = column("reasoning", money, _("reasoning"))
    request_shown = column("request", money, _("per request"))
    factor_shown = column("tier_factor", lambda factor: money(factor).lstrip("$"), _("service tier factor"))
    since = column("created_at", instant, _("first used"))


class SumsAdmin(Ledger[Any]):
    """Sums by quarter of an hour; the dimensions are ids, because the rows they name may be gone."""

    fieldsets = SUMS

    quarter_shown = column("quarter", instant, _("quarter of an hour"))
    requests_shown = column("requests", whole, _("requests"))
    input_shown = column("input_tokens", whole, _("input tokens"))
    output_shown = column("output_tokens", whole, _("output tokens"))
    reasoning_shown = column("reasoning_tokens", whole, _("reasoning tokens"))
    cached_shown = column("cached_tokens", whole, _("cache read tokens"))
    written_shown = column("cache_creation_tokens", whole, _("cache write tokens"))
    written_1h_shown = column("cache_creation_1h_tokens", whole, _("of it for 1 hour"))
    list_shown = column("list_cost", money, _("list cost"))
    own_shown = column("own_cost", money, _("own cost"))
    saved_shown = column("saved_cost", money, _("saved by cache"))

    @admin.display(description=_("dimensions"))
    def dimensions(self, row: Any) -> str:
        names = (name for name in row.DIMENSIONS if name != "quarter")
        return ", ".join(f"{name.removesuffix('_id')} {getattr(row, name) or '–'}" for name in names)

    @admin.display(description=_("first token, median and 95 %"))
    def first_token_shown(self, row: Any) -> str:
        return spread(FIRST_TOKEN_BOUNDS, [getattr(row, name) for name in Measures.FIRST_TOKEN])

    @admin.display(description=_("in all, median and 95 %"))
    def total_shown(self, row: Any) -> str:
        return spread(TOTAL_BOUNDS, [getattr(row, name) for name in Measures.TOTAL])


def spread(bounds: tuple[int, ...], counts: list[int]) -> str:
    """Median and 95th percentile of a histogram."""
    found = (percentile(bounds, counts, share) for share in (0.5, 0.95))
    return " / ".join(milliseconds(None if each is None else round(each)) for each in found)


class RollupAdmin(SumsAdmin):
    list_display = (
        "quarter_shown", "consumer_id", "model_id", "provider_id", "key_id", "client_format", "outcome",
        "requests_shown", "input_shown", "output_shown", "list_shown", "own_shown",
    )  # fmt: skip


class ApiKeyRollupAdmin(SumsAdmin):
    list_display = (
        "quarter_shown", "api_key_id", "model_id", "requests_shown", "input_shown", "output_shown",
        "list_shown",
    )  # fmt: skip


class AttemptRollupAdmin(SumsAdmin):
    list_display = (
        "quarter_shown", "provider_id", "endpoint_id", "key_id", "model_id", "verdict", "requests_shown",
        "input_shown", "output_shown", "own_shown",
    )  # fmt: skip


class StoredResponseAdmin(Ledger[StoredResponse]):
    list_display = ("response_id", "consumer_id", "upstream_model", "created_shown", "expires_shown")
    search_fields = ("=response_id",)
    search_help_text = _("The whole id.")
    fields = (
        "response_id", ("consumer_id", "api_key_id"), ("endpoint_id", "key_id"),
        ("model_id", "upstream_model"), ("created_shown", "expires_shown"),
    )  # fmt: skip

    created_shown = column("created_at", instant, _("created"))
    expires_shown = column("expires_at", instant, _("expires"))


class DeadLetterAdmin(Ledger[DeadLetter]):
    actions = ("give_up",)
    list_display = ("created_shown", "kind", "reason", "state_shown", "segment", "position")
    fields = (
        ("segment", "position"),
        ("kind", "state_shown"),
        "reason",
        "line_shown",
        ("created_shown", "resolved_shown"),
    )

    created_shown = column("created_at", instant, _("parked"))
    resolved_shown = column("resolved_at", instant, _("resolved"))

    @admin.display(description=_("state"))
    def state_shown(self, letter: DeadLetter) -> SafeString:
        return badge(_("resolved"), "good") if letter.resolved_at else badge(_("waiting"), "bad")

    def has_give_up_permission(self, request: HttpRequest) -> bool:
        """Whether this user may settle what the database will never take."""
        return request.user.has_perm("usage.change_deadletter")

    @admin.action(description=_("Mark as resolved, without applying it"), permissions=["give_up"])
    def give_up(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Stops waiting for lines that can never be applied; they stay to be read."""
        letters = DeadLetter.objects.filter(pk__in=[*queryset.values_list("pk", flat=True)])
        LogEntry.objects.log_actions(
            user_id=cast("int", request.user.pk),
            queryset=letters,
            action_flag=CHANGE,
            change_message=_now("Resolved without being applied."),
        )
        count = letters.filter(resolved_at__isnull=True).update(resolved_at=timezone.now())
        said = ngettext("%(count)d marked as resolved.", "%(count)d marked as resolved.", count)
        self.message_user(request, said % {"count": count}, messages.SUCCESS if count else messages.WARNING)

    @admin.display(description=_("line"))
    def line_shown(self, letter: DeadLetter) -> SafeString:
        return format_html('<pre class="code">{}</pre>', letter.line)


class JournalPositionAdmin(Ledger[JournalPosition]):
    list_display = ("segment", "position", "updated_shown")
    fields = ("segment", "position", "updated_shown")

    updated_shown = column("updated_at", instant, _("moved"))
