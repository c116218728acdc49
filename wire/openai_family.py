"""The smaller paths of OpenAI's family, told apart by the request's kind; relayed in the same format only."""

from __future__ import annotations

import msgspec

from wire.body import Fields, TooManyFields, check_utf8, length, parsed_fields, read_fields, read_model
from wire.errors import read_inband
from wire.format import Passed, WholeReading
from wire.jsons import as_text, load_object, loads
from wire.passthrough import Meter, Sight, Watch
from wire.sse import Frame
from wire.types import (
    COMPLETE,
    EMBED,
    IMAGE,
    MODERATE,
    RERANK,
    SPEECH,
    STORED,
    TRANSCRIBE,
    BadFrame,
    Brief,
    Usage,
)
from wire.usage import FAMILY, Counters, from_openai

MODERATION_MODEL = "omni-moderation-latest"
"""What OpenAI takes where a request for moderation names no model, as it may."""
_ENDINGS = (".done", ".completed")
_METER = Meter("delta")
_WHOLE_METER = Meter("text")
_SMALL = ("id", "usage", "error", "object", "service_tier", "meta")


def wants_usage(fields: Fields) -> bool:
    """Whether the client itself asked a stream for usage. A wrong value that is not plainly false counts as
    asking: should upstream take it for true, the client expects the frame."""
    return fields.within("stream_options").given("include_usage")


def peek(body: bytes, kind: str) -> Brief:
    """Reads what the relay must know of a JSON body of this family. Raises BadRequest."""
    if kind == STORED:
        return Brief(model="", kind=kind)
    fields = read_fields(body)
    # Speech streams events only where it is told so in its own way.
    stream = fields.text("stream_format") == "sse" if kind == SPEECH else fields.flag("stream")
    unnamed = kind == MODERATE and not fields.given("model")
    return Brief(
        model=MODERATION_MODEL if unnamed else read_model(fields),
        kind=kind,
        stream=stream,
        wants_usage=kind == COMPLETE and stream and wants_usage(fields),
        count=_count(fields, kind),
        max_tokens=fields.integer("max_tokens") if kind == COMPLETE else None,
        needs=frozenset(),
    )


def _count(fields: Fields, kind: str) -> int:
    if kind in (EMBED, MODERATE):
        return _texts(fields.raw("input"))
    if kind == RERANK:
        return length(fields.raw("documents"))
    if kind == COMPLETE:
        return max(fields.count("n"), fields.count("best_of")) * _texts(fields.raw("prompt"))
    return fields.count("n") if kind == IMAGE else 1


def _texts(value: bytes) -> int:
    """How many inputs: a list of token numbers is one."""
    head = value[1:64].lstrip()[:1]
    return 1 if head.isdigit() or head == b"-" else length(value)


def read_whole(body: bytes, brief: Brief) -> WholeReading:
    """Reads a whole answer. Sound and plain text are content as they are. Raises BadFrame."""
    if brief.kind in (SPEECH, TRANSCRIBE) and not body.lstrip().startswith(b"{"):
        return WholeReading(Usage(), has_content=bool(body))
    # Vectors and pictures are large: what is not looked at stays bytes.
    try:
        fields = {str(name): raw for name, raw in parsed_fields(body)[1].items()}
        check_utf8(body)
    except (msgspec.MsgspecError, RecursionError, TooManyFields, UnicodeDecodeError) as error:
        raise BadFrame("not a JSON object") from error
    small = {name: loads(bytes(fields[name])) for name in _SMALL if name in fields}
    if small.get("error") or small.get("object") == "error":
        return WholeReading(Usage(), error=read_inband(load_object(body)), has_content=False)
    raw = Counters()
    raw.merge(_reported(small), FAMILY)
    raw.service_tier = as_text(small.get("service_tier"))
    raw.final = True
    return WholeReading(
        usage=from_openai(raw),
        response_id=as_text(small.get("id")),
        has_content=bool(fields),
        body=body,
        measure=_WHOLE_METER.measure if brief.kind == TRANSCRIBE else None,
    )


def _reported(answer: dict[str, object]) -> object:
    """The usage object; Cohere's shape of rerank holds its tokens under `meta`."""
    usage, meta = answer.get("usage"), answer.get("meta")
    if usage is None and isinstance(meta, dict):
        usage = meta.get("tokens")
    # Transcription may be metered by length of sound instead of tokens.
    return None if isinstance(usage, dict) and usage.get("type") == "duration" else usage


class EventWatch(Watch):
    """Follows the events of images, speech and transcription: every event is content, a `.done`, `.completed`
    or the end of the file is the end."""

    _meter = _METER
    _hints = (b'"usage"', b".done", b".completed", b"[DONE]", b"error")

    def usage(self) -> Usage:
        """The tokens derived from all reports so far."""
        return from_openai(self._raw)

    def finish(self) -> Passed:
        """The end of the file ends a stream that delivered something."""
        passed = super().finish()
        self.ended = self.ended or (self.meaningful and self.error is None)
        return passed

    def _done(self) -> Sight:
        return Sight.END

    def _look(self, frame: Frame) -> Sight:
        event = load_object(frame.data)
        kind = as_text(event.get("type")) or frame.event
        if event.get("error") or kind == "error":
            self.error = read_inband(event)
            return Sight.PASS
        self.meaningful = True
        usage = _reported(event)
        if usage is not None:
            self._raw.merge(usage, FAMILY)
        if kind.endswith(_ENDINGS):
            self._raw.final = True
            return Sight.END
        return Sight.PASS
