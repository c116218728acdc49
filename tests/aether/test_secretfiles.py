from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from aether.secretfiles import NAMES, SecretFiles, generate, parse_ring

A, B = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SecretFiles:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return SecretFiles(tmp_path / "secrets")


@pytest.mark.parametrize("name", NAMES)
def test_a_secret_is_made_once_and_kept_for_us_alone(files: SecretFiles, name: str) -> None:
    made = files.create(name)
    assert len(made) >= 43
    assert files.find(name) == made
    assert stat.S_IMODE(files.path(name).stat().st_mode) == 0o600
    assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700
    assert [path.name for path in files.folder.iterdir()] == [name.lower()]


def test_the_first_of_two_makers_wins(files: SecretFiles) -> None:
    assert files.create("SECRET_KEY") == files.create("SECRET_KEY")


def test_the_environment_goes_before_the_file(files: SecretFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    files.create("SECRET_KEY")
    monkeypatch.setenv("SECRET_KEY", "s" * 50)
    assert files.find("SECRET_KEY") == "s" * 50


def test_an_absent_secret_is_empty(files: SecretFiles) -> None:
    assert files.find("SECRET_KEY") == ""


def test_a_short_secret_is_refused(files: SecretFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETHER_KEY_PEPPER", "change-me")
    with pytest.raises(ImproperlyConfigured, match="AETHER_KEY_PEPPER is too short"):
        files.find("AETHER_KEY_PEPPER")


def test_an_unreadable_file_is_refused_by_name(files: SecretFiles) -> None:
    files.path("SECRET_KEY").mkdir(parents=True)
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY"):
        files.find("SECRET_KEY")


def test_a_made_ring_can_be_read() -> None:
    assert len(parse_ring(generate("AETHER_ENCRYPTION_KEYS"))) == 1


def test_a_ring_keeps_its_order_newest_first() -> None:
    assert list(parse_ring(f"new:{A}, old:{B}").items()) == [("new", b"\1" * 32), ("old", b"\2" * 32)]


def test_a_ring_takes_the_url_safe_alphabet_too() -> None:
    key = base64.urlsafe_b64encode(b"\xfb\xff" * 16).decode()
    assert parse_ring(f"k:{key}") == {"k": b"\xfb\xff" * 16}


@pytest.mark.parametrize(
    "ring", [A, f":{A}", "k:short", f"k k:{A}", f"k:{A},k:{B}", f"k:{A[:-4]}", "k:" + "é" * 43]
)
def test_a_malformed_ring_is_refused_without_repeating_it(ring: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refusal:
        parse_ring(ring)
    assert "AETHER_ENCRYPTION_KEYS is malformed" in str(refusal.value)
    assert ring not in str(refusal.value)
