"""Who looks at the pages."""

from __future__ import annotations

import pytest
from django.test import Client

from consumers.models import User
from tests.pages import world


@pytest.fixture
def root(db: None) -> User:
    return world.superuser()


@pytest.fixture
def client_of_root(root: User) -> Client:
    """A browser in which a superuser is logged in."""
    client = Client()
    client.force_login(root)
    return client
