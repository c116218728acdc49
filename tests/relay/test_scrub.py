"""What an upstream says is read by others only without its secrets, places and sums."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from providers.rules import REMOVED
from providers.scrub import CAP, scrub
from tests.relay.asks import ASKS
from tests.relay.harness import house

SECRET = "sk-own-0123456789abcdef"
BASE = "https://eu.api.vendor.example:8443/v1"

GOES = (
    # what stands in a text, what must not be left of it
    (f"Incorrect API key provided: {SECRET}.", SECRET),
    ("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc", "eyJ"),
    ("key sk-proj-abc_DEF-123456789 refused", "abc_DEF"),
    ("key sk-ant-api03-AAAABBBBCCCC refused", "AAAABBBB"),
    ("Incorrect API key provided: sk-ab12****************wxyz.", "wxyz"),
    ("key AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY not valid", "AIza"),
    ("gsk_abcdefghijklmnop is wrong", "abcdefgh"),
    ("xai-ABCDEFGHIJ is wrong", "ABCDEFGHIJ"),
    ("token 0123456789abcdef0123456789abcdef0123456789abcdef", "0123456789abcdef0123"),
    ("see https://internal.vendor.example/keys?id=7 for more", "internal.vendor"),
    ("connect to 10.0.0.7:8080 failed", "10.0.0.7"),
    ("connect to [fd00::1]:8080 failed", "fd00"),
    ("upstream eu.api.vendor.example:8443 is gone", "eu.api.vendor"),
    ("upstream EU.API.VENDOR.EXAMPLE is gone", "VENDOR"),
    ("node gpu-7.cluster.local answered", "gpu-7"),
    ("node gpu-7.prod.svc:9000 answered", "gpu-7"),
    ("in organization org-Yu8pTMWbwQ0jvts on requests", "Yu8p"),
    ("Project `proj_9KoeXdtHe0YQ` has no access", "9Koe"),
    ("Your balance is $12.34", "12.34"),
    ("balance: -0.02 USD", "0.02"),
    ("remaining credits: 1,234.50", "1,234"),
    ("余额 balance ¥99", "99"),
    ("quota left 100000", "100000"),
)
ODD = "Plain~Secret.1/2"
"""A secret that only its value gives away, in each spelling."""
SPELT = (
    f"you sent {ODD} to us",
    r"you sent Plain~Secret.1\/2 to us",
    r"you sent Plain\u007eSecret.1\u002F2 to us",
    "you sent Plain%7ESecret.1%2f2 to us",
)
STAYS = (
    "prompt is too long: 210000 tokens > 200000 maximum",
    "max_tokens: 32000 > 4096, the maximum allowed number of output tokens for claude-3-opus-20240229",
    "The model `gpt-9` does not exist or you do not have access to it.",
    "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
    "messages.1.content.0.type: Field required",
    "Invalid 'messages[0].role': 'robot'. Supported values are: 'system', 'user'.",
)


@pytest.mark.parametrize(("text", "canary"), GOES, ids=[text[:40] for text, _ in GOES])
def test_it_takes_out_secrets_places_and_sums(text: str, canary: str) -> None:
    told = scrub(text, SECRET, base_url=BASE)
    assert canary not in told
    assert REMOVED in told


@pytest.mark.parametrize("text", SPELT)
def test_it_knows_our_secret_however_it_is_escaped(text: str) -> None:
    assert scrub(text, ODD) == f"you sent {REMOVED} to us"


def test_it_takes_out_a_secret_that_was_cut_off_at_the_end() -> None:
    assert scrub("you sent Plain~Secr", ODD) == f"you sent {REMOVED}"
    assert scrub("you sent Plain~", ODD) == f"you sent {REMOVED}"
    assert scrub("so it is Plain", ODD) == "so it is Plain"


def test_it_takes_out_addresses_whose_slashes_are_escaped() -> None:
    assert scrub(r'{"at":"https:\/\/vendor.example\/v1\/chat?id=7"}') == f'{{"at":"{REMOVED}"}}'


@pytest.mark.parametrize("text", STAYS)
def test_it_leaves_what_helps_the_caller(text: str) -> None:
    assert scrub(text, SECRET, base_url=BASE) == text


def test_it_caps_at_two_kilobytes() -> None:
    assert len(scrub("a b " * 10_000)) == CAP


def test_it_replaces_what_databases_refuse() -> None:
    assert scrub("a\x00b\ud800c") == "a\ufffdb?c"


@settings(deadline=None)
@given(st.text(max_size=400), st.text(min_size=8, max_size=40))
def test_no_own_secret_survives_wherever_it_stands(text: str, secret: str) -> None:
    told = scrub(f"{text}{secret}{text}", secret)
    assert secret not in told or secret in REMOVED or secret in scrub(text + text)


@settings(deadline=None)
@given(st.text())
def test_it_never_fails_and_always_yields_what_can_be_stored(text: str) -> None:
    told = scrub(text, SECRET, base_url=BASE)
    assert "\x00" not in told
    told.encode("utf-8")


@pytest.mark.parametrize("base", ["", "not a url", "http://[::1]:8000/v1", "http://x"])
def test_any_base_url_will_do(base: str) -> None:
    assert scrub("hello", SECRET, base_url=base) == "hello"


CANARIES = ("sk-vendor-first-key-1", "10.0.0.7", "12.34", "127.0.0.1")
PLAYS = (
    "400",
    "401",
    "402",
    "403",
    "404",
    "408",
    "413",
    "422",
    "429",
    "429-quota",
    "500",
    "502",
    "503",
    "529",
)


@pytest.mark.django_db(transaction=True)
async def test_what_a_vendor_echoes_reaches_neither_client_nor_journal_nor_log(
    door: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "aether")
    async with house(door, keys=("sk-vendor-first-key-1", "sk-vendor-first-key-12")) as each:
        for play in PLAYS:
            each.vendor.script([f"fault-{play}.leak"])
            for ask in ASKS:
                each.afresh()
                answer = await ask.send(each)
                assert answer.status_code >= 400
                for canary in CANARIES:
                    assert canary not in answer.text, f"{ask} {play}"
                    assert canary not in str(answer.headers), f"{ask} {play}"
        await each.idle()
        texts = [row["error_text"] for final in each.journal() for row in final["attempts"]]
        written = b"".join(file.read_bytes() for file in each.data_dir.rglob("*") if file.is_file())
    assert len(texts) >= len(PLAYS) * len(ASKS)
    assert all(REMOVED in text for text in texts)
    for canary in CANARIES[:3]:
        assert canary.encode() not in written
        assert canary not in caplog.text
