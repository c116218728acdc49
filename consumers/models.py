"""The demand side: who signs in, who is billed, and the secrets that their programs call with."""

from __future__ import annotations

import secrets
from typing import Any, ClassVar
from zoneinfo import available_timezones

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from changes.models import Versioned
from consumers.digest import SECRET, digest
from consumers.networks import check_networks
from usage.money import MoneyField

PREFIX = "sk-aether-"
SHOWN = 8
"""Characters of a secret that stay readable, behind the common prefix."""


def check_time_zone(name: str) -> None:
    """Raises ValidationError unless `name` is an IANA time zone."""
    if name not in available_timezones():
        raise ValidationError(
            _("Unknown time zone “%(name)s”: use a name such as Europe/Berlin."), params={"name": name}
        )


class User(AbstractUser):
    """Someone who signs in."""

    time_zone = models.CharField(_("time zone"), max_length=64, default="UTC", validators=[check_time_zone])
    consumers: models.ManyToManyField[Consumer, Membership] = models.ManyToManyField(
        "Consumer", through="Membership", related_name="users", verbose_name=_("consumers"), blank=True
    )

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")


class Recording(models.TextChoices):
    NONE = "none", _("nothing")
    HEADERS = "headers", _("headers")
    FULL = "full", _("headers and bodies")


class Access(Versioned):
    """What a consumer and an API key may reach. An empty list means all; the two are intersected. Ids, not
    names: a renamed model stays allowed, and a deleted one leaves the list restricting, never empty."""

    allowed_models = models.JSONField(
        _("allowed models"), default=list, blank=True, help_text=_("Empty: every model.")
    )
    allowed_providers = models.JSONField(
        _("allowed providers"), default=list, blank=True, help_text=_("Empty: every provider.")
    )
    allowed_formats = models.JSONField(
        _("allowed formats"),
        default=list,
        blank=True,
        help_text=_("Wire formats that may be called. Empty: all four."),
    )
    allowed_networks = models.JSONField(
        _("allowed networks"),
        default=list,
        blank=True,
        validators=[check_networks],
        help_text=_("Networks that may call, such as 10.0.0.0/8. Empty: any address."),
    )
    # Limits have columns from the start; no form, list or API shows them before the work that enforces them.
    rpm_limit = models.IntegerField(_("requests per minute"), null=True, blank=True)
    tpm_limit = models.IntegerField(_("tokens per minute"), null=True, blank=True)
    concurrency_limit = models.IntegerField(_("concurrent requests"), null=True, blank=True)
    max_cost = MoneyField(_("greatest cost of one request"), null=True, blank=True)
    prepaid = models.BooleanField(_("prepaid"), default=False)

    LIMITS: ClassVar[tuple[str, ...]] = ("rpm_limit", "tpm_limit", "concurrency_limit", "max_cost", "prepaid")

    class Meta:
        abstract = True


class BrokenStreamPolicy(models.TextChoices):
    DELIVERED = "delivered", _("what was delivered")
    REPORTED = "reported", _("what upstream reported")
    FREE_IF_FAILED = "free_if_failed", _("nothing if it failed")


