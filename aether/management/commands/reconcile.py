"""`manage.py reconcile`: checks the ledger against itself, and mends it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import models
from django.utils.translation import gettext as _, ngettext

from aether.boot import ensure_database, ensure_migrated
from aether.recording import appliers
from aether.terminal import ProgressBar, instant
from consumers.models import ApiKey, Consumer
from providers.models import Endpoint, Key, Model, Provider
from usage.differences import Difference
from usage.journalcheck import check_journals, forget_positions
from usage.reconciling import Reconciler
from usage.recorder import AlreadyRunning, Recorder, recorder_lock

NAMED: dict[str, type[models.Model]] = {
    "consumer_id": Consumer,
    "api_key_id": ApiKey,
    "provider_id": Provider,
    "endpoint_id": Endpoint,
    "key_id": Key,
    "model_id": Model,
}


class Command(BaseCommand):
    help = (
        "Checks the ledger against itself, while the server runs if need be: rollups against records, records"
        " against their price and attempts, health against attempts, dead letters, journals. Prints each"
        " value that is not what the ledger says; ends with 1 where one is left, else with 0. With --json"
        " each difference is a line of its own, and the last line is the sum."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--fix",
            action="store_true",
            help="mend what differs and nothing else: rollup rows from the records, health from the attempts,"
            " costs from price and attempts, attempts without a record deleted, dead letters tried again,"
            " and, while no server runs here, the journals of dead processes taken over",
        )
        parser.add_argument(
            "--since",
            type=instant,
            metavar="INSTANT",
            help="records and rollups from the quarter of an hour that holds this ISO 8601 instant",
        )
        parser.add_argument(
            "--until",
            type=instant,
            metavar="INSTANT",
            help="records and rollups of the quarters that begin before this instant",
        )
        parser.add_argument("--json", action="store_true", help="print differences and sum as lines of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        ensure_database()
        ensure_migrated()
        self.counts: Counter[str] = Counter()
        self.as_json = bool(options["json"])
        self.bar = ProgressBar(wanted=not self.as_json)
        self.name = lru_cache(maxsize=4096)(name_of)
        reconciler = Reconciler(self.tell, fix=options["fix"], appliers=appliers())
        journals = settings.AETHER_DATA_DIR / "journals"
        found = list(check_journals(journals))
        if found and options["fix"]:
            take_over(journals)
        reconciler.note(found, left=len(list(check_journals(journals))) if found else 0)
        reconciler.letters(datetime.now(UTC))
        reconciler.rows(options["since"], options["until"], self.bar.draw)
        reconciler.health(datetime.now(UTC), options["since"], options["until"])
        done = reconciler.done
        if self.as_json:
            self.stdout.write(json.dumps({"sum": asdict(done) | {"by_table": self.counts}}))
        else:
            self.sum_up(asdict(done), fix=options["fix"])
        if done.left:
            raise CommandError(
                ngettext("%(count)d difference is left.", "%(count)d differences are left.", done.left)
                % {"count": done.left}
            )

    def tell(self, difference: Difference) -> None:
        """Prints one difference."""
        self.counts[difference.table] += 1
        self.bar.clear()
        row = {
            column.removesuffix("_id") if column in NAMED else column: self.name(column, value)
            for column, value in difference.row.items()
        }
        if self.as_json:
            self.stdout.write(
                json.dumps(
                    {
                        "table": difference.table,
                        "quarter": difference.quarter,
                        "row": row,
                        "column": difference.column,
                        "ledger": difference.ledger_shown,
                        "found": difference.found_shown,
                    },
                    default=str,
                    ensure_ascii=False,
                )
            )
            return
        quarter = f" {difference.quarter:%Y-%m-%dT%H:%MZ}" if difference.quarter else ""
        known_by = ", ".join(f"{name} {value}" for name, value in row.items())
        self.stdout.write(
            _("%(table)s%(quarter)s (%(row)s) %(column)s: by the ledger %(ledger)s, found %(found)s")
            % {
                "table": difference.table,
                "quarter": quarter,
                "row": known_by,
                "column": difference.column,
                "ledger": shown(difference.ledger_shown),
                "found": shown(difference.found_shown),
            }
        )

    def sum_up(self, done: Mapping[str, int], *, fix: bool) -> None:
        """Prints what was checked, and how many differences each table has."""
        self.stdout.write(
            _("%(quarters)d quarters of an hour, %(records)d records, %(attempts)d attempts checked.") % done
        )
        for table, number in sorted(self.counts.items()):
            self.stdout.write(
                ngettext("%(table)s: %(count)d difference", "%(table)s: %(count)d differences", number)
                % {"table": table, "count": number}
            )
        if not done["differences"]:
            self.stdout.write(_("No difference."))
        elif fix:
            self.stdout.write(_("%(count)d mended.") % {"count": done["differences"] - done["left"]})


def take_over(journals: Path) -> None:
    """Brings the journals of dead processes to the database, as the recorder does; not while one runs, for it
    does so by itself."""
    try:
        with recorder_lock(settings.AETHER_DATA_DIR / "recorder.lock", seconds=0, wait=lambda seconds: None):
            forget_positions(check_journals(journals))
            recorder = Recorder(
                journals, appliers=appliers(), keep_seconds=settings.RELAY_JOURNAL_KEEP_SECONDS
            )
            try:
                recorder.drain()
            finally:
                recorder.close()
    except AlreadyRunning:
        return


def name_of(column: str, value: Any) -> Any:
    """`alice (1)` for an id; `#1` where its row is gone; any other value as it is."""
    if column not in NAMED:
        return value
    row = NAMED[column]._default_manager.filter(pk=value).first() if value else None
    return f"{row} ({value})" if row else f"#{value}" if value else "–"


def shown(value: Any) -> str:
    """A value in a line for people."""
    return _("none") if value is None else str(value)
