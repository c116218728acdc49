"""What staff must know of the process itself without looking for it."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _, ngettext

from relay.engine import Engine

HOUR = 3600.0


def troubles(engine: Engine, now: float) -> Iterator[str]:
    """One sentence for each thing that strains the process; `now` in monotonic seconds."""
    watchdog, shedding = engine.watchdog, engine.shedding
    if shedding.pressed:
        yield _("New requests are being turned away: the server has too much to do. See the log.")
    if shedding.closing:
        yield _("Memory is short: connections are closed after their answer.")
    if now - watchdog.blocked_at < HOUR:
        yield ngettext(
            "The event loop stood still %(count)d time since the start, for %(longest)d ms at most; the log"
            " has what it did.",
            "The event loop stood still %(count)d times since the start, for %(longest)d ms at most; the log"
            " has what it did.",
            watchdog.blocked,
        ) % {"count": watchdog.blocked, "longest": watchdog.longest * 1000}
