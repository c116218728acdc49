"""What changed: the table by which every process learns that a row it keeps in memory is stale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from django.db import connections, models, router, transaction
from django.utils.translation import gettext_lazy as _

WRITER_LOCK = 0x4165746865725F31  # pg_advisory_xact_lock; ids must commit in the order they are given out
MANY = 100
"""A queryset that touches more rows than this is noted once, with an empty object id: all of that kind."""

M = TypeVar("M", bound="Versioned")


class Change(models.Model):
    """One change of a row that processes keep in memory. `object_id` is empty where all rows of the kind may
    have changed."""

    kind = models.CharField(_("kind"), max_length=32)
    object_id = models.CharField(_("object"), max_length=64, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True, db_index=True)

    class Meta:
        verbose_name = _("change")
        verbose_name_plural = _("changes")

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}".strip()


def note(kind: str, object_ids: Iterable[object], *, using: str) -> None:
    """Writes the changes of one transaction. Must be called inside it, after the rows themselves."""
    ids = [str(each) for each in object_ids]
    if not ids:
        return
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [WRITER_LOCK])
    if len(ids) > MANY:
        ids = [""]
    Change.objects.using(using).bulk_create([Change(kind=kind, object_id=each) for each in ids])


class VersionedQuerySet(models.QuerySet[M]):
    """A queryset whose bulk writes leave a `Change` in the same transaction."""

    def _touched(self) -> list[object]:
        return list(self.order_by().values_list("pk", flat=True)[: MANY + 1])

    def update(self, **fields: Any) -> int:
        with transaction.atomic(using=self.db):
            touched = self._touched()
            rows = super().update(**fields)
            note(self.model.change_kind(), touched, using=self.db)
        return rows

    def delete(self) -> tuple[int, dict[str, int]]:
        using = self.db
        with transaction.atomic(using=using):
            touched = self._touched()
            result = super().delete()
            note(self.model.change_kind(), touched, using=using)
        return result

    def bulk_create(self, objs: Iterable[M], *args: Any, **options: Any) -> list[M]:
        with transaction.atomic(using=self.db):
            created = super().bulk_create(objs, *args, **options)
            note(self.model.change_kind(), [each.pk or "" for each in created], using=self.db)
        return created

    def bulk_update(self, objs: Iterable[M], fields: Iterable[str], *args: Any, **options: Any) -> int:
        rows = list(objs)
        with transaction.atomic(using=self.db):
            changed = super().bulk_update(rows, fields, *args, **options)
            note(self.model.change_kind(), [each.pk for each in rows], using=self.db)
        return changed


class Versioned(models.Model):
    """A row that processes keep in memory: whoever writes it leaves a `Change` in the same transaction."""

    objects = VersionedQuerySet.as_manager()

    class Meta:
        abstract = True

    @classmethod
    def change_kind(cls) -> str:
        """The word by which readers of the table `Change` know this model."""
        return cls._meta.model_name or ""

    def save(self, *args: Any, **options: Any) -> None:
        using = options.get("using") or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            super().save(*args, **options)
            note(self.change_kind(), [self.pk], using=using)

    def delete(self, *args: Any, **options: Any) -> tuple[int, dict[str, int]]:
        using = options.get("using") or router.db_for_write(type(self), instance=self)
        pk = self.pk
        with transaction.atomic(using=using):
            result = super().delete(*args, **options)
            note(self.change_kind(), [pk], using=using)
        return result
