"""Runs of conformance in the background of a page: a thread that keeps each row as it comes."""

from __future__ import annotations

import logging
import threading

from django.db import Error, connection
from django.utils import timezone

from providers.conformance import LONGEST, Conformance, Row, Verdict
from providers.corpus import TITLES
from providers.models import Deployment, Endpoint
from providers.probe import ProbeError, live_key
from providers.trying import try_out

logger = logging.getLogger(__name__)


class Busy(Exception):
    """This endpoint is being tried out already."""


def models_of(endpoint: Endpoint) -> list[str]:
    """The vendor's names of the models that are deployed there, live ones first."""
    rows = Deployment.objects.filter(provider=endpoint.provider_id).order_by("-is_active", "pk")
    names = [each.upstream_name for each in rows if not each.formats or endpoint.format in each.formats]
    return list(dict.fromkeys(names))


def begin(endpoint: Endpoint, *, model: str, user_name: str) -> Conformance:
    """Starts a run in a thread of its own. Raises Busy, and ProbeError where there is no key."""
    now = timezone.now()
    Conformance.objects.filter(
        endpoint=endpoint, finished_at__isnull=True, started_at__lt=now - LONGEST
    ).delete()
    if Conformance.objects.filter(endpoint=endpoint, finished_at__isnull=True).exists():
        raise Busy
    key = live_key(endpoint)
    run = Conformance.objects.create(
        endpoint=endpoint, model=model, key_name=key.name, user_name=user_name[:150]
    )
    threading.Thread(target=_in_thread, args=(run.pk,), name=f"conformance-{run.pk}", daemon=True).start()
    return run


def _in_thread(number: int) -> None:
    try:
        carry_out(number)
    except Error:
        # With the database away nothing can be told; the run counts as dead once its time is over.
        logger.exception("the conformance run %s was lost", number)
    finally:
        connection.close()


def carry_out(number: int) -> None:
    """Carries out a run that stands in its table, and finishes it, whatever happens."""
    run = Conformance.objects.select_related("endpoint__provider").get(pk=number)
    try:
        try_out(run.endpoint, model=run.model, progress=run.add)
    except ProbeError as error:
        _rest(run, str(error))
    except Exception:
        _rest(run, "it failed inside the relay; its log says why")
        logger.exception("the conformance run %s failed", number)
    finally:
        run.finish(timezone.now())


def _rest(run: Conformance, why: str) -> None:
    """Says of all that was not tried why."""
    done = {name for name, *_ in run.rows}
    for name in TITLES:
        if name not in done:
            run.add(Row(name, Verdict.UNTRIED, why))
