"""What an operator says that an error means (providers/rules.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from providers.rules import ERRORS, FailureRule, Said, folded, statuses, taken_by

SAID = Said(1, "openai_chat", 400, ("invalid_request_error", "account_locked"), "your account is locked.")


def rule(number: int = 1, **fields: Any) -> FailureRule:
    return FailureRule(number, f"rule {number}", "key_refused", **fields)


@pytest.mark.parametrize(
    ("fields", "holds"),
    [
        ({"text": "account is locked"}, True),
        ({"text": "account is closed"}, False),
        ({"statuses": frozenset({400})}, True),
        ({"statuses": frozenset({401, 402})}, False),
        ({"error_type": "account_locked"}, True),
        ({"error_type": "invalid_request_error"}, True),
        ({"error_type": "account"}, False),
        ({"provider_id": 1, "text": "locked"}, True),
        ({"provider_id": 2, "text": "locked"}, False),
        ({"format": "openai_chat", "text": "locked"}, True),
        ({"format": "gemini", "text": "locked"}, False),
        ({"statuses": frozenset({400}), "error_type": "account_locked", "text": "unlocked"}, False),
    ],
)
def test_all_that_a_rule_names_must_hold(fields: dict[str, Any], holds: bool) -> None:
    assert rule(**fields).holds(SAID) is holds


def test_case_and_blanks_do_not_count() -> None:
    assert folded("  Your\tACCOUNT \n is  Locked. ") == "your account is locked."


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", frozenset()),
        ("400", {400}),
        ("400, 403 429", {400, 403, 429}),
        ("5xx", set(range(500, 600))),
        ("4XX, 5xx", set(ERRORS)),
    ],
)
def test_statuses_are_read_from_what_people_write(text: str, found: set[int]) -> None:
    assert statuses(text) == found


@pytest.mark.parametrize("text", ["200", "600", "4x", "xxx", "40", "4000", "400-403", "-400", "٤٠٠"])
def test_what_is_no_status_of_an_error_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        statuses(f"400, {text}")


WIDE, NARROW = {"text": "locked"}, {"text": "account is locked", "statuses": frozenset({400})}


@pytest.mark.parametrize(
    ("earlier", "later", "takes"),
    [
        (WIDE, NARROW, True),
        (NARROW, WIDE, False),
        (WIDE, WIDE, True),
        (WIDE, {**WIDE, "provider_id": 1}, True),
        ({**WIDE, "provider_id": 1}, WIDE, False),
        ({**WIDE, "provider_id": 1}, {**WIDE, "provider_id": 2}, False),
        (WIDE, {**WIDE, "format": "gemini"}, True),
        ({"statuses": ERRORS}, {"text": "locked"}, True),
        ({"statuses": statuses("4xx")}, {"text": "locked"}, False),
        ({"statuses": statuses("4xx")}, {"statuses": frozenset({400, 429})}, True),
        ({"error_type": "a"}, {"error_type": "a", "text": "x"}, True),
        ({"error_type": "a"}, {"error_type": "b"}, False),
    ],
)  # fmt: skip
def test_a_rule_before_another_may_take_all_that_it_speaks_of(
    earlier: dict[str, Any], later: dict[str, Any], takes: bool
) -> None:
    first, second = rule(1, **earlier), rule(2, **later)
    assert taken_by([first, second]) == ({2: first} if takes else {})
    if takes:
        errors = [replace_said(second, status, text) for status in (400, 429, 503) for text in ("", " more")]
        assert all(first.holds(each) for each in errors if second.holds(each))
        assert any(second.holds(each) for each in errors)


def replace_said(of: FailureRule, status: int, more: str) -> Said:
    """An error much like what a rule speaks of."""
    return Said(
        of.provider_id or 9,
        of.format or "anthropic",
        status,
        (of.error_type or "some_error", ""),
        f"{of.text}{more}",
    )


def test_a_rule_is_taken_by_the_first_that_takes_it() -> None:
    first, second, third = rule(1, **NARROW), rule(2, **WIDE), rule(3, **NARROW)
    assert taken_by([first, second, third]) == {3: first}
    assert taken_by([second, first, replace(third, text="else")]) == {1: second}
