"""What an answer of an upstream would be taken for, and what would follow: by the code that serves requests,
with nothing sent, kept or counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from providers.rules import FailureRule
from providers.types import Target
from relay.attempts import in_their_words
from relay.breaker import Part, Rules
from relay.errors import Exhausted, UpstreamFailure
from relay.failover import CALLER, THROTTLED, Failed, Judgement, final_fault, judge, meant, wait_told
from relay.health import PAIR_SECONDS, Health
from relay.refusals import render
from wire import FORMATS
from wire.format import WireFormat
from wire.types import GENERATE, BadFrame, Brief, FrameTooLarge, InbandError

REQUEST_ID = "request-id"
"""Stands in the client's answer for the id that a request would have."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is held against a key or endpoint (`place`) afterwards: left alone for `seconds`, `longer` each
    time that follows; or, as a `pair` with the model, asked last; with 0 seconds a failure is counted."""

    place: Literal["key", "endpoint"]
    seconds: float = 0.0
    longer: bool = False
    pair: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A judged failure at a provider, in a format. `status` and `body` are what the client is sent if every
    target fails alike, with `retry_after` seconds."""

    failure: UpstreamFailure
    judgement: Judgement
    stops: bool
    held: tuple[Held, ...]
    status: int
    body: bytes
    retry_after: int | None
    provider_id: int
    wire_format: str


def failure_of(
    wire_format: str, status: int, body: bytes, retry_after: float | None = None
) -> UpstreamFailure | None:
    """What fails an attempt in an answer with this status and body, whole or streamed; None where it is an
    answer to be passed on."""
    wire = FORMATS[wire_format]
    if status >= 400:
        told = wire.read_error(status, body)
        return UpstreamFailure(phase="headers", status=status, error=told, retry_after=retry_after, body=body)
    if status >= 300:
        return UpstreamFailure("redirect", phase="headers", status=status)
    if body.lstrip().startswith(b"<"):
        return UpstreamFailure("html", phase="headers", status=status)
    streamed = any(line.startswith((b"data:", b"event:")) for line in body.splitlines())
    try:
        error, content = (_stream if streamed else _whole)(wire, body)
    except (BadFrame, FrameTooLarge) as refusal:
        return UpstreamFailure("bad_frame", phase="first_event", status=status, text=str(refusal))
    if error is not None:
        return UpstreamFailure(phase="first_event", status=error.status, error=error, retry_after=retry_after)
    return None if content else UpstreamFailure("empty", phase="first_event", status=status)


def outcome_of(
    failure: UpstreamFailure, rules: Sequence[FailureRule], *, provider_id: int, wire_format: str
) -> Outcome:
    """What follows a failure at a provider, for a request of the same format."""
    judgement = meant(failure, rules, provider_id=provider_id, wire_format=wire_format)
    reason, verdict = judgement.reason, judge(judgement.reason)
    target = replace(TARGET, format=wire_format)
    health = Health(Rules(), keys_at=lambda endpoint_id: 1, chance=lambda: 0.0)
    health.failed(target, reason, failure.retry_after, 0.0, kind=GENERATE)
    if verdict.meaning == CALLER or reason == "unsupported_request":
        told = in_their_words(target, wire_format, failure, reason)
    else:
        fault, wait = final_fault([Failed(reason, 1, failure.status, failure.retry_after)])
        back = health.returns_in([target], 0.0)
        told = Exhausted(fault, retry_after=wait_told(fault, wait, back, LEAST_JITTER))
    answer = render(told, wire_format, REQUEST_ID)
    longer = verdict.meaning == THROTTLED and failure.retry_after is None
    return Outcome(
        failure=failure,
        judgement=judgement,
        stops=verdict.stop,
        held=tuple(_held(health, longer=longer)),
        status=answer.status,
        body=answer.body,
        retry_after=told.retry_after,
        provider_id=provider_id,
        wire_format=wire_format,
    )


LEAST_JITTER = 1
"""Seconds that are added to a wait by chance, at least."""
TARGET = Target(
    provider_id=1, provider_name="", endpoint_id=1, key_id=1, key_name="", model_id=1, model_name="",
    upstream_name="", format="", base_url="", secret="",
)  # fmt: skip
"""Any target: none is asked."""


def _held(health: Health, *, longer: bool) -> Iterator[Held]:
    known: tuple[tuple[Literal["key", "endpoint"], dict[int, Part]], ...]
    known = ("key", health.keys), ("endpoint", health.endpoints)
    for place, parts in known:
        for part in parts.values():
            yield Held(place, part.returns_at(), longer=longer)
    for table, *_pair in health.parked:
        yield Held("key" if table == "key" else "endpoint", PAIR_SECONDS, pair=True)


def _whole(wire: WireFormat, body: bytes) -> tuple[InbandError | None, bool]:
    reading = wire.read_whole(body, Brief(model=""))
    return reading.error, reading.has_content


def _stream(wire: WireFormat, body: bytes) -> tuple[InbandError | None, bool]:
    watch = wire.watch(Brief(model="", stream=True))
    watch.feed(body.rstrip() + b"\n\n")
    watch.finish()
    return watch.error, watch.meaningful
