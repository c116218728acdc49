from __future__ import annotations

import stat
from pathlib import Path

import pytest
from django.core.management.base import CommandError
from pytest_django import Settings

from aether import boot, secretfiles
from consumers.models import ApiKey, Consumer
from tests import servers
from tests.programs import environment, manage

BARE = dict.fromkeys(secretfiles.NAMES)
"""An environment without secrets."""


@pytest.fixture
def bare(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in secretfiles.NAMES:
        delattr(settings, name)
        monkeypatch.delenv(name)
    return settings


@pytest.mark.database
@pytest.mark.django_db
def test_missing_secrets_are_made_while_the_database_holds_no_key(bare: Settings, data_dir: Path) -> None:
    boot.ensure_secrets()
    made = sorted((data_dir / "secrets").iterdir())
    assert [path.name for path in made] == sorted(name.lower() for name in secretfiles.NAMES)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in made)
    assert len(bare.AETHER_KEY_PEPPER) >= 32
    assert [len(key) for key in bare.AETHER_ENCRYPTION_KEYS.values()] == [32]
    assert len(bare.SECRET_KEY) >= 50


@pytest.mark.database
@pytest.mark.django_db
@pytest.mark.parametrize("name", secretfiles.NAMES)
def test_a_missing_secret_stops_the_boot_once_the_database_holds_a_key(
    settings: Settings, data_dir: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    ApiKey.issue(consumer=Consumer.objects.create(name="alice"), name="laptop")
    delattr(settings, name)
    monkeypatch.delenv(name)
    with pytest.raises(CommandError) as refusal:
        boot.ensure_secrets()
    assert str(refusal.value).startswith(f"{name} is missing")
    assert str(data_dir / "secrets" / name.lower()) in str(refusal.value)
    assert not (data_dir / "secrets").exists()


@pytest.mark.database
@pytest.mark.django_db
def test_present_secrets_are_left_alone(data_dir: Path) -> None:
    boot.ensure_secrets()
    assert not (data_dir / "secrets").exists()


def test_serve_refuses_while_the_tables_are_not_up_to_date(tmp_path: Path) -> None:
    ended = manage("serve", "--port", "0", env=environment(tmp_path / "data"))
    assert ended.returncode == 1
    assert "run manage.py migrate" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_serve_refuses_with_a_sentence_while_the_database_is_away(tmp_path: Path) -> None:
    url = f"postgresql://me:canary@127.0.0.1:{servers.free_port()}/aether"
    ended = manage("serve", "--port", "0", env=environment(tmp_path / "data", DATABASE_URL=url))
    assert ended.returncode == 1
    assert "The database cannot be reached" in ended.stderr
    assert "refused" in ended.stderr
    assert "DATABASE_URL" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "canary" not in ended.stderr


def test_serve_refuses_many_processes(tmp_path: Path) -> None:
    ended = manage("serve", "--workers", "2", env=environment(tmp_path / "data"))
    assert ended.returncode == 1
    assert "--workers 1" in ended.stderr


def test_commands_that_need_no_secret_run_without_one(tmp_path: Path) -> None:
    ended = manage("migrate", "-v0", env=environment(tmp_path / "data", **BARE))
    assert ended.returncode == 0, ended.stderr
    assert not (tmp_path / "data" / "secrets").exists()


def test_a_configuration_is_imported_before_the_first_start_of_the_server(tmp_path: Path) -> None:
    file = tmp_path / "aether.yaml"
    file.write_text("consumers: [{name: alice, api_keys: [{name: laptop}]}]")
    place = environment(tmp_path / "data", **BARE)
    early = manage("import_config", str(file), env=place)
    assert (early.returncode, "Traceback" in early.stderr) == (1, False), early.stderr
    assert "migrate" in early.stderr
    assert manage("migrate", "-v0", env=place).returncode == 0
    ended = manage("import_config", str(file), env=place)
    assert ended.returncode == 0, ended.stderr
    assert "sk-aether-" in ended.stdout
