from __future__ import annotations

import base64
from typing import Any

import pytest

from simulator.server import Simulator
from tests.simulator.raw import Heard, body_for, exchange, request

SCRIPT = "/_simulator/script"


async def post(vendor: Simulator, path: str, body: dict[str, Any]) -> Heard:
    return await exchange(vendor, request(path, body))


async def status(vendor: Simulator) -> int:
    return (await exchange(vendor, request("/v1/chat/completions", body_for("openai_chat", "sim")))).status


async def test_it_is_scripted_from_another_process(vendor: Simulator) -> None:
    told = await post(vendor, SCRIPT, {"secret": "sk-a", "plays": ["fault-401", "ok"]})
    assert told.json == {"ok": True}
    assert [await status(vendor), await status(vendor)] == [401, 200]


async def test_bytes_are_scripted_in_base64(vendor: Simulator) -> None:
    pieces = [base64.b64encode(piece).decode() for piece in (b"HTTP/1.1 204 ", b"No Content\r\n\r\n")]
    body = [base64.b64encode(b"data: 1\n\n").decode()]
    plays = [{"raw": pieces}, {"body": body, "status": 207, "headers": {"x-a": "b"}, "then": "keep"}]
    await post(vendor, SCRIPT, {"plays": plays})
    assert await status(vendor) == 204
    heard = await exchange(vendor, request("/v1/chat/completions", b"{}"))
    assert (heard.status, heard.body, heard.headers["x-a"]) == (207, b"data: 1\n\n", "b")


@pytest.mark.parametrize(
    "body",
    [
        {"plays": ["fault-none"]},
        {"plays": "ok"},
        {"secret": 1, "plays": []},
        {"plays": [{"raw": "x"}]},
        {"plays": [{"raw": ["not base64!"]}]},
        {"plays": [3]},
        {"plays": ["ok"] * 20_000},
    ],
)
async def test_a_script_that_is_none_is_refused(vendor: Simulator, body: dict[str, Any]) -> None:
    told = await post(vendor, SCRIPT, body)
    assert told.status == 400
    assert told.json["error"]


async def test_it_tells_what_it_saw_and_forgets_it(vendor: Simulator) -> None:
    await status(vendor)
    told = (await exchange(vendor, request("/_simulator/requests", method="GET"))).json
    assert told["total"] == 1
    seen = told["requests"][0]
    assert (seen["path"], seen["secret"], seen["left"], seen["done"]) == (
        "/v1/chat/completions",
        "sk-a",
        False,
        True,
    )
    assert base64.b64decode(seen["body"]).startswith(b'{"model": "sim"')
    await post(vendor, "/_simulator/reset", {})
    assert (await exchange(vendor, request("/_simulator/requests", method="GET"))).json["total"] == 0
    assert (await exchange(vendor, request("/_simulator/other", method="GET"))).status == 404
