"""Every public path goes through the desk and leaves a record; whatever is no path says so in the right
envelope."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from providers.models import Deployment, Model, Provider
from relay.routes import MODELS, ROUTES, Route, allowed_methods, is_relay_path, match
from tests.relay.asks import WHOLE, Ask, error
from tests.relay.harness import House, house
from tests.relay.wires import Told, ask as by_hand
from wire.types import SPEECH, STORED, TRANSCRIBE

MESSAGES = [{"role": "user", "content": "hello"}]
CONTENTS = [{"role": "user", "parts": [{"text": "hello"}]}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/responses": {"input": "hello"},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 10},
    "/v1/messages/count_tokens": {"messages": MESSAGES},
    "/v1/embeddings": {"input": "hello"},
    "/v1/rerank": {"query": "hello", "documents": ["a", "b"]},
    "/v1/completions": {"prompt": "hello"},
    "/v1/moderations": {"input": "hello"},
    "/v1/images/generations": {"prompt": "hello"},
    "/v1/audio/speech": {"input": "hello", "voice": "alloy"},
}
GEMINI_BODIES: dict[str, dict[str, Any]] = {
    "generateContent": {"contents": CONTENTS},
    "streamGenerateContent": {"contents": CONTENTS},
    "countTokens": {"contents": CONTENTS},
    "embedContent": {"model": "models/sim", "content": CONTENTS[0]},
    "batchEmbedContents": {"requests": [{"model": "models/sim", "content": CONTENTS[0]}]},
}
IDS = [f"{route.method} {route.path}" for route in ROUTES]


def envelope(route: Route) -> Ask:
    return Ask(route.format)


def filled(route: Route, stored: str = "resp_unknown") -> str:
    return route.path.replace("{model}", "sim").replace("{id}", stored)


async def called(http: httpx.AsyncClient, route: Route, stored: str, secret: str) -> httpx.Response:
    """One well-formed request of a route."""
    headers = {"authorization": f"Bearer {secret}", "anthropic-version": "2023-06-01"} if secret else {}
    if route.format != "anthropic":
        headers.pop("anthropic-version", None)
    content: dict[str, Any] = {}
    if route.kind == TRANSCRIBE:
        content = {"data": {"model": "sim"}, "files": {"file": ("a.wav", b"RIFF", "audio/wav")}}
    elif route.method == "POST" and route.kind != STORED:
        body = (
            GEMINI_BODIES[route.action]
            if route.format == "gemini"
            else {"model": "sim", **BODIES[route.path]}
        )
        content = {"json": body}
    return await http.request(route.method, filled(route, stored), headers=headers, **content)


@pytest.mark.django_db(transaction=True)
async def test_every_route_asks_for_an_api_key_and_leaves_one_record(door: str) -> None:
    async with house(door) as each, httpx.AsyncClient(trust_env=False, base_url=each.url) as http:
        for route in ROUTES:
            finals = len(each.journal())
            refused = await called(http, route, "resp_unknown", "")
            assert refused.status_code == 401, route
            assert error(envelope(route), refused.text)["message"], route
            unknown = await called(http, route, "resp_unknown", "sk-aether-" + "x" * 43)
            assert (unknown.status_code, stripped(unknown)) == (401, stripped(refused)), route
            assert len(each.journal()) == finals, route
            assert each.vendor.total == len(seen(each)), route

            stored = "resp_unknown"
            if route.kind == STORED:
                made = await each.http.post("/v1/responses", json={"model": "sim", "input": "hello"})
                stored = made.json()["id"]
                finals += 1
            answer = await called(http, route, stored, each.secret)
            # nothing runs in the background, so there is nothing to cancel: the vendor says so
            assert answer.status_code == (400 if route.action == "cancel" else 200), (route, answer.text)
            assert len(each.journal()) == finals + (route.kind != MODELS), route
            if route.kind != MODELS:
                record = each.journal()[-1]["record"]
                assert record["kind"] == route.kind, route
                assert record["client_format"] == route.format, route
                assert record["request_id"] == answer.headers["x-request-id"], route
                assert record["outcome"] == ("rejected" if route.action == "cancel" else "ok"), route
        await each.idle()


def stripped(answer: httpx.Response) -> Any:
    """An error without the id of its request."""
    value = answer.json()
    value.pop("request_id", None)
    return value


def seen(each: House) -> list[Any]:
    return list(each.vendor.requests)


def test_there_is_a_body_for_every_route() -> None:
    """Fails for a new route, until the inventory above knows it."""
    known = {*BODIES, "/v1/audio/transcriptions"}
    for route in ROUTES:
        if route.method == "POST" and route.kind != STORED:
            assert route.path in known or route.action in GEMINI_BODIES, route
    assert {route.kind for route in ROUTES} >= {SPEECH, STORED, TRANSCRIBE, MODELS}


@pytest.mark.django_db(transaction=True)
async def test_a_wrong_method_is_told_in_the_envelope_of_the_path(door: str) -> None:
    async with house(door) as each:
        for path in dict.fromkeys(filled(route) for route in ROUTES):
            allowed = allowed_methods(path)
            form = Ask(next(route.format for route in ROUTES if filled(route) == path))
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "PROPFIND"):
                if method in allowed:
                    continue
                told = await by_hand(each, method, path, secret="")
                assert told.status == 405, (method, path)
                assert told.headers["allow"] == ", ".join(allowed), (method, path)
                assert told.headers["x-request-id"]
                assert "access-control-allow-origin" not in told.headers
                if method != "HEAD":
                    assert error(form, told.body.decode())["message"], (method, path)
                else:
                    assert told.body == b""
        assert each.journal() == []
        assert each.vendor.total == 0


UNKNOWN = (
    # path, format of the envelope
    ("/v1", "openai_chat"), ("/v1/", "openai_chat"), ("/v1/files", "openai_chat"),
    ("/v1/batches", "openai_chat"), ("/v1/realtime", "openai_chat"), ("/v1/assistants", "openai_chat"),
    ("/v1/chat", "openai_chat"), ("/v1/chat/completions/", "openai_chat"),
    ("/v1/chat/completions/chatcmpl-1", "openai_chat"), ("/v1/audio/translations", "openai_chat"),
    ("/v1/images/edits", "openai_chat"), ("/v1/fine_tuning/jobs", "openai_chat"),
    ("/v1/Messages", "openai_chat"), ("/v1//messages", "openai_chat"), ("/v1beta", "openai_chat"),
    ("/v1beta/files", "openai_chat"), ("/v1beta/models/sim:countText", "gemini"),
    ("/v1beta/models/sim:generatecontent", "gemini"), ("/v1beta/models/sim:", "gemini"),
    ("/v1beta/cachedContents", "openai_chat"),
)  # fmt: skip


@pytest.mark.django_db(transaction=True)
async def test_an_unknown_path_is_told_as_404(door: str) -> None:
    async with house(door) as each:
        for path, form in UNKNOWN:
            told = await by_hand(each, "POST", path, body=b"{}")
            assert told.status == 404, path
            assert error(Ask(form), told.body.decode())["message"], path
            assert told.headers["x-request-id"]
        assert each.journal() == []
        assert each.vendor.total == 0


ATTACKS = (
    "/v1beta/models/..%2f..%2ffiles:generateContent",
    "/v1beta/models/..%2F..%2Ffiles:generateContent",
    "/v1beta/models/../../files:generateContent",
    "/v1beta/models/%2e%2e/files:generateContent",
    "/v1beta/models/.%2e/files:generateContent",
    "/v1beta/models/%252e%252e%252ffiles:generateContent",
    "/v1beta/models/..\\..\\files:generateContent",
    "/v1beta/models/..%5c..%5cfiles:generateContent",
    "/v1beta/models/sim%2ffiles:generateContent",
    "/v1beta/models/sim%3falt=sse:generateContent",
    "/v1beta/models/sim%23:generateContent",
    "/v1beta/models/sim%00:generateContent",
    "/v1beta/models/sim%0d%0ax-evil:%201:generateContent",
    "/v1beta/models/sim%20x:generateContent",
    "/v1beta/models//sim:generateContent",
    "/v1beta/models/sim//x:generateContent",
    "/v1beta/models/%c0%ae%c0%ae/files:generateContent",
    "/v1beta/models/s\xedm:generateContent",
    "/v1beta/models/" + "s" * 201 + ":generateContent",
    "/v1beta//models/sim:generateContent",
    "/v1beta/./models/sim:generateContent",
    "/v1/../admin/",
    "/v1/%2e%2e/admin/",
    "/v1/responses/../models",
    "/v1/responses/..%2fmodels",
    "/v1/responses/resp_1/../../files",
    "/v1/responses/resp_1%2finput_items",
    "/v1/models/..%2f..%2fadmin",
)


@pytest.mark.django_db(transaction=True)
async def test_no_path_climbs_out_of_its_place(door: str) -> None:
    body = json.dumps({"contents": CONTENTS}).encode()
    async with house(door) as each:
        for path in ATTACKS:
            for method in ("POST", "GET"):
                told = await by_hand(each, method, path, body=body if method == "POST" else b"")
                assert told.status in (400, 404), (path, told)
                assert b"<html" not in told.body.lower(), path
        assert each.vendor.total == 0
        assert each.journal() == []


@pytest.mark.django_db(transaction=True)
async def test_a_models_name_cannot_climb_either(door: str) -> None:
    async with house(door) as each:
        for name in (
            "../files",
            "a//b",
            "sim?x",
            "sim#x",
            "sim%2f",
            "sim\r\nx: y",
            "sim\x00",
            "",
            " ",
            "é",
            "x" * 201,
        ):
            for each_ask in WHOLE[:3]:
                answer = await each.http.post(
                    each_ask.path(), json=each_ask.body(model=name), headers=each_ask.headers
                )
                assert answer.status_code == 400, name
                assert "model" in error(each_ask, answer.text)["message"]
        assert each.vendor.total == 0


@pytest.mark.django_db(transaction=True)
async def test_the_colon_of_geminis_verb_may_come_escaped(door: str) -> None:
    body = json.dumps({"contents": CONTENTS}).encode()
    async with house(door) as each:
        for colon in (":", "%3A", "%3a"):
            told: Told = await by_hand(each, "POST", f"/v1beta/models/sim{colon}generateContent", body=body)
            assert told.status == 200, told
            assert each.vendor.requests[-1].path == "/v1beta/models/sim:generateContent"


@pytest.mark.django_db(transaction=True)
async def test_gemini_is_served_under_v1_too(door: str) -> None:
    async with house(door) as each:
        answer = await each.http.post("/v1/models/sim:generateContent", json={"contents": CONTENTS})
        assert answer.status_code == 200
        assert each.vendor.requests[-1].path == "/v1/models/sim:generateContent"


def test_a_path_of_the_relay_is_known_by_its_beginning() -> None:
    assert [
        path for path in ("/v1", "/v1/", "/v1/x", "/v1beta", "/v1beta/x") if not is_relay_path(path)
    ] == []
    others = ("/", "/v1x", "/v10/x", "/admin/", "/v1betax", "/healthz", "/V1/models", "")
    assert [path for path in others if is_relay_path(path)] == []


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_a_route_matches_its_own_path_and_method(route: Route) -> None:
    found = match(route.method, filled(route))
    assert found is not None
    assert found.route == route
    assert found.name == (
        "sim" if "{model}" in route.path else "resp_unknown" if "{id}" in route.path else ""
    )
    assert match("PUT", filled(route)) is None


def test_a_name_with_slashes_and_colons_is_one_model() -> None:
    found = match("POST", "/v1beta/models/vendor/model:free:generateContent")
    assert found is not None
    assert (found.name, found.route.action) == ("vendor/model:free", "generateContent")


@pytest.mark.django_db(transaction=True)
async def test_moderation_may_leave_out_the_model(door: str) -> None:
    def prepare(_url: str) -> None:
        usual = Model.objects.create(name="omni-moderation-latest", price_input=1, price_output=1)
        Deployment.objects.create(model=usual, provider=Provider.objects.get(), upstream_name="sim")

    async with house(door, prepare=prepare) as each:
        for body, sent in (
            (b'{"input":"hello"}', b'{"model":"sim","input":"hello"}'),
            (b'{"input":"hello","model":null}', b'{"input":"hello","model":"sim"}'),
            (b'{ "input" : ["a", "b"] }', b'{"model":"sim", "input" : ["a", "b"] }'),
        ):
            answer = await each.http.post(
                "/v1/moderations", content=body, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 200, answer.text
            assert each.vendor.requests[-1].body == sent
            assert each.journal()[-1]["record"]["model_name"] == "omni-moderation-latest"


@pytest.mark.django_db(transaction=True)
async def test_moderation_of_nothing_is_refused_by_the_vendor(door: str) -> None:
    def prepare(_url: str) -> None:
        usual = Model.objects.create(name="omni-moderation-latest", price_input=1, price_output=1)
        Deployment.objects.create(model=usual, provider=Provider.objects.get(), upstream_name="sim")

    async with house(door, prepare=prepare) as each:
        answer = await each.http.post("/v1/moderations", json={})
        assert answer.status_code == 400
        assert each.vendor.requests[-1].body == b'{"model":"sim"}'
