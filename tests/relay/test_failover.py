"""A target that fails before the first meaningful frame is followed by the next: the client sees one clean
answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from providers.models import Deployment, Endpoint, Key, Model, Provider
from simulator import ports
from simulator.compose import TEXT
from tests.relay.asks import ASKS, STREAMED, WHOLE, Ask, ends, error, openers, text
from tests.relay.harness import BASES, House, house

pytestmark = pytest.mark.django_db(transaction=True)

ONE, TWO = "sk-vendor-first-key-1", "sk-vendor-second-key-2"
KEYS = (ONE, TWO)

ANYWHERE = {
    "fault-401": "key_refused",
    "fault-402": "out_of_money",
    "fault-403": "not_permitted",
    "fault-403-model": "not_permitted",
    "fault-404": "unsupported",
    "fault-404-path": "unsupported",
    "fault-408": "timeout_status",
    "fault-429": "throttled",
    "fault-429.retry-7": "throttled",
    "fault-429-quota": "out_of_money",
    "fault-400-billing": "out_of_money",
    "fault-400-key": "key_refused",
    "fault-500": "server_error",
    "fault-502": "server_error",
    "fault-503": "overloaded",
    "fault-504": "timeout_status",
    "fault-529": "overloaded",
    "fault-html": "html",
    "fault-html-502": "server_error",
    "fault-empty": "empty",
    "fault-error-overloaded": "overloaded",
    "fault-error-rate": "throttled",
    "fault-error-auth": "key_refused",
    "fault-error-billing": "out_of_money",
    "fault-error-server": "server_error",
    "fault-reset-head": "reset",
    "fault-close-head": "reset",
    "fault-garbage": "bad_frame",
    "fault-swap": "wrong_type",
    "fault-body-reset": "reset",
}
ONLY_STREAMED = {
    "fault-truncated.after-0": "empty",
    "fault-truncated.after-1": "truncated",
    "fault-bad-json": "bad_frame",
    "fault-cut.after-0": "truncated",
    "fault-reset.after-0": "truncated",
}
ONLY_WHOLE = {
    "fault-done-only": "empty",
    "fault-truncated": "bad_frame",
    "fault-bad-json": "bad_frame",
    "fault-length-long": "truncated",
    "fault-cut": "truncated",
}


async def one_clean_answer(each: House, ask: Ask, label: str) -> str:
    """Asks; returns the request's id."""
    answer = await ask.send(each)
    assert answer.status_code == 200, f"{label}: {answer.text}"
    assert text(ask, answer.text) == TEXT, label
    assert openers(ask, answer.text) == 1, label
    assert ends(ask, answer.text), label
    return answer.headers["x-request-id"]


def second_after(final: dict[str, Any], reason: str, label: str) -> None:
    """Checks the record of a request that the second key answered."""
    record, attempts = final["record"], final["attempts"]
    assert [row["reason"] for row in attempts] == [reason, ""], label
    assert [row["verdict"] for row in attempts] == ["next", "ok"], label
    assert [row["key_name"] for row in attempts] == ["key-1", "key-2"], label
    assert (record["outcome"], record["status_code"], record["attempt_count"]) == ("ok", 200, 2), label
    assert (record["key_name"], record["input_tokens"], record["output_tokens"]) == ("key-2", 2, 40), label
    assert attempts[0]["output_tokens"] == 0, label
    assert attempts[0]["error_text"], label


async def test_the_next_key_answers_whatever_the_first_one_says(door: str) -> None:
    expected: dict[str, tuple[str, str]] = {}
    async with house(door, keys=KEYS) as each:
        for ask in ASKS:
            for play, reason in (ANYWHERE | (ONLY_STREAMED if ask.stream else ONLY_WHOLE)).items():
                label, meant = f"{ask}, {play}", reason
                if play == "fault-swap" and ask.path().endswith("Content"):
                    meant = "bad_frame"  # both are JSON: an array here, an object there
                if play == "fault-truncated.after-1" and ask.format == "gemini":
                    continue  # there is no opener: the first frame holds text
                each.afresh()
                each.vendor.script([play], secret=ONE)
                expected[await one_clean_answer(each, ask, label)] = (meant, label)
        await each.idle()
        finals = {final["record"]["request_id"]: final for final in each.journal()}
    assert set(finals) == set(expected)
    for request, (reason, label) in expected.items():
        second_after(finals[request], reason, label)


