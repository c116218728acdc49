"""`manage.py rollup --rebuild`: makes the sums again from the records."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.translation import gettext as _

from aether.terminal import ProgressBar, instant
from usage import vitals
from usage.rebuilding import rebuild


class Command(BaseCommand):
    help = (
        "Makes the rollups, and the health of the last thirty days, again from the records; what is older "
        "than the oldest record is left alone."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--rebuild", action="store_true", help="recompute and correct every quarter of an hour"
        )
        parser.add_argument(
            "--since",
            type=instant,
            metavar="INSTANT",
            help="begin with the quarter that holds this ISO 8601 instant",
        )
        parser.add_argument(
            "--until", type=instant, metavar="INSTANT", help="end before the quarter that begins here"
        )
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["rebuild"]:
            raise CommandError(_("Nothing to do: say --rebuild."))
        result = rebuild(
            options["since"], options["until"], progress=ProgressBar(wanted=not options["json"]).draw
        )
        healed = vitals.rebuild(timezone.now(), options["since"], options["until"])
        result = result._replace(corrected=result.corrected + healed)
        if options["json"]:
            self.stdout.write(json.dumps(result._asdict()))
            return
        self.stdout.write(
            _("%(quarters)d quarters of an hour recomputed, %(corrected)d rows corrected.") % result._asdict()
        )
