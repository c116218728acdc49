"""relay/call.py: whose address a request has."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from consumers.models import ApiKey
from relay.call import client_address
from tests.relay.asks import WHOLE
from tests.relay.harness import house

PEER = "10.0.0.9"


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, [b"203.0.113.7"], PEER),
        (1, [b"203.0.113.7"], "203.0.113.7"),
        (1, [b"6.6.6.6, 203.0.113.7"], "203.0.113.7"),
        (1, [b"6.6.6.6", b"203.0.113.7"], "203.0.113.7"),
        (2, [b"6.6.6.6, 203.0.113.7, 192.0.2.1"], "203.0.113.7"),
        (2, [b"203.0.113.7"], PEER),
        (1, [], PEER),
        (1, [b"2001:DB8::7"], "2001:db8::7"),
        (1, [b"unknown"], PEER),
        (1, [b"203.0.113.7:4711"], PEER),
        (1, [b"203.0.113.7,"], PEER),
        (1, [b"\xff\x00"], PEER),
    ],
)
def test_only_what_our_own_proxies_appended_is_believed(
    proxies: int, forwarded: list[bytes], address: str
) -> None:
    headers = [(b"x-forwarded-for", line) for line in forwarded]
    assert client_address(PEER, headers, proxies) == address


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("door", ["asgi", "django"])
async def test_records_and_networks_go_by_the_address_in_front_of_the_proxy(door: str) -> None:
    ask = WHOLE[0]
    async with house(door, knobs={"trusted_proxies": 1}) as each:
        await sync_to_async(ApiKey.objects.all().update)(allowed_networks=["203.0.113.0/24"])

        async def sent(forwarded: str) -> int:
            headers: dict[str, Any] = {"x-forwarded-for": forwarded}
            return (await each.http.post(ask.path(), json=ask.body(), headers=headers)).status_code

        assert await sent("203.0.113.7") == 200
        assert each.record()["address"] == "203.0.113.7"
        assert await sent("203.0.113.7, 198.51.100.1") == 403
        assert await sent("") == 403
