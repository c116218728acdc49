"""Pages for staff that only the relay can answer: what a failure would be taken for, and where a request
would go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, cast
from urllib.parse import urlencode

from asgiref.sync import async_to_sync
from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _now, gettext_lazy as _, ngettext
from unfold.widgets import (
    UnfoldAdminAutocompleteModelChoiceFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from consumers import auth
from consumers.models import ApiKey
from providers.catalog import live_rules
from providers.checks import CAPABILITIES
from providers.formats import Format
from providers.forms import CAPABILITY_NAMES
from providers.models import Provider, RoutingMode
from providers.rules import FailureRule
from relay import engine as engines
from relay.dryrun import Held, Outcome, failure_of, outcome_of
from relay.errors import UpstreamFailure
from relay.explaining import explained, unopened
from relay.failover import LINES, VERDICTS
from usage import words
from usage.cells import target
from usage.explanations import found_by, plan_rows
from usage.forms import Ticks
from usage.models import Attempt
from usage.pages import badge, instant, link

LONGEST = 256 * 1024
"""As much of an error as the relay reads."""
LOOKED_THROUGH = 2_000
"""Attempts, the newest, among which failed ones are looked for: their verdict has no index."""
SHOWN = 15
SAID = {line.reason for line in LINES} | {"policy"}
"""Reasons that follow from what was said, and may follow from a rule instead."""


class DryRunForm(forms.Form):
    """An upstream's answer, as somebody has it at hand."""

    format = forms.ChoiceField(
        label=_("Format"), choices=Format.choices, widget=UnfoldAdminSelectWidget, initial=Format.OPENAI_CHAT
    )
    provider = forms.TypedChoiceField(
        label=_("Provider"), required=False, coerce=int, empty_value="", widget=UnfoldAdminSelectWidget,
        help_text=_("Rules of one provider are asked only where it is chosen."),
    )  # fmt: skip
    status = forms.IntegerField(
        label=_("Status"), min_value=200, max_value=599, initial=400, widget=UnfoldAdminIntegerFieldWidget
    )
    retry_after = forms.IntegerField(
        label=_("Retry-After, seconds"),
        required=False,
        min_value=0,
        max_value=86_400,
        widget=UnfoldAdminIntegerFieldWidget,
    )
    body = forms.CharField(
        label=_("Body"),
        required=False,
        max_length=LONGEST,
        strip=False,
        widget=UnfoldAdminTextareaWidget({"rows": 9, "class": "code", "spellcheck": "false"}),
        help_text=_("Whole or streamed, as upstream sent it. An error inside a 200 is found too."),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        named = Provider.objects.order_by("name").values_list("pk", "name")
        cast("Any", self.fields["provider"]).choices = [("", _("none in particular")), *named]


def dry_run(request: HttpRequest) -> HttpResponse:
    """Judges a pasted answer, or the failed attempt that `?attempt=` names. Changes nothing."""
    if not request.user.has_perm("providers.view_failurerule"):
        raise PermissionDenied
    attempt = _attempt(request)
    outcome: Outcome | None = None
    answered = False
    rules = live_rules()
    if request.method == "POST":
        form = DryRunForm(request.POST)
        if form.is_valid():
            given = form.cleaned_data
            failure = failure_of(
                given["format"],
                given["status"],
                given["body"].encode("utf-8", "replace"),
                given["retry_after"],
            )
            answered = failure is None
            if failure is not None:
                outcome = outcome_of(
                    failure, rules, provider_id=given["provider"] or 0, wire_format=given["format"]
                )
    elif attempt is not None:
        form = DryRunForm(initial=_as_pasted(attempt))
        outcome = outcome_of(
            _failure(attempt),
            rules,
            provider_id=attempt.provider_id or 0,
            wire_format=attempt.upstream_format,
        )
    else:
        form = DryRunForm()
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": _("Failure rules: dry run"),
        "form": form,
        "attempt": attempt,
        "attempt_link": attempt and link(_("this attempt"), "usage_attempt_change", attempt.pk),
        "outcome": outcome and told(outcome, rules),
        "answered": answered,
        "failed": _newest(request),
        "rules_url": reverse("admin:providers_failurerule_changelist"),
    }
    return render(request, "admin/dry_run.html", context)


