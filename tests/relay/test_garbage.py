"""What a request leaves behind: nothing that only the garbage collector can free, which stops everything for
a tenth of a second where there are many connections."""

from __future__ import annotations

import gc

import pytest

from tests.relay.asks import STREAMED, WHOLE, Ask
from tests.relay.harness import house

pytestmark = pytest.mark.django_db(transaction=True)
OURS = ("aether.", "consumers.", "providers.", "relay.", "usage.", "wire.")


@pytest.mark.parametrize("ask", [*WHOLE, *STREAMED], ids=str)
async def test_a_request_leaves_nothing_to_the_garbage_collector(ask: Ask) -> None:
    async with house("asgi") as each:
        await ask.send(each)
        await each.idle()
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(3):
                assert (await ask.send(each)).status_code == 200
            await each.idle()
            gc.collect()
            left = {type(one).__qualname__ for one in gc.garbage if type(one).__module__.startswith(OURS)}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
    assert left == set()
