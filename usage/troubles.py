"""What staff must know of the ledger without looking for it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _, ngettext

from usage.journal import Journal
from usage.models import DeadLetter

COUNTED = 1_000
BEHIND_BYTES = 16 * 1024 * 1024
"""Journal that the database has yet to get. A recorder at work is behind by a few hundred kilobytes."""


def troubles(journal: Journal | None, recorder_lock: Path) -> Iterator[str | SafeString]:
    """One sentence for each thing that is wrong and needs somebody: with this process's journal (None where
    it keeps none), with the recorder, with dead letters."""
    if journal is not None:
        yield from _of_the_journal(journal)
        if not _held(recorder_lock):
            yield _("The recorder does not run: usage stays in the journal until it does. See the log.")
        elif journal.backlog_bytes > BEHIND_BYTES:
            yield _("The database is %(size)d MB behind the journal: it is slow, or does not answer.") % {
                "size": journal.backlog_bytes // 1024**2
            }
    waiting = DeadLetter.objects.filter(resolved_at__isnull=True).order_by()[: COUNTED + 1].count()
    if waiting:
        yield format_html(
            '<a class="text-link" href="{}">{}</a>',
            reverse("admin:usage_deadletter_changelist"),
            ngettext(
                "%(count)s line of the journal was refused by the database and waits as a dead letter.",
                "%(count)s lines of the journal were refused by the database and wait as dead letters.",
                waiting,
            )
            % {"count": f"{COUNTED}+" if waiting > COUNTED else waiting},
        )


def _of_the_journal(journal: Journal) -> Iterator[str]:
    if journal.lost:
        yield ngettext(
            "%(count)d line of the journal is lost: the disk was full for too long.",
            "%(count)d lines of the journal are lost: the disk was full for too long.",
            journal.lost,
        ) % {"count": journal.lost}
    if journal.trouble == "sync":
        yield _("The disk does not confirm what the journal writes.")
    elif journal.trouble == "ballast":
        yield _("The disk is full: the journal writes into its reserve. Make room now.")
    elif journal.trouble:
        yield _("The disk is full: usage waits in memory, and is lost if the server ends. Make room now.")


def _held(lock: Path) -> bool:
    """Whether somebody holds the lock file."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
