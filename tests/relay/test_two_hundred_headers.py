"""Two hundred headers in, the exact set out: both ways, in every format, through both doors (security.md, 3,
17 to 20)."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

from aether.connections import Limits
from providers.models import Endpoint
from tests.counts import count
from tests.relay.asks import ASKS, Ask
from tests.relay.harness import House, house
from tests.relay.test_headers import (
    CREDENTIAL,
    DJANGOS,
    KEPT_HERE,
    NEVER,
    PASSED,
    PASSED_TO_ANTHROPIC,
)
from tests.relay.wires import Told, exchange

pytestmark = pytest.mark.django_db(transaction=True)

Pairs = list[tuple[str, str]]

FRAMING = {
    "host", "content-length", "content-type", "accept-encoding", "expect", "upgrade", "te", "trailer",
    "api-key", "authorization", "x-api-key", "x-goog-api-key", "content-encoding",
}  # fmt: skip
"""What the request itself needs, or would make it another one: sent by hand below."""
MORE_KEPT = (
    "proxy-authenticate", "www-authenticate", "authentication", "x-auth-token", "x-access-token",
    "x-session-token", "x-amz-security-token", "x-ms-client-principal", "x-goog-iap-jwt-assertion",
    "cf-access-jwt-assertion", "x-forwarded-authorization", "x-forwarded-user", "x-forwarded-email",
    "x-forwarded-client-cert", "x-forwarded", "x-forwarded-server", "x-forwarded-by", "x-forwarded-scheme",
    "x-forwarded-ssl", "x-forwarded-uri", "x-forwarded-prefix", "x-original-host", "x-original-forwarded-for",
    "x-envoy-external-address", "x-cluster-client-ip", "x-remote-addr", "x-remote-ip", "x-remote-user",
    "remote-user", "x-host", "x-proxy-user-ip", "wl-proxy-client-ip", "fastly-client-ip", "fly-client-ip",
    "x-azure-clientip", "x-azure-ref", "x-appengine-user-ip", "x-vercel-ip-country",
    "x-nf-client-connection-ip", "cf-connecting-ipv6", "cf-visitor", "cf-worker", "cf-ew-via",
    "cf-pseudo-ipv4", "proxy-authorization-info", "proxy", "http-proxy", "x-proxy-url", "x-wap-profile",
    "set-cookie", "set-cookie2", "cookie2", "x-openai-organization", "openai-organization-id",
    "openai-processing-ms", "openai-version", "openai-model", "x-ratelimit-limit-requests", "x-should-retry",
    "anthropic-organization-id", "anthropic-user-id", "anthropic-client-sha", "x-goog-user-project",
    "x-goog-request-params", "x-goog-authenticated-user-email", "x-google-api-key",
    "x-vertex-ai-llm-request-type", "x-ms-region", "ocp-apim-subscription-key", "helicone-auth",
    "x-portkey-api-key", "x-portkey-provider", "x-portkey-config", "x-litellm-api-key", "x-litellm-model",
    "http-referer", "x-title", "x-aether-user", "x-aether-provider", "x-aether-key", "x-aether-target",
    "x-aether-cache", "x-aether-tags", "x-aether-trace", "x-aether-debug", "x-custom-llm-provider",
    "x-model-id", "metadata-flavor", "x-aws-ec2-metadata-token", "x-google-metadata-request",
    "sec-websocket-key", "sec-websocket-protocol", "http2-settings", "alt-used", "early-data",
    "last-event-id", "x-pad",
)  # fmt: skip
VENDORS_OWN = (
    *NEVER, "set-cookie2", "x-powered-by", "x-aspnet-version", "access-control-allow-credentials",
    "access-control-allow-headers", "access-control-expose-headers", "access-control-max-age",
    "content-security-policy", "content-security-policy-report-only", "cross-origin-embedder-policy",
    "permissions-policy", "x-frame-options", "x-xss-protection", "referrer-policy", "expect-ct", "nel",
    "report-to", "reporting-endpoints", "refresh", "link", "content-location", "content-disposition",
    "content-language", "x-cache", "x-cache-hits", "age", "etag", "last-modified", "expires", "pragma",
    "vary", "warning", "cf-ray", "cf-cache-status", "cf-mitigated", "x-served-by", "x-timer",
    "x-envoy-upstream-service-time", "x-envoy-decorator-operation", "x-amzn-requestid", "x-amz-cf-id",
    "x-goog-api-key", "authorization", "x-api-key", "api-key", "cookie", "www-authenticate",
    "proxy-authenticate", "authentication-info", "openai-version", "openai-model",
    "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-requests-reset", "x-account-balance", "x-org-id", "x-credits-remaining",
    "x-upstream-key", "x-backend-server", "x-real-host", "x-accel-redirect", "x-sendfile", "x-accel-expires",
    "x-accel-charset", "sourcemap", "service-worker-allowed", "clear-site-data", "x-robots-tag",
    "x-aether-estimated", "x-aether-anything", "retry-after-ms", "date",
)  # fmt: skip
OURS = {"date", "content-type", "x-request-id", "request-id", "x-content-type-options", "cache-control"}
FORM_IDS = ("x-request-id", "request-id")


def cased(chance: random.Random, name: str) -> str:
    return "".join(chance.choice((each.upper(), each)) for each in name)


def two_hundred(chance: random.Random, secret: str) -> Pairs:
    """Headers of a client, in any order and case, those that may pass among them."""
    found = [(name, "CANARY") for name in (*KEPT_HERE, *MORE_KEPT) if name not in FRAMING]
    found += [
        *PASSED.items(),
        *PASSED_TO_ANTHROPIC.items(),
        ("connection", "keep-alive, X-Pad"),
        ("te", "trailers"),
    ]
    found += [(name, secret) for name in ("x-api-key", "api-key", "x-goog-api-key")]
    found.append(("authorization", f"Bearer {secret}"))
    found += [(name, "CANARY-TWICE") for name in ("cookie", "forwarded", "x-forwarded-for", "via")]
    found += [(f"x-noise-{number}", "CANARY") for number in range(220 - len(found))]
    chance.shuffle(found)
    return [(cased(chance, name), value) for name, value in found]


async def send(each: House, ask: Ask, headers: Pairs) -> Told:
    body = json.dumps(ask.body()).encode()
    lines = [f"POST {ask.path()} HTTP/1.1", "Host: 127.0.0.1", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return await exchange(each, "\r\n".join([*lines, "", ""]).encode("latin-1") + body)


async def test_of_two_hundred_headers_exactly_this_set_reaches_the_vendor(
    door: str, record_property: Callable[[str, object], None]
) -> None:
    def prepare(_url: str) -> None:
        Endpoint.objects.update(headers={"X-Team": "blue", "originator": "aether"})

    chance, sizes = random.Random(17), set()
    async with house(door, prepare=prepare, limits=Limits(headers=300)) as each:
        for _ in range(count(1, 10)):
            for ask in ASKS:
                headers = two_hundred(chance, each.secret)
                sizes.add(len(headers))
                assert (await send(each, ask, headers)).status == 200
                seen = each.vendor.requests[-1]
                name, value = CREDENTIAL[ask.format]
                expected = PASSED | {
                    "accept-encoding": "identity", name: value.format("sk-vendor-first-key-1"),
                    "x-team": "blue", "originator": "aether", "host": each.vendor.url.removeprefix("http://"),
                    "content-length": str(len(seen.body)),
                }  # fmt: skip
                if ask.format == "anthropic":
                    expected |= PASSED_TO_ANTHROPIC
                found = sorted((told.lower(), each_value) for told, each_value in seen.headers)
                assert found == sorted(expected.items()), str(ask)
    assert min(sizes) >= 200
    record_property("measured", f"{door}: {min(sizes)} in, 0 but the allowed ones out")


async def test_of_two_hundred_headers_exactly_this_set_reaches_the_client(
    door: str, record_property: Callable[[str, object], None]
) -> None:
    chance, sizes = random.Random(18), set()
    async with house(door, limits=Limits(headers=300)) as each:
        for ask in ASKS:
            each.vendor.script()
            await ask.send(each)
            answer = await ask.send(each)
            body, kind = answer.content, answer.headers["content-type"]
            for status in (200, 400):
                sent = vendors(chance, kind)
                sizes.add(len(sent))
                told = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}"]
                told += [f"{name}: {value}" for name, value in sent]
                each.vendor.script(raw=["\r\n".join([*told, "", ""]).encode("latin-1") + body])
                answer = await ask.send(each)
                assert answer.status_code == status, answer.text
                streamed = ask.stream and status == 200
                framing = {"transfer-encoding", "x-accel-buffering"} if streamed else {"content-length"}
                names = [name.decode().lower() for name, _ in answer.headers.raw]
                added = DJANGOS if door == "django" else set()
                assert set(names) - added == OURS | framing, (str(ask), status)
                assert len(names) == len(set(names))
                ids = {answer.headers[name] for name in FORM_IDS}
                assert len(ids) == 1
                assert "CANARY" not in repr(answer.headers.raw)
    assert min(sizes) >= 200
    record_property("measured", f"{door}: {min(sizes)} in, 0 but ours out")


def vendors(chance: random.Random, kind: str) -> Pairs:
    """Headers of a vendor's answer, in any order and case, some of them twice."""
    found = [(name, "CANARY=1; Path=/") for name in VENDORS_OWN]
    found += [
        (name, "CANARY") for name in ("x-request-id", "request-id", "cache-control", "x-content-type-options")
    ]
    found += [("set-cookie", "CANARY=2"), ("via", "1.1 CANARY"), ("location", "http://CANARY.example/")]
    found += [(f"x-noise-{number}", "CANARY") for number in range(210 - len(found))]
    found.append(("content-type", kind))
    chance.shuffle(found)
    return [(cased(chance, name), value) for name, value in found]
