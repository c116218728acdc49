"""Dead letters: the journal lines that wait, and trying one once more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from django.db import DatabaseError, InterfaceError, transaction

from usage.failures import is_transient
from usage.framing import Line
from usage.ledger import Ledger, Work
from usage.models import DeadLetter
from usage.states import Apply

AT_ONCE = 100


def waiting(using: str = "default") -> Iterator[DeadLetter]:
    """Those that nobody has resolved, oldest first."""
    rows = DeadLetter.objects.using(using).filter(resolved_at__isnull=True).order_by("pk")
    last = 0
    while some := list(rows.filter(pk__gt=last)[:AT_ONCE]):
        yield from some
        last = some[-1].pk


def retry(letter: DeadLetter, appliers: Mapping[str, Apply], now: datetime, using: str = "default") -> str:
    """Applies a parked line, and marks it as resolved; returns why it is refused still, or nothing. A record
    that is there by now is left as it is. Raises DatabaseError where the database, not the line, is at
    fault."""
    body = letter.line.encode()
    work = Work(letter.segment, Line(letter.kind, body, letter.position, letter.position + len(body)))
    try:
        with transaction.atomic(using=using):
            refused = Ledger(using, appliers).apply([work], {}, round(now.timestamp() * 1000)).refused
            if not refused:
                DeadLetter.objects.using(using).filter(pk=letter.pk).update(resolved_at=now)
    except (DatabaseError, InterfaceError, ValueError, TypeError, OverflowError) as error:
        if is_transient(error):
            raise
        return f"{type(error).__name__}: {error}"
    return refused[0].reason if refused else ""
