"""What the machine knows of each key and endpoint: the tables that `providers.states` writes."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


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
        "providers.Key", models.CASCADE, primary_key=True, related_name="state", verbose_name=_("key")
    )

    class Meta:
        verbose_name = _("key state")
        verbose_name_plural = _("key states")

    def __str__(self) -> str:
        return str(self.key)


class EndpointState(MachineState):
    endpoint = models.OneToOneField(
        "providers.Endpoint",
        models.CASCADE,
        primary_key=True,
        related_name="state",
        verbose_name=_("endpoint"),
    )

    class Meta:
        verbose_name = _("endpoint state")
        verbose_name_plural = _("endpoint states")

    def __str__(self) -> str:
        return str(self.endpoint)