class RouteForm(forms.Form):
    """A request, as far as its way depends on it."""

    model = forms.CharField(label=_("Model"), max_length=200, widget=UnfoldAdminTextInputWidget)
    format = forms.ChoiceField(label=_("Format"), choices=Format.choices, widget=UnfoldAdminSelectWidget)
    api_key = forms.ModelChoiceField(label=_("API key"), queryset=ApiKey.objects.select_related("consumer"))
    needs = Ticks(
        label=_("Needs"),
        required=False,
        choices=[(name, CAPABILITY_NAMES[name]) for name in CAPABILITIES],
        help_text=_("What in the request needs a capability: a picture, tools, a cache for an hour."),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        asked = urlencode({"app_label": "usage", "model_name": "record", "field_name": "api_key"})
        self.fields["api_key"].widget = UnfoldAdminAutocompleteModelChoiceFieldWidget(
            {"data-ajax--url": f"{reverse('admin:autocomplete')}?{asked}"}
        )
        chosen = self.data.get("api_key", "")
        row = ApiKey.objects.filter(pk=chosen).first() if chosen.isdecimal() else None
        self.fields["api_key"].widget.choices = [("", "---------"), *([(row.pk, str(row))] if row else [])]


class RequestForm(forms.Form):
    """A request that was made, by its id."""

    request_id = forms.CharField(
        label=_("Request id"),
        max_length=60,
        widget=UnfoldAdminTextInputWidget,
        help_text=_(
            "The x-request-id of an answer. Where a request left no record, its id alone tells which rule "
            "refused it."
        ),
    )


def explain_route(request: HttpRequest) -> HttpResponse:
    """The plan that a request would get now: by the running server, where this is its process, else by the
    tables; and why a request was refused, by its id. All that is asked stands in the address."""
    if not request.user.has_perms(["providers.view_deployment", "consumers.view_apikey"]):
        raise PermissionDenied
    looks_up = "request_id" in request.GET
    known_by = request.GET.get("request_id", "").strip()
    asked = bool(request.GET) and not looks_up
    form = RouteForm(request.GET) if asked else RouteForm(initial={"format": Format.OPENAI_CHAT})
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": _("Explain a route"),
        "form": form,
        "lookup": RequestForm({"request_id": known_by} if looks_up else None),
    }
    if known_by:
        request_found = found_by(known_by, records=request.user.has_perm("usage.view_record"))
        context["request_found"] = request_found
        if request_found.record is not None:
            context["record_link"] = link(
                _("Open the record"), "usage_record_change", request_found.record.pk
            )
    if asked and form.is_valid():
        given = form.cleaned_data
        caller = auth.load(given["api_key"].digest)
        if caller is None or caller.expired(timezone.now().timestamp()):
            context["refused"] = True
        else:
            engine = engines.current()
            live = engine is not None and engine.ready
            found = async_to_sync(explained)(
                engine if live and engine else unopened(),
                caller,
                model=given["model"].strip(),
                wire_format=given["format"],
                needs=frozenset(given["needs"]),
                live=live,
            )
            context |= {
                "found": found,
                "plan": plan_rows(found.targets, found.skipped, timezone.now()),
                "rule": words.RULES.get(found.rule, found.rule),
                "mode": dict(RoutingMode.choices).get(found.mode, found.mode),
            }
    return render(request, "admin/explain_route.html", context)


# What an outcome says


def told(outcome: Outcome, rules: list[FailureRule]) -> dict[str, Any]:
    """An outcome in words."""
    failure, judgement = outcome.failure, outcome.judgement
    try:
        body = json.dumps(json.loads(outcome.body), indent=2, ensure_ascii=False)
    except ValueError:
        body = outcome.body.decode("utf-8", "replace")
    error = failure.error
    return {
        "verdict": words.reason(judgement.reason),
        "by": _decided(judgement.rule, judgement.line),
        "rule": judgement.rule is not None,
        "asked": _asked(outcome, rules) if error is not None else _now("Nothing was said: no rule is asked."),
        "read": _read(failure),
        "next": _now("It ends here: no other target is tried.")
        if outcome.stops
        else _now("The next target is tried, as far as the retry rules allow."),
        "key": _holds("key", outcome.held),
        "endpoint": _holds("endpoint", outcome.held),
        "status": outcome.status,
        "retry_after": outcome.retry_after,
        "body": body,
        "stops": outcome.stops,
    }


