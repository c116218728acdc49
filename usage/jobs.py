"""The recorder's second thread: what is done now and then, in small transactions."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import connections, models

from usage import vitals
from usage.failures import is_transient
from usage.ids import lower_bound
from usage.models import Body, StoredResponse

log = logging.getLogger(__name__)

AT_ONCE = 500
BREATH_SECONDS = 0.05
"""Between two parts of a job that has more to do: others want the database too."""


class Job(NamedTuple):
    """Something to do each `seconds`. `work` gets the time (UTC) and tells whether there is more of it right
    now."""

    name: str
    seconds: float
    work: Callable[[datetime], bool]


class Jobs:
    """Runs jobs in a thread until `stop` is set. A job that fails is told to the log and tried again at its
    next turn. `clock` gives Unix seconds."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        stop: threading.Event,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._stop = stop
        self._clock = clock
        self._monotonic = monotonic
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def join(self) -> None:
        """Waits for its end, after `stop`."""
        self._thread.join()

    def _run(self) -> None:
        due = [self._monotonic()] * len(self._jobs)
        try:
            while self._jobs and not self._stop.is_set():
                for place, job in enumerate(self._jobs):
                    if self._monotonic() >= due[place] and not self._stop.is_set():
                        due[place] = self._monotonic() + (BREATH_SECONDS if self._do(job) else job.seconds)
                self._stop.wait(max(0.0, min(due) - self._monotonic()))
        finally:
            connections.close_all()

    def _do(self, job: Job) -> bool:
        try:
            return job.work(datetime.fromtimestamp(self._clock(), UTC))
        except Exception as error:
            if is_transient(error):
                said = " ".join(str(error).split())[:300]
                log.warning("the job “%s” waits: the database cannot: %s", job.name, said)
            else:
                log.exception("the job “%s” failed", job.name)
            connections.close_all()
            return False


def expire(model: type[models.Model], now: datetime, *, using: str = "default") -> bool:
    """Deletes a few rows whose `expires_at` has passed; tells whether there are more."""
    rows = model._default_manager.using(using)
    gone = list(rows.filter(expires_at__lt=now).order_by("expires_at").values_list("pk", flat=True)[:AT_ONCE])
    rows.filter(pk__in=gone).delete()
    return len(gone) == AT_ONCE


def outlive(model: type[models.Model], now: datetime, kept: timedelta, *, using: str = "default") -> bool:
    """Deletes a few rows whose primary key, an id of ours, tells an instant longer ago than `kept`; tells
    whether there are more."""
    rows = model._default_manager.using(using)
    old = rows.filter(pk__lt=lower_bound(now - kept)).order_by("pk")
    gone = list(old.values_list("pk", flat=True)[:AT_ONCE])
    rows.filter(pk__in=gone).delete()
    return len(gone) == AT_ONCE


def expiry_jobs(*, using: str = "default") -> list[Job]:
    """The ledger's own: stored responses, bodies and health of moments that have had their time."""
    return [
        Job("expired stored responses", 600, lambda now: expire(StoredResponse, now, using=using)),
        Job("expired bodies", 600, lambda now: expire(Body, now, using=using)),
        Job("old health", 600, lambda now: vitals.forget(now, using=using)),
    ]
