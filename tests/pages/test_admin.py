"""Every page of the admin opens, for those who may see it, at a bounded number of queries."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.test import Client

from consumers.models import User
from tests.pages import world

pytestmark = pytest.mark.django_db


def test_every_page_of_every_table_opens(client_of_root: Client, root: User) -> None:
    world.everything(root)
    for url, page, model in world.addresses():
        answer = client_of_root.get(url)
        read_only = not admin.site._registry[model].has_add_permission(answer.wsgi_request)
        expected = 403 if read_only and page in {"add", "delete"} else 200
        assert answer.status_code == expected, url
