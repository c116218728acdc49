"""Asking an endpoint how it is (providers/probe.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from providers import probe
from providers.models import Endpoint, Key, Provider
from providers.probe import ProbeError, fetch_models
from tests.providers.listener import Answer, Listener, listening

pytestmark = pytest.mark.django_db

SECRET = "sk-canary-0123456789abcdef"


@pytest.fixture
def vendor() -> Iterator[Listener]:
    with listening(Listener()) as listener:
        yield listener


def endpoint(vendor: Listener, wire_format: str = "openai_chat", path: str = "", **fields: Any) -> Endpoint:
    """An endpoint at the vendor, with one key."""
    acme = Provider.objects.create(name="acme")
    key = Key(provider=acme, name="k1")
    key.set_secret(SECRET)
    key.save()
    return Endpoint.objects.create(
        **{
            "provider": acme,
            "format": wire_format,
            "base_url": vendor.url + path,
            "allow_private": True,
            **fields,
        }
    )


def says(vendor: Listener, *pages: Any, status: int = 200, **headers: str) -> None:
    """Lets the vendor answer with these JSON values, one after another."""
    left = list(pages)

    def answer(path: str) -> Answer:
        page = left.pop(0)
        return status, headers, page if isinstance(page, bytes) else json.dumps(page).encode()

    vendor.answer = answer


class TestModels:
    @pytest.mark.parametrize(
        ("wire_format", "path", "line", "header"),
        [
            ("openai_chat", "/v1", "GET /v1/models HTTP/1.1", ("authorization", f"Bearer {SECRET}")),
            ("openai_chat", "", "GET /v1/models HTTP/1.1", ("authorization", f"Bearer {SECRET}")),
            ("openai_responses", "/v1/", "GET /v1/models HTTP/1.1", ("authorization", f"Bearer {SECRET}")),
            (
                "openai_chat",
                "/api/paas/v4",
                "GET /api/paas/v4/models HTTP/1.1",
                ("accept-encoding", "identity"),
            ),
            ("anthropic", "", "GET /v1/models?limit=1000 HTTP/1.1", ("x-api-key", SECRET)),
            ("anthropic", "", "GET /v1/models?limit=1000 HTTP/1.1", ("anthropic-version", "2023-06-01")),
            ("gemini", "", "GET /v1beta/models?pageSize=1000 HTTP/1.1", ("x-goog-api-key", SECRET)),
        ],
    )
    def test_it_asks_each_format_its_own_way(
        self, vendor: Listener, wire_format: str, path: str, line: str, header: tuple[str, str]
    ) -> None:
        says(vendor, {"data": []})
        assert fetch_models(endpoint(vendor, wire_format, path)) == []
        assert vendor.lines == [line]
        assert vendor.headers[0][header[0]] == header[1]

    @pytest.mark.parametrize(
        ("pages", "names"),
        [
            ([{"data": [{"id": "b"}, {"id": "a"}, {"id": "a"}]}], ["a", "b"]),
            ([{"models": [{"name": "models/gemini-2.5-pro"}]}], ["gemini-2.5-pro"]),
            ([[{"id": "x"}, "y"]], ["x", "y"]),
            ([{"data": ["a"], "has_more": True, "last_id": "a"}, {"data": ["b"]}], ["a", "b"]),
            ([{"models": [{"name": "models/a"}], "nextPageToken": "t&x=1"}, {"models": ["b"]}], ["a", "b"]),
            ([{"data": [{"id": "../../x"}, {"id": "a?b"}, {"id": ""}, {"id": 7}, {}, None, "a/b"]}], ["a/b"]),
            ([{"data": {"not": "a list"}}], []),
            ([{"data": [{"id": "a"}], "has_more": True, "last_id": 5}], ["a"]),
        ],
    )  # fmt: skip
    def test_it_reads_every_shape_of_list(self, vendor: Listener, pages: list[Any], names: list[str]) -> None:
        says(vendor, *pages)
        assert fetch_models(endpoint(vendor)) == names

    def test_it_asks_for_the_next_page_with_the_vendor_s_own_mark(self, vendor: Listener) -> None:
        says(vendor, {"models": [], "nextPageToken": "t&x=1"}, {"models": []})
        fetch_models(endpoint(vendor, "gemini"))
        assert vendor.lines[1] == "GET /v1beta/models?pageSize=1000&pageToken=t%26x%3D1 HTTP/1.1"

    def test_a_list_without_end_is_given_up(self, vendor: Listener) -> None:
        vendor.answer = lambda path: (
            200,
            {},
            json.dumps({"data": [], "has_more": True, "last_id": "x"}).encode(),
        )
        assert fetch_models(endpoint(vendor)) == []
        assert len(vendor.lines) == probe.MOST_PAGES

    def test_an_answer_without_end_is_given_up(
        self, vendor: Listener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(probe, "MOST_BYTES", 1_000)
        says(vendor, b" " * 100_000)
        with pytest.raises(ProbeError, match="did not come to an end"):
            fetch_models(endpoint(vendor))

    def test_the_endpoint_s_own_headers_go_along_and_the_secret_wins(self, vendor: Listener) -> None:
        says(vendor, {"data": []})
        fetch_models(endpoint(vendor, headers={"X-Team": "blue"}))
        assert vendor.headers[0]["x-team"] == "blue"

    def test_it_takes_the_first_live_key_of_the_format(self, vendor: Listener) -> None:
        says(vendor, {"data": []})
        place = endpoint(vendor)
        Key.objects.update(is_active=False)
        for name, formats, priority in (
            ("other", ["gemini"], 1),
            ("late", [], 9),
            ("early", ["openai_chat"], 5),
        ):
            row = Key(provider=place.provider, name=name, formats=formats, priority=priority)
            row.set_secret(f"secret-{name}")
            row.save()
        fetch_models(place)
        assert vendor.headers[0]["authorization"] == "Bearer secret-early"


class TestResult:
    def test_a_good_endpoint_is_told_with_its_models_and_its_time(self, vendor: Listener) -> None:
        says(vendor, {"data": [{"id": "a"}, {"id": "b"}]})
        result = probe.test_endpoint(endpoint(vendor))
        assert result.ok
        assert result.sentence == "acme · OpenAI Chat answers and lists 2 models."
        assert 0 <= result.milliseconds < 15_000

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (401, "refuses the key"), (403, "refuses the key"), (402, "wants money"), (429, "throttling"),
            (404, "no list of models"), (500, "status 500"), (302, "elsewhere"), (418, "status 418"),
        ],
    )  # fmt: skip
    def test_each_refusal_has_its_sentence_and_none_has_the_vendor_s_words(
        self, vendor: Listener, status: int, words: str
    ) -> None:
        with listening(Listener()) as elsewhere:
            said = f"Bearer {SECRET} at 10.1.2.3 balance $5".encode()
            says(vendor, said, status=status, location=f"{elsewhere.url}/caught")
            result = probe.test_endpoint(endpoint(vendor))
            assert elsewhere.lines == []
        assert not result.ok
        assert words in result.sentence
        assert not any(word in result.sentence for word in ("canary", "10.1.2.3", "$5", elsewhere.url))

    @pytest.mark.parametrize("body", [b"<html>", b"", b'"text"', b"\xff\xfe", b"[" * 100_000])
    def test_what_is_no_list_is_told_as_such(self, vendor: Listener, body: bytes) -> None:
        says(vendor, body)
        result = probe.test_endpoint(endpoint(vendor))
        assert not result.ok
        assert "not with JSON" in result.sentence

    def test_a_dead_port_is_told_with_the_remedy(self, vendor: Listener) -> None:
        place = endpoint(vendor, base_url="http://127.0.0.1:1")
        assert "127.0.0.1 cannot be reached" in probe.test_endpoint(place).sentence

    def test_a_closed_address_is_not_called(self, vendor: Listener) -> None:
        place = endpoint(vendor, allow_private=False)
        assert "private address" in probe.test_endpoint(place).sentence
        place.base_url = f"http://localhost:{vendor.port}"
        assert "allow private addresses" in probe.test_endpoint(place).sentence
        assert vendor.lines == []

    def test_without_a_key_it_says_so(self, vendor: Listener) -> None:
        place = endpoint(vendor)
        Key.objects.all().delete()
        assert "acme has no live key" in probe.test_endpoint(place).sentence
        assert vendor.lines == []

    def test_a_secret_that_cannot_be_opened_is_told(self, vendor: Listener) -> None:
        place = endpoint(vendor)
        Key.objects.update(sealed="v1.gone.AAAA")
        assert "cannot be opened" in probe.test_endpoint(place).sentence
        assert vendor.lines == []
