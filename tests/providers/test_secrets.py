"""Upstream secrets at rest (providers/secrets.py)."""

from __future__ import annotations

import base64
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st
from pytest_django import Settings

from consumers.digest import digest as of_an_api_key
from providers import secrets
from providers.models import Key, Provider
from providers.secrets import Unsealable, reseal, seal, unseal

SECRET = "sk-canary-0123456789abcdef"
OLD, NEW = b"o" * 32, b"n" * 32
ROW = UUID("0198c0de-0000-7000-8000-000000000001")


def test_it_gives_back_what_was_sealed() -> None:
    assert unseal(seal(SECRET, ROW), ROW) == SECRET


@given(st.text(min_size=1, max_size=200), st.uuids())
@hypothesis_settings(max_examples=50)
def test_it_gives_back_any_text(secret: str, row: UUID) -> None:
    try:
        secret.encode()
    except UnicodeEncodeError:
        return
    assert unseal(seal(secret, row), row) == secret


def test_the_token_names_its_key_and_hides_the_secret(settings: Settings) -> None:
    settings.AETHER_ENCRYPTION_KEYS = {"2026-11": NEW}
    token = seal(SECRET, ROW)
    version, key_id, body = token.split(".")
    assert (version, key_id) == ("v1", "2026-11")
    assert SECRET.encode() not in base64.urlsafe_b64decode(body)


def test_the_same_secret_never_looks_the_same_twice() -> None:
    assert len({seal(SECRET, ROW) for _ in range(50)}) == 50


def test_ciphertexts_cannot_be_swapped_between_rows() -> None:
    with pytest.raises(Unsealable):
        unseal(seal(SECRET, ROW), uuid4())


def test_a_changed_token_is_refused_wherever_it_was_changed() -> None:
    token = seal(SECRET, ROW)
    for place in range(len(token)):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        try:
            assert unseal(changed, ROW) == SECRET  # the last base64 digit may hold unused bits
        except Unsealable as refusal:
            assert SECRET not in str(refusal)  # noqa: PT017 - either ending is right


@pytest.mark.parametrize(
    "token", ["", "v1", "v1.", "v1.test.", "v1.test.AAAA", "v2.test.AAAA", "x" * 100, "v1.test.é"]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(Unsealable):
        unseal(token, ROW)


def test_the_newest_key_seals_and_every_key_opens(settings: Settings) -> None:
    settings.AETHER_ENCRYPTION_KEYS = {"old": OLD}
    token = seal(SECRET, ROW)
    settings.AETHER_ENCRYPTION_KEYS = {"new": NEW, "old": OLD}
    assert unseal(token, ROW) == SECRET
    assert seal(SECRET, ROW).startswith("v1.new.")


def test_an_old_key_can_go_once_all_is_resealed(settings: Settings) -> None:
    settings.AETHER_ENCRYPTION_KEYS = {"old": OLD}
    token = seal(SECRET, ROW)
    settings.AETHER_ENCRYPTION_KEYS = {"new": NEW, "old": OLD}
    renewed = reseal(token, ROW)
    assert reseal(renewed, ROW) == renewed
    settings.AETHER_ENCRYPTION_KEYS = {"new": NEW}
    assert unseal(renewed, ROW) == SECRET
    with pytest.raises(Unsealable, match="“old” is missing"):
        unseal(token, ROW)


def test_a_key_id_cannot_be_exchanged(settings: Settings) -> None:
    settings.AETHER_ENCRYPTION_KEYS = {"a": OLD, "b": OLD}
    token = seal(SECRET, ROW)
    with pytest.raises(Unsealable):
        unseal(token.replace("v1.a.", "v1.b."), ROW)


def test_an_empty_ring_seals_nothing(settings: Settings) -> None:
    settings.AETHER_ENCRYPTION_KEYS = {}
    with pytest.raises(Unsealable, match="AETHER_ENCRYPTION_KEYS"):
        seal(SECRET, ROW)


def test_a_digest_depends_on_the_pepper_and_is_not_that_of_an_api_key(settings: Settings) -> None:
    first = secrets.digest(SECRET)
    assert first == secrets.digest(SECRET)
    assert len(first) == 64
    assert first != of_an_api_key(SECRET)
    settings.AETHER_KEY_PEPPER = b"another pepper"
    assert first != secrets.digest(SECRET)


@pytest.mark.parametrize(
    ("secret", "hint"),
    [
        ("sk-0123456789abcdef", "cdef"),
        ("0123456789abcdef", "cdef"),
        ("0123456789ab", "9ab"),
        ("abcd", "d"),
        ("abc", ""),
    ],
)
def test_a_hint_shows_four_characters_or_a_quarter(secret: str, hint: str) -> None:
    assert secrets.hint(secret) == hint


@pytest.mark.django_db
@pytest.mark.database
def test_a_row_holds_its_secret_sealed_and_two_rows_cannot_swap() -> None:
    provider = Provider.objects.create(name="acme")
    rows = [Key(provider=provider, name=name) for name in ("k1", "k2")]
    for number, row in enumerate(rows):
        row.set_secret(f"{SECRET}{number}")
        row.save()
    first, second = Key.objects.order_by("name")
    assert [first.secret(), second.secret()] == [f"{SECRET}0", f"{SECRET}1"]
    stored = " ".join(str(value) for row in Key.objects.values() for value in row.values())
    assert SECRET not in stored
    first.sealed, second.sealed = second.sealed, first.sealed
    for row in (first, second):
        with pytest.raises(Unsealable):
            row.secret()
