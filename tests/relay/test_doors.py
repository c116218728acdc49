"""Who is let in, what may be asked for, and how a refusal reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from consumers.models import ApiKey, Consumer
from providers.models import Deployment, Endpoint, Key, Model, Provider
from simulator.compose import TEXT
from tests.relay.asks import ASKS, STREAMED, WHOLE, Ask, error, text
from tests.relay.harness import BASES, House, house
from tests.relay.wires import ask as by_hand

pytestmark = pytest.mark.django_db(transaction=True)

CHAT = WHOLE[0]


async def issued(name: str, **fields: Any) -> str:
    """The secret of a new API key of alice's."""

    def issue() -> str:
        return ApiKey.issue(consumer=Consumer.objects.get(name="alice"), name=name, **fields)[1]

    return await sync_to_async(issue)()


async def sent(
    each: House, method: str, path: str, headers: Mapping[str, str], body: Any = None
) -> httpx.Response:
    """One request with these headers and no other credential."""
    request = each.http.build_request(method, path, json=body)
    del request.headers["x-api-key"]
    request.headers.update(headers)
    return await each.http.send(request)


async def bare(each: House, ask: Ask, headers: Mapping[str, str], query: str = "") -> httpx.Response:
    """Asks with these headers and no other credential."""
    path = ask.path()
    if query:
        path += ("&" if "?" in path else "?") + query
    return await sent(each, "POST", path, {**ask.headers, **headers}, ask.body())


async def bare_model(each: House, ask: Ask, secret: str, model: str) -> httpx.Response:
    """Asks for a model with this API key."""
    return await sent(each, "POST", ask.path(model), {**ask.headers, "x-api-key": secret}, ask.body(model))


# Credentials


async def test_every_format_takes_the_key_wherever_a_client_puts_it(door: str) -> None:
    async with house(door) as each:
        for ask in WHOLE:
            for headers in (
                {"authorization": f"Bearer {each.secret}"},
                {"authorization": f"bearer {each.secret}"},
                {"x-api-key": each.secret},
                {"api-key": each.secret},
                {"x-goog-api-key": each.secret},
                {"authorization": f"Bearer {each.secret}", "x-api-key": each.secret},
                {"authorization": "Basic dXNlcjpwYXNz", "x-api-key": each.secret},
            ):
                answer = await bare(each, ask, headers)
                assert answer.status_code == 200, (str(ask), list(headers))


