"""Stored Responses: an id belongs to a consumer and to the key that made it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from consumers.models import ApiKey, Consumer
from providers.models import Key
from relay import stored
from relay.engine import StoredRef
from tests.endings.kit import clean_house, gone
from tests.relay.asks import Ask, error, events
from tests.relay.harness import House, house
from tests.relay.test_doors import sent
from tests.rude import rude
from usage.models import StoredResponse

pytestmark = pytest.mark.django_db(transaction=True)

ONE, TWO = "sk-vendor-first-key-1", "sk-vendor-second-key-2"
WHOLE, STREAM = Ask("openai_responses"), Ask("openai_responses", stream=True)
PATHS = (("GET", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", ""))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A miss is final at once, where a test does not say otherwise."""
    monkeypatch.setattr(stored, "PATIENCE", 0.1)


async def made(each: House, ask: Ask = WHOLE, **more: Any) -> str:
    """The id of a new stored response."""
    answer = await ask.send(each, **more)
    assert answer.status_code == 200, answer.text
    if ask.stream:
        return str(events(answer.text)[-1][1]["response"]["id"])
    return str(answer.json()["id"])


async def another(each: House, *, consumer: str) -> str:
    """The secret of a second API key, of this consumer."""

    def issue() -> str:
        owner, _ = Consumer.objects.get_or_create(name=consumer)
        return ApiKey.issue(consumer=owner, name="second")[1]

    return await sync_to_async(issue)()


async def test_a_response_can_be_fetched_listed_and_deleted(door: str) -> None:
    async with house(door) as each:
        for ask in (WHOLE, STREAM):
            name = await made(each, ask)
            got = await each.http.get(f"/v1/responses/{name}")
            assert (got.status_code, got.json()["id"]) == (200, name)
            items = await each.http.get(f"/v1/responses/{name}/input_items?limit=5")
            assert items.json()["data"][0]["role"] == "user"
            assert each.vendor.requests[-1].query == "limit=5"
            gone = await each.http.delete(f"/v1/responses/{name}")
            assert gone.json()["deleted"] is True
            assert (await each.http.get(f"/v1/responses/{name}")).status_code == 404
        await each.idle()


async def test_reading_costs_nothing_and_leaves_a_record(door: str) -> None:
    async with house(door) as each:
        name = await made(each)
        for method, tail in PATHS:
            await each.http.request(method, f"/v1/responses/{name}{tail}")
            record = each.journal()[-1]["record"]
            assert (record["kind"], record["model_name"]) == ("stored", "sim")
            assert record["list_cost"] == record["own_cost"] == 0
            assert record["input_tokens"] == record["output_tokens"] == 0
        assert len(each.journal()) == 5


async def test_a_foreign_or_unknown_id_is_404_and_upstream_is_not_asked(door: str) -> None:
    async with house(door) as each:
        name = await made(each)
        stranger = await another(each, consumer="bob")
        colleague = await another(each, consumer="alice")
        asked = each.vendor.total
        for method, tail in PATHS:
            told = []
            for secret, wanted in ((stranger, name), (each.secret, "resp_unknown")):
                answer = await sent(
                    each, method, f"/v1/responses/{wanted}{tail}", {"authorization": f"Bearer {secret}"}
                )
                assert answer.status_code == 404
                told.append(error(WHOLE, answer.text)["message"].replace(wanted, "*"))
            assert told[0] == told[1]
        answer = await sent(
            each,
            "POST",
            WHOLE.path(),
            {"authorization": f"Bearer {stranger}"},
            WHOLE.body(previous_response_id=name),
        )
        assert answer.status_code == 404
        assert each.vendor.total == asked
        answer = await sent(each, "GET", f"/v1/responses/{name}", {"authorization": f"Bearer {colleague}"})
        assert answer.status_code == 200
        await each.idle()


