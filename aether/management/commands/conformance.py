"""`manage.py conformance`: tries out an endpoint and shows what works there."""

from __future__ import annotations

import getpass
import json
import textwrap
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.translation import gettext as _, ngettext

from aether.boot import ensure_database, ensure_migrated
from aether.terminal import ProgressBar
from providers.conformance import Conformance, Row, Verdict, forget, told
from providers.corpus import TITLES
from providers.models import Endpoint, Key
from providers.probe import ProbeError, live_key
from providers.runs import models_of
from providers.trying import try_out

SYMBOLS = {
    Verdict.WORKS: "+",
    Verdict.REFUSED: "x",
    Verdict.WRONG: "!",
    Verdict.ABSENT: "-",
    Verdict.UNTRIED: "?",
}
EXAMPLES = """
Each line says whether that works (+), is refused by the vendor, with its own words (x), is answered
wrongly (!), has no place in the format (-) or could not be tried (?). It takes up to five minutes, a
score of requests and a few thousand tokens of the endpoint's key; no consumer is billed.

The result is kept with its date and shown on the endpoint's page. As advice to the router: what was
refused of tools, images and thinking counts as missing of that model there, unless its deployment
names capabilities. --forget drops all results of the endpoint.

  manage.py conformance acme/openai_chat
  manage.py conformance 3 --model gpt-4.1-mini --json
"""


class Command(BaseCommand):
    help = "Tries out an endpoint in its own format: text, streams, tools, thinking, images, usage and more."

    def create_parser(self, *args: Any, **options: Any) -> Any:
        parser = super().create_parser(*args, **options)
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = EXAMPLES
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("endpoint", help="PROVIDER/FORMAT, such as acme/openai_chat, or its number")
        parser.add_argument("--model", help="the vendor's name of it (default: the first deployed one)")
        parser.add_argument("--key", help="name of the provider's key (default: the first live one)")
        parser.add_argument("--json", action="store_true", help="print the matrix as one line of JSON")
        parser.add_argument("--forget", action="store_true", help="drop what was found, and try nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        ensure_database()
        ensure_migrated()
        endpoint = _endpoint(options["endpoint"])
        if options["forget"]:
            count = forget(endpoint.pk)
            said = ngettext("%(count)d result dropped.", "%(count)d results dropped.", count)
            self.stdout.write(said % {"count": count})
            return
        model = options["model"] or next(iter(models_of(endpoint)), "")
        if not model:
            raise CommandError(_("No model is deployed there: name one with --model."))
        run, bar = Conformance(endpoint=endpoint, model=model), ProgressBar()
        try:
            key = _key(endpoint, options["key"]) if options["key"] else live_key(endpoint)
            run.key_name, run.user_name = key.name, getpass.getuser()[:150]
            run.save()
            bar.draw(0, len(TITLES))

            def tell(row: Row) -> None:
                run.add(row)
                bar.draw(len(run.rows), len(TITLES))

            try_out(endpoint, model=model, key=key, progress=tell)
        except ProbeError as error:
            raise CommandError(str(error)) from error
        finally:
            if run.pk and len(run.rows) < len(TITLES):
                bar.clear()
                run.delete()
        run.finish(timezone.now())
        if options["json"]:
            self.stdout.write(json.dumps(_plain(run)))
        else:
            self.stdout.write("\n".join(_lines(run)))


def _plain(run: Conformance) -> dict[str, Any]:
    return {
        "endpoint": str(run.endpoint),
        "model": run.model,
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
        "rows": [told(row) for row in run.matrix()],
    }


def _lines(run: Conformance) -> list[str]:
    shown = [f"{run.endpoint} · {run.model} · {timezone.localtime(run.finished_at):%Y-%m-%d %H:%M}"]
    width = max(len(str(title)) for title in TITLES.values())
    for row in run.matrix():
        verdict = Verdict(row.verdict)
        line = f"{SYMBOLS[verdict]} {TITLES[row.name]!s:<{width}}  {verdict.label}"
        shown.append(f"{line}: {textwrap.shorten(row.said, 160)}" if row.said else line)
    return shown


def _endpoint(named: str) -> Endpoint:
    rows = Endpoint.objects.select_related("provider")
    if named.isdecimal():
        found = rows.filter(pk=int(named)).first()
    else:
        provider, _slash, wire_format = named.rpartition("/")
        found = rows.filter(provider__name=provider, format=wire_format).first()
    if found is None:
        known = ", ".join(f"{each.provider.name}/{each.format}" for each in rows.order_by("pk")[:20])
        raise CommandError(
            _("There is no endpoint %(name)s. There are: %(known)s.") % {"name": named, "known": known or "–"}
        )
    return found


def _key(endpoint: Endpoint, name: str) -> Key:
    found = endpoint.provider.keys.filter(name=name).first()
    if found is None:
        raise CommandError(
            _("%(provider)s has no key %(name)s.") % {"provider": endpoint.provider, "name": name}
        )
    return found