async def test_a_chat_stream_of_nothing_but_its_end_is_empty(door: str) -> None:
    async with house(door, keys=KEYS) as each:
        for ask in (Ask("openai_chat", stream=True), Ask("anthropic", stream=True)):
            each.afresh()
            each.vendor.script(["fault-done-only"], secret=ONE)
            await one_clean_answer(each, ask, str(ask))
            second_after(each.journal()[-1], "empty", str(ask))
        each.vendor.script(["fault-done-only"], secret=TWO)
        answer = await Ask("openai_chat", stream=True).send(each)
        assert answer.status_code == 502
        assert (await each.settled(3))[-1]["record"]["own_cost"] == 0


async def test_an_endpoint_that_is_not_there_is_followed_by_the_next(door: str) -> None:
    with ports.refused() as refused, ports.unanswered() as silent:

        def prepare(_url: str) -> None:
            for name, port, priority in (("gone", refused, 1), ("silent", silent, 2)):
                provider = Provider.objects.create(name=name, priority=priority)
                for form, base in BASES.items():
                    Endpoint.objects.create(
                        provider=provider,
                        format=form,
                        base_url=f"http://127.0.0.1:{port}{base}",
                        allow_private=True,
                        connect_timeout=0.1,
                    )
                key = Key(provider=provider, name="k")
                key.set_secret(f"sk-{name}-0123456789")
                key.save()
                Deployment.objects.create(
                    model=Model.objects.get(name="sim"), provider=provider, upstream_name="sim"
                )

        async with house(door, prepare=prepare) as each:
            for number, ask in enumerate(ASKS, 1):
                each.afresh()
                answer = await ask.send(each)
                assert answer.status_code == 200, answer.text
                assert text(ask, answer.text) == TEXT
                final = (await each.settled(number))[-1]
                assert [row["reason"] for row in final["attempts"]] == ["connect", "connect_timeout", ""]
                assert [row["phase"] for row in final["attempts"][:2]] == ["connect", "connect"]
                assert not final["attempts"][0]["maybe_billed"]
            await each.idle()


async def test_a_silent_vendor_is_given_up_in_time(door: str) -> None:
    knobs = {
        "first_byte_timeout": 0.15,
        "whole_first_byte_timeout": 0.15,
        "first_event_timeout": 0.15,
    }
    async with house(door, keys=KEYS, knobs=knobs) as each:
        for ask in (*WHOLE[:2], *STREAMED):
            each.afresh()
            each.vendor.script(["fault-stall-head"], secret=ONE)
            await one_clean_answer(each, ask, f"{ask}, no head")
            second_after(each.journal()[-1], "first_byte_timeout", f"{ask}, no head")
            assert each.journal()[-1]["attempts"][0]["maybe_billed"]
        for ask in STREAMED:
            each.afresh()
            each.vendor.script(["fault-stall-first"], secret=ONE)
            await one_clean_answer(each, ask, f"{ask}, no event")
            second_after(each.journal()[-1], "first_event_timeout", f"{ask}, no event")
        await each.idle()


async def test_an_endpoint_has_timeouts_of_its_own(door: str) -> None:
    def prepare(_url: str) -> None:
        Endpoint.objects.filter(format="openai_chat").update(first_byte_timeout=0.1)
        Endpoint.objects.filter(format="anthropic").update(first_event_timeout=0.1)

    async with house(door, keys=KEYS, prepare=prepare) as each:
        each.vendor.script(["fault-stall-head"], secret=ONE)
        await one_clean_answer(each, Ask("openai_chat"), "whole")
        second_after(each.journal()[-1], "first_byte_timeout", "whole")
        each.vendor.script(["fault-stall-first"], secret=ONE)
        await one_clean_answer(each, Ask("anthropic", stream=True), "streamed")
        second_after(each.journal()[-1], "first_event_timeout", "streamed")
        await each.idle()


CALLERS = {
    "fault-400": 400,
    "fault-400-context": 400,
    "fault-400-policy": 400,
    "fault-400-parameter": 400,
    "fault-413": 413,
    "fault-422": 422,
    "fault-error-invalid": 400,
}


