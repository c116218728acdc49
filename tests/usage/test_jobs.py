"""usage/jobs.py: what the recorder does now and then."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError

from tests.usage.journals import START, name
from usage import jobs as jobs_module
from usage.jobs import Job, Jobs, expire, expiry_jobs
from usage.models import Body, HealthBucket, StoredResponse
from usage.vitals import COARSE

NOW = datetime.fromtimestamp(START / 1000, UTC)


@pytest.mark.django_db
@pytest.mark.database
def test_rows_that_had_their_time_go_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "AT_ONCE", 3)
    for number in range(7):
        StoredResponse.objects.create(
            response_id=f"resp_{number}", created_at=NOW, expires_at=NOW + timedelta(seconds=number - 5)
        )
    assert expire(StoredResponse, NOW) is True
    assert StoredResponse.objects.count() == 4
    assert expire(StoredResponse, NOW) is False
    assert set(StoredResponse.objects.values_list("response_id", flat=True)) == {"resp_5", "resp_6"}


@pytest.mark.django_db
@pytest.mark.database
def test_the_ledgers_own_jobs_look_after_bodies_stored_responses_and_health() -> None:
    Body.objects.create(request_id=name(1), expires_at=NOW - timedelta(seconds=1))
    Body.objects.create(request_id=name(2), expires_at=NOW + timedelta(seconds=1))
    StoredResponse.objects.create(response_id="resp", created_at=NOW, expires_at=NOW - timedelta(seconds=1))
    HealthBucket.objects.create(seconds=COARSE, begins=0)
    HealthBucket.objects.create(seconds=COARSE, begins=START // 1000)
    assert [job.work(NOW) for job in expiry_jobs()] == [False, False, False]
    assert (Body.objects.count(), StoredResponse.objects.count(), HealthBucket.objects.count()) == (1, 0, 1)


def test_a_job_comes_back_when_due_at_once_if_it_has_more_and_in_spite_of_a_failure() -> None:
    stop, done = threading.Event(), threading.Event()
    heard: list[str] = []

    def more(now: datetime) -> bool:
        heard.append("more")
        return heard.count("more") < 3

    def fail(now: datetime) -> bool:
        heard.append("fail")
        if heard.count("fail") == 2 and heard.count("more") >= 3:
            done.set()
        if heard.count("fail") > 2:
            done.set()
        raise ValueError("no")

    jobs = Jobs([Job("more", 3_600, more), Job("fail", 0.05, fail)], stop=stop, clock=lambda: START / 1000)
    jobs.start()
    assert done.wait(20)
    while heard.count("more") < 3:
        assert not stop.wait(0.01)
    stop.set()
    jobs.join()
    assert heard.count("more") == 3


def test_it_gives_jobs_the_time() -> None:
    stop = threading.Event()
    heard: list[datetime] = []

    def work(now: datetime) -> bool:
        heard.append(now)
        stop.set()
        return False

    jobs = Jobs([Job("time", 1, work)], stop=stop, clock=lambda: START / 1000)
    jobs.start()
    jobs.join()
    assert heard == [NOW]


@pytest.mark.parametrize(
    ("error", "told", "traced"),
    [
        (OperationalError("locked"), "the job “bodies” waits: the database cannot: locked", False),
        (ValueError("no"), "the job “bodies” failed", True),
    ],
)
def test_a_database_that_is_away_is_told_in_a_sentence_and_a_fault_with_its_place(
    error: Exception, told: str, traced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(now: datetime) -> bool:
        raise error

    job = Job("bodies", 1, fail)
    assert Jobs([job], stop=threading.Event())._do(job) is False
    (record,) = caplog.records
    assert record.getMessage().startswith(told)
    assert bool(record.exc_info) is traced
