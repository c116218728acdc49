"""What `make run` puts into an empty database: an administrator, the simulator as a provider, models with
prices, and one API key."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from consumers.models import ApiKey, Consumer, User
from providers.formats import Format
from providers.models import Deployment, Endpoint, Key, Model, Provider

PROVIDER = "simulator"
CONSUMER = "demo"
MODEL = "sim"
MODELS = {MODEL: "sim", "sim-think": "sim.think", "sim-tool": "sim.tool"}
"""The demo's models, and the simulator's names for them."""
PATHS = {
    Format.OPENAI_CHAT: "/simulator/v1",
    Format.OPENAI_RESPONSES: "/simulator/v1",
    Format.ANTHROPIC: "/simulator",
    Format.GEMINI: "/simulator",
}
OURS = re.compile(r"http://[^/]+(/simulator(?:/v1)?)")


@dataclass(frozen=True, slots=True)
class Made:
    """What was created, for its secrets to be shown once. `password` is empty where the operator chose it."""

    username: str
    password: str
    api_key: str

    def __repr__(self) -> str:
        return f"Made({self.username})"


def wanted() -> bool:
    """Whether the database is empty, so that the demo may go in."""
    return not User.objects.exists() and not Provider.objects.exists() and not Consumer.objects.exists()


@transaction.atomic
def create(address: str) -> Made:
    """Fills an empty database; the simulator is called at `address`."""
    password = settings.AETHER_ADMIN_PASSWORD or secrets.token_urlsafe(15)
    User.objects.create_superuser(settings.AETHER_ADMIN_USERNAME, settings.AETHER_ADMIN_EMAIL, password)
    provider = Provider.objects.create(name=PROVIDER, note="A vendor to try things on; it costs nothing.")
    for wire, path in PATHS.items():
        Endpoint.objects.create(provider=provider, format=wire, base_url=address + path, allow_private=True)
    key = Key(provider=provider, name="demo")
    key.set_secret("sk-simulator-demo")
    key.save()
    for name, upstream_name in MODELS.items():
        model = Model.objects.create(
            name=name,
            price_input="1.25",
            price_output="10",
            price_cache_read="0.125",
        )
        Deployment.objects.create(model=model, provider=provider, upstream_name=upstream_name)
    _row, api_key = ApiKey.issue(consumer=Consumer.objects.create(name=CONSUMER), name="demo")
    chosen = bool(settings.AETHER_ADMIN_PASSWORD)
    return Made(settings.AETHER_ADMIN_USERNAME, "" if chosen else password, api_key)


def aim(address: str) -> None:
    """Points the simulator's endpoints at `address`, should this run listen elsewhere than the one before."""
    for endpoint in Endpoint.objects.filter(provider__name=PROVIDER, allow_private=True):
        ours = OURS.fullmatch(endpoint.base_url)
        if ours and endpoint.base_url != address + ours[1]:
            endpoint.base_url = address + ours[1]
            endpoint.save(update_fields=["base_url"])


def present() -> bool:
    """Whether the demo's consumer and model are there and active, so that a first request can be shown."""
    consumer = Consumer.objects.filter(name=CONSUMER, is_active=True)
    deployment = Deployment.objects.filter(
        is_active=True,
        model__name=MODEL,
        model__is_active=True,
        provider__name=PROVIDER,
        provider__is_active=True,
    )
    return consumer.exists() and deployment.exists()
