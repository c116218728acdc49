"""`manage.py rollup --rebuild`: makes the sums again from the records."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from usage.rebuilding import rebuild

BAR = 40


class Command(BaseCommand):
    help = "Makes the rollups again from the records; those older than the oldest record are left alone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--rebuild", action="store_true", help="recompute and correct every quarter of an hour"
        )
        parser.add_argument(
            "--since", metavar="INSTANT", help="begin with the quarter that holds this ISO 8601 instant"
        )
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["rebuild"]:
            raise CommandError(_("Nothing to do: say --rebuild."))
        bar = self.stderr.isatty() and not options["json"]
        result = rebuild(_instant(options["since"]), progress=self.draw if bar else lambda done, of: None)
        if options["json"]:
            self.stdout.write(json.dumps(result._asdict()))
            return
        self.stdout.write(
            _("%(quarters)d quarters of an hour recomputed, %(corrected)d rows corrected.") % result._asdict()
        )

    def draw(self, done: int, of: int) -> None:
        """Draws the progress bar on one line of the terminal."""
        filled = BAR * done // of
        end = "\n" if done == of else ""
        sys.stderr.write(f"\r[{'#' * filled}{'.' * (BAR - filled)}] {100 * done // of:3d} %{end}")
        sys.stderr.flush()


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(
            _("“%(text)s” is not an instant such as 2026-11-22T10:00:00+00:00.") % {"text": text}
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
