"""`manage.py explain_route MODEL --format F --api-key PREFIX`: prints the plan a request would get now;
`manage.py explain_route --request-id ID`: why one was refused."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from asgiref.sync import async_to_sync
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.translation import gettext as _

from aether.boot import ensure_database, ensure_migrated, ensure_secrets
from aether.terminal import one_api_key
from consumers.auth import load
from providers.checks import CAPABILITIES
from relay.explaining import Explained, explained, unopened
from usage import words
from usage.explanations import Found, found_by
from wire import FORMATS


class Command(BaseCommand):
    help = (
        "Prints the plan that a request would get now: each target in the order in which it would be tried, "
        "and each one that would not, with its reason. It is made by the code that serves requests, from the "
        "tables: what the running server knows of breakers, cooldowns and parking is read as its recorder "
        "wrote it last; where callers stay (affinity) and how many requests are under way only the server's "
        "own page knows. With --request-id: why the request of that x-request-id was answered as it was. "
        "Nothing is sent, and nothing changes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "model", nargs="?", metavar="MODEL", help="the model's name or alias, as a client asks for it"
        )
        parser.add_argument(
            "--request-id",
            metavar="ID",
            help="an answer's x-request-id, in place of the model: also of a request that left no record",
        )
        parser.add_argument(
            "--format",
            choices=FORMATS,
            default="openai_chat",
            help="the client's format (default: openai_chat)",
        )
        parser.add_argument(
            "--api-key",
            metavar="PREFIX",
            help="what the API key begins with, as shown",
        )
        parser.add_argument(
            "--needs",
            default="",
            metavar="NEEDS",
            help=f"what the request needs, separated by commas, of: {', '.join(CAPABILITIES)}",
        )
        parser.add_argument("--json", action="store_true", help="print the plan as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        ensure_database()
        ensure_migrated()
        if options["request_id"] is not None:
            self.tell_request(found_by(options["request_id"]), as_json=options["json"])
            return
        if not options["model"] or options["api_key"] is None:
            raise CommandError(_("Give MODEL and --api-key, or --request-id."))
        ensure_secrets()
        needs = frozenset(filter(None, (each.strip() for each in options["needs"].split(","))))
        if unknown := needs - set(CAPABILITIES):
            raise CommandError(
                _("“%(name)s” is no capability: choose from %(known)s.")
                % {"name": min(unknown), "known": ", ".join(CAPABILITIES)}
            )
        api_key = one_api_key(options["api_key"])
        caller = load(api_key.digest)
        if caller is None or caller.expired(timezone.now().timestamp()):
            raise CommandError(
                _("The API key %(name)s or its consumer is switched off or expired: a request gets 401.")
                % {"name": api_key}
            )
        found = async_to_sync(explained)(
            unopened(), caller, model=options["model"], wire_format=options["format"], needs=needs, live=False
        )
        if options["json"]:
            self.stdout.write(json.dumps(asdict(found), ensure_ascii=False, indent=2))
        else:
            self.tell(found)

    def tell_request(self, found: Found, *, as_json: bool) -> None:
        """Prints why a request was answered as it was."""
        if as_json:
            told = {"sentences": found.sentences, "targets": [asdict(row) for row in found.rows]}
            self.stdout.write(json.dumps(told, ensure_ascii=False, indent=2))
            return
        for sentence in found.sentences:
            self.stdout.write(sentence)
        rows = [(row.place or "–", row.target, row.format, row.model, row.why) for row in found.rows]
        if rows:
            self.stdout.write("")
            for line in table([_head(), *rows]):
                self.stdout.write(line)

    def tell(self, found: Explained) -> None:
        """Prints the plan for people."""
        now = timezone.now()
        self.stdout.write(
            _("%(model)s in %(format)s for %(consumer)s / %(api_key)s, mode %(mode)s")
            % {**asdict(found), "mode": found.mode or "–"}
        )
        rows = [
            (str(place), *_named(row), "; ".join(words.note(note, now) for note in row["notes"]))
            for place, row in enumerate(found.targets, 1)
        ]
        rows += [("–", *_named(row), words.skipped(row["reason"], now)) for row in found.skipped]
        if rows:
            self.stdout.write("")
            for line in table([_head(), *rows]):
                self.stdout.write(line)
        if found.status:
            self.stdout.write("")
            told = (
                _("Nobody is left: the client gets %(status)s, “%(error)s”")
                if found.mode
                else _("The client gets %(status)s, “%(error)s”")
            )
            self.stdout.write(told % {"status": found.status, "error": found.error})
            if found.retry_after is not None:
                self.stdout.write(_("Retry-After: %(seconds)s") % {"seconds": found.retry_after})
        if found.rule:
            self.stdout.write(str(words.RULES.get(found.rule, found.rule)))


def _head() -> tuple[str, ...]:
    return _("order"), _("provider / key"), _("format"), _("upstream model"), _("why")


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines, each column as wide as its widest cell; the last may be of any width."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)][:-1]
    return [
        "  ".join(
            [*(cell + " " * (most - width(cell)) for cell, most in zip(row, widths, strict=False)), row[-1]]
        ).rstrip()
        for row in rows
    ]


def width(text: str) -> int:
    """How many places of a terminal a text takes."""
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def _named(row: Any) -> tuple[str, str, str]:
    target = " / ".join(filter(None, (row["provider"], row["key"])))
    return target, row["format"], row["model"]
