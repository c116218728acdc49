"""Game day: faults that are played on purpose, on one key or for one API key, for a set time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from changes.models import Versioned
from usage.models import reference

LONGEST = timedelta(hours=24)


class Playing(NamedTuple):
    """A drill as the relay keeps it. `left` is seconds from when it was read; the rest as in `Drill`."""

    fault: str
    key_id: int | None
    api_key_id: int | None
    after: int
    reset_seconds: int
    left: float


class Drill(Versioned):
    """One fault, in front of whatever vendor the key is at. With a key, every request that is sent with it
    meets the fault, and health counts it as it would the vendor's. With an API key, its requests meet it
    wherever they are sent, and no key is blamed."""

    class Fault(models.TextChoices):
        DEAD_PORT = "dead_port", _("dead port: connections are refused")
        STALL = "stall", _("stall: silence, after so many frames")
        CUT = "cut", _("cut: the connection breaks, after so many frames")
        RATE_LIMIT = "rate_limit", _("rate limit: 429 with a time to wait")
        IN_BAND = "in_band_error", _("in-band error: an overload told inside a 200, after so many frames")
        SLOW_DRIP = "slow_drip", _("slow drip: eighty bytes a second")
        BAD_UTF8 = "bad_utf8", _("bad UTF-8: the frame behind so many holds bytes that are no text")

    fault = models.CharField(_("fault"), max_length=20, choices=Fault.choices)
    key = reference("providers.Key", _("key"), help_text=_("Every request that is sent with it."))
    api_key = reference("consumers.ApiKey", _("API key"), help_text=_("Every request that it sends."))
    after = models.PositiveSmallIntegerField(
        _("after frames"), default=0, validators=(MaxValueValidator(10_000),),
        help_text=_("Frames of a stream that pass before it; 0: none. A whole answer passes by halves."),
    )  # fmt: skip
    reset_seconds = models.PositiveIntegerField(
        _("reset, seconds"), default=30, validators=(MinValueValidator(1), MaxValueValidator(3600)),
        help_text=_("What a rate limit tells to wait."),
    )  # fmt: skip
    starts_at = models.DateTimeField(_("starts at"), default=timezone.now)
    ends_at = models.DateTimeField(_("ends at"))
    user_name = models.CharField(_("by"), max_length=150, blank=True)

    class Meta:
        verbose_name = _("drill")
        verbose_name_plural = _("game day")
        ordering = ("-starts_at", "-id")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(key__isnull=True) ^ models.Q(api_key__isnull=True), name="drill_of_one"
            ),
        )

    def __str__(self) -> str:
        return f"{self.fault} {timezone.localtime(self.starts_at):%Y-%m-%d %H:%M}"

    def clean(self) -> None:
        """Raises ValidationError where it is for none or for both, or lasts too long."""
        super().clean()
        if (self.key_id is None) == (self.api_key_id is None):
            # Of a field: the constraint below says it a second time where none has an error.
            raise ValidationError({"key": _("Choose a key or an API key, one of them.")})
        if not timedelta() < self.ends_at - self.starts_at <= LONGEST:
            raise ValidationError(_("A drill lasts for a day at most, and ends after it starts."))

    def runs(self, now: datetime) -> bool:
        """Whether it is played at this instant."""
        return self.starts_at <= now < self.ends_at

    def stop(self, now: datetime) -> None:
        """Ends it now, if it has not ended."""
        if now < self.ends_at:
            self.ends_at = max(now, self.starts_at + timedelta(milliseconds=1))
            self.save(update_fields=["ends_at"])


def played(now: datetime) -> list[Playing]:
    """The drills that run at this instant. They start when they are made, whatever other clocks say."""
    running: Any = Drill.objects.filter(ends_at__gt=now).order_by("id")
    return [
        Playing(
            each.fault, each.key_id, each.api_key_id, each.after, each.reset_seconds,
            (each.ends_at - now).total_seconds(),
        )
        for each in running
    ]  # fmt: skip