async def test_a_key_in_the_query_is_taken_on_geminis_paths_and_goes_no_further(
    door: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with house(door) as each:
        for ask in (WHOLE[3], *STREAMED[3:]):
            for query in (f"key={each.secret}", f"a=b&key={each.secret}&c=d"):
                answer = await bare(each, ask, {}, query)
                assert answer.status_code == 200, answer.text
                seen = each.vendor.requests[-1]
                assert "key" not in seen.query
                assert ("a=b&c=d" in seen.query) == ("a=b" in query)
        listed = await sent(each, "GET", f"/v1beta/models?key={each.secret}", {})
        assert listed.status_code == 200
        assert (await bare(each, CHAT, {}, f"key={each.secret}")).status_code == 401
        answer = await bare(each, CHAT, {"x-api-key": each.secret}, f"x=1&key={each.secret}")
        assert (answer.status_code, each.vendor.requests[-1].query) == (200, "x=1")
        written = b"".join(file.read_bytes() for file in each.data_dir.rglob("*") if file.is_file())
        assert each.secret.encode() not in written
        assert each.secret not in caplog.text


async def test_two_different_keys_are_refused(door: str) -> None:
    other = "sk-aether-" + "x" * 43
    async with house(door) as each:
        for ask in WHOLE:
            answer = await bare(each, ask, {"authorization": f"Bearer {each.secret}", "x-api-key": other})
            assert answer.status_code == 400
            assert "two different API keys" in error(ask, answer.text)["message"]
        answer = await bare(each, WHOLE[3], {"x-goog-api-key": each.secret}, f"key={other}")
        assert answer.status_code == 400
        assert each.vendor.total == 0
        assert each.journal() == []


async def test_every_refusal_of_a_key_reads_the_same(door: str) -> None:
    async with house(door) as each:
        now = timezone.now()
        off = await issued("off", is_active=False)
        old = await issued("old", expires_at=now - timedelta(seconds=1))
        foreign = Consumer(name="bob", is_active=False)
        await foreign.asave()
        bobs = await sync_to_async(ApiKey.issue)(consumer=foreign, name="x")
        values = (
            "x",
            "sk-aether-" + "x" * 43,
            off,
            old,
            bobs[1],
            "'; DROP TABLE",
            "x" * 19 + "!",
            "x" * 5000,
            "short",
        )
        for ask in WHOLE:
            told = set()
            for value in values:
                answer = await bare(each, ask, {"authorization": f"Bearer {value}"})
                body = {**answer.json()}
                body.pop("request_id", None)
                names = tuple(sorted(set(answer.headers) - {"content-length"}))
                told.add((answer.status_code, json.dumps(body), names))
            assert len(told) == 1, told
            (status, _, names), *_ = told
            assert status == 401
            assert "www-authenticate" not in names
        assert each.journal() == []
        assert each.vendor.total == 0


async def test_a_key_may_be_bound_to_networks(door: str) -> None:
    async with house(door) as each:
        away = await issued("away", allowed_networks=["10.0.0.0/8"])
        here = await issued("here", allowed_networks=["127.0.0.0/8", "::1/128"])
        assert (await bare(each, CHAT, {"x-api-key": here})).status_code == 200
        for ask in WHOLE:
            answer = await bare(each, ask, {"x-api-key": away})
            assert answer.status_code == 403
            assert "address" in error(ask, answer.text)["message"]


# What may be asked for


def two_models(_url: str) -> None:
    provider = Provider.objects.get(name="vendor")
    other = Model.objects.create(name="simile", aliases=["simile-latest"], price_input=1, price_output=2)
    Deployment.objects.create(model=other, provider=provider, upstream_name="sim.out-3")
    Model.objects.filter(name="sim").update(aliases=["sim-latest", "vendor/sim"])


async def test_an_unknown_model_is_404_with_names_like_it(door: str) -> None:
    async with house(door, prepare=two_models) as each:
        for ask in ASKS:
            answer = await ask.send(each, model="simm")
            assert answer.status_code == 404
            message = error(ask, answer.text)["message"]
            assert "'simm'" in message
            assert "sim" in message.partition("Did you mean")[2]
        answer = await CHAT.send(each, model="nothing-like-it-at-all")
        assert "GET /v1/models" in answer.json()["error"]["message"]
        assert error(CHAT, answer.text)["code"] == "model_not_found"
        assert {final["record"]["outcome"] for final in each.journal()} == {"rejected"}
        assert each.vendor.total == 0


async def test_an_alias_is_the_model(door: str) -> None:
    async with house(door, prepare=two_models) as each:
        for ask in ASKS:
            for name in ("sim-latest", "vendor/sim"):
                answer = await ask.send(each, model=name)
                assert text(ask, answer.text) == TEXT, str(ask)
                assert each.journal()[-1]["record"]["model_name"] == "sim"
                body = json.loads(each.vendor.requests[-1].body)
                assert body.get("model", "sim") == "sim"
        assert {seen.path for seen in each.vendor.requests if "models" in seen.path} == {
            "/v1beta/models/sim:generateContent",
            "/v1beta/models/sim:streamGenerateContent",
        }


async def test_a_model_out_of_reach_reads_like_one_that_is_not_there(door: str) -> None:
    async with house(door, prepare=two_models) as each:
        allowed = await sync_to_async(lambda: Model.objects.get(name="simile").pk)()
        narrow = await issued("narrow", allowed_models=[allowed])
        for ask in ASKS:
            for name in ("sim", "simil", "sim-latest"):
                answer = await bare_model(each, ask, narrow, name)
                assert answer.status_code == 404
                told = error(ask, answer.text)["message"]
                assert told.startswith(f"There is no model '{name}' here. ")
                hint = told.removeprefix(f"There is no model '{name}' here. ")
                known = ("Did you mean simile?", "Did you mean simile-latest?", "Did you mean ")
                assert hint.startswith(("GET /v1/models", *known))
                assert "sim-latest" not in hint
                assert " sim?" not in hint
            assert (await bare_model(each, ask, narrow, "simile")).status_code == 200
        hidden = await bare_model(each, CHAT, narrow, "sim-latest")
        assert hidden.status_code == 404


async def test_the_lists_of_consumer_and_key_are_intersected(door: str) -> None:
    async with house(door, prepare=two_models) as each:

        def prepare() -> tuple[str, str]:
            sim, simile = (Model.objects.get(name=name).pk for name in ("sim", "simile"))
            bob = Consumer.objects.create(name="bob", allowed_models=[sim])
            both = ApiKey.issue(consumer=bob, name="both", allowed_models=[sim, simile])[1]
            none = ApiKey.issue(consumer=bob, name="none", allowed_models=[simile])[1]
            return both, none

        both, none = await sync_to_async(prepare)()
        assert (await bare_model(each, CHAT, both, "sim")).status_code == 200
        assert (await bare_model(each, CHAT, both, "simile")).status_code == 404
        assert (await bare_model(each, CHAT, none, "sim")).status_code == 404
        assert (await bare_model(each, CHAT, none, "simile")).status_code == 404


async def test_a_format_that_is_not_allowed_is_403(door: str) -> None:
    async with house(door) as each:
        narrow = await issued("narrow", allowed_formats=["anthropic"])
        for ask in ASKS:
            answer = await bare(each, ask, {"x-api-key": narrow})
            assert answer.status_code == (200 if ask.format == "anthropic" else 403), str(ask)
            if ask.format != "anthropic":
                assert "format" in error(ask, answer.text)["message"]


async def test_a_model_may_be_kept_to_formats(door: str) -> None:
    def prepare(_url: str) -> None:
        Model.objects.update(allowed_formats=["gemini"])

    async with house(door, prepare=prepare) as each:
        for ask in WHOLE:
            assert (await ask.send(each)).status_code == (200 if ask.format == "gemini" else 403)


async def test_a_format_without_an_endpoint_names_those_that_are_served(door: str) -> None:
    async with house(door, formats=("anthropic",)) as each:
        answer = await CHAT.send(each)
        assert answer.status_code == 404
        assert "anthropic" in error(CHAT, answer.text)["message"]


async def test_a_key_may_be_bound_to_providers(door: str) -> None:
    def prepare(url: str) -> None:
        provider = Provider.objects.create(name="other", priority=500)
        for form, base in BASES.items():
            Endpoint.objects.create(provider=provider, format=form, base_url=url + base, allow_private=True)
        key = Key(provider=provider, name="k")
        key.set_secret("sk-other-0123456789")
        key.save()
        Deployment.objects.create(model=Model.objects.get(name="sim"), provider=provider, upstream_name="sim")

    async with house(door, prepare=prepare) as each:
        other = await sync_to_async(lambda: Provider.objects.get(name="other").pk)()
        narrow = await issued("narrow", allowed_providers=[other])
        for number, ask in enumerate(WHOLE, 1):
            assert (await bare(each, ask, {"x-api-key": narrow})).status_code == 200
            assert (await each.settled(number))[-1]["record"]["provider_name"] == "other"
        # A change of the list is obeyed, whatever was planned before.
        vendor = await sync_to_async(lambda: Provider.objects.get(name="vendor").pk)()

        def change() -> None:
            row = ApiKey.objects.get(name="narrow")
            row.allowed_providers = [vendor]
            row.save()

        await sync_to_async(change)()
        await each.engine._follow()
        assert (await bare(each, CHAT, {"x-api-key": narrow})).status_code == 200
        assert (await each.settled(5))[-1]["record"]["provider_name"] == "vendor"


async def test_nobody_in_service_is_503_and_says_when_to_come_back(door: str) -> None:
    def prepare(_url: str) -> None:
        Key.objects.update(is_active=False)

    async with house(door, prepare=prepare) as each:
        for ask in ASKS:
            answer = await ask.send(each)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert error(ask, answer.text)["message"]
        explanation = each.journal()[0]["record"]["explanation"]
        assert explanation["skipped"][0]["reason"] == "key disabled"


# Prices


async def test_a_model_without_a_price_is_served_and_flagged(door: str) -> None:
    async with house(door, price={}) as each:
        for number, ask in enumerate(ASKS, 1):
            assert (await ask.send(each)).status_code == 200
            record = (await each.settled(number))[-1]["record"]
            assert (record["unpriced"], record["list_cost"]) == (True, None)
            assert record["output_tokens"] == 40


async def test_a_model_without_a_price_may_be_refused(door: str) -> None:
    async with house(door, price={}, knobs={"unpriced": "refuse"}) as each:
        for ask in ASKS:
            answer = await ask.send(each)
            assert answer.status_code == 400
            assert "price" in error(ask, answer.text)["message"]
        assert each.vendor.total == 0


async def test_where_unpriced_is_refused_a_deployment_without_a_price_is_not_tried(door: str) -> None:
    def prepare(url: str) -> None:
        provider = Provider.objects.create(name="priced", priority=500)
        Endpoint.objects.create(
            provider=provider, format="openai_chat", base_url=f"{url}/v1", allow_private=True
        )
        key = Key(provider=provider, name="k")
        key.set_secret("sk-priced-0123456789")
        key.save()
        Deployment.objects.create(
            model=Model.objects.get(name="sim"),
            provider=provider,
            upstream_name="sim",
            price_input=1,
            price_output=2,
        )

    async with house(door, price={}, knobs={"unpriced": "refuse"}, prepare=prepare) as each:
        assert (await CHAT.send(each)).status_code == 200
        (final,) = await each.settled()
        assert final["record"]["provider_name"] == "priced"
        assert len(final["attempts"]) == 1


# Bodies


def broken() -> Iterator[tuple[str, bytes]]:
    """Bodies that are no JSON request in any format. `{}` stands for the ordinary fields."""
    yield "nothing", b""
    yield "no JSON", b"hello"
    yield "half", b'{"model":"sim"'
    yield "an array", b"[]"
    yield "a string", b'"sim"'
    yield "null", b"null"
    yield "two values", b'{"model":"sim"}{"model":"sim"}'
    yield "a byte order mark", b'\xef\xbb\xbf{"model":"sim"}'
    yield "UTF-16", '{"model":"sim"}'.encode("utf-16")
    yield "not UTF-8", b'{"model":"sim","x":"\xff"}'
    yield "NaN", b'{"model":"sim","x":NaN}'
    yield "Infinity", b'{"model":"sim","x":-Infinity}'
    yield "a trailing comma", b'{"model":"sim",}'
    yield "a comment", b'{"model":"sim"/* x */}'
    yield "single quotes", b"{'model':'sim'}"
    yield "a raw line break", b'{"model":"sim","x":"a\nb"}'
    yield "depth", b'{"model":"sim","x":' + b"[" * 64 + b"]" * 64 + b"}"
    yield "great depth", b'{"model":"sim","x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    yield "model twice", b'{"model":"sim","model":"other"}'
    yield "model twice, escaped", b'{"model":"sim","mod\\u0065l":"other"}'
    yield "stream twice", b'{"model":"sim","stream":false,"stream":true}'
    yield "max_tokens twice", b'{"model":"sim","max_tokens":1,"max_tokens":100000}'
    yield "n twice", b'{"model":"sim","n":1,"n":100}'
    yield "stream_options twice", b'{"model":"sim","stream_options":null,"stream_options":{}}'


async def test_a_body_that_parsers_might_read_differently_is_400_in_every_format(door: str) -> None:
    async with house(door) as each:
        for label, content in broken():
            for ask in ASKS:
                answer = await each.http.post(
                    ask.path(), content=content, headers={**ask.headers, "content-type": "application/json"}
                )
                assert answer.status_code == 400, (label, str(ask), answer.text)
                assert error(ask, answer.text)["message"], label
        assert each.vendor.total == 0
        assert {final["record"]["outcome"] for final in each.journal()} == {"rejected"}
        await each.idle()


async def test_what_is_valid_json_passes_however_odd(door: str) -> None:
    odd = (
        b'"x":1e400', b'"x":' + b"9" * 5000, b'"x":"\\ud800"', b'"x":"\\u0000"', b'"x":-0',
        b'"x":"\xe2\x80\xa8"', b'"x":' + b"[" * 60 + b"]" * 60, b'"tools":[],"tools":[]', b'"":""',
        b'"x":"' + b"a" * 300_000 + b'"',
    )  # fmt: skip
    async with house(door) as each:
        each.vendor.script(
            body=[b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}'],
            headers={"content-type": "application/json"},
            then="keep",
        )
        for field in odd:
            content = b'{"model":"sim","messages":[],' + field + b"}"
            answer = await each.http.post(
                CHAT.path(), content=content, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 200, field[:40]
            assert each.vendor.requests[-1].body == content


async def test_what_responses_cannot_do_here_is_said(door: str) -> None:
    ask = Ask("openai_responses")
    async with house(door) as each:
        wrong: list[tuple[str, Any]] = [
            ("background", True),
            ("conversation", "conv_1"),
            ("conversation", {"id": "conv_1"}),
            ("previous_response_id", 7),
        ]
        for field, value in wrong:
            answer = await ask.send(each, **{field: value})
            assert answer.status_code == 400
            told = error(ask, answer.text)
            assert told["param"] == field
            assert field in told["message"]
        assert (await ask.send(each, background=False)).status_code == 200
        assert each.vendor.total == 1


async def test_image_addresses_in_a_prompt_are_passed_on_and_not_fetched(door: str) -> None:
    async with house(door) as each:
        address = f"{each.vendor.url}/image.png"
        content = [{"type": "image_url", "image_url": {"url": address}}, {"type": "text", "text": "what?"}]
        answer = await CHAT.send(each, messages=[{"role": "user", "content": content}])
        assert answer.status_code == 200
        assert each.vendor.total == 1
        assert address.encode() in each.vendor.requests[-1].body


# Browsers


async def test_no_other_origin_is_let_in(door: str) -> None:
    preflight = {
        "origin": "https://elsewhere.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    async with house(door) as each:
        for ask in WHOLE:
            answer = await each.http.options(ask.path(), headers=preflight)
            assert answer.status_code == 405
            assert not [name for name in answer.headers if name.startswith("access-control")]
            answer = await ask.send(each, headers={"origin": "https://elsewhere.example"})
            assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_what_a_client_sends_of_itself_is_stored_without_what_databases_refuse(door: str) -> None:
    async with house(door) as each:
        told = await by_hand(
            each,
            "POST",
            CHAT.path(),
            body=json.dumps(CHAT.body("sim<script>")).encode(),
            headers=(("User-Agent", "a\tb\x80c<script>"), ("X-Request-Id", "<script>\x85")),
        )
        assert told.status == 400
        (final,) = await each.settled()
        assert final["record"]["client_request_id"] == "<script>\ufffd"
        assert final["user_agent"] == "a\ufffdb\ufffdc<script>"
