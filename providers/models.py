"""The supply side: vendors, their endpoints and keys, the models they serve and what those cost."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator, URLValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from changes.models import Versioned
from providers import secrets
from providers.checks import (
    check_base_url,
    check_capabilities,
    check_formats,
    check_headers,
    check_proxy,
    check_quirks,
)
from providers.conformance import Conformance  # noqa: F401 - one of this app's tables
from providers.drills import Drill  # noqa: F401 - one of this app's tables
from providers.events import StateEvent  # noqa: F401 - one of this app's tables
from providers.failurerules import FailureRule  # noqa: F401 - one of this app's tables
from providers.formats import Format
from providers.machine import EndpointState, KeyState  # noqa: F401 - two of this app's tables
from providers.priced import Priced
from usage.money import MoneyField
from usage.pricing import Price

MODEL_NAME = RegexValidator(
    r"^(?!.*(\.\.|//))[A-Za-z0-9_.:@\-/]{1,200}\Z",
    _("A model's name is 1 to 200 letters, digits or any of . : @ - / _ without “..” or “//”."),
)


class ConversionPolicy(models.TextChoices):
    LENIENT = "lenient", _("lenient: drops settings, and says so")
    EXACT = "exact", _("exact: refuses rather than drop one")
    OFF = "off", _("off: its own formats only")


class RoutingMode(models.TextChoices):
    PROVIDER_FIRST = "provider_first", _("provider's priority, then key's")
    KEY_FIRST = "key_first", _("key's priority, across providers")
    WEIGHTED = "weighted", _("by weight alone")
    CHEAPEST = "cheapest", _("cheapest for us first")
    FASTEST = "fastest", _("fastest to its first token first")


def _seconds(label: Any) -> models.FloatField[float | None, float | None]:
    """A timeout, for which the server's own holds where it is empty."""
    return models.FloatField(
        label, null=True, blank=True, validators=[MinValueValidator(0.1)], help_text=_("Seconds.")
    )


