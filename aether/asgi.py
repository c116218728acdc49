"""The ASGI application that `manage.py serve` runs: the relay's door, Django, and the engine's beginning and
end."""

from __future__ import annotations

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aether.settings")
django_application: Any = get_asgi_application()

# Only now: these import models, and the apps must be ready.
from django.conf import settings  # noqa: E402

from aether.lifespan import Lifespan  # noqa: E402
from aether.pages import Allowance  # noqa: E402
from relay.door import BodyLimit, Receive, RelayDoor, Scope, Send  # noqa: E402
from relay.routes import is_relay_path  # noqa: E402
from simulator.asgi import application as simulator  # noqa: E402

lifespan = Lifespan()
pages = Allowance(django_application, settings.RELAY_PAGES_IN_FLIGHT)
door = RelayDoor() if settings.RELAY_DOOR == "asgi" else BodyLimit(django_application)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends each request through the door that it belongs to."""
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif is_relay_path(scope["path"]):
        await door(scope, receive, send)
    elif settings.AETHER_SIMULATOR and scope["path"].startswith("/simulator/"):
        await simulator(scope, receive, send)
    else:
        await pages(scope, receive, send)
