"""What the supply side's fields may hold (providers/checks.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from hypothesis import example, given, strategies as st
from yarl import URL

from providers import checks


def refusal(check: Callable[[Any], None], value: Any) -> str:
    """What a check says against `value`; "" where it lets it pass."""
    try:
        check(value)
    except ValidationError as error:
        return " ".join(error.messages)
    return ""


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "https://api.openai.com/v1/",
        "http://127.0.0.1:9000",
        "http://localhost:9000/v1",
        "http://localhost.",
        "http://[::1]:8080/v1",
        "https://[2001:db8::1]",
        "https://bücher.example/v1",
        "https://xn--bcher-kva.example/v1",
        "https://api.example.com:8443/openai/deployments/gpt-4o",
        "HTTPS://API.EXAMPLE.COM",
        "http://vllm_gpu:8000",
        "https://a.b/c/v1beta",
        "http://1e100.net",
    ],
)
def test_a_base_url_may_be(url: str) -> None:
    assert refusal(checks.check_base_url, url) == ""


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("", "Give an address"),
        (None, "Give an address"),
        (7, "Give an address"),
        ("api.openai.com/v1", "Begin"),
        ("ftp://example.com", "Begin"),
        ("file:///etc/passwd", "Begin"),
        ("gopher://127.0.0.1:6379/_x", "Begin"),
        ("javascript:alert(1)", "Begin"),
        ("//example.com", "Begin"),
        ("http:/example.com", "Begin"),
        ("https://user:pass@example.com", "user name"),
        ("https://user@example.com", "user name"),
        ("https://@example.com", "user name"),
        ("https://example.com#@internal", "#"),
        ("https://example.com/#", "#"),
        ("https://example.com/?", "?"),
        ("https://example.com/?api-version=1", "?"),
        ("https://example.com\\@internal", "backslashes"),
        ("https:\\\\example.com", "backslashes"),
        ("https://example.com/a b", "blanks"),
        (" https://example.com", "blanks"),
        ("https://example.com ", "blanks"),
        ("https://exam\tple.com", "blanks"),
        ("https://exam\nple.com", "blanks"),
        ("https://example.com\r\nHost: internal", "blanks"),
        ("https://example.com\x00", "blanks"),
        ("https://example.com\x7f", "blanks"),
        ("https://example.com\u2028", "blanks"),
        ("https://exa\u00a0mple.com", "blanks"),
        ("https://example.com\ufeff", "blanks"),
        ("https://", "host"),
        ("https:///v1", "host"),
        ("https://:443/v1", "host"),
        ("https://example.com:", "port"),
        ("https://example.com:0", "port"),
        ("https://example.com:65536", "port"),
        ("https://example.com:http", "port"),
        ("https://example.com:-1", "port"),
        ("https://example.com:80:80", "port"),
        ("https://example..com", "spelling"),
        ("https://-example.com", "spelling"),
        ("https://xn--/", "spelling"),
        ("https://" + "a" * 64 + ".com", "spelling"),
        ("https://" + ".".join(["abcdefghij"] * 30), "spelling"),
        ("https://ex!ample.com", "spelling"),
        ("https://ex%61mple.com", "percent"),
        ("https://example.com/%2e%2e/admin", "percent"),
        ("https://example.com/a/../b", ".."),
        ("https://example.com/./b", "."),
        ("https://example.com//b", "//"),
        ("http://2130706433", "decimal numbers"),
        ("http://127.1", "decimal numbers"),
        ("http://0177.0.0.1", "decimal numbers"),
        ("http://0x7f.0.0.1", "decimal numbers"),
        ("http://0x7f000001", "decimal numbers"),
        ("http://127.0.0.1.", "decimal numbers"),
        ("http://①②⑦.⓪.⓪.①", "decimal numbers"),
        ("http://127。0。0。1", "decimal numbers"),
        ("http://256.256.256.256", "decimal numbers"),
        ("http://[::1", "IPv6"),
        ("http://[::1]x", "IPv6"),
        ("http://[fe80::1%25eth0]", "IPv6"),
        ("http://[not-an-address]", "IPv6"),
        ("http://[127.0.0.1]", "IPv6"),
    ],
)  # fmt: skip
def test_a_base_url_may_not_be_and_the_message_names_the_remedy(url: Any, remedy: str) -> None:
    assert remedy in refusal(checks.check_base_url, url)


@given(st.from_regex(r"https?://[\x00-\x7fé①。]{0,40}", fullmatch=True))
@example("http://a\x0b")
@example("http://[::ffff:127.0.0.1]/")
def test_what_passes_means_the_same_host_to_the_client_that_dials(url: str) -> None:
    if refusal(checks.check_base_url, url):
        return
    parsed = URL(url)
    assert parsed.scheme in ("http", "https")
    assert parsed.user is None
    assert parsed.raw_host
    assert not parsed.query_string
    assert not parsed.fragment
    assert ".." not in parsed.raw_path


@pytest.mark.parametrize("proxy", ["", "http://proxy:3128", "http://10.0.0.1:8080", "http://proxy:3128/"])
def test_a_proxy_may_be(proxy: str) -> None:
    assert refusal(checks.check_proxy, proxy) == ""


@pytest.mark.parametrize(
    "proxy",
    [
        "https://proxy",
        "socks5://proxy",
        "http://u:p@proxy",
        "proxy:3128",
        "http://proxy/path",
        "http://proxy?x",
        None,
    ],
)
def test_a_proxy_may_not_be(proxy: Any) -> None:
    assert refusal(checks.check_proxy, proxy)


@pytest.mark.parametrize(
    "headers", [{}, {"x-team": "blue"}, {"OpenAI-Organization": "org 1\tx"}, {"x": "~!{}"}]
)
def test_headers_may_be(headers: Any) -> None:
    assert refusal(checks.check_headers, headers) == ""


@pytest.mark.parametrize(
    "headers",
    [
        None, [], "x: y", {"": "x"}, {"x y": "z"}, {"x:": "y"}, {"é": "y"}, {1: "y"}, {"x\r\ny": "z"},
        {"x": 1}, {"x": ""}, {"x": " y"}, {"x": "y "}, {"x": "a\r\nb: c"}, {"x": "a\nb"}, {"x": "a\x00b"},
        {"x": "é"}, {"x": "a" * 5000}, {"x" * 101: "y"}, {"x-a": "1", "X-A": "2"}, {"Host": "internal"},
        {"content-length": "0"}, {"Transfer-Encoding": "chunked"}, {"connection": "close"},
        {"Authorization": "Bearer x"}, {"X-Api-Key": "x"}, {"x-goog-api-key": "x"}, {"api-key": "x"},
        {"cookie": "a=b"}, {"X-Forwarded-For": "1.2.3.4"}, {"te": "trailers"}, {"expect": "100-continue"},
        {"proxy-authorization": "Basic x"}, {"accept-encoding": "gzip"}, {"upgrade": "h2c"},
    ],
)  # fmt: skip
def test_headers_may_not_be(headers: Any) -> None:
    assert refusal(checks.check_headers, headers)


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=3))
def test_headers_that_pass_can_break_no_message(headers: dict[str, str]) -> None:
    if refusal(checks.check_headers, headers) == "":
        for name, value in headers.items():
            assert not set(name + value) & set("\r\n\0")
            (name + value).encode("ascii")


@pytest.mark.parametrize("secret", ["sk-1", "!~", "x" * 4000])
def test_a_secret_may_be(secret: str) -> None:
    assert refusal(checks.check_secret, secret) == ""


@pytest.mark.parametrize(
    "secret", ["", " sk", "sk 1", "sk\n", "sk\r\nx: y", "schlüssel", "x" * 4001, None, 1]
)
def test_a_secret_may_not_be(secret: Any) -> None:
    assert refusal(checks.check_secret, secret)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            checks.check_formats,
            [[], ["anthropic", "gemini"]],
            [None, "gemini", ["x"], ["gemini", "gemini"], [1], {}],
        ),
        (checks.check_capabilities, [[], ["vision", "context_1m"]], [["x"], ["vision", "vision"], [None]]),
        (checks.check_quirks, [[], ["no_include_usage"]], [["x"], "no_include_usage"]),
    ],
)
def test_lists_hold_known_names_each_once(
    check: Callable[[Any], None], good: list[Any], bad: list[Any]
) -> None:
    assert [refusal(check, each) for each in good] == [""] * len(good)
    assert all(refusal(check, each) for each in bad)


@pytest.mark.parametrize(
    "tiers",
    [
        [],
        [{"up_to": 200_000, "input": "1.25", "output": "10"}],
        [{"up_to": 1, "input": "0"}, {"up_to": 2, "cache_write_1h": "0.000000000001"}],
        [{"up_to": 1, "input": "1"}, {"input": "2"}],
        [{"up_to": None, "reasoning": "1000000"}],
    ],
)
def test_tiers_may_be(tiers: Any) -> None:
    assert refusal(checks.check_tiers, tiers) == ""


@pytest.mark.parametrize(
    "tiers",
    [
        None, {}, [1], [{"input": "1"}, {"up_to": 5, "input": "1"}], [{"up_to": 0, "input": "1"}],
        [{"up_to": -1, "input": "1"}], [{"up_to": True, "input": "1"}], [{"up_to": "5", "input": "1"}],
        [{"up_to": 5.0, "input": "1"}], [{"up_to": 5, "input": "1"}, {"up_to": 5, "input": "1"}],
        [{"up_to": 6, "input": "1"}, {"up_to": 5, "input": "1"}], [{"up_to": 5}],
        [{"up_to": 5, "input": 1.25}],
        [{"up_to": 5, "input": "-1"}], [{"up_to": 5, "input": "1e3"}], [{"up_to": 5, "input": "NaN"}],
        [{"up_to": 5, "input": ""}], [{"up_to": 5, "request": "1"}], [{"up_to": 5, "input": "1000000.1"}],
        [{"up_to": 5, "input": "0.0000000000001"}], [{"up_to": 5, "input": "١"}],
    ],
)  # fmt: skip
def test_tiers_may_not_be(tiers: Any) -> None:
    assert refusal(checks.check_tiers, tiers)


@pytest.mark.parametrize("check", [checks.check_fees, checks.check_tier_factors])
def test_fees_and_factors_are_amounts_by_name(check: Callable[[Any], None]) -> None:
    assert [
        refusal(check, each) for each in ({}, {"web_search": "0.01"}, {"flex": "0.5", "priority": "2"})
    ] == [""] * 3
    wrong: list[Any] = [None, [], {"": "1"}, {"a b": "1"}, {"x": 1}, {"x": 0.5}, {"x": "-1"}, {1: "1"}]
    assert all(refusal(check, each) for each in wrong)
