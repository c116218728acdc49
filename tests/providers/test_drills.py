"""What a drill showed, from the rows of the ledger and from what happened to its key."""

from __future__ import annotations

from datetime import timedelta

import pytest

from providers.drillreport import report
from providers.drills import Drill
from providers.events import Condition, StateEvent
from providers.models import Key
from providers.states import event_id
from tests.pages import world
from usage.models import Outcome


@pytest.mark.django_db
def test_the_report_tells_what_the_ledger_holds() -> None:
    world.supply()
    key = Key.objects.get()
    drill = Drill.objects.create(
        fault=Drill.Fault.DEAD_PORT, key=key, starts_at=world.NOW, ends_at=world.NOW + timedelta(seconds=60)
    )
    other = key.pk + 1
    for number in range(4):  # failed over, each a second after the other
        one = world.record(number, attempt_count=2)
        world.attempt(one, 1, key_id=key.pk, reason="connect", verdict="next", total_ms=5)
        world.attempt(one, 2, key_id=other)
    lost = world.record(4, outcome=Outcome.UPSTREAM_ERROR, status_code=502)
    world.attempt(lost, 1, key_id=key.pk, reason="connect", verdict="next", total_ms=5)
    for number in (10, 20, 30):  # with the other key alone
        world.attempt(world.record(number), 1, key_id=other)
    world.attempt(world.record(75), 1, key_id=key.pk)
    for second, condition in ((-5, Condition.OPEN), (4.2, Condition.OPEN), (34, Condition.HALF_OPEN)):
        moment = world.NOW + timedelta(seconds=second)
        told = event_id(int(moment.timestamp() * 1000), f"{second}".encode())
        StateEvent.objects.create(id=told, at=moment, key=key, condition=condition)
    showed = report(drill, world.NOW + timedelta(minutes=5))
    assert (showed.requests, showed.failures, showed.failovers) == (5, 5, 4)
    assert showed.saw == (("ok", 200, 4), ("upstream_error", 502, 1))
    assert showed.ejected == pytest.approx(4.2)
    assert showed.returned == pytest.approx(15)
    assert report(drill, world.NOW + timedelta(seconds=5)).returned is None
