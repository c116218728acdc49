"""What the supply side's pages do besides saving: test endpoints, fetch a vendor's models and deploy them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, LogEntry
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _now, gettext_lazy as _, ngettext

from providers import probe
from providers.models import Deployment, Endpoint, Model, Provider
from usage.pages import Page, back_to, button, found

MOST_TESTS = 20
"""Endpoints tested by one click: each may take its fifteen seconds."""
ASKING: dict[str, str | Promise] = {
    "title": _("Test it now?"),
    "description": _("Asks the vendor for its list of models with the first live key. That costs nothing."),
    "form_submit_text": _("Test"),
}


def tell(page: Page[Any], request: HttpRequest, endpoints: Iterable[Endpoint]) -> None:
    """Tests `endpoints` one after the other and says of each how it answered."""
    tested = 0
    for endpoint in endpoints:
        if tested == MOST_TESTS:
            said = _now("Only the first %(count)d endpoints were tested.") % {"count": tested}
            page.message_user(request, said, messages.WARNING)
            return
        result = probe.test_endpoint(endpoint)
        level = messages.SUCCESS if result.ok else messages.ERROR
        page.message_user(request, f"{result.sentence} ({result.milliseconds} ms)", level)
        tested += 1
    if not tested:
        page.message_user(request, _("There is no endpoint that is on: add one first."), messages.WARNING)


class EndpointActions(Page[Endpoint]):
    """The buttons of endpoints."""

    @admin.action(description=_("Test selected %(verbose_name_plural)s"), permissions=["change"])
    def test(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> None:
        tell(self, request, queryset.select_related("provider"))

    @button(
        description=_("Test"), icon="network_check", permissions=["change"], url_path="test", dialog=ASKING
    )
    def test_one(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        endpoint = found(self, request, object_id)
        tell(self, request, [endpoint])
        return back_to(self, endpoint)


@dataclass(slots=True)
class Listed:
    """A model that a vendor lists: the formats it is listed in, and as what it is deployed already."""

    name: str
    formats: list[str] = field(default_factory=list)
    deployed: list[str] = field(default_factory=list)


class ProviderActions(Page[Provider]):
    """The buttons of providers."""

    @admin.action(
        description=_("Test the endpoints of selected %(verbose_name_plural)s"), permissions=["change"]
    )
    def test(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        tell(self, request, endpoints_of(queryset))

    @button(
        description=_("Test endpoints"),
        icon="network_check",
        permissions=["change"],
        url_path="test",
        dialog=ASKING,
    )
    def test_all(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        provider = found(self, request, object_id)
        tell(self, request, endpoints_of([provider]))
        return back_to(self, provider)

    @button(description=_("Fetch model list"), icon="playlist_add", permissions=["change"], url_path="models")
    def fetch_list(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A page that fetches the vendor's models when asked to, and deploys those that are ticked."""
        provider = found(self, request, object_id)
        may_add = request.user.has_perms(["providers.add_deployment", "providers.add_model"])
        listed: list[Listed] | None = None
        problems: list[str] = []
        if request.method == "POST" and "deploy" in request.POST and may_add:
            added, problems = deploy(self, request, provider, request.POST.getlist("name"))
            if added:
                said = ngettext("%(count)d model deployed.", "%(count)d models deployed.", added)
                self.message_user(request, said % {"count": added}, messages.SUCCESS)
            if not problems:
                target = reverse("admin:providers_provider_change", args=[provider.pk])
                return HttpResponseRedirect(f"{target}#deployments")
        elif request.method == "POST":
            listed, problems = fetched(provider)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Models of %(provider)s") % {"provider": provider},
            "opts": self.opts,
            "original": provider,
            "provider": provider,
            "listed": listed,
            "problems": problems,
            "may_add": may_add,
        }
        return TemplateResponse(request, "admin/models_of_provider.html", context)


def endpoints_of(providers: Iterable[Provider]) -> QuerySet[Endpoint]:
    """The endpoints that are on, of these providers."""
    ids = [provider.pk for provider in providers]
    return Endpoint.objects.filter(provider__in=ids, is_active=True).select_related("provider").order_by("pk")


def fetched(provider: Provider) -> tuple[list[Listed], list[str]]:
    """What the provider's endpoints list, by name, and the sentences of those that list nothing."""
    found_by_name: dict[str, Listed] = {}
    problems: list[str] = []
    endpoints = list(endpoints_of([provider])[:MOST_TESTS])
    if not endpoints:
        problems.append(_now("There is no endpoint that is on: add one first."))
    for endpoint in endpoints:
        try:
            names = probe.fetch_models(endpoint)
        except probe.ProbeError as error:
            problems.append(str(error))
            continue
        for name in names:
            found_by_name.setdefault(name, Listed(name)).formats.append(endpoint.get_format_display())
    for upstream, public in provider.deployments.values_list("upstream_name", "model__name"):
        if upstream in found_by_name:
            found_by_name[upstream].deployed.append(public)
    return sorted(found_by_name.values(), key=lambda each: each.name), problems


def note_added(request: HttpRequest, row: Model | Deployment) -> None:
    """Writes into the history of `row` who added it."""
    LogEntry.objects.log_actions(
        user_id=cast("int", request.user.pk),
        queryset=[row],
        action_flag=ADDITION,
        change_message=[{"added": {}}],
    )


def deploy(
    page: Page[Provider], request: HttpRequest, provider: Provider, names: list[str]
) -> tuple[int, list[str]]:
    """Deploys the vendor's models `names` at `provider`, each under a public model of that name, which is
    created (without a price) where there is none. Returns how many, and what was refused."""
    public = {each: model for model in Model.objects.all() for each in (model.name, *model.aliases)}
    added, problems, unpriced = 0, [], []
    for name in dict.fromkeys(names):
        try:
            with transaction.atomic():
                model = public.get(name)
                if model is None:
                    model = Model(name=name)
                    model.full_clean()
                    model.save()
                    note_added(request, model)
                deployment = Deployment(model=model, provider=provider, upstream_name=name)
                deployment.full_clean()
                deployment.save()
                note_added(request, deployment)
        except ValidationError as error:
            problems.append(f"{name}: {' '.join(error.messages)}")
            continue
        added += 1
        if model.price() is None:
            unpriced.append(name)
    if unpriced:
        said = _now(
            "Without a price, until you give one: %(names)s. Requests to them are recorded as unpriced."
        )
        page.message_user(request, said % {"names": ", ".join(unpriced)}, messages.WARNING)
    return added, problems