def _concurrency(help_text: Any) -> models.PositiveIntegerField[int | None, int | None]:
    """How many requests at a time; empty for no limit that an operator set."""
    return models.PositiveIntegerField(
        _("concurrent requests"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=help_text,
    )


class Provider(Versioned):
    """A vendor."""

    class Billing(models.TextChoices):
        METERED = "metered", _("metered")
        FREE = "free", _("free")

    name = models.CharField(_("name"), max_length=120, unique=True)
    is_active = models.BooleanField(
        _("active"), default=True, help_text=_("While off, no request goes there.")
    )
    priority = models.IntegerField(
        _("priority"), default=100, help_text=_("Lower goes first; equal ones share by weight.")
    )
    billing = models.CharField(
        _("billing"),
        max_length=10,
        choices=Billing.choices,
        default=Billing.METERED,
        help_text=_("Free: own cost is counted as 0; consumers are billed the list price all the same."),
    )
    website = models.CharField(
        _("website"), max_length=200, blank=True, validators=[URLValidator(schemes=["http", "https"])]
    )
    note = models.TextField(_("note"), blank=True)
    concurrency_limit = _concurrency(
        _(
            "At most so many at a time, with all its keys together. Empty: no limit. "
            "One in ten is kept for consumers that have few under way."
        )
    )
    # No form, list or API shows this before the work that enforces it.
    monthly_quota = MoneyField(_("monthly quota"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    LIMITS = ("monthly_quota", "concurrency_limit")

    class Meta:
        verbose_name = _("provider")
        verbose_name_plural = _("providers")
        ordering = ("priority", "name")

    def __str__(self) -> str:
        return self.name


class Endpoint(Versioned):
    """One base URL of a provider, speaking one format."""

    class CredentialStyle(models.TextChoices):
        DEFAULT = "", _("the format's own")
        BEARER = "bearer", _("Authorization: Bearer")

    class WhenClientLeaves(models.TextChoices):
        ABORT = "abort", _("abort: close the connection to the vendor")
        DRAIN = "drain", _("drain: read the answer to its end")

    provider = models.ForeignKey(
        Provider, models.CASCADE, related_name="endpoints", verbose_name=_("provider")
    )
    format = models.CharField(_("format"), max_length=20, choices=Format.choices)
    base_url = models.CharField(
        _("base URL"),
        max_length=500,
        validators=[check_base_url],
        help_text=_("What the vendor's own SDK takes, such as https://api.openai.com/v1."),
    )
    is_active = models.BooleanField(_("active"), default=True)
    allow_private = models.BooleanField(
        _("private addresses allowed"),
        default=False,
        help_text=_("Lets this endpoint live on this machine or in your own network. Superusers only."),
    )
    credential_style = models.CharField(
        _("credential"),
        max_length=10,
        choices=CredentialStyle.choices,
        default=CredentialStyle.DEFAULT,
        blank=True,
        help_text=_(
            "How the key is sent. Choose Bearer for vendors that want it although they speak this format."
        ),
    )
    headers = models.JSONField(
        _("extra headers"),
        default=dict,
        blank=True,
        validators=[check_headers],
        help_text=_('Sent with every request, such as {"x-team": "blue"}. They win over the client\'s own.'),
    )
    proxy = models.CharField(
        _("proxy"),
        max_length=500,
        blank=True,
        validators=[check_proxy],
        help_text=_("http://host:port, if any."),
    )
    quirks = models.JSONField(
        _("quirks"),
        default=list,
        blank=True,
        validators=[check_quirks],
        help_text=_("Named small deviations of this vendor, such as no_include_usage."),
    )
    connect_timeout = _seconds(_("connect timeout"))
    first_byte_timeout = _seconds(_("first byte timeout"))
    first_event_timeout = _seconds(_("first event timeout"))
    idle_timeout = _seconds(_("idle timeout"))
    total_timeout = _seconds(_("total timeout"))
    concurrency_limit = _concurrency(
        _(
            "At most so many at a time, with all keys together. Empty: no limit. "
            "One in ten is kept for consumers that have few under way."
        )
    )
    probe_seconds = models.FloatField(
        _("probed every"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "Seconds between two probes by which the relay finds out by itself whether it answers: it asks "
            "for the list of models, which costs nothing. Empty: none."
        ),
    )
    when_client_leaves = models.CharField(
        _("when a client leaves"),
        max_length=5,
        choices=WhenClientLeaves.choices,
        default=WhenClientLeaves.ABORT,
        help_text=_(
            "In the middle of a stream. Abort charges an estimate of what had come: for vendors that then "
            "stop, and bill no more. Drain reads on, for half a minute at most, and charges what the vendor "
            "counts in the end: for those that bill the whole answer anyway."
        ),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    LIMITS = ("concurrency_limit",)

    class Meta:
        verbose_name = _("endpoint")
        verbose_name_plural = _("endpoints")
        ordering = ("provider__name", "format")
        permissions = (("set_base_url", _("Can set where an endpoint and its proxy lie")),)
        constraints = (
            models.UniqueConstraint(
                fields=("provider", "format"),
                name="endpoint_format",
                violation_error_message=_(
                    "This provider has an endpoint of that format already: edit it, or add a second provider."
                ),
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider} · {self.get_format_display()}"


class Key(Versioned):
    """Our secret at a provider, encrypted at rest under a ring of keys; never shown again."""

    provider = models.ForeignKey(Provider, models.CASCADE, related_name="keys", verbose_name=_("provider"))
    name = models.CharField(_("name"), max_length=120)
    seal_id = models.UUIDField(default=uuid.uuid4, editable=False, unique=True)
    """Bound into the ciphertext, so that two rows cannot swap theirs; known before the row has a primary
    key."""
    sealed = models.TextField(_("encrypted secret"), editable=False)
    secret_digest = models.CharField(_("digest"), max_length=64, editable=False)
    hint = models.CharField(_("hint"), max_length=8, editable=False)
    is_active = models.BooleanField(
        _("active"), default=True, help_text=_("While off, this key is not used.")
    )
    priority = models.IntegerField(_("priority"), default=100, help_text=_("Lower goes first."))
    weight = models.PositiveIntegerField(
        _("weight"),
        default=1,
        validators=[MinValueValidator(1)],
        help_text=_("Share among keys of equal priority."),
    )
    cost_multiplier = MoneyField(
        _("cost multiplier"),
        default=Decimal(1),
        validators=[MinValueValidator(Decimal(0))],
        help_text=_("Own cost is list cost times this: 0.8 for a contract with 20 percent off."),
    )
    formats = models.JSONField(
        _("formats"),
        default=list,
        blank=True,
        validators=[check_formats],
        help_text=_("Endpoints of the provider on which this key is used. Empty: all."),
    )
    allowed_models = models.JSONField(
        _("allowed models"), default=list, blank=True, help_text=_("Empty: every model of the provider.")
    )
    capabilities = models.JSONField(
        _("capabilities"),
        default=list,
        blank=True,
        validators=[check_capabilities],
        help_text=_(
            "What its contract offers beside the ordinary, such as context_1m. Empty: whatever is asked for."
        ),
    )
    exclusive = models.BooleanField(
        _("only for requests that need its capabilities"),
        default=False,
        help_text=_("Keeps it for requests that need one of the capabilities named above."),
    )
    affinity_seconds = models.PositiveIntegerField(
        _("affinity, seconds"),
        default=300,
        help_text=_(
            "How long a caller stays on this key after its last answer, so that the vendor's prompt cache "
            "stays warm. 0: not at all."
        ),
    )
    concurrency_limit = _concurrency(
        _(
            "At most so many at a time. Empty: learned from the vendor's throttling. "
            "One in ten is kept for consumers that have few under way."
        )
    )
    # No form, list or API shows these before the work that enforces them.
    rpm_limit = models.IntegerField(_("requests per minute"), null=True, blank=True)
    tpm_limit = models.IntegerField(_("tokens per minute"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    LIMITS = ("concurrency_limit", "rpm_limit", "tpm_limit")

    class Meta:
        verbose_name = _("key")
        verbose_name_plural = _("keys")
        ordering = ("provider__name", "priority", "name")
        constraints = (
            models.UniqueConstraint(
                fields=("provider", "name"),
                name="key_name",
                violation_error_message=_("This provider has a key of that name already: choose another."),
            ),
            models.UniqueConstraint(
                fields=("provider", "secret_digest"),
                name="key_secret",
                violation_error_message=_("This provider has this very key already, under another name."),
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider} · {self.name}"

    def clean(self) -> None:
        super().clean()
        if self.exclusive and not self.capabilities:
            raise ValidationError({"exclusive": _("Name the capabilities that it is kept for.")})

    def set_secret(self, secret: str) -> None:
        """Seals `secret` for this row and keeps its keyed digest and its last characters as a hint."""
        self.sealed = secrets.seal(secret, self.seal_id)
        self.secret_digest = secrets.digest(secret)
        self.hint = secrets.hint(secret)

    def secret(self) -> str:
        """The secret itself. Raises secrets.Unsealable if no key of the ring opens it."""
        return secrets.unseal(self.sealed, self.seal_id)


class Model(Priced):
    """The public name that a client asks for, with its price."""

    name = models.CharField(_("name"), max_length=200, unique=True, validators=[MODEL_NAME])
    aliases = models.JSONField(
        _("aliases"), default=list, blank=True, help_text=_("Further names by which clients may ask for it.")
    )
    is_active = models.BooleanField(_("active"), default=True)
    capabilities = models.JSONField(
        _("capabilities"),
        default=list,
        blank=True,
        validators=[check_capabilities],
        help_text=_("What it can do: vision, tools, thinking, documents, audio. Shown to people."),
    )
    allowed_formats = models.JSONField(
        _("allowed formats"),
        default=list,
        blank=True,
        validators=[check_formats],
        help_text=_("Wire formats in which it may be asked for. Empty: all."),
    )
    context_window = models.PositiveIntegerField(
        _("context window"), default=200_000, validators=[MinValueValidator(1)], help_text=_("Tokens.")
    )
    max_output_tokens = models.PositiveIntegerField(
        _("greatest output"), default=32_000, validators=[MinValueValidator(1)], help_text=_("Tokens.")
    )
    routing_mode = models.CharField(
        _("routing mode"),
        max_length=20,
        blank=True,
        choices=RoutingMode.choices,
        help_text=_("How its targets are ordered. Empty: as the relay is set."),
    )
    conversion = models.CharField(
        _("conversion"),
        max_length=10,
        choices=ConversionPolicy.choices,
        default=ConversionPolicy.LENIENT,
        help_text=_(
            "Whether endpoints of another format than the client's may serve it too, and what becomes of "
            "settings that the other format lacks."
        ),
    )
    note = models.TextField(_("note"), blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("model")
        verbose_name_plural = _("models")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def price_source(self) -> str:
        return f"model {self.name}"

    def clean(self) -> None:
        super().clean()
        self.check_names()

    def check_names(self) -> None:
        """Raises ValidationError where a name or alias is malformed or belongs to another model already."""
        if not isinstance(self.aliases, list) or not all(isinstance(each, str) for each in self.aliases):
            raise ValidationError({"aliases": _("Give a list of names.")})
        for alias in self.aliases:
            try:
                MODEL_NAME(alias)
            except ValidationError as error:
                raise ValidationError({"aliases": error}) from error
        if len(set(self.aliases)) < len(self.aliases) or self.name in self.aliases:
            raise ValidationError({"aliases": _("A name stands here twice.")})
        own = {self.name, *self.aliases}
        for other in Model.objects.exclude(pk=self.pk).only("name", "aliases"):
            clash = own & {other.name, *other.aliases}
            if clash:
                raise ValidationError(
                    {
                        "name" if self.name in clash else "aliases": ValidationError(
                            _("“%(name)s” is a name of the model “%(other)s” already."),
                            params={"name": min(clash), "other": other.name},
                        )
                    }
                )


class Deployment(Priced):
    """A model at one provider, under that provider's own name for it. Prices given here override the
    model's."""

    model = models.ForeignKey(Model, models.CASCADE, related_name="deployments", verbose_name=_("model"))
    provider = models.ForeignKey(
        Provider, models.CASCADE, related_name="deployments", verbose_name=_("provider")
    )
    upstream_name = models.CharField(
        _("upstream name"),
        max_length=200,
        validators=[MODEL_NAME],
        help_text=_("The provider's name for the model."),
    )
    is_active = models.BooleanField(_("active"), default=True)
    formats = models.JSONField(
        _("formats"),
        default=list,
        blank=True,
        validators=[check_formats],
        help_text=_("Endpoints of the provider that serve it. Empty: all."),
    )
    capabilities = models.JSONField(
        _("capabilities"),
        default=list,
        blank=True,
        validators=[check_capabilities],
        help_text=_("What this provider offers of the model. Empty: whatever is asked for."),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("deployment")
        verbose_name_plural = _("deployments")
        ordering = ("model__name", "provider__name")
        constraints = (
            models.UniqueConstraint(
                fields=("model", "provider", "upstream_name"),
                name="deployment_once",
                violation_error_message=_("This provider serves the model under that name already."),
            ),
        )

    def __str__(self) -> str:
        return f"{self.model} → {self.provider} · {self.upstream_name}"

    def price_source(self) -> str:
        return f"deployment {self.model} at {self.provider}"


def price_of(deployment: Deployment) -> Price | None:
    """The price that a request served by `deployment` is billed at: its own, else the model's, else None."""
    return deployment.price() or deployment.model.price()
