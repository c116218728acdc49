"""relay/histories.py: going on, by `previous_response_id`, from an answer that came by conversion."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from relay.histories import History, input_of, items_of, with_history
from tests.relay.asks import Ask, error, events
from tests.relay.harness import House, house
from tests.relay.test_doors import sent
from tests.relay.test_stored import another

pytestmark = pytest.mark.django_db(transaction=True)
ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
WHOLE = Ask("openai_responses")


@pytest.mark.parametrize(
    ("value", "items"),
    [
        (b'"hi \\u00e9"', b'{"role":"user","content":"hi \\u00e9"}'),
        (b' [ {"a":1} , {"b":[2]} ] ', b'{"a":1},{"b":[2]}'),
        (b"[]", b""),
        (b"null", b""),
    ],
)
def test_the_items_of_an_input_stay_as_they_were_written(value: bytes, items: bytes) -> None:
    assert items_of(value) == items


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"model":"m", "input":"more","previous_response_id":"resp_1"}',
            b'{"model":"m", "input":[{"i":1},{"role":"user","content":"more"}],"previous_response_id":null}',
        ),
        (b'{"input":[],"previous_response_id":"resp_1"}', b'{"input":[{"i":1}],"previous_response_id":null}'),
        (b'{"previous_response_id":"resp_1"}', b'{"input":[{"i":1}],"previous_response_id":null}'),
    ],
)
def test_a_history_goes_before_the_input_and_nothing_else_changes(body: bytes, expected: bytes) -> None:
    made = with_history(body, History(b'{"i":1}', 0))
    assert made == expected
    assert input_of(made).startswith(b'{"i":1}')


async def answered(each: House, stream: bool, **fields: Any) -> str:
    """The id of a fresh answer."""
    ask = Ask("openai_responses", stream=stream)
    answer = await ask.send(each, **fields)
    assert answer.status_code == 200, answer.text
    if not stream:
        return str(json.loads(answer.text)["id"])
    return str(events(answer.text)[-1][1]["response"]["id"])


def keeping(each: House, seconds: float) -> None:
    """As if the operator had set RELAY_KEEP_RESPONSES."""
    object.__setattr__(each.engine.knobs, "keep_responses", seconds)


@ways
async def test_what_went_before_is_told_again_to_a_vendor_of_another_format(stream: bool) -> None:
    async with house("asgi", formats=["anthropic"], conversion="lenient") as each:
        keeping(each, 60)
        first = await answered(each, stream, input="My name is Ada.")
        second = await answered(each, stream, input="What is my name?", previous_response_id=first)
        sent = json.loads(each.vendor.requests[-1].body)["messages"]
        assert [message["role"] for message in sent] == ["user", "assistant", "user"]
        told = [message["content"] for message in sent]
        assert "Ada" in json.dumps(told[0])
        assert "Hello from the simulator." in json.dumps(told[1])
        assert "What is my name?" in json.dumps(told[2])
        await answered(each, stream, input="And now?", previous_response_id=second)
        assert len(json.loads(each.vendor.requests[-1].body)["messages"]) == 5
        await each.idle()


async def test_nobody_else_finds_it_and_an_unknown_id_is_answered_alike() -> None:
    async with house("asgi", formats=["anthropic"], conversion="lenient") as each:
        keeping(each, 60)
        name = await answered(each, False)
        asked = each.vendor.total
        stranger = await another(each, consumer="bob")
        told = []
        for secret, wanted in (
            (stranger, name), (each.secret, "resp_unknown"), (each.secret, f"resp_{'0' * 32}"),
        ):  # fmt: skip
            body = WHOLE.body(previous_response_id=wanted)
            answer = await sent(each, "POST", WHOLE.path(), {"authorization": f"Bearer {secret}"}, body)
            assert answer.status_code == 404
            told.append(error(WHOLE, answer.text)["message"].replace(wanted, "*"))
        assert len(set(told)) == 1
        assert each.vendor.total == asked


@pytest.mark.parametrize("seconds", [0, 60])
async def test_an_answer_that_nobody_holds_is_a_400_that_names_the_field_and_the_remedy(
    seconds: float,
) -> None:
    async with house("asgi", formats=["anthropic"], conversion="lenient") as each:
        keeping(each, seconds)
        name = await answered(each, False)
        each.engine.histories._kept.clear()
        asked = each.vendor.total
        answer = await WHOLE.send(each, previous_response_id=name)
        assert answer.status_code == 400
        said = error(WHOLE, answer.text)
        assert said["param"] == "previous_response_id"
        assert "in 'input'" in said["message"]
        assert ("RELAY_KEEP_RESPONSES" in said["message"]) is (seconds == 0)
        assert each.vendor.total == asked


async def test_nothing_is_kept_unless_the_operator_wants_it_or_where_the_client_does_not() -> None:
    async with house("asgi", formats=["anthropic"], conversion="lenient") as each:
        await answered(each, False)
        keeping(each, 60)
        await answered(each, False, store=False)
        assert each.engine.histories._kept == {}


async def test_after_its_time_it_is_not_found() -> None:
    async with house("asgi", formats=["anthropic"], conversion="lenient") as each:
        keeping(each, 60)
        name = await answered(each, False)
        ((place, data),) = each.engine.histories._kept.items()
        old = msgspec.structs.replace(msgspec.msgpack.decode(data, type=History), until=1.0)
        each.engine.histories._kept[place] = msgspec.msgpack.encode(old)
        assert (await WHOLE.send(each, previous_response_id=name)).status_code == 400


async def test_an_answer_in_its_own_format_is_the_vendors_to_hold() -> None:
    async with house("asgi") as each:
        keeping(each, 60)
        name = await answered(each, False)
        assert each.engine.histories._kept == {}
        await answered(each, False, previous_response_id=name)
        assert json.loads(each.vendor.requests[-1].body)["previous_response_id"] == name
