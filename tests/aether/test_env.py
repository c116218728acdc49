from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from aether import env


@pytest.mark.parametrize(
    ("given", "value"),
    [("on", True), ("True", True), ("1", True), ("yes", True), ("off", False), ("0", False), ("", True)],
)
def test_it_reads_a_switch(monkeypatch: pytest.MonkeyPatch, given: str, value: bool) -> None:
    monkeypatch.setenv("NAME", given)
    assert env.switch("NAME", True) is value


BAD = [
    (env.switch, (True,), "maybe", "on or off"),
    (env.choice, (("asgi", "django"),), "wsgi", "asgi or django"),
    (env.whole, (3,), "three", "whole number"),
    (env.whole, (3,), "2.5", "whole number"),
    (env.whole, (3,), "-1", "0 or more"),
    (env.seconds, (5,), "soon", "seconds above 0"),
    (env.seconds, (5,), "0", "seconds above 0"),
    (env.seconds, (5,), "nan", "seconds above 0"),
    (env.seconds, (5,), "inf", "seconds above 0"),
    (env.percent, (92,), "0", "1 or more"),
    (env.percent, (92,), "101", "1 to 100"),
    (env.url, (("https", "http"),), "relay.example.com", "https://host or http://host"),
    (env.url, (("https", "http"),), "ftp://relay.example.com", "https://host or http://host"),
    (env.url, (("https", "http"),), "https://relay.example.com:port", "https://host or http://host"),
    (env.database, (Path("x"),), "mysql://host/name", "postgresql://"),
    (env.database, (Path("x"),), "aether.sqlite3", "sqlite:///path"),
    (env.database, (Path("x"),), "sqlite://", "must name a file"),
]


@pytest.mark.parametrize(("read", "arguments", "given", "remedy"), BAD)
def test_a_bad_value_is_refused_by_name_and_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, read: Any, arguments: tuple[Any, ...], given: str, remedy: str
) -> None:
    monkeypatch.setenv("THE_VARIABLE", given)
    with pytest.raises(ImproperlyConfigured) as refusal:
        read("THE_VARIABLE", *arguments)
    assert "THE_VARIABLE" in str(refusal.value)
    assert remedy in str(refusal.value)


def test_a_time_may_be_nothing_where_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "0")
    assert env.seconds("NAME", 5, none=True) == 0
    monkeypatch.setenv("NAME", "-1")
    with pytest.raises(ImproperlyConfigured, match="0 or more"):
        env.seconds("NAME", 5, none=True)


def test_an_empty_variable_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", " ")
    assert env.whole("NAME", 3) == 3
    assert env.texts("NAME", ["a"]) == ["a"]


def test_a_refused_address_is_not_repeated_for_it_may_hold_a_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NAME", "mysql://me:canary@host/name")
    with pytest.raises(ImproperlyConfigured) as refusal:
        env.database("NAME", Path("x"))
    assert "canary" not in str(refusal.value)


def test_sqlite_takes_its_write_lock_at_once_and_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAME", raising=False)
    config = env.database("NAME", Path("/data/aether.sqlite3"))
    assert config["NAME"] == "/data/aether.sqlite3"
    assert config["OPTIONS"] == {
        "transaction_mode": "IMMEDIATE",
        "timeout": 10,
        "init_command": "PRAGMA journal_mode=WAL",
    }


def test_postgresql_lends_checked_connections_from_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "postgresql://me:pass@db:5433/aether?sslmode=require")
    config = env.database("NAME", Path("x"))
    assert (config["HOST"], config["PORT"], config["NAME"]) == ("db", 5433, "aether")
    assert config["CONN_MAX_AGE"] == 0
    assert config["CONN_HEALTH_CHECKS"] is True
    assert config["OPTIONS"]["pool"]["max_size"] >= 4
    assert config["OPTIONS"]["sslmode"] == "require"
