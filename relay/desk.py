"""Who is turned away at the door, before anything of the request is read: throttled addresses, and whoever
the process has no room for."""

from __future__ import annotations

import time

from consumers import auth
from relay import lists
from relay.answer import Answer
from relay.call import Call
from relay.engine import Engine
from relay.errors import Refused
from relay.refusals import unrecorded
from relay.routes import MODELS, Match, format_of, match
from relay.shedding import BACKLOG, CROWD, LOOP, MEMORY, Rank
from usage.refusal import Rule
from wire.types import Fault

PRIORITY = b"x-aether-priority"
"""Header by which a client calls its own request one that can wait: `batch`."""

RULES = {LOOP: Rule.EVENT_LOOP, MEMORY: Rule.MEMORY, BACKLOG: Rule.JOURNAL, CROWD: Rule.UNDER_WAY}


def turned_away(engine: Engine, call: Call) -> Answer | None:
    """The refusal of a request that is not to be read; None for all others. To be asked while
    `engine.guarded`."""
    now = time.monotonic()
    wait = engine.throttle.wait(call.address, now)
    if wait and rank_of(engine, call) is Rank.ANONYMOUS:  # a key that memory knows is no guess
        text = "Too many bad API keys came from this address; try again later."
        bad = engine.throttle.count(call.address, now)
        return _told(
            call,
            Refused(Fault("rate_limited", text), retry_after=wait, rule=Rule.BAD_KEYS, measured=bad),
        )
    shedding = engine.shedding
    if not shedding.pressed and len(engine.open) < shedding.crowd:
        return None
    under_way = len(engine.open)
    reason = shedding.refuses(rank_of(engine, call), under_way, now)
    if not reason:
        return None
    text = "The relay is overloaded; try again in a moment."
    return _told(
        call,
        Refused(
            Fault("overloaded", text),
            retry_after=shedding.retry_after(reason),
            rule=RULES[reason],
            measured=shedding.measured(reason, under_way),
        ),
    )


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


def _told(call: Call, error: Refused) -> Answer:
    return unrecorded(error, client_format(call, match(call.method, call.path)))
