"""A request on its way to a target of another format, and the answer on its way back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import orjson

from providers.types import Target
from relay.call import Call, printable
from relay.context import StreamContext
from relay.engine import Engine
from relay.estimate import estimated_tokens
from relay.media import fetched
from wire import DIALECTS, FORMATS
from wire.neutral.dialect import Asked, Dialect
from wire.neutral.keepsakes import Keeper, lacking, restored
from wire.neutral.requests import CannotHold, Request, Target as Goal, Written, told
from wire.neutral.seals import MARK
from wire.neutral.traces import without_traces
from wire.neutral.translate import Translation, translated
from wire.types import COUNT_TOKENS, GENERATE, BadRequest, Brief, Usage

Result = TypeVar("Result")
LARGE = 256 * 1024
"""Bytes of a body from which on it is read and written off the loop."""
LONGEST_NAME = 60
"""Characters of a field's name in them."""
SHOWN = 180
"""Characters of a header or a record about what was dropped."""


class Unfit(Exception):
    """A target that cannot serve a request because its format has no place for what the request holds.
    `param` names the field."""

    def __init__(self, reason: str, text: str, param: str = "") -> None:
        super().__init__(reason)
        self.reason, self.text, self.param = reason, text, param


class Conversion(msgspec.Struct, eq=False):
    """One request as one target gets it, and what its answer must be told by. `dropped` are names of
    settings, as the client's format spells them."""

    asked: Asked
    written: Written
    upstream: Dialect
    client: Dialect
    dropped: tuple[str, ...] = ()
    keeper: Keeper | None = None
    """What is to be kept of the answer."""
    answer: bytes = b""
    """The answer as it went out whole, or, once it is `over`, the end of its stream."""
    _watch: Translation | None = None

    @property
    def told(self) -> str:
        """What clients and records are told: `lossless`, or `lossy; dropped=seed,logprobs`."""
        if not self.dropped:
            return "lossless"
        names = ",".join(self.dropped)
        return f"lossy; dropped={names}" if len(names) <= SHOWN else f"lossy; dropped={len(self.dropped)}"

    def watch(self, brief: Brief, max_event: int) -> Translation:
        """A fresh watch for one streamed attempt."""
        inner = FORMATS[self.upstream.name].watch(brief, max_event=max_event)
        watch = Translation(
            inner, self.upstream, self.client, asked=self.asked, written=self.written,
            late=self.upstream.name == "gemini",
        )  # fmt: skip
        self.keeper, self._watch = watch.keeper, watch
        return watch

    def over(self) -> None:
        """The answer has ended well."""
        if self._watch is not None:
            self.answer = self._watch.farewell

    def whole(self, body: bytes, usage: Usage) -> bytes:
        """A whole answer in the client's format. Raises BadFrame."""
        answer, self.keeper = translated(
            body, self.upstream, self.client, asked=self.asked, written=self.written, usage=usage
        )
        self.answer = answer
        return answer


def has_seals(body: bytes, brief: Brief) -> bool:
    """Whether the history in a request holds what another vendor than that of its own format has signed, as
    an answer in between came by conversion."""
    return MARK in body and brief.kind in (GENERATE, COUNT_TOKENS)


async def unsealed(body: bytes, target: Target, brief: Brief) -> bytes:
    """A request of the target's own format, written anew without what others have signed: its vendor would
    refuse that (conversion.md, 44)."""
    return await asyncio.to_thread(_unsealed, body, target, brief)


def _unsealed(body: bytes, target: Target, brief: Brief) -> bytes:
    dialect = DIALECTS[target.format]
    goal = Goal(target.upstream_name, target.max_output_tokens, target.quirks)
    try:
        written = dialect.write_request(dialect.read_request(body, brief), goal).body
    except BadRequest:
        return body  # as it is: its own vendor tells best what is wrong with it
    if brief.kind == GENERATE:
        return written
    # What only counts tokens takes less than what generates, and none of the writer's own.
    asked = orjson.loads(body)
    return orjson.dumps({name: value for name, value in orjson.loads(written).items() if name in asked})


class Converter:
    """Writes one request for one target after the other; reads it once."""

    def __init__(
        self, engine: Engine, ctx: StreamContext, brief: Brief, call: Call, body: bytes, *, exact: bool
    ) -> None:
        self._engine = engine
        self._ctx = ctx
        self._brief = brief
        self._call = call
        self._body = body
        self._exact = exact
        self._request: Request | None = None

    async def to(self, target: Target) -> Conversion:
        """The request as this target gets it. Raises Unfit where it does not take it, and BadRequest where
        nobody would."""
        if self._request is None:
            self._request = await self._off_loop(self._read)
        request = self._request
        if self._ctx.caller is not None and (calls := lacking(request, target.format)):
            found = await self._engine.keeping.find(self._ctx.caller.consumer_id, calls)
            request = restored(request, found, target.format)
        if self._engine.knobs.fetch_media:
            request = await self._with_files(request, DIALECTS[target.format].addresses)
        return await self._off_loop(self._write, request, target)

    async def _with_files(self, request: Request, takes: frozenset[str]) -> Request:
        """The request with the bytes of files that this target does not take by their address."""
        filled, size = await fetched(request, takes, limit=self._engine.knobs.media_bytes)
        if size:
            self._engine.hold_body(self._ctx, size)
            self._request = filled  # for the next target, which need not fetch them again
        return filled

    async def _off_loop(self, work: Callable[..., Result], *args: Any) -> Result:
        return await asyncio.to_thread(work, *args) if len(self._body) > LARGE else work(*args)

    def _read(self) -> Request:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._call.headers}
        return DIALECTS[self._ctx.api_format].read_request(
            self._body, self._brief, query=self._call.query, headers=headers
        )

    def _write(self, request: Request, target: Target) -> Conversion:
        ctx, brief = self._ctx, self._brief
        client, upstream = DIALECTS[ctx.api_format], DIALECTS[target.format]
        goal = Goal(target.upstream_name, target.max_output_tokens, target.quirks)
        request, left = without_traces(request, target.format)
        try:
            written = upstream.write_request(request, goal)
        except CannotHold as error:
            raise Unfit(f"not in its format: {error.text}", error.text, error.param) from error
        # Names of fields are the client's own words, and go into a header and a record.
        dropped = tuple(
            printable(client.spelled(name), LONGEST_NAME) for name in told([*left, *written.dropped])
        )
        if dropped and self._exact:
            text = (
                f"{dropped[0]} cannot be converted for any upstream of this model, which asks for exactness."
            )
            raise Unfit(f"exact: it would lose {', '.join(dropped)}", text, dropped[0])
        asked = Asked(
            id=ctx.request_text,
            now=int(time.time()),
            model=brief.model,
            brief=brief,
            # An answer is told by the request's settings; its messages need not stay in memory that long.
            request=msgspec.structs.replace(request, turns=()),
            input_estimate=estimated_tokens(len(self._body), self._engine.ledger.ratios.get(ctx.model)),
            quirks=target.quirks,
        )
        return Conversion(asked, written, upstream, client, dropped)
