"""The ledger browsed: usage records with their attempts, prices, sums, and what the recorder parked."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter

from usage import backroom, causes, words
from usage.arithmetic import bill
from usage.cells import (
    FLAGS,
    RECENTLY,
    by_name,
    by_request_id,
    cost,
    cost_in_short,
    named_by_id,
    outcome_badge,
    target,
    tokens,
)
from usage.explanations import explanation_of
from usage.filters import ClientFormatFilter, NamedFilter, StartedFilter, UpstreamFormatFilter
from usage.ids import lower_bound
from usage.models import (
    ApiKeyRollup,
    Attempt,
    AttemptRollup,
    Body,
    DeadLetter,
    JournalPosition,
    PriceSnapshot,
    Record,
    Rollup,
    StoredResponse,
)
from usage.pages import (
    Ledger,
    column,
    instant,
    link,
    milliseconds,
    money,
    whole,
)
from usage.refusal import read
from usage.waterfall import VERDICTS, waterfall


def _format(name: str) -> str:
    """A wire format as people call it."""
    return words.FORMATS.get(name, name) or "–"


class RecordAdmin(Ledger[Record]):
    list_display = (
        "started_shown", "consumer_shown", "model_shown", "target_shown", "formats_shown", "outcome_shown",
        "tokens_shown", "cost_listed", "first_token_shown", "total_shown", "attempt_count",
    )  # fmt: skip
    list_filter = (
        ("started_at", StartedFilter),
        ("outcome", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("is_stream", BooleanRadioFilter),
        ClientFormatFilter,
        UpstreamFormatFilter,
        ("consumer", NamedFilter),
        ("api_key", NamedFilter),
        ("model", NamedFilter),
        ("provider", NamedFilter),
        ("key", NamedFilter),
        ("unpriced", BooleanRadioFilter),
    )
    search_fields = ("request_id",)
    search_help_text = _(
        "A request id; or the client's own request id, if the request began within 24 hours."
    )
    list_fullwidth = True
    change_form_after_template = "admin/record_detail.html"
    fieldsets = (
        (
            None,
            {"fields": ("request_id", ("started_exact", "outcome_shown"), ("status_code", "finish_reason"))},
        ),
        (
            _("Who"),
            {"fields": (("consumer_link", "api_key_link"), ("address", "user_agent"), "client_request_id")},
        ),
        (
            _("Where it went"),
            {
                "fields": (
                    ("model_link", "upstream_model"),
                    ("provider_link", "key_link"),
                    ("client_shown", "upstream_shown"),
                    ("kind", "stream_shown"),
                    "conversion_shown",
                    "replay_of",
                )
            },
        ),
        (
            _("Tokens"),
            {
                "fields": (
                    ("input_shown", "output_shown"),
                    ("cached_shown", "written_shown", "written_1h_shown"),
                    ("reasoning_shown", "usage_source"),
                    ("tools_shown", "service_tier"),
                )
            },
        ),
        (_("Cost"), {"fields": (("cost_shown", "own_cost_shown", "saved_shown"), "price_link")}),
        (
            _("Time"),
            {
                "fields": (
                    ("first_byte_shown", "first_token_shown"),
                    ("total_shown", "overhead_shown"),
                    "attempt_count",
                )
            },
        ),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Record | None = None) -> Any:
        if obj is None or not (obj.error_code or obj.error_text or any(getattr(obj, name) for name in FLAGS)):
            return self.fieldsets
        first, *others = self.fieldsets
        return (
            first,
            (_("What went wrong"), {"fields": (("error_code", "flags_shown"), "error_text")}),
            *others,
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Record]:
        return super().get_queryset(request).defer("explanation")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Tells what an id stands for that no record has, as it is one of a refusal at the door."""
        identifier = named_by_id(request.GET.get(SEARCH_VAR, ""))
        refusal = None if identifier is None else read(identifier)
        if refusal is not None and self.has_view_permission(request):
            self.message_user(request, " ".join(causes.told(refusal)))
        return super().changelist_view(request, extra_context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        record: Record = context["original"]
        attempts = list(record.attempts.order_by("number"))
        snapshot = PriceSnapshot.objects.filter(pk=record.price_id).first() if record.price_id else None
        context |= {
            "tries": waterfall(record, attempts),
            "bill": bill(record, snapshot, attempts),
            "explanation": explanation_of(record, attempts),
        }
        return super().render_change_form(request, context, *args, **options)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Record], search_term: str
    ) -> tuple[QuerySet[Record], bool]:
        """By an id alone: a giant table is never searched for part of a text."""
        rows = by_request_id(queryset, search_term)
        if search_term.strip() and not named_by_id(search_term):
            recent = queryset.filter(request_id__gte=lower_bound(timezone.now() - RECENTLY))
            rows = recent.filter(client_request_id=search_term.strip())
        return rows, False

    started_shown = column("started_at", instant, _("time"))
    client_shown = column("client_format", _format, _("client format"))
    upstream_shown = column("upstream_format", _format, _("upstream format"))
    conversion_shown = column("conversion", lambda told: words.conversion(told) or "–", _("conversion"))
    stream_shown = column("is_stream", lambda streamed: _("yes") if streamed else _("no"), _("streamed"))
    consumer_shown = column("consumer_name", lambda name: name or "–", _("consumer"))
    first_byte_shown = column("first_byte_ms", milliseconds, _("first byte"))
    first_token_shown = column("first_token_ms", milliseconds, _("first token"))
    total_shown = column("total_ms", milliseconds, _("in all"))
    input_shown = column("input_tokens", whole, _("input"))
    output_shown = column("output_tokens", whole, _("output"))
    cached_shown = column("cached_tokens", whole, _("cache read"))
    written_shown = column("cache_creation_tokens", whole, _("cache write"))
    written_1h_shown = column("cache_creation_1h_tokens", whole, _("of it for 1 hour"))
    reasoning_shown = column("reasoning_tokens", whole, _("reasoning"))
    own_cost_shown = column("own_cost", money, _("own cost"))
    saved_shown = column("saved_cost", money, _("saved by cache"))

    @admin.display(description=_("started"))
    def started_exact(self, record: Record) -> str:
        moment = timezone.localtime(record.started_at)
        return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} {moment:%Z}"

    @admin.display(description=_("model"))
    def model_shown(self, record: Record) -> SafeString | str:
        asked, sent = record.model_name or "–", record.upstream_model
        return (
            asked if sent in {"", asked} else format_html('{} <span class="quiet">→ {}</span>', asked, sent)
        )

    @admin.display(description=_("provider / key"))
    def target_shown(self, record: Record) -> str:
        return target(record)

    @admin.display(description=_("format"))
    def formats_shown(self, record: Record) -> str:
        spoken = _format(record.client_format)
        if record.upstream_format in {"", record.client_format}:
            return spoken
        return f"{spoken} → {_format(record.upstream_format)}"

    @admin.display(description=_("outcome"))
    def outcome_shown(self, record: Record) -> SafeString:
        return outcome_badge(record)

    @admin.display(description=_("tokens"))
    def tokens_shown(self, record: Record) -> SafeString:
        return tokens(record)

    @admin.display(description=_("cost"))
    def cost_shown(self, record: Record) -> SafeString | str:
        return cost(record)

    @admin.display(description=_("cost"))
    def cost_listed(self, record: Record) -> SafeString | str:
        return cost_in_short(record)

    @admin.display(description=_("server tool uses"))
    def tools_shown(self, record: Record) -> str:
        return ", ".join(f"{name} {count}" for name, count in (record.tool_uses or {}).items()) or "–"

    @admin.display(description=_("own overhead"))
    def overhead_shown(self, record: Record) -> str:
        return "–" if record.overhead_us is None else f"{record.overhead_us / 1_000:.2f} ms"

    @admin.display(description=_("flags"))
    def flags_shown(self, record: Record) -> SafeString | str:
        raised = [(word,) for name, word in FLAGS.items() if getattr(record, name)]
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}</li>", raised)) if raised else "–"

    @admin.display(description=_("consumer"))
    def consumer_link(self, record: Any) -> SafeString | str:
        return by_name("consumers_consumer_change", record.consumer_name, record.consumer_id)

    @admin.display(description=_("API key"))
    def api_key_link(self, record: Any) -> SafeString | str:
        return by_name("consumers_apikey_change", record.api_key_name, record.api_key_id)

    @admin.display(description=_("model"))
    def model_link(self, record: Any) -> SafeString | str:
        return by_name("providers_model_change", record.model_name, record.model_id)

    @admin.display(description=_("provider"))
    def provider_link(self, record: Any) -> SafeString | str:
        return by_name("providers_provider_change", record.provider_name, record.provider_id)

    @admin.display(description=_("key"))
    def key_link(self, record: Any) -> SafeString | str:
        return by_name("providers_key_change", record.key_name, record.key_id)

    @admin.display(description=_("price"))
    def price_link(self, record: Any) -> SafeString | str:
        if record.price_id is None:
            return "–"
        return link(_("the unit prices it was billed at"), "usage_pricesnapshot_change", record.price_id)


