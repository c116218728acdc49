"""What commands share: a progress bar, and instants and API keys as arguments."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from datetime import UTC, datetime

from django.core.management.base import CommandError
from django.utils.translation import gettext as _

from consumers.models import PREFIX, SHOWN, ApiKey

BAR = 40


class ProgressBar:
    """How much is done, on one line of standard error; nothing where that is no terminal."""

    def __init__(self, *, wanted: bool = True) -> None:
        self._shown = wanted and sys.stderr.isatty()
        self._percent = -1

    def draw(self, done: int, of: int) -> None:
        """Draws `done` of `of`, and ends the line when all is done."""
        percent = 100 * done // of
        if not self._shown or percent == self._percent:
            return
        self._percent = percent
        filled = BAR * done // of
        end = "\n" if done == of else ""
        sys.stderr.write(f"\r[{'#' * filled}{'.' * (BAR - filled)}] {percent:3d} %{end}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Makes room for a line of text; the bar comes back with the next `draw`."""
        if self._shown and self._percent >= 0:
            self._percent = -1
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def instant(text: str) -> datetime:
    """An ISO 8601 instant from the command line, UTC where it names no zone. Raises ArgumentTypeError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(
            _("“%(text)s” is not an instant such as 2026-11-22T10:00:00+00:00.") % {"text": text}
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def one_api_key(given: str) -> ApiKey:
    """The API key that begins so. Raises CommandError where there is none, or more than one."""
    begins = given.strip().rstrip("….").removeprefix(PREFIX)[:SHOWN]
    known = (
        list(ApiKey.objects.filter(prefix__startswith=begins).select_related("consumer")[:6])
        if begins
        else []
    )
    if len(known) == 1:
        return known[0]
    if not known:
        raise CommandError(
            _("No API key begins with “%(prefix)s”: the list of API keys shows how each begins.")
            % {"prefix": given}
        )
    named = ", ".join(f"{each.consumer} / {each}" for each in known[:5])
    raise CommandError(
        _("Several API keys begin with “%(prefix)s”: %(names)s. Give more of it.")
        % {"prefix": given, "names": named}
    )