def _asked(outcome: Outcome, rules: Sequence[FailureRule]) -> str:
    """How many rules had their say before: those that are for this provider and format."""
    before = list(takewhile(lambda rule: rule != outcome.judgement.rule, rules))
    count = sum(rule.concerns(outcome.provider_id, outcome.wire_format) for rule in before)
    if not count:
        return _now("No live rule was asked before.")
    said = ngettext("%(count)d live rule was asked before.", "%(count)d live rules were asked before.", count)
    return said % {"count": count}


def _decided(rule: FailureRule | None, line: str) -> SafeString | str:
    if rule is not None:
        return link(
            _now("failure rule “%(name)s”") % {"name": rule.name}, "providers_failurerule_change", rule.id
        )
    if line:
        return _now("built-in line: %(line)s") % {"line": words.LINES[line]}
    return _now("the transport")


def _read(failure: UpstreamFailure) -> list[tuple[str, str]]:
    """What of the answer was read."""
    error = failure.error
    if error is None:
        read = [(_now("Status"), str(failure.status))] if failure.status else []
        return [*read, (_now("Body"), failure.text)] if failure.text else read
    types = " / ".join(dict.fromkeys(filter(None, (error.type, error.code))))
    return [
        (_now("Status"), str(error.status)),
        (_now("Type and code"), types or "–"),
        (_now("Message"), error.text or "–"),
        *_unread(failure.body),
    ]


def _unread(body: bytes) -> list[tuple[str, str]]:
    """What is wrong with the body of an error, if anything is."""
    if not body.strip() or body.lstrip().startswith(b"<"):
        return []
    try:
        json.loads(body)
    except ValueError:
        return [(_now("Body"), _now("It is no JSON: its text was taken for the message."))]
    return []


def _holds(place: str, held: tuple[Held, ...]) -> str:
    """What is held against the key or the endpoint."""
    found = [each for each in held if each.place == place]
    if not found:
        return _now("nothing is held against it")
    return "; ".join(_hold(each) for each in found)


def _hold(held: Held) -> str:
    if not held.seconds:
        return _now("one failure is counted; enough of them open its breaker")
    values = {"seconds": f"{held.seconds:.0f}"}
    if held.pair:
        return _now("for this model it is asked after all others, for %(seconds)s seconds") % values
    if held.longer:
        return _now("it is left alone for %(seconds)s seconds, twice as long each time that follows") % values
    return _now("it is left alone for %(seconds)s seconds") % values


# Failed attempts of the ledger


def _attempt(request: HttpRequest) -> Attempt | None:
    asked = request.GET.get("attempt", "")
    if not asked or not request.user.has_perm("usage.view_attempt"):
        return None
    try:
        return Attempt.objects.filter(pk=asked, reason__in=VERDICTS).first()
    except (ValueError, forms.ValidationError):
        return None


def _failure(attempt: Attempt) -> UpstreamFailure:
    """The failure that an attempt had, from what is kept of it."""
    if attempt.reason not in SAID or not attempt.status_code:
        return UpstreamFailure(attempt.reason, phase=attempt.phase, status=attempt.status_code)
    pasted = _as_pasted(attempt)
    failure = failure_of(attempt.upstream_format, max(attempt.status_code, 400), pasted["body"].encode())
    return failure or UpstreamFailure(attempt.reason, phase=attempt.phase)


def _as_pasted(attempt: Attempt) -> dict[str, Any]:
    """What is kept of an attempt's error, as a form holds it."""
    kind, _slash, code = attempt.error_type.partition(" / ")
    error = {"type": kind, "code": code or kind, "message": attempt.error_text}
    return {
        "format": attempt.upstream_format,
        "provider": attempt.provider_id,
        "status": attempt.status_code or 502,
        "body": json.dumps({"error": error}, indent=2, ensure_ascii=False),
    }


def _newest(request: HttpRequest) -> list[dict[str, Any]]:
    """Failed attempts of late, each with its address here."""
    if not request.user.has_perm("usage.view_attempt"):
        return []
    newest = Attempt.objects.order_by("-id").values("pk")[:LOOKED_THROUGH]
    failed = Attempt.objects.filter(pk__in=list(newest.values_list("pk", flat=True)), reason__in=VERDICTS)
    return [
        {
            "time": instant(each.started_at),
            "target": target(each),
            "status": each.status_code or "–",
            "reason": badge(words.reason(each.reason), "warn"),
            "text": each.error_text,
            "url": f"{reverse('failure_dry_run')}?attempt={each.pk}",
        }
        for each in failed.order_by("-id")[:SHOWN]
    ]