class Consumer(Access):
    """Who is billed: a person, a team, a service."""

    name = models.CharField(_("name"), max_length=120, unique=True)
    is_active = models.BooleanField(
        _("active"), default=True, help_text=_("While off, none of this consumer's API keys works.")
    )
    time_zone = models.CharField(
        _("time zone"),
        max_length=64,
        default="UTC",
        validators=[check_time_zone],
        help_text=_("Days, weeks and months of this consumer begin in this zone."),
    )
    note = models.TextField(_("note"), blank=True)
    model_limits = models.JSONField(_("limits by model"), default=dict, blank=True)
    broken_stream_policy = models.CharField(
        _("who pays for a broken stream"),
        max_length=16,
        choices=BrokenStreamPolicy.choices,
        default=BrokenStreamPolicy.DELIVERED,
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    LIMITS = (*Access.LIMITS, "model_limits", "broken_stream_policy")

    class Meta:
        verbose_name = _("consumer")
        verbose_name_plural = _("consumers")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's part in a consumer."""

    class Role(models.TextChoices):
        OWNER = "owner", _("owner")
        MEMBER = "member", _("member")

    user = models.ForeignKey(User, models.CASCADE, related_name="memberships", verbose_name=_("user"))
    consumer = models.ForeignKey(
        Consumer, models.CASCADE, related_name="memberships", verbose_name=_("consumer")
    )
    role = models.CharField(_("role"), max_length=10, choices=Role.choices, default=Role.MEMBER)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = (
            models.UniqueConstraint(
                fields=("user", "consumer"),
                name="membership_once",
                violation_error_message=_("This user belongs to this consumer already."),
            ),
        )

    def __str__(self) -> str:
        return f"{self.user} · {self.consumer}"


class ApiKey(Access):
    """The secret a consumer's program calls with, kept as a short readable prefix and a keyed digest."""

    consumer = models.ForeignKey(
        Consumer, models.CASCADE, related_name="api_keys", verbose_name=_("consumer")
    )
    name = models.CharField(_("name"), max_length=120)
    prefix = models.CharField(_("prefix"), max_length=SHOWN, editable=False, db_index=True)
    digest = models.CharField(_("digest"), max_length=64, unique=True, editable=False)
    is_active = models.BooleanField(
        _("active"), default=True, help_text=_("While off, this API key is refused.")
    )
    expires_at = models.DateTimeField(
        _("expires at"), null=True, blank=True, help_text=_("Refused from then on. Empty: never expires.")
    )
    finish_streams = models.BooleanField(
        _("let running streams finish"),
        default=False,
        help_text=_("When this API key is switched off or deleted, let its open streams run to their end."),
    )
    failover = models.BooleanField(
        _("try other upstreams"),
        default=True,
        help_text=_(
            "When an upstream fails before its first word, ask the next. Off: only one is asked, once, and "
            "its failure is told at once."
        ),
    )
    recording = models.CharField(
        _("record"),
        max_length=10,
        choices=Recording.choices,
        default=Recording.NONE,
        help_text=_("What of each request is stored beside its usage record, for a limited time."),
    )
    concurrency_limit = models.PositiveIntegerField(
        _("concurrent requests"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "At most so many under way at a time, each until its last byte; more are refused with 429. "
            "Empty: RELAY_KEY_IN_FLIGHT holds, by default no limit."
        ),
    )
    rolled_from = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("rolled from"),
        editable=False,
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ("consumer__name", "name")
        constraints = (
            models.UniqueConstraint(
                fields=("consumer", "name"),
                name="api_key_name",
                violation_error_message=_(
                    "This consumer has an API key of that name already: choose another."
                ),
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def set_secret(self, secret: str) -> None:
        """Keeps prefix and digest of `secret`. Raises ValidationError if it is no well-formed API key."""
        if not SECRET.fullmatch(secret):
            raise ValidationError(
                _("An API key is 20 to 200 letters, digits, “-” or “_”."), code="malformed_secret"
            )
        own = secret.removeprefix(PREFIX)
        self.prefix = own[: min(SHOWN, len(own) // 4)]
        self.digest = digest(secret)

    @classmethod
    def issue(cls, *, consumer: Consumer, name: str, secret: str = "", **fields: Any) -> tuple[ApiKey, str]:
        """Creates an API key; returns it with its secret, which is not kept: 256 random bits unless given."""
        secret = secret or new_secret()
        api_key = cls(consumer=consumer, name=name, **fields)
        api_key.set_secret(secret)
        api_key.save()
        return api_key, secret


def new_secret() -> str:
    """A fresh API key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


class ApiKeyState(models.Model):
    """What the machine knows of an API key; written by the recorder process, never by a person."""

    api_key = models.OneToOneField(
        ApiKey, models.CASCADE, primary_key=True, related_name="state", verbose_name=_("API key")
    )
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True)
    last_address = models.GenericIPAddressField(_("last address"), null=True, blank=True)

    class Meta:
        verbose_name = _("API key state")
        verbose_name_plural = _("API key states")

    def __str__(self) -> str:
        return str(self.api_key)


class Budget(Versioned):
    """Money that a consumer, one of its API keys, or a model within a consumer may spend in a period."""

    class Period(models.TextChoices):
        DAY = "day", _("day")
        WEEK = "week", _("week")
        MONTH = "month", _("month")
        LIFETIME = "lifetime", _("lifetime")

    class Mode(models.TextChoices):
        LAST_ONE = "last-one", _("last one may overshoot")
        STRICT = "strict", _("strict")

    consumer = models.ForeignKey(Consumer, models.CASCADE, related_name="budgets", verbose_name=_("consumer"))
    api_key = models.ForeignKey(
        ApiKey, models.CASCADE, null=True, blank=True, related_name="budgets", verbose_name=_("API key")
    )
    model = models.ForeignKey(
        "providers.Model", models.CASCADE, db_constraint=False, null=True, blank=True, related_name="+",
        verbose_name=_("model"),
    )  # fmt: skip
    period = models.CharField(_("period"), max_length=10, choices=Period.choices)
    amount = MoneyField(_("amount"))
    mode = models.CharField(_("mode"), max_length=10, choices=Mode.choices, default=Mode.LAST_ONE)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("budget")
        verbose_name_plural = _("budgets")
        constraints = (
            models.UniqueConstraint(
                "consumer", Coalesce("api_key", 0), Coalesce("model", 0), "period", name="budget_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.consumer} · {self.amount.normalize():f} / {self.get_period_display()}"


class Entry(models.Model):
    """One line of a prepaid balance; only ever added. The balance is the sum of the amounts."""

    class Kind(models.TextChoices):
        TOP_UP = "top_up", _("top-up")
        CHARGE = "charge", _("charge")
        CORRECTION = "correction", _("correction")
        REFUND = "refund", _("refund")

    consumer = models.ForeignKey(
        Consumer, models.DO_NOTHING, db_constraint=False, related_name="entries", verbose_name=_("consumer")
    )
    api_key = models.ForeignKey(
        ApiKey, models.DO_NOTHING, db_constraint=False, null=True, blank=True, related_name="entries",
        verbose_name=_("API key"),
    )  # fmt: skip
    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices)
    amount = MoneyField(_("amount"), help_text=_("Positive adds to the balance, negative takes from it."))
    reason = models.CharField(_("reason"), max_length=300, blank=True)
    actor = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("who")
    )
    request_id = models.UUIDField(_("request id"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("balance entry")
        verbose_name_plural = _("balance entries")
        constraints = (
            models.UniqueConstraint(
                fields=("request_id", "kind"), name="entry_once", condition=models.Q(request_id__isnull=False)
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.amount.normalize():f}"
