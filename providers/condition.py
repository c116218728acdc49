"""The panel on the pages of keys, endpoints and providers that tells how they are, and the buttons by which
an operator recovers, parks and probes a key or an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _now, gettext_lazy as _, ngettext
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from providers import states
from providers.cells import TONES, countdown, machine_state, reason_of, state_of
from providers.events import Condition, StateEvent
from providers.models import Endpoint, Key, Provider
from usage.pages import Page, back_to, badge, button, found, instant, switched
from usage.timelines import HEIGHTS, LEVELS, SPANS, Timeline, span_of, timelines, together

P = TypeVar("P", Key, Endpoint)
F = TypeVar("F", bound=Callable[..., Any])
SHOWN = 10
"""Changes of state on a page; the others are in their list."""
PARKED_FOR: Mapping[str, tuple[Any, timedelta | None]] = {
    "15": (_("15 minutes"), timedelta(minutes=15)),
    "60": (_("1 hour"), timedelta(hours=1)),
    "240": (_("4 hours"), timedelta(hours=4)),
    "1440": (_("1 day"), timedelta(days=1)),
    "10080": (_("1 week"), timedelta(days=7)),
    "": (_("until it is recovered"), None),
}


class ParkForm(BaseDialogForm):
    """For how long, and why."""

    how_long = forms.ChoiceField(
        label=_("For how long"),
        required=False,
        initial="60",
        choices=[(name, label) for name, (label, _span) in PARKED_FOR.items()],
        widget=UnfoldAdminSelectWidget,
    )
    why = forms.CharField(label=_("Why"), max_length=300, widget=UnfoldAdminTextInputWidget)


def asked(
    label: Any, icon: str, path: str, title: Any, said: Any, *, submit: Any = "", **dialog: Any
) -> Callable[[F], F]:
    """A button that asks before it does something; its dialog is confirmed by `submit`, else by its own
    label."""
    return button(
        description=label,
        icon=icon,
        permissions=["change"],
        url_path=path,
        dialog={"title": title, "description": said, "form_submit_text": submit or label, **dialog},
    )


class HealthActions(Page[P]):
    """The buttons of keys and endpoints that speak to the machine. None of them moves the operator's own
    switch."""

    change_form_outer_before_template = "admin/kept_out.html"
    change_form_outer_after_template = "admin/health.html"

    @admin.action(description=_("Recover selected %(verbose_name_plural)s"), permissions=["change"])
    def recover(self, request: HttpRequest, queryset: QuerySet[P]) -> None:
        self.tell_recovered(request, list(queryset))

    @admin.action(description=_("Probe selected %(verbose_name_plural)s now"), permissions=["change"])
    def probe(self, request: HttpRequest, queryset: QuerySet[P]) -> None:
        self.tell_asked(request, list(queryset))

    @asked(
        _("Recover"),
        "healing",
        "recover",
        _("Recover it?"),
        _(
            "Ends its cooldown, closes its breaker and takes it out of parking; it is asked again within "
            "two seconds. Its switch stays as it is."
        ),
    )
    def recover_one(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        row = found(self, request, object_id)
        self.tell_recovered(request, [row])
        return back_to(self, row)

    @asked(
        _("Park"),
        "local_parking",
        "park",
        _("Park it?"),
        _(
            "Nothing is sent there for so long, and then it is asked again by itself. Running requests "
            "go on. Its switch stays as it is."
        ),
        form_class=ParkForm,
    )
    def park_one(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        row = found(self, request, object_id)
        label, span = PARKED_FOR[form.cleaned_data["how_long"]]
        why = form.cleaned_data["why"]
        until = None if span is None else timezone.now() + span
        states.park([row], until, by=request.user.get_username(), reason=why)
        self.note_in_history(request, [row], _now("Parked, %(span)s: %(why)s") % {"span": label, "why": why})
        said = _now("Parked, %(span)s. Obeyed within two seconds.") % {"span": label}
        self.message_user(request, said, messages.SUCCESS)
        return back_to(self, row)

    @asked(
        _("Probe now"),
        "network_ping",
        "probe",
        _("Probe it now?"),
        _(
            "The relay asks for the list of models and goes by the answer as by that of a request. That "
            "costs nothing."
        ),
        submit=_("Probe"),
    )
    def probe_one(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        row = found(self, request, object_id)
        self.tell_asked(request, [row])
        return back_to(self, row)

    def tell_recovered(self, request: HttpRequest, rows: Sequence[P]) -> None:
        """Recovers those of the rows that this user may change, and says how many."""
        rows = [row for row in rows if self.has_change_permission(request, row)]
        count = states.recover(rows, by=request.user.get_username())
        self.note_in_history(request, rows, _now("Recovered."))
        said = ngettext("%(count)d recovered.", "%(count)d recovered.", count)
        self.message_user(request, said % {"count": count}, messages.SUCCESS if count else messages.WARNING)

    def tell_asked(self, request: HttpRequest, rows: Sequence[P]) -> None:
        """Has those of the rows probed that this user may change, and says where the answer is to be seen."""
        rows = [row for row in rows if self.has_change_permission(request, row)]
        count = states.ask_probe(rows, by=request.user.get_username())
        said = ngettext(
            "%(count)d is being probed: the answer stands under “machine state” within seconds.",
            "%(count)d are being probed: the answers stand under “machine state” within seconds.",
            count,
        )
        self.message_user(request, said % {"count": count}, messages.SUCCESS if count else messages.WARNING)

    def note_in_history(self, request: HttpRequest, rows: Sequence[P], message: str) -> None:
        """Writes into the history of `rows` what was done."""
        LogEntry.objects.log_actions(
            user_id=cast("int", request.user.pk),
            queryset=rows,
            action_flag=CHANGE,
            change_message=message,
        )

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        row = context.get("original")
        if row is not None:
            context["health"] = panel_of(request, row)
        return super().render_change_form(request, context, *args, **options)


class ProviderHealth(Page[Provider]):
    """A provider's page with its timeline, and those of its endpoints."""

    change_form_outer_after_template = "admin/health.html"

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        provider = context.get("original")
        if provider is not None:
            context["health"] = panel_of_provider(request, provider)
        return super().render_change_form(request, context, *args, **options)


