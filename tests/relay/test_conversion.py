"""relay/conversion.py: clients whose model is served in another format than theirs."""

from __future__ import annotations

import pytest

from tests.relay.asks import FORMATS, Ask
from tests.relay.harness import house
from wire import DIALECTS

pytestmark = pytest.mark.django_db(transaction=True)

PAIRS = [(ours, theirs) for ours in DIALECTS for theirs in DIALECTS if ours != theirs]
pairs = pytest.mark.parametrize(("ours", "theirs"), PAIRS)
ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pairs
@ways
async def test_a_client_is_answered_by_an_endpoint_of_another_format(
    ours: str, theirs: str, stream: bool
) -> None:
    async with house("asgi", formats=[theirs], conversion="lenient") as relay:
        answer = await Ask(ours, stream=stream).send(relay)
        print(answer.status_code, answer.headers, answer.text[:3000])
        (final,) = await relay.settled()
        print(final)
    assert answer.status_code == 200
    assert answer.headers["x-aether-conversion"] == "lossless"
