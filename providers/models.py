"""The supply side: vendors, their endpoints and keys, the models they serve and what those cost."""

from __future__ import annotations

import math
import uuid
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator, URLValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from changes.models import Versioned
from providers import rules, secrets
from providers.checks import (
    check_base_url,
    check_capabilities,
    check_formats,
    check_headers,
    check_proxy,
    check_quirks,
)
from providers.drills import Drill  # noqa: F401 - one of this app's tables
from providers.events import StateEvent  # noqa: F401 - one of this app's tables
from providers.priced import Priced
from usage.money import MoneyField
from usage.pricing import Price

MODEL_NAME = RegexValidator(
    r"^(?!.*(\.\.|//))[A-Za-z0-9_.:@\-/]{1,200}\Z",
    _("A model's name is 1 to 200 letters, digits or any of . : @ - / _ without “..” or “//”."),
)


class Format(models.TextChoices):
    OPENAI_CHAT = "openai_chat", "OpenAI Chat"
    OPENAI_RESPONSES = "openai_responses", "OpenAI Responses"
    ANTHROPIC = "anthropic", "Anthropic Messages"
    GEMINI = "gemini", "Gemini"


class RoutingMode(models.TextChoices):
    PROVIDER_FIRST = "provider_first", _("provider's priority, then key's")
    KEY_FIRST = "key_first", _("key's priority, across providers")
    WEIGHTED = "weighted", _("by weight alone")
    CHEAPEST = "cheapest", _("cheapest for us first")
    FASTEST = "fastest", _("fastest to its first token first")


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
    concurrency_limit = models.PositiveIntegerField(
        _("concurrent requests"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "At most so many at a time, with all its keys together. Empty: no limit. "
            "One in ten is kept for consumers that have few under way."
        ),
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
    connect_timeout = models.FloatField(
        _("connect timeout"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.1)],
        help_text=_("Seconds."),
    )
    first_byte_timeout = models.FloatField(
        _("first byte timeout"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.1)],
        help_text=_("Seconds."),
    )
    first_event_timeout = models.FloatField(
        _("first event timeout"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.1)],
        help_text=_("Seconds."),
    )
    idle_timeout = models.FloatField(
        _("idle timeout"), null=True, blank=True, validators=[MinValueValidator(0.1)], help_text=_("Seconds.")
    )
    total_timeout = models.FloatField(
        _("total timeout"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.1)],
        help_text=_("Seconds."),
    )
    concurrency_limit = models.PositiveIntegerField(
        _("concurrent requests"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "At most so many at a time, with all keys together. Empty: no limit. "
            "One in ten is kept for consumers that have few under way."
        ),
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
    concurrency_limit = models.PositiveIntegerField(
        _("concurrent requests"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "At most so many at a time. Empty: learned from the vendor's throttling. "
            "One in ten is kept for consumers that have few under way."
        ),
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


class FailureVerdict(models.TextChoices):
    """What an operator may say that an error means: keys of `relay.failover.VERDICTS`."""

    CALLER = "caller", _("the caller's own mistake: told at once, as 400, 413, 415 or 422")
    POLICY = "policy", _("passed on verbatim: told at once, with upstream's own status")
    UNSUPPORTED = "unsupported", _("model not served there: next; for this model the endpoint comes last")
    UNSUPPORTED_REQUEST = (
        "unsupported_request",
        _("kind of request not served there: next; for this model the endpoint comes last"),
    )
    NOT_PERMITTED = "not_permitted", _("model not open to this key: next; for this model the key comes last")
    KEY_REFUSED = "key_refused", _("key refused: next; the key is disabled until it is probed")
    OUT_OF_MONEY = "out_of_money", _("key out of money: next; the key is parked")
    THROTTLED = "throttled", _("throttled: next; the key cools as long as upstream says")
    OVERLOADED = "overloaded", _("vendor overloaded: next; a failure of the endpoint")
    SERVER_ERROR = "server_error", _("vendor failed: next; a failure of key and endpoint")


class FailureRule(Versioned):
    """What an error of an upstream means, where the built-in lines would take it for something else."""

    name = models.CharField(
        _("name"), max_length=80, unique=True, help_text=_("Records of failed attempts name it.")
    )
    order = models.IntegerField(_("order"), default=100, help_text=_("Lower is asked first."))
    is_active = models.BooleanField(_("active"), default=True, help_text=_("While off, it is not asked."))
    provider = models.ForeignKey(
        Provider,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="failure_rules",
        verbose_name=_("provider"),
        help_text=_("Empty: whoever says it."),
    )
    format = models.CharField(
        _("format"), max_length=20, blank=True, choices=Format.choices, help_text=_("Empty: any.")
    )
    status = models.CharField(
        _("status"),
        max_length=100,
        blank=True,
        help_text=_(
            "Such as 400, or 400, 403, 5xx. An error inside a 200 counts as the status that it means. "
            "Empty: any."
        ),
    )
    error_type = models.CharField(
        _("error type or code"),
        max_length=200,
        blank=True,
        help_text=_("As upstream writes it, whole, such as insufficient_quota. Empty: any."),
    )
    text = models.CharField(
        _("text"),
        max_length=300,
        blank=True,
        help_text=_(
            "Words that stand in upstream's message; letters, not a pattern. Case and the amount of blanks "
            "do not count. Empty: any."
        ),
    )
    verdict = models.CharField(_("verdict"), max_length=24, choices=FailureVerdict.choices)
    note = models.TextField(_("note"), blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        verbose_name = _("failure rule")
        verbose_name_plural = _("failure rules")
        ordering = ("order", "pk")

    def __str__(self) -> str:
        return self.name

    def plain(self) -> rules.FailureRule:
        """The rule as the relay asks it. Raises ValueError for a status past validation."""
        return rules.FailureRule(
            id=self.pk or 0,
            name=self.name,
            reason=self.verdict,
            provider_id=self.provider_id,
            format=self.format,
            statuses=rules.statuses(self.status),
            error_type=rules.folded(self.error_type),
            text=rules.folded(self.text),
        )

    def clean(self) -> None:
        super().clean()
        if not (self.status or self.error_type.strip() or self.text.strip()):
            raise ValidationError(
                _("It would take every error there is: give a status, an error type or a text.")
            )
        try:
            rules.statuses(self.status)
        except ValueError as error:
            raise ValidationError(
                {
                    "status": ValidationError(
                        _("“%(part)s” is no status of an error: write 400 to 599, 4xx or 5xx."),
                        params={"part": str(error)},
                    )
                }
            ) from error
        if rules.REMOVED in self.text:
            raise ValidationError(
                {
                    "text": ValidationError(
                        _("“%(mark)s” stands in records for what was taken out of a message: leave it out."),
                        params={"mark": rules.REMOVED},
                    )
                }
            )
        if self.provider is not None and self.format:
            spoken = set(self.provider.endpoints.values_list("format", flat=True))
            if spoken and self.format not in spoken:
                raise ValidationError(
                    {
                        "format": ValidationError(
                            _("It can never hold: %(provider)s has no endpoint of this format."),
                            params={"provider": self.provider},
                        )
                    }
                )

    def check_place(self) -> None:
        """Raises ValidationError where another live rule asks the same, or one asked before it takes all
        that it speaks of."""
        if not self.is_active:
            return
        own, place = self.plain(), (self.order, self.pk or math.inf)
        others = FailureRule.objects.filter(is_active=True).exclude(pk=self.pk)
        for other in others:
            known = other.plain()
            same = known.covers(own) and own.covers(known)
            if same or (known.covers(own) and (other.order, other.pk) < place):
                told = (
                    _("The rule “%(other)s” asks for the same already: change that one, or switch it off.")
                    if same
                    else _(
                        "It can never decide: the rule “%(other)s” is asked before it, and takes every error "
                        "that this one speaks of. Give it a lower order than %(order)d."
                    )
                )
                raise ValidationError(told, params={"other": other, "order": other.order})


class MachineState(models.Model):
    """What automation knows and decides, and what operators ask of it; never the operator's own switch."""

    verdict = models.CharField(_("last verdict"), max_length=24, blank=True)
    reason = models.CharField(_("reason"), max_length=300, blank=True)
    disabled_at = models.DateTimeField(_("disabled by machine at"), null=True, blank=True)
    cooling_until = models.DateTimeField(_("cooling until"), null=True, blank=True)
    breaker = models.CharField(_("breaker"), max_length=10, blank=True)
    opened_until = models.DateTimeField(_("breaker open until"), null=True, blank=True)
    openings = models.PositiveIntegerField(_("openings in a row"), default=0)
    learned_limit = models.FloatField(_("learned concurrency"), null=True, blank=True)
    detail = models.JSONField(_("detail"), default=dict, blank=True)
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True)
    last_error = models.CharField(_("last error"), max_length=300, blank=True)
    last_error_at = models.DateTimeField(_("last error at"), null=True, blank=True)
    probed_at = models.DateTimeField(_("last probed at"), null=True, blank=True)
    probe_result = models.CharField(_("last probe"), max_length=300, blank=True)
    updated_at = models.DateTimeField(_("updated at"), null=True, blank=True)
    # What operators ask of the machine, by `providers.states`.
    parked_until = models.DateTimeField(_("parked until"), null=True, blank=True)
    parked_reason = models.CharField(_("why it is parked"), max_length=300, blank=True)
    parked_by = models.CharField(_("parked by"), max_length=150, blank=True)
    recovered_at = models.DateTimeField(_("recovered by hand at"), null=True, blank=True)
    probe_asked_at = models.DateTimeField(_("probe asked for at"), null=True, blank=True)

    class Meta:
        abstract = True


class KeyState(MachineState):
    key = models.OneToOneField(
        Key, models.CASCADE, primary_key=True, related_name="state", verbose_name=_("key")
    )

    class Meta:
        verbose_name = _("key state")
        verbose_name_plural = _("key states")

    def __str__(self) -> str:
        return str(self.key)


class EndpointState(MachineState):
    endpoint = models.OneToOneField(
        Endpoint, models.CASCADE, primary_key=True, related_name="state", verbose_name=_("endpoint")
    )

    class Meta:
        verbose_name = _("endpoint state")
        verbose_name_plural = _("endpoint states")

    def __str__(self) -> str:
        return str(self.endpoint)


def price_of(deployment: Deployment) -> Price | None:
    """The price that a request served by `deployment` is billed at: its own, else the model's, else None."""
    return deployment.price() or deployment.model.price()
