"""Who is turned away at the door, before anything of the request is read: throttled addresses, and whoever
the process has no room for."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import NamedTuple

from consumers import auth
from relay import lists
from relay.answer import Answer
from relay.call import Call
from relay.engine import Engine
from relay.errors import Refused
from relay.refusals import render
from relay.routes import MODELS, Match, format_of, match
from relay.shedding import BACKLOG, CROWD, LOOP, MEMORY, Rank
from usage.refusal import Rule, refusal_id
from wire.types import Fault

PRIORITY = b"x-aether-priority"
"""Header by which a client calls its own request one that can wait: `batch`."""

_THROTTLED = Fault("rate_limited", "Too many bad API keys came from this address; try again later.")
_OVERLOADED = Fault("overloaded", "The relay is overloaded; try again in a moment.")
RULES = {LOOP: Rule.EVENT_LOOP, MEMORY: Rule.MEMORY, BACKLOG: Rule.JOURNAL, CROWD: Rule.UNDER_WAY}


class Refusal(NamedTuple):
    """Why a request is not read: the rule, what it went by, in its own unit, and the seconds after which its
    client may try again."""

    rule: Rule
    measured: int
    wait: int


def turned_away(engine: Engine, call: Call) -> Refusal | None:
    """The refusal of a request that is not to be read; None for all others. To be asked once of each, while
    `engine.guarded`."""
    now = time.monotonic()
    wait = engine.throttle.wait(call.address, now)
    if wait and rank_of(engine, call) is Rank.ANONYMOUS:  # a key that memory knows is no guess
        return Refusal(Rule.BAD_KEYS, engine.throttle.count(call.address, now), wait)
    shedding = engine.shedding
    under_way = len(engine.open)
    if not shedding.pressed and under_way < shedding.crowd:
        return None
    reason = shedding.refuses(rank_of(engine, call), under_way, now)
    if not reason:
        return None
    return Refusal(RULES[reason], shedding.measured(reason, under_way), shedding.retry_after(reason))


def answer(call: Call, refusal: Refusal) -> Answer:
    """What tells a client of a refusal."""
    return _answer(_format(call), refusal.rule, refusal.wait, _identifier(refusal))


def lines(call: Call, refusal: Refusal) -> tuple[int, bytes]:
    """The same, for a server that is to spend as little as can be on what it turns away: the status, and what
    follows the server's own header lines."""
    status, text = _ready(_format(call), refusal.rule, refusal.wait)
    return status, text.replace(_BLANK, _identifier(refusal).encode())


_BLANK = b"00000000-0000-8000-8000-000000000000"


@lru_cache(256)
def _ready(api_format: str, rule: Rule, wait: int) -> tuple[int, bytes]:
    """`lines` with a blank for the id."""
    told = _answer(api_format, rule, wait, _BLANK.decode())
    head = b"".join([b"%b: %b\r\n" % pair for pair in told.headers])
    return told.status, head + b"\r\n" + told.body


def _answer(api_format: str, rule: Rule, wait: int, identifier: str) -> Answer:
    fault = _THROTTLED if rule is Rule.BAD_KEYS else _OVERLOADED
    return render(Refused(fault, retry_after=wait), api_format, identifier)


def _identifier(refusal: Refusal) -> str:
    return refusal_id(int(time.time() * 1000), refusal.rule, refusal.measured, refusal.wait)


def _format(call: Call) -> str:
    return client_format(call, match(call.method, call.path))


def rank_of(engine: Engine, call: Call) -> Rank:
    """By the API key, as far as memory knows it (to ask the database would be work), and the client's own
    word. Nobody is over quota yet: that comes with limits."""
    try:
        caller = engine.callers.get(secret_of(call, format_of(call.method, call.path)), time.time())
    except auth.AuthError:
        return Rank.ANONYMOUS
    if caller is None or caller is auth.MISS:
        return Rank.ANONYMOUS
    return Rank.BATCH if call.header(PRIORITY).strip().lower() == "batch" else Rank.INTERACTIVE


def secret_of(call: Call, api_format: str) -> str:
    """The API key that a request carries. Raises auth.AuthError."""
    in_query = api_format == "gemini" or call.path.startswith("/v1beta")
    return auth.credentials(call.headers, call.query.encode() if in_query else b"")


def client_format(call: Call, found: Match | None) -> str:
    """The format that errors are told in; model lists have the shape their headers ask for."""
    if found is None:
        return format_of(call.method, call.path)
    return lists.shape(call) if found.route.kind == MODELS else found.route.format