class AttemptAdmin(Ledger[Attempt]):
    list_display = (
        "started_shown", "number", "target_shown", "upstream_model", "format_shown", "verdict_shown",
        "reason_shown", "status_code", "tokens_shown", "own_cost_shown", "total_shown", "record_shown",
    )  # fmt: skip
    list_filter = (
        ("started_at", StartedFilter),
        ("provider", NamedFilter),
        ("key", NamedFilter),
        ("model", NamedFilter),
    )
    list_fullwidth = True
    fieldsets = (
        (None, {"fields": (("record_shown", "number"), "started_shown")}),
        (
            _("Where it went"),
            {"fields": (("target_shown", "upstream_model"), ("format_shown", "upstream_request_id"))},
        ),
        (
            _("How it ended"),
            {
                "fields": (
                    ("verdict_shown", "reason_shown"),
                    ("phase", "status_code"),
                    "decided_shown",
                    "error_type",
                    "error_text",
                )
            },
        ),
        (
            _("Tokens and cost"),
            {
                "fields": (
                    ("tokens_shown", "list_cost_shown"),
                    ("own_cost_shown", "multiplier_shown"),
                    "maybe_billed",
                )
            },
        ),
        (
            _("Time and size"),
            {
                "fields": (
                    ("first_byte_shown", "first_token_shown", "total_shown"),
                    ("bytes_sent", "bytes_received"),
                )
            },
        ),
    )

    started_shown = column("started_at", instant, _("time"))
    first_byte_shown = column("first_byte_ms", milliseconds, _("first byte"))
    first_token_shown = column("first_token_ms", milliseconds, _("first token"))
    total_shown = column("total_ms", milliseconds, _("in all"))
    list_cost_shown = column("list_cost", money, _("list cost"))
    own_cost_shown = column("own_cost", money, _("own cost"))
    multiplier_shown = column(
        "cost_multiplier", lambda factor: money(factor).lstrip("$"), _("cost multiplier")
    )

    format_shown = column("upstream_format", _format, _("upstream format"))
    verdict_shown = column("verdict", lambda name: VERDICTS.get(name, name), _("verdict"))
    reason_shown = column("reason", lambda name: words.reason(name) or "–", _("reason"))

    @admin.display(description=_("decided by"))
    def decided_shown(self, attempt: Attempt) -> SafeString | str:
        if not attempt.reason:
            return "–"
        asked = f"{reverse('failure_dry_run')}?attempt={attempt.pk}"
        told = words.decided_by(attempt) or _("nothing: nothing was said")
        return format_html('{} · <a class="text-link" href="{}">{}</a>', told, asked, _("judge it anew"))

    @admin.display(description=_("target"))
    def target_shown(self, attempt: Attempt) -> str:
        return target(attempt)

    @admin.display(description=_("tokens"))
    def tokens_shown(self, attempt: Attempt) -> SafeString:
        return tokens(attempt)

    @admin.display(description=_("usage record"))
    def record_shown(self, attempt: Any) -> SafeString:
        return link(_("record"), "usage_record_change", attempt.record_id)


