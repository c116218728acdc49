"""`manage.py recorder`: brings the journals to the database. `serve` starts it as its child."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from datetime import datetime, timedelta
from functools import cache
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.utils.translation import gettext as _

from aether.boot import ensure_database, ensure_migrated
from aether.recording import appliers
from aether.supervision import READY
from changes import feed
from providers.events import StateEvent
from usage.bodies import BodyStore
from usage.jobs import Job, Jobs, expiry_jobs, outlive
from usage.recorder import AlreadyRunning, Recorder, recorder_lock
from usage.segments import forget_leftovers

LOCK_SECONDS = 30
"""How long to wait for the recorder of a server that has just ended."""
HOUR = 3600
DAY = 24 * HOUR
EVENTS_KEPT = timedelta(days=90)


class Command(BaseCommand):
    help = "Brings the journals to the database, until SIGTERM or the end of a pipe on standard input."
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        os.umask(0o077)
        stop = threading.Event()

        def end(signum: int, frame: FrameType | None) -> None:
            stop.set()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        watch_parent(stop)
        ensure_database()
        ensure_migrated()
        data = settings.AETHER_DATA_DIR
        try:
            with recorder_lock(data / "recorder.lock", seconds=LOCK_SECONDS, wait=stop.wait):
                self.record(stop)
        except AlreadyRunning:
            raise CommandError(
                _("Another recorder works on %(path)s: stop its server first.") % {"path": data}
            ) from None
        finally:
            connections.close_all()

    def record(self, stop: threading.Event) -> None:
        """Runs the recorder here and the periodic jobs in a second thread."""
        recorder = Recorder(
            settings.AETHER_DATA_DIR / "journals",
            stop=stop,
            keep_seconds=settings.RELAY_JOURNAL_KEEP_SECONDS,
            appliers=appliers(),
        )
        jobs = Jobs(periodic(), stop=stop)
        jobs.start()
        try:
            recorder.run(ready=self.tell_ready)
        finally:
            stop.set()
            jobs.join()

    def tell_ready(self) -> None:
        """Tells the parent that everything found at the start is in the database. One that died while it
        waited for this hears nothing: `watch_parent` ends us then."""
        try:
            self.stdout.write(READY)
            self.stdout.flush()
        except BrokenPipeError:
            # What waits in the buffer would be tried again, and told as an error, when the process ends.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def periodic() -> list[Job]:
    """What the second thread does, and how often."""

    @cache  # made in the jobs' own thread, whose database connection it keeps
    def store() -> BodyStore:
        return BodyStore(settings.AETHER_DATA_DIR / "bodies", cap_bytes=settings.RELAY_RECORD_CAP_BYTES)

    def store_bodies(now: datetime) -> bool:
        return store().store(round(now.timestamp() * 1000))

    def forget_changes(now: datetime) -> bool:
        feed.forget(now)
        return False

    def forget_half_made(now: datetime) -> bool:
        for name in ("journals", "bodies"):
            forget_leftovers(settings.AETHER_DATA_DIR / name, now.timestamp() - HOUR)
        return False

    return [
        Job("bodies", 1, store_bodies),
        Job("leftovers", HOUR, forget_half_made),
        Job("old changes", DAY, forget_changes),
        Job("old changes of state", HOUR, lambda now: outlive(StateEvent, now, EVENTS_KEPT)),
        *expiry_jobs(),
    ]


def watch_parent(stop: threading.Event) -> None:
    """Sets `stop` when standard input ends, if it is a pipe: then whoever started us is gone, by whatever
    death."""
    descriptor = sys.stdin.fileno()
    if not (stat.S_ISFIFO(os.fstat(descriptor).st_mode) or stat.S_ISSOCK(os.fstat(descriptor).st_mode)):
        return

    def watch() -> None:
        while os.read(descriptor, 4096):
            pass
        stop.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()
