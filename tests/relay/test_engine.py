"""The engine reads its feed of changes to the end, keeps its place where it could not, and ends requests in
order."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from changes import feed
from changes.models import Change
from consumers.models import ApiKey
from providers import catalog
from providers.models import Model
from relay.http1 import Connection
from tests.relay.asks import STREAMED, WHOLE
from tests.relay.harness import house

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine looks when the test says so."""
    monkeypatch.setattr("relay.engine.POLL", 3600.0)


def flood() -> None:
    """An import of thousands of rows, and what matters behind them all."""
    Change.objects.bulk_create(
        Change(kind="budget", object_id=str(each)) for each in range(2 * feed.BATCH + 7)
    )
    ApiKey.objects.filter(name="laptop").update(is_active=False)
    Model.objects.filter(name="sim").update(name="renamed")


async def test_one_look_reads_a_flood_of_changes_to_its_end() -> None:
    async with house("asgi") as each:
        assert (await WHOLE[0].send(each)).status_code == 200
        await sync_to_async(flood)()
        await each.engine._follow()
        assert (await WHOLE[0].send(each)).status_code == 401
        assert each.engine.catalog.model("sim") is None
        assert each.engine.catalog.model("renamed") is not None


async def test_changes_whose_catalog_could_not_be_built_are_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away() -> catalog.Catalog:
        raise OperationalError("the database is away")

    async with house("asgi") as each:
        await sync_to_async(flood)()
        with monkeypatch.context() as patch:
            patch.setattr(catalog, "build", away)
            with pytest.raises(OperationalError):
                await each.engine._follow()
        assert each.engine.catalog.model("renamed") is None
        await each.engine._follow()
        assert each.engine.catalog.model("renamed") is not None


async def test_an_interruption_in_the_moment_a_piece_arrives_is_told_to_the_client(
    door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = Connection.data_received
    async with house(door) as each:

        def interrupting(connection: Connection, data: bytes) -> None:
            received(connection, data)
            each.engine.interrupt("shutdown", [ctx for ctx in each.engine.sending if ctx.ring is not None])

        monkeypatch.setattr(Connection, "data_received", interrupting)
        each.vendor.script("chunks-40.delay-20")
        answer = await STREAMED[0].send(each, "sim")
        assert "The server is going down" in answer.text
        await each.idle()
        (final,) = await each.settled()
        assert (final["record"]["outcome"], final["record"]["error_code"]) == ("interrupted", "shutdown")
