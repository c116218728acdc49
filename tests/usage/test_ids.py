"""Ids of the ledger."""

from __future__ import annotations

from uuid import RFC_4122, UUID

from hypothesis import given, strategies as st

from usage.ids import attempt_id, attempt_text, instant, request_id

MILLISECONDS = st.integers(0, (1 << 48) - 1)
RANDOM = st.binary(min_size=9, max_size=9)


@given(MILLISECONDS, RANDOM)
def test_a_request_id_is_a_uuid_of_version_7_with_a_free_low_byte(milliseconds: int, random: bytes) -> None:
    text = request_id(milliseconds, random)
    identifier = UUID(text)
    assert str(identifier) == text
    assert (identifier.version, identifier.variant) == (7, RFC_4122)
    assert (identifier.int >> 80, identifier.int & 0xFF) == (milliseconds, 0)


def test_each_of_the_66_bits_makes_another_id() -> None:
    bits = [(1 << number).to_bytes(9) for number in range(72) if not 2 <= number < 8]
    assert len({request_id(0, each) for each in bits}) == 66


def test_an_attempts_id_is_its_requests_with_the_number_in_the_low_byte() -> None:
    text = request_id(1_700_000_000_000, b"\xff" * 9)
    assert str(attempt_id(UUID(text), 3)) == attempt_text(text, 3) == f"{text[:-2]}03"
    assert round(instant(UUID(text)).timestamp() * 1000) == 1_700_000_000_000