async def test_the_callers_own_fault_is_passed_on_at_once(door: str) -> None:
    expected: dict[str, tuple[int, str]] = {}
    async with house(door, keys=KEYS) as each:
        for ask in ASKS:
            for play, status in CALLERS.items():
                if ask == Ask("openai_responses", stream=True) and play == "fault-error-invalid":
                    continue  # a bare `error` event without a code does not tell whose fault it is
                each.vendor.script([play], secret=ONE)
                answer = await ask.send(each)
                label = f"{ask}, {play}"
                assert answer.status_code == status, label
                assert error(ask, answer.text)["message"], label
                expected[answer.headers["x-request-id"]] = (status, label)
        assert each.vendor.total == len(expected)
        finals = each.journal()
    assert len(finals) == len(expected)
    for final in finals:
        record = final["record"]
        status, label = expected[record["request_id"]]
        assert (record["outcome"], record["status_code"]) == ("rejected", status), label
        assert record["list_cost"] == record["own_cost"] == 0, label
        assert [(row["verdict"], row["reason"]) for row in final["attempts"]] == [("pass_on", "caller")], (
            label
        )


async def test_the_vendors_own_error_object_is_passed_on_scrubbed(door: str) -> None:
    async with house(door, keys=KEYS) as each:
        for ask in ASKS:
            each.vendor.script(["fault-400-context"], secret=ONE)
            answer = await ask.send(each)
            told = answer.json()["error"]
            assert "128000" in told["message"] or "200000" in told["message"]
            if ask.format == "openai_chat":
                assert told["code"] == "context_length_exceeded"
            each.vendor.script(["fault-400.leak"], secret=ONE)
            leaked = await ask.send(each)
            assert leaked.status_code == 400
            for canary in (ONE, "10.0.0.7", "12.34", "127.0.0.1"):
                assert canary not in leaked.text, (str(ask), canary)
            assert "malformed" in leaked.text
        journal = str(each.journal()) + str(each.journal("attempt_end"))
        for canary in (ONE, "10.0.0.7", "12.34"):
            assert canary not in journal


LAST = {
    # play -> status for openai, anthropic, gemini
    "fault-401": (502, 502, 502),
    "fault-402": (502, 502, 502),
    "fault-403-model": (502, 502, 502),
    "fault-404": (404, 404, 404),
    "fault-408": (504, 504, 504),
    "fault-429": (429, 429, 429),
    "fault-500": (502, 502, 502),
    "fault-503": (503, 529, 503),
    "fault-504": (504, 504, 504),
    "fault-529": (503, 529, 503),
    "fault-html": (502, 502, 502),
    "fault-error-overloaded": (503, 529, 503),
    "fault-error-rate": (429, 429, 429),
    "fault-swap": (502, 502, 502),
    "fault-redirect": (502, 502, 502),
    "fault-gzip-bomb.bytes-2000000": (502, 502, 502),
}


async def test_when_all_fail_the_client_is_told_in_its_own_format(door: str) -> None:
    expected: dict[str, tuple[int, str]] = {}
    async with house(door, keys=KEYS) as each:
        for ask in ASKS:
            for play, statuses in LAST.items():
                each.afresh()
                each.vendor.script([f"{play}.leak" if play[6:].isdigit() else play])
                answer = await ask.send(each)
                label = f"{ask}, {play}"
                status = statuses[{"anthropic": 1, "gemini": 2}.get(ask.format, 0)]
                assert answer.status_code == status, label
                told = error(ask, answer.text)
                assert ONE not in answer.text, label
                assert "127.0.0.1" not in answer.text, label
                assert told["message"], label
                if ask.format == "gemini":
                    assert told["code"] == status, label
                expected[answer.headers["x-request-id"]] = (status, label)
        await each.idle()
        records = [final["record"] for final in each.journal()]
    assert len(records) == len(expected)
    for record in records:
        status, label = expected[record["request_id"]]
        assert (record["outcome"], record["status_code"]) == ("upstream_error", status), label
        assert record["list_cost"] == 0, label
        assert record["explanation"]["targets"], label


async def test_a_redirect_is_never_followed_and_ends_the_search(door: str) -> None:
    async with house(door, keys=KEYS) as each:
        for ask in ASKS:
            each.vendor.script(["fault-redirect"], secret=ONE)
            asked = each.vendor.total
            answer = await ask.send(each)
            assert answer.status_code == 502
            assert "elsewhere" not in answer.text
            assert "location" not in answer.headers
            assert each.vendor.total == asked + 1
        assert {final["attempts"][0]["reason"] for final in each.journal()} == {"redirect"}


