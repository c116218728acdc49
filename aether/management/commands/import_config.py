"""`manage.py import_config FILE`: brings a configuration file into the tables."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _, ngettext

from aether.boot import ensure_database, ensure_migrated, ensure_secrets
from aether.configexport import plain
from aether.configfile import ConfigError, Difference, Result, import_config

SIGNS = {"create": "+", "change": "~", "switch off": "-"}


class Command(BaseCommand):
    help = (
        "Brings providers, models, consumers and failure rules from a YAML file into the tables, in one "
        "transaction. The file is the truth for what it names: a field that does not stand there takes its "
        "default, a secret that does not stand there stays. What it does not name stays. A second run "
        "changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="the YAML file; - reads standard input")
        parser.add_argument("--dry-run", action="store_true", help="print the difference and change nothing")
        parser.add_argument(
            "--prune",
            action="store_true",
            help="switch off what the file does not name, in the lists that stand in it",
        )
        parser.add_argument("--json", action="store_true", help="print the difference as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        ensure_database()
        ensure_migrated()
        ensure_secrets()
        name = options["file"]
        try:
            content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            raise CommandError(
                _("%(file)s cannot be read: %(reason)s.") % {"file": name, "reason": error.strerror}
            ) from None
        try:
            result = import_config(
                content, environ=os.environ, prune=options["prune"], dry_run=options["dry_run"]
            )
        except ConfigError as error:
            raise CommandError(
                "\n".join(
                    _("%(file)s, line %(line)s: %(text)s")
                    % {"file": name, "line": each.line, "text": each.text}
                    for each in error.problems
                )
            ) from None
        if options["json"]:
            self.stdout.write(as_json(result, dry_run=options["dry_run"]))
        else:
            self.tell(result, dry_run=options["dry_run"])

    def tell(self, result: Result, *, dry_run: bool) -> None:
        """Prints one line a difference, the new secrets, and the sum."""
        for each in result.differences:
            self.stdout.write(line(each))
        for new in result.generated:
            self.stdout.write(
                _("The API key %(consumer)s / %(name)s, shown only now: %(secret)s")
                % {"consumer": new.consumer, "name": new.name, "secret": new.secret}
            )
        number = len(result.differences)
        if not number:
            self.stdout.write(_("No difference."))
        elif dry_run:
            self.stdout.write(
                ngettext("%d difference, not applied.", "%d differences, not applied.", number) % number
            )
        else:
            self.stdout.write(
                ngettext("%d difference, applied.", "%d differences, applied.", number) % number
            )


def line(difference: Difference) -> str:
    """`~ key acme / k1: priority 100 → 10`."""
    changes = ", ".join(
        f"{name} {shown(after)}" if before is None else f"{name} {shown(before)} → {shown(after)}"
        for name, (before, after) in difference.fields.items()
    )
    head = f"{SIGNS[difference.action]} {difference.kind.replace('_', ' ')} {difference.name}"
    return f"{head}: {changes}" if changes else head


def shown(value: Any) -> str:
    """A value in a line for people."""
    value = plain(value)
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def as_json(result: Result, *, dry_run: bool) -> str:
    """The same for machines."""
    return json.dumps(
        {
            "applied": not dry_run,
            "differences": [
                {
                    "action": each.action,
                    "kind": each.kind,
                    "name": each.name,
                    "fields": {
                        name: {"before": plain(before), "after": plain(after)}
                        for name, (before, after) in each.fields.items()
                    },
                }
                for each in result.differences
            ],
            "generated": [
                {"consumer": each.consumer, "name": each.name, "secret": each.secret}
                for each in result.generated
            ],
        },
        ensure_ascii=False,
        indent=2,
    )
