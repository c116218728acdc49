"""Conformance on an endpoint's page: the button that tries it out, the matrix of what was found, and the
button that forgets it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _now, gettext_lazy as _, ngettext
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget

from providers.conformance import Conformance, Row, Verdict, forget
from providers.corpus import TITLES
from providers.models import Endpoint
from providers.probe import ProbeError
from providers.runs import Busy, begin, models_of
from usage.pages import Page, back_to, badge, button, found, instant

SHOWN = {
    Verdict.WORKS: ("✓", "good"),
    Verdict.REFUSED: ("✕", "bad"),
    Verdict.WRONG: ("!", "warn"),
    Verdict.ABSENT: ("–", "plain"),
    Verdict.UNTRIED: ("?", "plain"),
}
"""The symbol and the tone of each verdict; its word stands beside them."""
FORGET = "forget-conformance"
MOST = 5
"""Matrices on a page."""


class ModelForm(BaseDialogForm):
    """With which model."""

    model = forms.ChoiceField(label=_("Model"), widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        endpoint = Endpoint.objects.filter(pk=self.object_id).first()
        names = models_of(endpoint) if endpoint is not None else []
        field = self.fields["model"]
        field.choices = [(each, each) for each in names]
        if not names:
            field.help_text = _("No model is deployed there: deploy one first.")


class ConformanceActions(Page[Endpoint]):
    """The buttons of endpoints that try them out, and what they found."""

    change_form_outer_after_template = "admin/endpoint_after.html"

    @button(
        description=_("Run conformance"),
        icon="fact_check",
        permissions=["change"],
        url_path="conformance",
        dialog={
            "title": _("Try it out now?"),
            "description": _(
                "Sends about a dozen small requests in its own format, with the first live key: text, "
                "streams, tools, thinking, images, usage. It takes a minute, at most five, and the vendor "
                "bills a few thousand tokens; no consumer is billed. The router heeds what is refused."
            ),
            "form_submit_text": _("Run"),
            "form_class": ModelForm,
        },
    )
    def conformance_one(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        endpoint = found(self, request, object_id)
        try:
            begin(endpoint, model=form.cleaned_data["model"], user_name=request.user.get_username())
        except Busy:
            self.message_user(request, _now("It is being tried out already."), messages.WARNING)
        except ProbeError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.message_user(request, _now("It is being tried out: see below."), messages.SUCCESS)
        return back_to(self, endpoint)

    @button(
        description=_("Forget conformance"),
        icon="backspace",
        permissions=["change"],
        url_path=FORGET,
        dialog={
            "title": _("Forget what was found?"),
            "description": _("The router takes it again to do whatever is asked, within two seconds."),
            "form_submit_text": _("Forget"),
        },
    )
    def forget_one(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        endpoint = found(self, request, object_id)
        count = forget(endpoint.pk)
        said = ngettext("%(count)d result forgotten.", "%(count)d results forgotten.", count)
        self.message_user(request, said % {"count": count})
        return back_to(self, endpoint)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Without the button that forgets: it stands with what there is to forget."""
        shown = list(super().get_actions_detail(request, object_id))  # type: ignore[misc]
        return [each for each in shown if each.path != FORGET]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        endpoint = context.get("original")
        if endpoint is not None:
            context["conformance"] = panel_of(endpoint)
            if self.has_change_permission(request, endpoint):
                page = reverse("admin:providers_endpoint_change", args=[endpoint.pk])
                context["conformance"]["forget_url"] = f"{page.removesuffix('change/')}{FORGET}/"
        return super().render_change_form(request, context, *args, **options)


def panel_of(endpoint: Endpoint) -> dict[str, Any]:
    """What the panel shows: the run that is under way, and the newest result of each model."""
    now = timezone.now()
    runs = list(Conformance.objects.filter(endpoint=endpoint).order_by("-finished_at", "-id"))
    running = next((each for each in runs if each.runs(now)), None)
    return {
        "running": running,
        "done": len(running.rows) if running else 0,
        "of": len(TITLES),
        "results": [_shown(each, runs) for each in runs if each.finished_at][:MOST],
    }


def _shown(run: Conformance, runs: Sequence[Conformance]) -> dict[str, Any]:
    others = (each for each in runs if each.finished_at and each.pk != run.pk and each.model == run.model)
    return {
        "untried": not run.tried(),
        "kept": any(each.tried() for each in others),
        "model": run.model,
        "at": instant(run.finished_at),
        "by": run.user_name or "–",
        "key": run.key_name or "–",
        "rows": [_cells(row) for row in run.matrix()],
    }


def _cells(row: Row) -> dict[str, Any]:
    verdict = Verdict(row.verdict)
    symbol, tone = SHOWN[verdict]
    return {
        "title": TITLES[row.name],
        "verdict": badge(f"{symbol} {verdict.label}", tone),
        "said": row.said,
    }
