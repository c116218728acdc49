"""Which headers cross the relay."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from hypothesis import given, strategies as st

from providers.models import Endpoint
from providers.types import Target
from relay import headers as rules
from relay.errors import UpstreamFailure
from tests.relay.asks import ASKS, STREAMED, WHOLE, Ask
from tests.relay.harness import House, house
from tests.relay.targets import target

FORMATS = ("openai_chat", "openai_responses", "anthropic", "gemini")
CREDENTIAL = {
    "openai_chat": ("authorization", "Bearer {}"),
    "openai_responses": ("authorization", "Bearer {}"),
    "anthropic": ("x-api-key", "{}"),
    "gemini": ("x-goog-api-key", "{}"),
}
PASSED = {
    "accept": "application/json",
    "content-type": "application/json",
    "user-agent": "curl/8",
    "idempotency-key": "once",
    "openai-beta": "assistants=v2",
    "originator": "codex",
    "session_id": "s-1",
    "conversation_id": "c-1",
    "x-goog-api-client": "genai/1",
}
PASSED_TO_ANTHROPIC = {"anthropic-version": "2023-06-01", "anthropic-beta": "context-1m-2025-08-07"}
KEPT_HERE = (
    "authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization", "forwarded",
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-real-ip", "via",
    "x-request-id", "x-client-ip", "true-client-ip", "cf-connecting-ip", "cf-ray", "cf-ipcountry", "cdn-loop",
    "te", "trailer", "upgrade", "keep-alive", "proxy-connection", "origin", "referer", "host",
    "accept-encoding", "accept-language", "content-encoding", "content-md5", "expect", "if-none-match",
    "range", "date", "priority", "dnt", "sec-fetch-mode", "sec-fetch-site", "sec-ch-ua",
    "x-http-method-override",
    "x-original-url", "x-rewrite-url", "api_base", "base_url", "x-api-base", "x-base-url", "x-custom-host",
    "x-upstream", "x-target-url", "openai-organization", "openai-project", "x-amzn-trace-id", "traceparent",
    "tracestate", "baggage", "x-b3-traceid", "x-cloud-trace-context", "x-aether-max-cost",
    "anthropic-dangerous-direct-browser-access", "x-stainless-lang", "x-stainless-os", "x-stainless-arch",
    "x-stainless-runtime", "x-stainless-retry-count", "x-stainless-timeout", "x-csrf-token", "x-xsrf-token",
)  # fmt: skip


def pairs(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def sent_by(client: rules.Pairs, place: Target) -> dict[str, str]:
    """The headers of a request to upstream, none of them twice."""
    lines = rules.to_upstream(client, place)
    assert lines.endswith(b"\r\n")
    sent = rules.as_dict(lines)
    assert len(sent) == lines.count(b"\n")
    return sent


# Towards the vendor


@pytest.mark.parametrize("form", FORMATS)
def test_of_a_hundred_headers_exactly_the_allowed_ones_leave(form: str) -> None:
    noise = dict.fromkeys(KEPT_HERE, "CANARY") | {f"x-noise-{number}": "CANARY" for number in range(40)}
    client = pairs(noise | PASSED | PASSED_TO_ANTHROPIC)
    assert len(client) >= 100
    name, value = CREDENTIAL[form]
    expected = PASSED | {"accept-encoding": "identity", name: value.format("sk-own")}
    if form == "anthropic":
        expected |= PASSED_TO_ANTHROPIC
    assert sent_by(client, target(format=form, secret="sk-own")) == expected


def test_what_connection_names_is_hop_by_hop() -> None:
    client = [*pairs(PASSED), (b"connection", b"keep-alive, OpenAI-Beta"), (b"connection", b"originator")]
    sent = sent_by(client, target())
    assert "openai-beta" not in sent
    assert "originator" not in sent
    assert sent["idempotency-key"] == "once"


def test_the_endpoints_own_headers_win_over_the_clients() -> None:
    sent = sent_by(
        pairs(PASSED), target(headers=(("OpenAI-Beta", "ours"), ("x-team", "blue"), ("User-Agent", "aether")))
    )
    assert (sent["openai-beta"], sent["x-team"], sent["user-agent"]) == ("ours", "blue", "aether")
    assert len([name for name in sent if name.lower() == "user-agent"]) == 1


def test_the_credential_wins_over_everything() -> None:
    sent = sent_by(
        pairs(PASSED | {"authorization": "Bearer sk-client"}),
        target(secret="sk-own", headers=(("Authorization", "Bearer sk-endpoint"),)),
    )
    assert [value for name, value in sent.items() if name.lower() == "authorization"] == ["Bearer sk-own"]


@pytest.mark.parametrize("form", ["anthropic", "gemini"])
def test_an_endpoint_may_want_its_key_as_bearer(form: str) -> None:
    sent = sent_by([], target(format=form, secret="sk-own", credential_style="bearer"))
    assert sent == {"authorization": "Bearer sk-own", "accept-encoding": "identity"}


def test_what_a_converted_request_needs_is_added_to_the_endpoints_own_list() -> None:
    place = target(format="anthropic", headers=(("Anthropic-Beta", "ours"),))
    client = [(b"anthropic-beta", b"theirs"), (b"connection", b"anthropic-beta")]
    more = {"anthropic-version": "2023-06-01", "anthropic-beta": "needed"}
    sent = rules.as_dict(rules.to_upstream(client, place, more))
    assert (sent["anthropic-beta"], sent["anthropic-version"]) == ("ours, needed", "2023-06-01")
    assert rules.as_dict(rules.to_upstream(client, place))["anthropic-beta"] == "ours"
    bare = rules.to_upstream([], target(format="anthropic"), more)
    assert rules.as_dict(bare)["anthropic-beta"] == "needed"


def test_a_list_on_several_lines_goes_on_as_one() -> None:
    client = [
        (b"anthropic-beta", b"context-1m-2025-08-07"),
        (b"anthropic-beta", b"files-api-2025-04-14"),
        (b"accept", b"application/json"),
        (b"accept", b"text/event-stream"),
    ]
    sent = sent_by(client, target(format="anthropic"))
    assert sent["anthropic-beta"] == "context-1m-2025-08-07, files-api-2025-04-14"
    assert sent["accept"] == "application/json, text/event-stream"


@given(st.binary(max_size=60), st.sampled_from(sorted(PASSED)))
def test_no_line_break_or_nul_leaves_in_a_value(value: bytes, name: str) -> None:
    lines = rules.to_upstream([(name.encode(), value)], target())
    unsafe = any(mark in value for mark in b"\r\n\x00")
    assert lines == rules.to_upstream([], target()) + (
        b"" if unsafe else b"%b: %b\r\n" % (name.encode(), value)
    )


@pytest.mark.parametrize(
    "name", ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Expect", "TE"]
)
def test_what_frames_a_request_is_the_clients_alone(name: str) -> None:
    assert sent_by([], target(headers=((name, "1"), ("x-team", "blue")))).keys() == {
        "accept-encoding", "authorization", "x-team",
    }  # fmt: skip


@pytest.mark.parametrize("mark", ["\r", "\n", "\x00"])
def test_an_endpoint_whose_header_would_break_out_of_its_line_is_not_asked(mark: str) -> None:
    for broken in (
        target(headers=(("x-team", f"a{mark}b"),)),
        target(headers=((f"x{mark}y", "a"),)),
        target(secret=f"sk{mark}own"),
    ):
        for _ in range(2):
            with pytest.raises(UpstreamFailure):
                rules.to_upstream([], broken)


# Towards the client

ALLOWED_TYPES = (
    "application/json", "application/json; charset=utf-8", "text/event-stream", "audio/mpeg", "audio/x-wav",
    "image/png", "image/svg", "text/plain", "text/vtt; charset=utf-8", "application/octet-stream",
    "Application/JSON",
)  # fmt: skip
REFUSED_TYPES = (
    "text/html", "text/html; charset=utf-8", "image/svg+xml", "application/xhtml+xml", "text/xml",
    "application/javascript", "text/css", "multipart/mixed", "", "application/json\r\nset-cookie: a=b",
    "application/json; a=\x00", "application/jsonp", "audio/", "text/plain, text/html",
)  # fmt: skip


@pytest.mark.parametrize("value", [each for each in ALLOWED_TYPES if "svg" not in each])
def test_these_content_types_are_passed_on(value: str) -> None:
    assert rules.content_type(value, "fallback") == value


@pytest.mark.parametrize("value", [*REFUSED_TYPES, "image/svg"])
def test_any_other_content_type_is_replaced(value: str) -> None:
    assert rules.content_type(value, "application/json") == "application/json"


@given(st.text(max_size=80))
def test_no_line_break_or_nul_leaves_in_a_content_type(value: str) -> None:
    told = rules.content_type(value, "application/json")
    assert not set("\r\n\x00") & set(told)


def test_every_answer_of_ours_is_marked() -> None:
    told = dict(rules.own("id-1"))
    assert told[b"x-request-id"] == told[b"request-id"] == b"id-1"
    assert told[b"x-content-type-options"] == b"nosniff"
    assert dict(rules.own("id-1", stream=True))[b"x-accel-buffering"] == b"no"


# Through the doors


def sent_to(each: House) -> dict[str, str]:
    seen = each.vendor.requests[-1]
    told = {name.lower(): value for name, value in seen.headers}
    assert len(told) == len(seen.headers), "a header was sent twice"
    return told


@pytest.mark.django_db(transaction=True)
async def test_exactly_this_set_reaches_the_vendor(door: str) -> None:
    noise = {name: "CANARY" for name in KEPT_HERE if name not in CLIENTS_OWN}

    def prepare(_url: str) -> None:
        Endpoint.objects.update(headers={"X-Team": "blue", "originator": "aether"})

    async with house(door, prepare=prepare) as each:
        for ask in ASKS:
            answer = await ask.send(each, headers=noise | PASSED | PASSED_TO_ANTHROPIC)
            assert answer.status_code == 200, answer.text
            told = sent_to(each)
            name, value = CREDENTIAL[ask.format]
            expected = PASSED | {
                "accept-encoding": "identity",
                name: value.format("sk-vendor-first-key-1"),
                "x-team": "blue",
                "originator": "aether",
                "host": each.vendor.url.removeprefix("http://"),
                "content-length": told["content-length"],
            }
            if ask.format == "anthropic":
                expected |= PASSED_TO_ANTHROPIC
            assert told == expected, str(ask)


CLIENTS_OWN = (
    "host", "te", "trailer", "upgrade", "expect", "accept-encoding", "content-encoding", "x-api-key",
    "api-key",
    "authorization", "x-goog-api-key", "keep-alive", "proxy-connection",
)  # fmt: skip

OURS = {"x-request-id", "request-id", "x-content-type-options", "cache-control", "content-type", "date"}
FRAMING = {"content-length", "transfer-encoding", "x-accel-buffering"}
DJANGOS = {
    "x-frame-options", "referrer-policy", "cross-origin-opener-policy", "content-security-policy", "vary",
    "content-language",
}  # fmt: skip
NEVER = (
    "set-cookie", "server", "via", "alt-svc", "location", "strict-transport-security", "openai-organization",
    "openai-processing-ms", "anthropic-organization-id", "server-timing", "x-ratelimit-limit-requests",
    "access-control-allow-origin",
)  # fmt: skip


@pytest.mark.django_db(transaction=True)
async def test_exactly_this_set_reaches_the_client(door: str) -> None:
    async with house(door) as each:
        seen: set[str] = set()
        for play in ("ok", "fault-400", "fault-500", "fault-429.retry-3", "fault-redirect"):
            for ask in ASKS:
                each.afresh()
                each.vendor.script([play])
                answer = await ask.send(each, headers={"origin": "https://elsewhere.example"})
                names = set(answer.headers)
                allowed = OURS | FRAMING | ({"retry-after"} if answer.status_code == 429 else set())
                assert names - allowed - (DJANGOS if door == "django" else set()) == set(), f"{ask} {play}"
                assert names >= OURS
                assert not names & set(NEVER)
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert len(answer.headers.get_list("x-request-id")) == 1
                seen.add(answer.headers["x-request-id"])
        assert len(seen) == 5 * len(ASKS)
        assert {final["record"]["request_id"] for final in each.journal()} == seen
        assert not any("req_" in identifier for identifier in seen)


@pytest.mark.django_db(transaction=True)
async def test_a_clients_own_request_id_is_kept_beside_ours(door: str) -> None:
    async with house(door) as each:
        answer = await WHOLE[0].send(each, headers={"x-request-id": "mine-1"})
        (final,) = await each.settled()
        assert final["record"]["client_request_id"] == "mine-1"
        assert final["record"]["request_id"] == answer.headers["x-request-id"] != "mine-1"
        assert "x-request-id" not in sent_to(each)


@pytest.mark.django_db(transaction=True)
async def test_a_vendors_header_cannot_break_out_of_its_line(door: str) -> None:
    async with house(door) as each:
        head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json;\tx=\x01y\r\nx-request-id: a\x0bb\r\n"
            b"set-cookie: evil=1\r\nx-evil: 1\r\ncontent-length: %d\r\n\r\n"
        )
        body = b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}'
        each.vendor.script(raw=[head % len(body) + body], then="close")
        answer = await WHOLE[0].send(each)
        if answer.status_code == 200:  # the HTTP client may refuse such a head altogether
            assert answer.headers["content-type"] == "application/json"
        assert not set(answer.headers) & {"set-cookie", "x-evil"}


@pytest.mark.django_db(transaction=True)
async def test_streams_are_marked_as_not_to_be_buffered(door: str) -> None:
    async with house(door) as each:
        for ask in STREAMED:
            answer = await ask.send(each)
            assert answer.headers["x-accel-buffering"] == "no"
            assert answer.headers["cache-control"] == "no-cache"
            expected = "application/json" if ask.array else "text/event-stream"
            assert answer.headers["content-type"].partition(";")[0] == expected


@pytest.mark.django_db(transaction=True)
async def test_nothing_of_the_clients_chooses_where_a_request_goes(door: str) -> None:
    """As in CVE-2024-6587: fields and headers that name another host are inert."""
    hits = 0

    async def listener(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal hits
        hits += 1
        writer.close()

    server = await asyncio.start_server(listener, "127.0.0.1", 0)
    elsewhere = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, house(door) as each:
        for ask in WHOLE:
            more = dict.fromkeys(("api_base", "base_url", "api_url", "proxy", "custom_host"), elsewhere)
            headers = dict.fromkeys(("api_base", "x-base-url", "x-custom-host", "forwarded"), elsewhere)
            answer = await ask.send(each, headers=headers, **more)
            assert answer.status_code == 200
            answer = await each.http.post(
                ask.path() + ("&" if "?" in ask.path() else "?") + f"api_base={elsewhere}&proxy={elsewhere}",
                json=ask.body(),
                headers=ask.headers,
            )
            assert answer.status_code == 200
        assert each.vendor.total == 8
    assert hits == 0


@pytest.mark.django_db(transaction=True)
async def test_a_query_of_the_anthropic_client_passes_through(door: str) -> None:
    async with house(door) as each:
        ask = Ask("anthropic")
        await each.http.post(f"{ask.path()}?beta=true", json=ask.body(), headers=ask.headers)
        assert each.vendor.requests[-1].query == "beta=true"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "host", ["localhost", "aether:8000", "evil.example", "a b", "a,b", "localhost:999999", "é"]
)
async def test_a_host_header_does_not_matter_to_the_relay(door: str, host: str) -> None:
    async with house(door) as each, httpx.AsyncClient(trust_env=False) as http:
        headers = [(b"x-api-key", each.secret.encode()), (b"host", host.encode())]
        answer = await http.post(each.url + WHOLE[0].path(), json=WHOLE[0].body(), headers=headers)
        assert answer.status_code == 200, answer.text
        assert sent_to(each)["host"] == each.vendor.url.removeprefix("http://")
