"""What errors of upstreams mean, by the operators' word: the table of failure rules."""

from __future__ import annotations

import math

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from changes.models import Versioned
from providers import rules
from providers.formats import Format


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
        "providers.Provider",
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
