"""Addresses that send bad API keys (security.md, 33)."""

from __future__ import annotations

import pytest

from consumers.throttle import ADDRESSES, Throttle, source_of


def test_the_twentieth_bad_key_within_a_minute_holds_the_address_back() -> None:
    throttle = Throttle(20)
    for second in range(19):
        assert not throttle.note("192.0.2.1", float(second))
        assert throttle.wait("192.0.2.1", float(second)) == 0
    assert throttle.note("192.0.2.1", 19.0)
    assert throttle.wait("192.0.2.1", 19.0) == 41
    assert throttle.wait("192.0.2.2", 19.0) == 0


def test_it_is_let_in_again_when_the_oldest_of_them_is_a_minute_old() -> None:
    throttle = Throttle(2)
    throttle.note("192.0.2.1", 0.0)
    throttle.note("192.0.2.1", 50.0)
    assert throttle.wait("192.0.2.1", 59.5) == 1
    assert throttle.wait("192.0.2.1", 60.0) == 0
    assert throttle.note("192.0.2.1", 61.0)
    assert throttle.wait("192.0.2.1", 61.0) == 49


def test_slower_than_that_it_is_never_held_back() -> None:
    throttle = Throttle(20)
    for number in range(200):
        assert not throttle.note("192.0.2.1", number * 3.2)
        assert throttle.wait("192.0.2.1", number * 3.2) == 0


def test_no_bound_holds_nobody_back_and_keeps_nothing() -> None:
    throttle = Throttle(0)
    for _ in range(100):
        assert not throttle.note("192.0.2.1", 0.0)
    assert throttle.wait("192.0.2.1", 0.0) == 0
    assert not throttle


def test_the_bad_keys_of_the_last_minute_are_counted() -> None:
    throttle = Throttle(3)
    counts = []
    for at in (0.0, 30.0, 70.0, 80.0, 81.0):
        throttle.note("192.0.2.1", at)
        counts.append(throttle.count("192.0.2.1", at))
    assert counts == [1, 2, 2, 3, 3]
    assert throttle.count("192.0.2.2", 81.0) == 0


def test_only_so_many_addresses_are_kept_and_the_quiet_ones_go() -> None:
    throttle = Throttle(2)
    for number in range(ADDRESSES + 100):
        throttle.note(f"host-{number}", float(number) / 1000)
    assert len(throttle) == ADDRESSES
    throttle.forget(60.0 + 5.0)
    assert 0 < len(throttle) < ADDRESSES
    throttle.forget(200.0)
    assert not throttle


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("no:address", "no:address"),
        ("", ""),
    ],
)
def test_an_ipv6_network_counts_as_one(address: str, source: str) -> None:
    assert source_of(address) == source