async def test_a_foreign_id_is_looked_for_as_long_as_one_that_never_was(
    door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = stored._load
    looks: list[str] = []

    def counted(response_id: str, consumer_id: int) -> StoredRef | None:
        looks.append(response_id)
        return load(response_id, consumer_id)

    monkeypatch.setattr(stored, "PATIENCE", 0.2)
    monkeypatch.setattr(stored, "_load", counted)
    async with house(door) as each:
        name = await made(each)
        stranger = {"authorization": f"Bearer {await another(each, consumer='bob')}"}
        for wanted in (name, "resp_unknown"):
            answer = await sent(each, "GET", f"/v1/responses/{wanted}", stranger)
            assert answer.status_code == 404
        assert looks == [name, name, "resp_unknown", "resp_unknown"]


async def test_a_continued_response_goes_to_the_key_that_holds_it(door: str) -> None:
    async with house(door, keys=(ONE, TWO)) as each:
        each.vendor.script(["fault-500", "ok"], secret=ONE)
        name = await made(each)  # the second key answered
        assert each.vendor.requests[-1].secret == TWO
        for ask in (WHOLE, STREAM):
            following = await made(each, ask, previous_response_id=name)
            assert each.vendor.requests[-1].secret == TWO
            assert following != name
        assert (await each.http.get(f"/v1/responses/{following}")).status_code == 200
        assert each.vendor.requests[-1].secret == TWO
        each.afresh()
        await made(each)
        assert each.vendor.requests[-1].secret == ONE


async def test_a_dead_pinned_key_is_502(door: str) -> None:
    async with house(door, keys=(ONE, TWO)) as each:
        name = await made(each)

        def switch_off() -> None:
            row = Key.objects.get(name="key-1")
            row.is_active = False
            row.save()

        await sync_to_async(switch_off)()
        await each.engine._follow()
        asked = each.vendor.total
        answer = await each.http.get(f"/v1/responses/{name}")
        assert answer.status_code == 502
        assert error(WHOLE, answer.text)["message"]
        answer = await WHOLE.send(each, previous_response_id=name)
        assert answer.status_code == 502
        assert each.vendor.total == asked
        assert (await WHOLE.send(each)).status_code == 200


async def test_a_pinned_key_that_fails_is_not_followed_by_another(door: str) -> None:
    async with house(door, keys=(ONE, TWO)) as each:
        name = await made(each)
        each.vendor.script(["fault-401"], secret=ONE)
        answer = await WHOLE.send(each, previous_response_id=name)
        assert answer.status_code == 502
        assert [row["key_name"] for row in each.journal()[-1]["attempts"]] == ["key-1"]


async def test_what_the_caller_wants_forgotten_is_not_remembered(door: str) -> None:
    async with house(door) as each:
        for ask in (WHOLE, STREAM):
            name = await made(each, ask, store=False)
            assert each.journal()[-1]["stored"] is None
            assert (await each.http.get(f"/v1/responses/{name}")).status_code == 404


async def test_the_final_line_tells_the_recorder_where_a_response_lives(door: str) -> None:
    async with house(door) as each:
        name = await made(each, store=True)
        line = each.journal()[-1]
        told = line["stored"]
        assert told["response_id"] == name
        assert told["key_id"] == line["record"]["key_id"]
        assert told["endpoint_id"] == line["record"]["endpoint_id"]
        assert told["consumer_id"] == line["record"]["consumer_id"]
        assert told["expires_at"] - told["created_at"] == 30 * 24 * 3600 * 1000
        await WHOLE.send(each, model="sim")
        chat = Ask("openai_chat")
        await chat.send(each)
        assert each.journal()[-1]["stored"] is None


async def test_another_process_finds_it_in_the_table_within_a_second(
    door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "PATIENCE", 1.0)
    async with house(door) as each:
        name = await made(each)
        told = each.journal()[-1]["stored"]
        each.engine.responses.clear()
        asked = 0
        load = stored._load

        def late(response_id: str, consumer_id: int) -> StoredRef | None:
            nonlocal asked
            asked += 1
            if asked == 3:  # the recorder has written it by now
                now = timezone.now()
                StoredResponse.objects.create(
                    **{**told, "created_at": now, "expires_at": now + timedelta(days=1)}
                )
            return load(response_id, consumer_id)

        monkeypatch.setattr(stored, "_load", late)
        assert (await each.http.get(f"/v1/responses/{name}")).status_code == 200
        assert asked == 3
        assert (await each.http.get(f"/v1/responses/{name}")).status_code == 200
        assert asked == 3


async def test_an_expired_response_is_gone(door: str) -> None:
    async with house(door) as each:
        name = await made(each)
        told = each.journal()[-1]["stored"]
        each.engine.responses.clear()
        past = timezone.now() - timedelta(seconds=1)
        await StoredResponse.objects.acreate(**{**told, "created_at": past, "expires_at": past})
        assert (await each.http.get(f"/v1/responses/{name}")).status_code == 404


async def test_one_that_is_gone_upstream_reads_like_one_that_never_was(door: str) -> None:
    async with house(door) as each:
        name = await made(each)
        each.vendor.vendor.stored.clear()
        told = []
        for wanted in (name, "resp_unknown"):
            answer = await each.http.get(f"/v1/responses/{wanted}")
            assert answer.status_code == 404
            told.append(error(WHOLE, answer.text)["message"].replace(wanted, "*"))
        assert told[0] == told[1]


@pytest.mark.parametrize(("method", "tail"), PATHS)
async def test_a_client_that_leaves_takes_its_call_with_it(door: str, method: str, tail: str) -> None:
    """As of a cancel that a client sends on its way out: the vendor's side ends too, one record is left."""
    async with clean_house(door) as each:
        name = await made(each)
        each.vendor.script("fault-stall-head")
        async with rude(each.url) as client:
            headers = {"x-api-key": each.secret, **({"content-length": "0"} if method == "POST" else {})}
            await client.ask(f"/v1/responses/{name}{tail}", None, headers, method=method)
            seen = await each.vendor.wait_for(2)
            client.leave()
            await gone(seen, 0.5)
        await each.idle()
        record = (await each.settled(2))[-1]["record"]
        assert (record["outcome"], record["kind"]) == ("client_gone", "stored")
        each.vendor.script()
        assert (await each.http.get(f"/v1/responses/{name}")).status_code == 200
