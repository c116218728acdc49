from __future__ import annotations

import pytest

from wire import FORMATS
from wire.types import Brief
from wire.urls import join, model_path, without_key

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("https://api.openai.com/v1", CHAT, "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1/", CHAT, "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com", CHAT, "https://api.openai.com/v1/chat/completions"),
        ("http://127.0.0.1:9000", "/v1/messages", "http://127.0.0.1:9000/v1/messages"),
        ("http://127.0.0.1:9000/v1", "/v1/messages", "http://127.0.0.1:9000/v1/messages"),
        ("https://x.test/anthropic", "/v1/messages", "https://x.test/anthropic/v1/messages"),
        ("https://x.test/api/paas/v4", CHAT, "https://x.test/api/paas/v4/chat/completions"),
        ("https://g.test/v1beta/openai", CHAT, "https://g.test/v1beta/openai/chat/completions"),
        ("https://x.test/openai/v1", "/v1/responses/resp_1", "https://x.test/openai/v1/responses/resp_1"),
        ("https://v1.test", CHAT, "https://v1.test/v1/chat/completions"),
        ("https://x.test/v1x", CHAT, "https://x.test/v1x/v1/chat/completions"),
        ("https://x.test/v2alpha1", "/v1beta/models/a:b", "https://x.test/v2alpha1/models/a:b"),
    ],
)
def test_a_version_in_both_is_not_doubled(base: str, path: str, expected: str) -> None:
    assert join(base, path) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ""),
        ("beta=true", "beta=true"),
        ("key=secret", ""),
        ("alt=sse&key=secret", "alt=sse"),
        ("key=a&alt=sse&key=b", "alt=sse"),
        ("%6bey=secret&alt=sse", "alt=sse"),
        ("k%65y=secret", ""),
        ("+key=x", "+key=x"),
        ("monkey=1&keys=2", "monkey=1&keys=2"),
        ("key", ""),
        ("a=key", "a=key"),
        ("x=%2F&y=+", "x=%2F&y=+"),
    ],
)
def test_a_credential_never_goes_on_in_the_query(query: str, expected: str) -> None:
    assert without_key(query) == expected
    address = join("https://x.test", CHAT, query)
    assert address == "https://x.test/v1/chat/completions" + (f"?{expected}" if expected else "")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o", "gpt-4o"),
        ("org/m@1:x", "org/m@1:x"),
        ("a?b", "a%3Fb"),
        ("a#b", "a%23b"),
        ("a%2e", "a%252e"),
    ],
)
def test_a_model_in_a_path_stays_in_its_segment(model: str, expected: str) -> None:
    assert model_path(model) == expected


@pytest.mark.parametrize("name", ["openai_chat", "openai_responses", "anthropic"])
def test_where_the_body_names_the_model_the_path_is_the_clients(name: str) -> None:
    url = FORMATS[name].upstream_url(
        "https://x.test/v1", Brief(model="a"), model="b", path="/v1/y", query="z=1"
    )
    assert url == "https://x.test/v1/y?z=1"
