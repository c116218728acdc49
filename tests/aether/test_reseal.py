from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from providers.models import Key, Provider

OLD, NEW = {"old": b"o" * 32}, {"new": b"n" * 32}

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def keys(settings: Settings) -> list[Key]:
    settings.AETHER_ENCRYPTION_KEYS = OLD
    provider = Provider.objects.create(name="acme")
    made = [Key(provider=provider, name=f"k{number}") for number in range(3)]
    for number, key in enumerate(made):
        key.set_secret(f"sk-secret-{number}")
        key.save()
    return made


def reseal() -> str:
    said = StringIO()
    call_command("reseal", stdout=said, stderr=said)
    return said.getvalue()


def test_the_old_key_may_go_afterwards(settings: Settings, keys: list[Key]) -> None:
    settings.AETHER_ENCRYPTION_KEYS = NEW | OLD
    assert "3 secrets" in reseal()
    assert "0 secrets" in reseal()
    settings.AETHER_ENCRYPTION_KEYS = NEW
    assert [key.secret() for key in Key.objects.order_by("name")] == [f"sk-secret-{n}" for n in range(3)]


def test_a_secret_that_cannot_be_read_is_named_and_left_alone(settings: Settings, keys: list[Key]) -> None:
    Key.objects.filter(pk=keys[0].pk).update(sealed=keys[1].sealed)
    settings.AETHER_ENCRYPTION_KEYS = NEW | OLD
    with pytest.raises(CommandError, match="1 secret could not be read"):
        reseal()
    assert Key.objects.get(pk=keys[0].pk).sealed == keys[1].sealed
    assert Key.objects.get(pk=keys[2].pk).sealed.startswith("v1.new.")
