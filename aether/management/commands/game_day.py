"""`manage.py game_day`: plays a fault on a key or for an API key, and reports what it showed."""

from __future__ import annotations

import getpass
import json
import math
import textwrap
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.translation import gettext as _

from aether.boot import ensure_database, ensure_migrated
from aether.terminal import one_api_key
from providers.drilladmin import lines, where
from providers.drillreport import report
from providers.drills import LONGEST, Drill
from providers.models import Key

STEPS = ("start", "stop", "report", "list")

EXAMPLES = """
  manage.py game_day start rate_limit --key acme/first --minutes 2 --reset 20
  manage.py game_day start cut --api-key k3JX --after 5
  manage.py game_day list
  manage.py game_day report 7
  manage.py game_day stop 7
"""


class Command(BaseCommand):
    help = (
        "Plays a fault in front of whatever vendor a key is at, or for one API key, for a set time, while the"
        " server runs; and reports the requests that met it, what their clients saw, the failovers, and how"
        " soon the key was left alone and used again. A running server obeys within two seconds."
    )

    def create_parser(self, *args: Any, **options: Any) -> Any:
        parser = super().create_parser(*args, **options)
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.description = textwrap.fill(self.help, 80)
        parser.epilog = EXAMPLES
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("step", choices=STEPS, help="what to do; list: the newest twenty drills")
        parser.add_argument(
            "what",
            nargs="?",
            help=f"the fault to start: {', '.join(Drill.Fault.values)}; or a drill's number",
        )
        place = parser.add_mutually_exclusive_group()
        place.add_argument("--key", metavar="PROVIDER/NAME", help="start: every request sent with this key")
        place.add_argument(
            "--api-key", metavar="PREFIX", help="start: every request of the API key that begins so"
        )
        parser.add_argument(
            "--minutes", type=float, default=5, help="start: for how long, a day at most (default: 5)"
        )
        parser.add_argument(
            "--after", type=int, default=0, help="start: frames that pass before it (default: 0)"
        )
        parser.add_argument(
            "--reset", type=int, default=30, help="start: seconds that a rate limit tells (default: 30)"
        )
        parser.add_argument("--json", action="store_true", help="report: print it as one line of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        ensure_database()
        ensure_migrated()
        match options["step"]:
            case "start":
                self._start(options)
            case "stop":
                drill = _found(options["what"])
                drill.stop(timezone.now())
                self.stdout.write(_("Drill %(number)d has ended.") % {"number": drill.pk})
            case "report":
                self._report(_found(options["what"]), as_json=options["json"])
            case _:
                for drill in Drill.objects.order_by("-id")[:20]:
                    state = _("running") if drill.runs(timezone.now()) else _("ended")
                    self.stdout.write(f"{drill.pk}  {drill}  {where(drill)}  {state}")

    def _start(self, options: dict[str, Any]) -> None:
        now, fault = timezone.now(), options["what"]
        if fault not in Drill.Fault.values:
            said = (
                _("“%(name)s” is no fault: choose from %(known)s.")
                if fault
                else _("Name a fault: %(known)s.")
            )
            raise CommandError(said % {"name": fault, "known": ", ".join(Drill.Fault.values)})
        drill = Drill(
            fault=fault,
            after=options["after"],
            reset_seconds=options["reset"],
            starts_at=now,
            ends_at=now + _span(options["minutes"]),
            user_name=getpass.getuser()[:150],
        )
        if options["key"] is not None:
            drill.key_id = _key(options["key"])
        if options["api_key"] is not None:
            drill.api_key_id = one_api_key(options["api_key"]).pk
        try:
            drill.full_clean()
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        drill.save()
        self.stdout.write(
            _("Drill %(number)d: %(fault)s on %(place)s until %(end)s. To end it: game_day stop %(number)d")
            % {
                "number": drill.pk,
                "fault": drill.fault,
                "place": where(drill),
                "end": f"{timezone.localtime(drill.ends_at):%H:%M:%S}",
            }
        )

    def _report(self, drill: Drill, *, as_json: bool) -> None:
        showed = report(drill, timezone.now())
        if as_json:
            told = {**showed._asdict(), "saw": [each._asdict() for each in showed.saw], "drill": drill.pk}
            self.stdout.write(json.dumps(told))
            return
        self.stdout.write(f"{drill}  {where(drill)}")
        for line in lines(drill, showed, timezone.now()):
            self.stdout.write(line)


def _found(number: str | None) -> Drill:
    if number is None:
        raise CommandError(_("Give the number of a drill: game_day list shows the newest."))
    drill = Drill.objects.filter(pk=int(number)).first() if number.isdecimal() and len(number) < 19 else None
    if drill is None:
        raise CommandError(
            _("There is no drill %(number)s: game_day list shows the newest.") % {"number": number}
        )
    return drill


def _key(named: str) -> int:
    provider, _slash, name = named.partition("/")
    keys = list(Key.objects.filter(provider__name=provider, name=name).values_list("pk", flat=True)[:2])
    if len(keys) != 1:
        raise CommandError(_("There is no one key %(name)s: give PROVIDER/NAME.") % {"name": named})
    return int(keys[0])


def _span(minutes: float) -> timedelta:
    """So many minutes; what no calendar holds as one that is too long."""
    if not math.isfinite(minutes) or minutes > 2 * LONGEST / timedelta(minutes=1):
        return 2 * LONGEST
    return timedelta(minutes=max(minutes, 0))
