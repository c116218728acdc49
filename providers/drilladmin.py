"""Game day in the admin: superusers alone start a drill, stop it, and read what it showed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ObjectDoesNotExist
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _now, gettext_lazy as _
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from providers.cells import countdown
from providers.drillreport import Report, report
from providers.drills import LONGEST, Drill
from usage.models import Outcome
from usage.pages import LongPage, back_to, badge, button, column, found, instant, whole

if TYPE_CHECKING:
    _DrillForm = forms.ModelForm[Drill]
else:
    _DrillForm = forms.ModelForm

MOST_MINUTES = int(LONGEST.total_seconds() // 60)


class DrillForm(_DrillForm):
    """A drill that begins when the form is saved."""

    minutes = forms.IntegerField(
        label=_("Minutes"), initial=5, min_value=1, max_value=MOST_MINUTES,
        widget=UnfoldAdminIntegerFieldWidget, help_text=_("It ends by itself."),
    )  # fmt: skip

    class Meta:
        model = Drill
        fields = ("fault", "key", "api_key", "after", "reset_seconds")

    def _post_clean(self) -> None:
        drill: Drill = self.instance
        drill.starts_at = timezone.now()
        drill.ends_at = drill.starts_at + timedelta(minutes=self.cleaned_data.get("minutes") or 1)
        super()._post_clean()  # type: ignore[misc]  # Django's, without a type


@admin.register(Drill)
class DrillAdmin(LongPage[Drill]):
    form = DrillForm
    list_display = ("starts_shown", "fault_shown", "where_shown", "state_shown", "user_name")
    list_filter = ("fault",)
    ordering = ("-id",)
    sortable_by = ()
    list_select_related = ("key__provider", "api_key__consumer")
    autocomplete_fields = ("key", "api_key")
    actions_detail = ("stop",)
    starts_shown = column("starts_at", instant, _("started"))
    ends_shown = column("ends_at", instant, _("ends"))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Drill | None = None) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Drill | None = None) -> bool:
        return self.has_view_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Drill | None = None) -> bool:
        return self.has_view_permission(request)

    def get_fieldsets(self, request: HttpRequest, obj: Drill | None = None) -> Any:
        if obj is None:
            said = _(
                "The relay plays the fault in front of the vendor, from when this is saved. Real requests "
                "meet it."
            )
            fields = ("fault", ("key", "api_key"), "minutes", ("after", "reset_seconds"))
            return ((None, {"fields": fields, "description": said}),)
        asked = (("fault_shown", "where_shown"), ("after", "reset_seconds"), ("starts_shown", "ends_shown"))
        shown = (
            "requests_shown", "saw_shown", "failures_shown", "failovers_shown", "ejected_shown",
            "returned_shown",
        )  # fmt: skip
        return (
            (None, {"fields": (*asked, ("state_shown", "user_name"))}),
            (_("What it showed"), {"fields": shown}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Drill | None = None) -> tuple[Any, ...]:
        if obj is None:
            return ()
        obj.showed = report(obj, timezone.now())  # type: ignore[attr-defined]
        return (
            "fault_shown", "where_shown", "after", "reset_seconds", "starts_shown", "ends_shown",
            "state_shown", "user_name", "requests_shown", "saw_shown", "failures_shown", "failovers_shown",
            "ejected_shown", "returned_shown",
        )  # fmt: skip

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        if obj is not None:
            options["form"] = forms.ModelForm
        return super().get_form(request, obj, change=change, **options)

    def save_model(self, request: HttpRequest, obj: Drill, form: Any, change: bool) -> None:
        if change:
            return  # what was asked for stays as it was
        obj.user_name = request.user.get_username()
        super().save_model(request, obj, form, change)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        # What was asked for stays as it was: there is nothing to save.
        buttons = ("show_save", "show_save_and_continue", "show_save_and_add_another")
        return super().change_view(
            request, object_id, form_url, {**dict.fromkeys(buttons, False), **(extra_context or {})}
        )

    @button(
        description=_("Stop"),
        icon="stop_circle",
        permissions=["change"],
        url_path="stop",
        dialog={
            "title": _("Stop it now?"),
            "description": _("Obeyed within two seconds."),
            "form_submit_text": _("Stop"),
        },
    )
    def stop(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        drill = found(self, request, object_id)
        drill.stop(timezone.now())
        self.message_user(request, _now("The drill has ended."))
        return back_to(self, drill)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """No button for one that has ended."""
        drill = self.get_object(request, object_id)
        running = drill is not None and drill.runs(timezone.now())
        return list(super().get_actions_detail(request, object_id)) if running else []  # type: ignore[misc]

    # What the columns show

    @admin.display(description=_("fault"))
    def fault_shown(self, drill: Drill) -> str:
        return str(drill.get_fault_display())

    @admin.display(description=_("where"))
    def where_shown(self, drill: Drill) -> str:
        return where(drill)

    @admin.display(description=_("state"))
    def state_shown(self, drill: Drill) -> SafeString:
        if not drill.runs(timezone.now()):
            return badge(_("ended"))
        left = countdown(drill.ends_at)
        return badge(format_html(_now("{state}, {time} left"), state=_now("running"), time=left), "warn")

    @admin.display(description=_("requests that met it"))
    def requests_shown(self, drill: Any) -> str:
        return met(drill.showed)

    @admin.display(description=_("what clients saw"))
    def saw_shown(self, drill: Any) -> SafeString | str:
        rows = [
            (Outcome(each.outcome).label, each.status or "–", whole(each.requests))
            for each in drill.showed.saw
        ]
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}, {}: {}</li>", rows)) if rows else "–"

    @admin.display(description=_("failed attempts"))
    def failures_shown(self, drill: Any) -> str:
        return whole(drill.showed.failures)

    @admin.display(description=_("failovers that were answered"))
    def failovers_shown(self, drill: Any) -> str:
        return whole(drill.showed.failovers)

    @admin.display(description=_("time to eject"))
    def ejected_shown(self, drill: Any) -> str:
        return ejected(drill, drill.showed)

    @admin.display(description=_("time to return"))
    def returned_shown(self, drill: Any) -> str:
        return returned(drill, drill.showed, timezone.now())


def seconds(duration: float) -> str:
    """A duration as people read it."""
    return _now("%(seconds).1f s") % {"seconds": duration}


def met(showed: Report) -> str:
    """How many requests met a drill."""
    return whole(showed.requests) if showed.requests else _now("0: nobody sent a request that met it")


def ejected(drill: Drill, showed: Report) -> str:
    """How soon the key was left alone, or why there is nothing to tell."""
    if showed.ejected is not None:
        return seconds(showed.ejected)
    if drill.key_id is None:
        return _now("no key is blamed for it")
    return _now("it was not left alone") if showed.failures else _now("nothing failed")


def returned(drill: Drill, showed: Report, now: datetime) -> str:
    """How soon the key was used again, or why there is nothing to tell."""
    if showed.returned is not None:
        return seconds(showed.returned)
    if drill.key_id is None:
        return _now("no key is blamed for it")
    return _now("the drill still runs") if drill.runs(now) else _now("no good answer since")


def where(drill: Drill) -> str:
    """The key, or the API key with its consumer, of a drill by name; by number where the row is gone."""
    kind, number = ("key", drill.key_id) if drill.key_id is not None else ("api_key", drill.api_key_id)
    try:
        row = getattr(drill, kind)
    except ObjectDoesNotExist:
        row = None
    if row is None:
        return f"#{number}"
    return str(row) if kind == "key" else f"{row.consumer} / {row}"


def lines(drill: Drill, showed: Report, now: datetime) -> list[str]:
    """A report in words, for a terminal."""
    clients = ", ".join(f"{each.outcome} {each.status}: {each.requests:,}" for each in showed.saw) or "–"
    return [
        _now("requests that met it: %(count)s") % {"count": met(showed)},
        _now("what clients saw: %(list)s") % {"list": clients},
        _now("failed attempts: %(count)s") % {"count": f"{showed.failures:,}"},
        _now("failovers that were answered: %(count)s") % {"count": f"{showed.failovers:,}"},
        _now("time to eject: %(time)s") % {"time": ejected(drill, showed)},
        _now("time to return: %(time)s") % {"time": returned(drill, showed, now)},
    ]
