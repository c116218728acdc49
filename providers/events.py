"""What happened to keys and endpoints: each change of their state, with its reason."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from usage.models import reference


class Condition(models.TextChoices):
    """What keeps a key or an endpoint out, in a word; of several the first that is listed here."""

    PARKED = "parked", _("parked")
    REFUSED = "refused", _("disabled by machine")
    COOLING = "cooling", _("cooling")
    OPEN = "open", _("breaker open")
    HALF_OPEN = "half_open", _("breaker half open")
    READY = "ready", _("ready")


class StateEvent(models.Model):
    """One change of state of a key or an endpoint, or one thing that an operator asked of it. The primary key
    is a UUIDv7 of the instant; of a journal's line, always the same."""

    class Action(models.TextChoices):
        NONE = "", _("by the machine")
        RECOVER = "recover", _("recover")
        PARK = "park", _("park")
        PROBE = "probe", _("probe now")

    id = models.UUIDField(_("id"), primary_key=True, editable=False)
    at = models.DateTimeField(_("at"))
    key = reference("providers.Key", _("key"))
    endpoint = reference("providers.Endpoint", _("endpoint"))
    condition = models.CharField(_("state after it"), max_length=10, choices=Condition.choices)
    reason = models.CharField(_("reason"), max_length=300, blank=True)
    until = models.DateTimeField(_("until"), null=True, blank=True)
    action = models.CharField(_("action"), max_length=10, blank=True, choices=Action.choices)
    user_name = models.CharField(_("by"), max_length=150, blank=True)
    process = models.CharField(_("process"), max_length=120, blank=True)

    class Meta:
        verbose_name = _("change of state")
        verbose_name_plural = _("changes of state")
        indexes = (
            models.Index(fields=("key", "id"), name="state_event_key"),
            models.Index(fields=("endpoint", "id"), name="state_event_endpoint"),
        )

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.get_condition_display()}"