async def test_the_least_retry_after_is_kept_when_every_key_is_throttled(door: str) -> None:
    async with house(door, keys=KEYS) as each:
        for ask in ASKS:
            each.afresh()
            each.vendor.script(["fault-429.retry-30"], secret=ONE)
            each.vendor.script(["fault-429.retry-7"], secret=TWO)
            answer = await ask.send(each)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "7"), str(ask)
        each.afresh()
        each.vendor.script(["fault-429.retry-date"])
        each.vendor.script(secret=ONE)
        each.vendor.script(secret=TWO)
        answer = await WHOLE[0].send(each)
        assert 28 <= int(answer.headers["retry-after"]) <= 31
        each.afresh()
        each.vendor.script(["fault-429"])
        assert (await WHOLE[0].send(each)).headers["retry-after"] == "30"


async def test_a_sole_key_is_tried_once_more_after_a_server_error_and_only_then(door: str) -> None:
    async with house(door) as each:
        for number, (plays, reasons, status) in enumerate(
            (
                (["fault-500", "ok"], ["server_error", ""], 200),
                (["fault-close-head", "ok"], ["reset", ""], 200),
                (["fault-500", "fault-503", "ok"], ["server_error", "overloaded"], 503),
                (["fault-401", "ok"], ["key_refused"], 502),
                (["fault-429", "ok"], ["throttled"], 429),
                (["fault-404", "ok"], ["unsupported"], 404),
            ),
            1,
        ):
            each.afresh()
            each.vendor.script(plays)
            answer = await WHOLE[0].send(each)
            assert answer.status_code == status, plays
            final = (await each.settled(number))[-1]
            assert [row["reason"] for row in final["attempts"]] == reasons, plays


async def test_what_the_vendor_says_of_an_unsupported_request_reaches_the_caller(door: str) -> None:
    said = {
        "error": {
            "message": "model: this-model does not support images",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    }
    async with house(door, keys=KEYS) as each:
        each.vendor.script(
            body=[json.dumps(said).encode()],
            status=400,
            headers={"content-type": "application/json"},
            then="keep",
        )
        answer = await WHOLE[0].send(each)
        assert answer.status_code == 400
        assert each.vendor.total == 2
        assert "does not support images" in error(WHOLE[0], answer.text)["message"]


async def test_a_client_that_left_gets_no_second_attempt(door: str) -> None:
    async with house(door, keys=KEYS) as each:
        each.vendor.script(["wait-300.fault-500"], secret=ONE)
        leaving = asyncio.create_task(WHOLE[0].send(each))
        await each.vendor.wait_for(1)
        leaving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leaving
        (final,) = await each.settled()
        assert final["record"]["outcome"] == "client_gone"
        assert len(final["attempts"]) == 1
        await each.idle()
        assert each.vendor.total == 1


def beside(name: str, base: str, **fields: Any) -> Callable[[str], None]:
    """Puts a provider before the ordinary one, at `base` (`{port}` is the simulator's)."""

    def prepare(url: str) -> None:
        provider = Provider.objects.create(name=name, priority=1)
        Endpoint.objects.create(
            provider=provider,
            format="openai_chat",
            base_url=base.format(port=url.rpartition(":")[2]),
            **{"allow_private": True, **fields},
        )
        key = Key(provider=provider, name="k")
        key.set_secret(f"sk-{name}-0123456789")
        key.save()
        Deployment.objects.create(model=Model.objects.get(name="sim"), provider=provider, upstream_name="sim")

    return prepare


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        ("http://nobody.invalid/v1", "dns"),
        ("https://127.0.0.1:{port}/v1", "tls"),
    ],
)
async def test_a_name_or_a_certificate_that_fails_is_followed_by_the_next(
    door: str, base: str, reason: str
) -> None:
    async with house(door, prepare=beside("first", base)) as each:
        for number, ask in enumerate((Ask("openai_chat"), Ask("openai_chat", stream=True)), 1):
            each.afresh()
            answer = await ask.send(each)
            assert text(ask, answer.text) == TEXT
            attempts = (await each.settled(number))[-1]["attempts"]
            assert [row["reason"] for row in attempts] == [reason, ""]
            assert attempts[0]["phase"] == "connect"
            assert not attempts[0]["maybe_billed"]
        await each.idle()


async def test_a_closed_address_behind_a_name_is_never_reached_and_ends_the_search(door: str) -> None:
    base = "http://localhost:{port}/v1"
    async with house(door, prepare=beside("first", base, allow_private=False)) as each:
        answer = await Ask("openai_chat").send(each)
        assert answer.status_code == 502
        told = error(Ask("openai_chat"), answer.text)["message"]
        assert "127.0.0.1" not in told
        assert "localhost" not in told
        (final,) = await each.settled()
        assert [row["reason"] for row in final["attempts"]] == ["blocked_address"]
        assert each.vendor.total == 0