def panel_of(request: HttpRequest, row: Key | Endpoint) -> dict[str, Any]:
    """What the panel shows of a key or an endpoint: the two switches, the timeline, the changes of state."""
    now = timezone.now()
    span = span_of(request.GET.get("health", ""))
    state = state_of(row)
    holds = states.standing(state, now)
    which: dict[str, Any] = {"key" if isinstance(row, Key) else "endpoint": row}
    if isinstance(row, Key):
        endpoints = {each.pk: each.get_format_display() for each in row.provider.endpoints.order_by("format")}
        lines = timelines(span, now, endpoints, by="endpoint_id", key_id=row.pk)
        lines = _headed(_now("All formats"), [line for line in lines if line.total.counts])
    else:
        lines = timelines(span, now, {row.pk: str(row)}, by="endpoint_id", endpoint_id=row.pk)
    events = StateEvent.objects.filter(**which).order_by("-id")[:SHOWN]
    url = reverse("admin:providers_stateevent_changelist")
    return {
        **_timelines(span, lines or [_empty(span, _now("All formats"))]),
        "switches": _switches(row, state, holds),
        "kept_out": not row.is_active or not row.provider.is_active or _is_out(holds),
        "sentence": _sentence(row, holds),
        "events": [event_cells(each) for each in events],
        "events_url": f"{url}?{next(iter(which))}__id__exact={row.pk}",
    }


