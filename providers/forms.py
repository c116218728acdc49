"""Forms of the supply side: the write-only secret, the table of price tiers, and who may move an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import UnfoldAdminPasswordWidget

from providers import secrets
from providers.checks import CAPABILITIES, PRICES, check_secret
from providers.failurerules import FailureRule
from providers.formats import Format
from providers.models import Endpoint, Key
from providers.quirks import QUIRKS
from usage.forms import Ids, Lines, Pairs, Ticks, note

if TYPE_CHECKING:
    _EndpointForm = forms.ModelForm[Endpoint]
    _KeyForm = forms.ModelForm[Key]
    _FailureRuleForm = forms.ModelForm[FailureRule]
else:
    _EndpointForm = _KeyForm = _FailureRuleForm = forms.ModelForm

CAPABILITY_NAMES = {
    "vision": _("vision"),
    "tools": _("tools"),
    "thinking": _("thinking"),
    "documents": _("documents"),
    "audio": _("audio"),
    "context_1m": _("1M context"),
    "cache_1h": _("1-hour cache"),
}
PRICE_NAMES = {
    "input": _("input"),
    "output": _("output"),
    "cache_read": _("cache read"),
    "cache_write_5m": _("cache write 5m"),
    "cache_write_1h": _("cache write 1h"),
    "reasoning": _("reasoning"),
}


class TierTable(forms.Widget):
    """The tiers as a small table: the rows there are and two more."""

    template_name = "admin/price_tiers.html"
    SPARE = 2

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        tiers = [*(value if isinstance(value, list) else []), *({} for _spare in range(self.SPARE))]
        columns = [("up_to", _("up to, tokens")), *((price, PRICE_NAMES[price]) for price in PRICES)]
        rows = [
            [(f"{name}-{number}-{column}", label, tier.get(column, "")) for column, label in columns]
            for number, tier in enumerate(tiers)
        ]
        return {
            **super().get_context(name, value, attrs),
            "columns": [label for _name, label in columns],
            "rows": rows,
        }

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> list[dict[str, str]]:
        tiers: list[dict[str, str]] = []
        while f"{name}-{len(tiers)}-up_to" in data:
            cells = {
                column: str(data.get(f"{name}-{len(tiers)}-{column}", "")).strip()
                for column in ("up_to", *PRICES)
            }
            tiers.append({column: cell for column, cell in cells.items() if cell})
        return [tier for tier in tiers if tier]

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:
        return f"{name}-0-up_to" not in data

    def id_for_label(self, id_: str) -> str:
        return ""


class Tiers(forms.Field):
    """A list of price tiers in ascending order of size; what a cell may hold is checked by the model."""

    widget = TierTable

    def clean(self, value: Any) -> list[dict[str, Any]]:
        tiers = [
            {name: int(cell) if name == "up_to" and cell.isdecimal() else cell for name, cell in tier.items()}
            for tier in value or ()
        ]
        if all(isinstance(tier.get("up_to"), int) for tier in tiers):
            tiers.sort(key=lambda tier: int(tier["up_to"]))
        return tiers

    def has_changed(self, initial: Any, data: Any) -> bool:
        return (initial or []) != self.clean(data)


def _ticks(names: Mapping[str, Any]) -> Callable[..., forms.Field]:
    return lambda **options: Ticks(choices=list(names.items()), **options)


def _pairs(placeholder: str) -> Callable[..., forms.Field]:
    return lambda **options: Pairs(placeholder=placeholder, **options)


def _with_help(make: Callable[..., forms.Field], text: Any) -> Callable[..., forms.Field]:
    """`make` with a help text for people, where the column's own speaks to programs."""
    return lambda **options: make(**{**options, "help_text": text})


FIELDS: Mapping[str, Callable[..., forms.Field]] = {
    "formats": _ticks(dict(Format.choices)),
    "allowed_formats": _ticks(dict(Format.choices)),
    "capabilities": _ticks({name: CAPABILITY_NAMES[name] for name in CAPABILITIES}),
    "quirks": _ticks({name: format_lazy("{}: {}", name, words) for name, words in QUIRKS.items()}),
    "headers": _with_help(
        _pairs("x-team: blue"), _("Sent with every request, one on a line. They win over the client's own.")
    ),
    "aliases": _with_help(
        lambda **options: Lines(placeholder="fast-latest", **options),
        _("Further names by which clients may ask for it, one on a line."),
    ),
    "allowed_models": lambda **options: Ids(model="providers.Model", **options),
    "note": note,
    "price_tiers": _with_help(
        Tiers,
        _(
            "By size of the whole input, cache included. A tier prices the whole request, and what it leaves "
            "empty is taken from above; beyond the last tier, the last holds. Save to get more rows."
        ),
    ),
    "price_fees": _with_help(
        _pairs("web_search: 0.01"), _("Dollars for each use of a server tool, one on a line.")
    ),
    "price_tier_factors": _with_help(
        _pairs("flex: 0.5"), _("Factor on token prices by the service tier that answered, one on a line.")
    ),
}
"""How the JSON columns of the supply side are filled in."""


class EndpointForm(_EndpointForm):
    """An endpoint; one that may reach private addresses is moved by superusers only."""

    user: Any = AnonymousUser()
    """Who fills it in; the admin sets it on the class that it makes for a request."""

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        moved = {"base_url", "proxy"} & set(self.changed_data)
        private = self.initial.get("allow_private", self.instance.allow_private)
        if self.instance.pk and moved and private and not self.user.is_superuser:
            raise ValidationError(
                _("This endpoint may reach private addresses: ask a superuser to change where it lies.")
            )
        return cleaned


class KeyForm(_KeyForm):
    """A key whose secret is only ever written: an empty field keeps the one there is."""

    secret = forms.CharField(
        label=_("Secret"),
        required=False,
        strip=True,
        max_length=4000,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        field = self.fields.get("secret")
        if field is None:
            return
        field.required = not self.instance.pk
        if self.instance.pk:
            field.widget.attrs["placeholder"] = _("unchanged")
            field.help_text = _("Encrypted at rest and never shown. Leave it empty to keep the one there is.")
        else:
            field.help_text = _("Encrypted at rest and never shown again.")

    def clean_secret(self) -> str:
        secret: str = self.cleaned_data["secret"]
        if not secret:
            return ""
        check_secret(secret)
        try:
            self.instance.set_secret(secret)
        except secrets.Unsealable as error:
            raise ValidationError(
                _("It cannot be encrypted: %(reason)s."), params={"reason": error}
            ) from error
        return secret

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        # A formset compares its rows by cleaned_data: two new rows with one secret are told apart by this.
        if self.instance.secret_digest:
            self.cleaned_data["secret_digest"] = self.instance.secret_digest
        return cleaned

    def _get_validation_exclusions(self) -> set[str]:
        # The digest is in no form, but its unique constraint must be checked.
        exclude: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # not in the stubs
        return exclude - ({"secret_digest", "provider"} if self.instance.pk else {"secret_digest"})


class KeyFormSet(PaginationInlineFormSet):
    """The keys of a provider; the same secret twice is refused by a sentence that does not repeat it."""

    def get_unique_error_message(self, unique_check: tuple[str, ...]) -> Any:
        if "secret_digest" in unique_check:
            return _("The same secret stands in two rows: keep one.")
        return super().get_unique_error_message(unique_check)


class FailureRuleForm(_FailureRuleForm):
    """A failure rule, refused where it could never decide."""

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # not in the stubs
        if not self.errors:
            try:
                self.instance.check_place()
            except ValidationError as error:
                self.add_error(None, error)
