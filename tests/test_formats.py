"""A wire format is known in every place that must know it (docs/adding-a-format.md)."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from aether import demo
from providers import checks
from providers.formats import Format
from relay.headers import FORWARDED_TO
from relay.routes import ROUTES
from simulator import frames
from tests.endings.kit import DIALECTS
from tests.relay import asks, harness
from usage import words
from wire import FORMATS
from wire.urls import MODELS_PATH

PLACES: dict[str, Collection[str]] = {
    "providers.formats.Format": Format.values,
    "usage.words.FORMATS": words.FORMATS,
    "providers.checks.FORMATS": checks.FORMATS,
    "wire.urls.MODELS_PATH": MODELS_PATH,
    "relay.headers.FORWARDED_TO": FORWARDED_TO,
    "relay.routes.ROUTES": {route.format for route in ROUTES},
    "aether.demo": demo.PATHS,
    "simulator.frames": frames._FORMATS,
    "tests.relay.asks.FORMATS": asks.FORMATS,
    "tests.relay.harness.BASES": harness.BASES,
    "tests.endings.kit.DIALECTS": {dialect.name for dialect in DIALECTS.values()},
}


@pytest.mark.parametrize("place", PLACES)
def test_every_format_is_known_there(place: str) -> None:
    assert {*PLACES[place]} == FORMATS.keys()