def panel_of_provider(request: HttpRequest, provider: Provider) -> dict[str, Any]:
    """What the panel shows of a provider: its timeline, and those of its endpoints."""
    span = span_of(request.GET.get("health", ""))
    endpoints = {each.pk: each.get_format_display() for each in provider.endpoints.order_by("format")}
    lines = timelines(span, timezone.now(), endpoints, by="endpoint_id", endpoint_id__in=list(endpoints))
    title = _now("All endpoints")
    return _timelines(span, _headed(title, lines) or [_empty(span, title)])


def _headed(title: str, lines: Sequence[Timeline]) -> list[Timeline]:
    """Before several timelines, the one of all of them."""
    return [together(title, lines), *lines] if len(lines) > 1 else list(lines)


def _empty(span: str, title: str) -> Timeline:
    return timelines(span, timezone.now(), {0: title}, by="endpoint_id", endpoint_id__in=[])[0]


def _timelines(span: str, lines: Sequence[Timeline]) -> dict[str, Any]:
    return {
        "span": span,
        "spans": [{"name": name, "title": title} for name, (title, _seconds) in SPANS.items()],
        "lines": lines,
        "legend": [
            {"level": level, "text": text, "height": HEIGHTS[level], "top": HEIGHTS["good"] - HEIGHTS[level]}
            for level, text in LEVELS.items()
        ],
    }


def _is_out(holds: states.Standing) -> bool:
    return holds.condition not in (Condition.READY, Condition.HALF_OPEN)


def _switches(row: Key | Endpoint, state: Any, holds: states.Standing) -> list[dict[str, Any]]:
    """The operator's decision and the machine's, apart."""
    why = reason_of(holds.reason)
    if holds.condition == Condition.PARKED:
        why = _now("by %(user)s: %(why)s") % {"user": state.parked_by, "why": holds.reason}
    shown = [
        {"name": _("Operator's switch"), "value": switched(row), "note": ""},
        {"name": _("Machine"), "value": machine_state(state), "note": why},
    ]
    if not row.provider.is_active:
        shown.insert(1, {"name": _("Provider's switch"), "value": switched(row.provider), "note": ""})
    if state is not None and state.probed_at:
        shown.append({"name": _("Last probe"), "value": instant(state.probed_at), "note": state.probe_result})
    return shown


def _sentence(row: Key | Endpoint, holds: states.Standing) -> SafeString | str:
    """Which of the two keeps it out, or that none does."""
    if not row.is_active:
        also = _is_out(holds)
        return (
            _now("Its switch keeps it out, and so would the machine.")
            if also
            else _now("Its switch keeps it out.")
        )
    if not row.provider.is_active:
        return _now("Its provider is switched off, which keeps it out.")
    if holds.condition == Condition.PARKED and holds.until is None:
        return _now("It is parked until somebody recovers it.")
    if holds.condition == Condition.PARKED and holds.until is not None:
        return format_html(_now("It is parked; {time} left."), time=countdown(holds.until))
    if holds.condition == Condition.REFUSED:
        return _now("The vendor refuses this key. It comes back by itself once a probe finds it accepted.")
    if holds.until is not None:
        return format_html(
            _now("The machine keeps it out, not its switch; {time} left."), time=countdown(holds.until)
        )
    if holds.condition == Condition.HALF_OPEN:
        return _now("It is asked again, one request at a time, until it has answered three of them.")
    return _now("Nothing keeps it out.")


def event_cells(event: StateEvent) -> dict[str, Any]:
    """One change of state, ready to be shown."""
    return {
        "at": instant(event.at),
        "what": event_what(event),
        "condition": event_condition(event),
        "until": instant(event.until),
        "reason": reason_of(event.reason) or "–",
    }


def event_what(event: StateEvent) -> str:
    """Who did what."""
    if event.action == StateEvent.Action.NONE:
        return str(StateEvent.Action.NONE.label)
    return _now("%(action)s, by %(user)s") % {
        "action": event.get_action_display(), "user": event.user_name or "–",
    }  # fmt: skip


def event_condition(event: StateEvent) -> SafeString:
    condition = Condition(event.condition)
    return badge(condition.label, TONES[condition])