class BodyAdmin(Ledger[Body]):
    """What was stored of a request; the bodies themselves are not shown here."""

    list_display = ("request_id", "record_shown", "truncated", "expires_shown")
    search_fields = ("request_id",)
    fieldsets = (
        (None, {"fields": ("request_id", "record_shown", ("truncated", "expires_shown"))}),
        (
            _("Headers"),
            {
                "fields": (
                    "client_request_headers",
                    "upstream_request_headers",
                    "upstream_response_headers",
                    "client_response_headers",
                )
            },
        ),
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Body], search_term: str
    ) -> tuple[QuerySet[Body], bool]:
        return by_request_id(queryset, search_term), False

    expires_shown = column("expires_at", instant, _("expires"))

    @admin.display(description=_("usage record"))
    def record_shown(self, body: Body) -> SafeString:
        return link(_("record"), "usage_record_change", body.request_id)


admin.site.register(Record, RecordAdmin)
admin.site.register(Attempt, AttemptAdmin)
admin.site.register(Body, BodyAdmin)
admin.site.register(PriceSnapshot, backroom.PriceSnapshotAdmin)
admin.site.register(Rollup, backroom.RollupAdmin)
admin.site.register(ApiKeyRollup, backroom.ApiKeyRollupAdmin)
admin.site.register(AttemptRollup, backroom.AttemptRollupAdmin)
admin.site.register(StoredResponse, backroom.StoredResponseAdmin)
admin.site.register(DeadLetter, backroom.DeadLetterAdmin)
admin.site.register(JournalPosition, backroom.JournalPositionAdmin)
