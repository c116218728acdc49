"""What came of running conformance: of each endpoint and model, the newest matrix, with its date."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from changes.models import note
from providers.corpus import CAPABILITIES, TITLES

LONGEST = timedelta(minutes=6)
"""For one run; one that has not ended by then has died with its process."""
KIND = "conformance"
"""Under which readers of the table `Change` know that a result has come or gone."""


class Verdict(models.TextChoices):
    WORKS = "works", _("works")
    REFUSED = "refused", _("refused")
    WRONG = "wrong", _("wrong")
    ABSENT = "absent", _("not in this format")
    UNTRIED = "untried", _("not tried")


class Row(NamedTuple):
    """One line of a matrix: what was tried, how that went, and what was said or wrong."""

    name: str
    verdict: str
    said: str = ""


class Conformance(models.Model):
    """A run at one endpoint with one of its models. `rows` grows while it runs."""

    endpoint = models.ForeignKey(
        "providers.Endpoint", models.CASCADE, related_name="conformances", verbose_name=_("endpoint")
    )
    model = models.CharField(_("model"), max_length=200)
    key_name = models.CharField(_("key"), max_length=120, blank=True)
    user_name = models.CharField(_("by"), max_length=150, blank=True)
    rows = models.JSONField(_("rows"), default=list)
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("conformance")
        verbose_name_plural = _("conformance")
        ordering = ("-id",)
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.endpoint_id} · {self.model}"

    def matrix(self) -> list[Row]:
        """The rows so far, in the order of a matrix."""
        rows = {name: Row(name, verdict, said) for name, verdict, said in self.rows}
        return [rows[name] for name in TITLES if name in rows]

    def runs(self, now: datetime) -> bool:
        """Whether it is still under way."""
        return self.finished_at is None and now - self.started_at < LONGEST

    def tried(self) -> bool:
        """Whether anything was found out."""
        return any(row.verdict != Verdict.UNTRIED for row in self.matrix())

    def add(self, row: Row) -> None:
        """Keeps a row of a run that goes on."""
        self.rows.append(list(row))
        self.save(update_fields=["rows"])

    def finish(self, now: datetime) -> None:
        """Ends the run: from now on it is the one that counts, and the older ones of this endpoint and model
        go. One that could try nothing takes the place of its like alone."""
        using = self._state.db or "default"
        with transaction.atomic(using=using):
            self.finished_at = now
            self.save(update_fields=["finished_at"])
            older = Conformance.objects.filter(
                endpoint_id=self.endpoint_id, model=self.model, pk__lt=self.pk, finished_at__isnull=False
            )
            gone = [each.pk for each in older if self.tried() or not each.tried()]
            Conformance.objects.filter(pk__in=gone).delete()
            note(KIND, [self.pk], using=using)


def forget(endpoint_id: int) -> int:
    """Drops all that was found of an endpoint, so that nothing is held against it. Returns how many."""
    with transaction.atomic():
        gone = Conformance.objects.filter(endpoint_id=endpoint_id, finished_at__isnull=False)
        ids = list(gone.values_list("pk", flat=True))
        gone.delete()
        note(KIND, ids, using=gone.db)
    return len(ids)


def refusals() -> dict[tuple[int, str], frozenset[str]]:
    """The capabilities that were found refused, by endpoint and upstream model. Blocking."""
    found = Conformance.objects.filter(finished_at__isnull=False).order_by("pk")
    return {
        (each.endpoint_id, each.model): missing(each.matrix())
        for each in found.only("endpoint_id", "model", "rows")
        if each.tried()
    }


def missing(rows: Iterable[Row]) -> frozenset[str]:
    """The capabilities that these rows show to be refused. What is wrong, or was not tried, is none."""
    return frozenset(
        CAPABILITIES[row.name] for row in rows if row.verdict == Verdict.REFUSED and row.name in CAPABILITIES
    )


def told(row: Row) -> dict[str, Any]:
    """A row as plain values."""
    return {"name": row.name, "verdict": row.verdict, "said": row.said}
