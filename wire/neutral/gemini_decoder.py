"""Answers of generateContent, streamed and whole, read into events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from wire.jsons import as_object, as_text, dumps, load_object
from wire.neutral.collect import fold
from wire.neutral.dialect import Asked
from wire.neutral.events import Event, Finish, Over, PartDelta, PartEnd, PartStart, Reason, Reply, Start
from wire.neutral.gemini_fields import NAME, bag, kind_of, standard
from wire.neutral.names import call_id
from wire.neutral.parts import Foreign, Media, Part, Refusal, Signature, Text, Thinking, ToolCall
from wire.sse import Frame
from wire.usage import GEMINI, Counters, from_gemini

REASONS: Final[Mapping[str, Reason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "refusal",
    "RECITATION": "refusal",
    "LANGUAGE": "refusal",
    "BLOCKLIST": "refusal",
    "PROHIBITED_CONTENT": "refusal",
    "SPII": "refusal",
    "IMAGE_SAFETY": "refusal",
    "IMAGE_PROHIBITED_CONTENT": "refusal",
    "IMAGE_RECITATION": "refusal",
    "ESCALATION": "refusal",
    "PUP_LIMITED_DISABLED": "refusal",
    "MODEL_ARMOR": "refusal",
    "MALFORMED_FUNCTION_CALL": "malformed_call",
    "UNEXPECTED_TOOL_CALL": "malformed_call",
    "OTHER": "other",
    "TOO_MANY_TOOL_CALLS": "other",
    "MISSING_THOUGHT_SIGNATURE": "other",
    "MALFORMED_RESPONSE": "other",
    "IMAGE_OTHER": "other",
    "NO_IMAGE": "other",
}
"""ai.google.dev/api/generate-content#FinishReason; for any other word `other`."""
NOTES: Final = (
    "groundingMetadata",
    "citationMetadata",
    "urlContextMetadata",
    "safetyRatings",
    "avgLogprobs",
    "logprobsResult",
    "finishMessage",
    "tokenCount",
    "continuationToken",
)
"""What a candidate has beside its content: it goes into the bag of its last text, or stands alone."""
_NO_REASON: Final = frozenset(("", "FINISH_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED"))
_MOST_CHOICES: Final = 128
_Flow = Literal["text", "thinking"]
_EMPTY: Final[Mapping[_Flow, Part]] = {"text": Text(""), "thinking": Thinking()}


class GeminiDecoder:
    """Reads one streamed answer."""

    def __init__(self, asked: Asked) -> None:
        self._id = asked.id
        self._choices: dict[int, _Choice] = {}
        self._started = False
        self._blocked = ""
        self._calls = 0

    def feed(self, frame: Frame) -> Iterable[Event]:
        """The events of a frame. Raises BadFrame."""
        return self.take(load_object(frame.data))

    def take(self, event: Mapping[str, Any]) -> list[Event]:
        """The events of a piece of an answer, or of a whole one."""
        told: list[Event] = []
        candidates = event.get("candidates")
        if not self._started and (candidates or "promptFeedback" in event):
            self._started = True
            told.append(Start(as_text(event.get("responseId")), as_text(event.get("modelVersion"))))
        if "promptFeedback" in event:
            self._feedback(as_object(event["promptFeedback"]))
        if not isinstance(candidates, list):
            return told
        for place, candidate in enumerate(candidates):
            if not isinstance(candidate, dict):
                continue
            number = candidate.get("index", place)
            if type(number) is not int or not 0 <= number < _MOST_CHOICES:
                number = place if place < _MOST_CHOICES else 0
            choice = self._choices.get(number)
            if choice is None:
                choice = self._choices[number] = _Choice(number, self)
            choice.take(candidate, told)
        return told

    def finish(self) -> list[Event]:
        """Ends what is open."""
        told: list[Event] = []
        if not self._started:
            self._started = True
            told.append(Start())
        if not self._choices:
            choice = self._choices[0] = _Choice(0, self)
            if self._blocked:
                choice.refuse(self._blocked, told)
        for number in sorted(self._choices):
            self._choices[number].finish(told)
        self._choices.clear()
        return told

    def made_id(self) -> str:
        """An id for a call without one (conversion.md, 29)."""
        self._calls += 1
        return call_id(self._id, self._calls)

    @property
    def blocked(self) -> str:
        """Why the prompt was blocked."""
        return self._blocked.partition(":")[0]

    def _feedback(self, feedback: Mapping[str, Any]) -> None:
        reason = as_text(feedback.get("blockReason"))
        if reason not in _NO_REASON:
            message = as_text(feedback.get("blockReasonMessage"))
            self._blocked = f"{reason}: {message}" if message else reason


def read_reply(body: bytes, asked: Asked) -> Reply:
    """A whole answer. Raises BadFrame."""
    answer = load_object(body)
    decoder = GeminiDecoder(asked)
    counters = Counters()
    counters.merge(answer.get("usageMetadata"), GEMINI)
    counters.final = True
    usage = from_gemini(counters)
    known = usage.input_reported or usage.output_reported
    return fold([*decoder.take(answer), *decoder.finish(), Over(usage if known else None)])


class _Choice:
    """One of the candidates: which part is being told."""

    def __init__(self, number: int, answer: GeminiDecoder) -> None:
        self._number = number
        self._answer = answer
        self._next = 0
        """The index of the next part."""
        self._flow: _Flow | None = None
        """What is being told, as the part `_next - 1`."""
        self._calls = False
        self._reason = ""
        self._notes: dict[str, Any] = {}

    def take(self, candidate: Mapping[str, Any], told: list[Event]) -> None:
        """One candidate of a piece."""
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if not isinstance(part, dict):
                continue
            text = part.get("text")
            if len(part) == 1 and type(text) is str:
                if text:
                    self._say("text", text, told)
            elif part:
                self._part(part, text, told)
        if (reason := as_text(candidate.get("finishReason"))) not in _NO_REASON:
            self._reason = reason
        if len(candidate) > 2 or content is None:
            for key in NOTES:
                if key in candidate:
                    self._notes[key] = candidate[key]

    def refuse(self, why: str, told: list[Event]) -> None:
        """Says in words that there is no answer (conversion.md, 61)."""
        self._reason = self._reason or self._answer.blocked
        self._whole(Refusal(""), told, f"Google's filter withheld the answer ({why}).")

    def finish(self, told: list[Event]) -> None:
        """Ends the candidate."""
        reason = self._why()
        if reason == "refusal" and not self._next:
            message = as_text(self._notes.get("finishMessage"))
            self.refuse(f"{self._reason}: {message}" if message else self._reason, told)
        if self._flow == "text" or not self._notes:
            self._end(told, notes=True)
        else:
            self._whole(Foreign(NAME, self._notes), told)
        told.append(Finish(reason, self._reason, choice=self._number))

    def _why(self) -> Reason:
        if not self._reason:
            return "refusal" if self._answer.blocked else "tool_calls" if self._calls else "stop"
        if self._reason == self._answer.blocked:
            return "refusal"
        reason = REASONS.get(self._reason, "other")
        return "tool_calls" if reason == "stop" and self._calls else reason  # conversion.md, 60

    def _part(self, part: Mapping[str, Any], text: Any, told: list[Event]) -> None:
        thought = part.get("thought") is True
        value = as_text(part.get("thoughtSignature"))
        signature = Signature(NAME, value) if value else None
        call = part.get("functionCall")
        if isinstance(call, dict):
            self._call(call, signature, told)
        elif not thought and (media := _media(part)) is not None:
            self._whole(media, told)
        elif isinstance(text, str) or part.keys() <= {"thought", "thoughtSignature"}:
            flow: _Flow = "thinking" if thought else "text"
            if as_text(text):
                self._say(flow, text, told)
            if signature is not None:
                # What comes behind a signature is a part of its own: the two must not be one.
                if self._flow != flow:
                    self._start(flow, told)
                self._end(told, signature)
        else:
            self._whole(Foreign(NAME, part), told)

    def _say(self, flow: _Flow, text: str, told: list[Event]) -> None:
        if self._flow != flow:
            self._start(flow, told)
        told.append(PartDelta(self._next - 1, text, self._number))

    def _start(self, flow: _Flow, told: list[Event]) -> None:
        self._end(told)
        self._flow = flow
        told.append(PartStart(self._next, _EMPTY[flow], self._number))
        self._next += 1

    def _end(self, told: list[Event], signature: Signature | None = None, *, notes: bool = False) -> None:
        if self._flow is not None:
            self._flow = None
            extras = bag(self._notes if notes else {})
            told.append(PartEnd(self._next - 1, signature, extras, self._number))

    def _whole(self, part: Part, told: list[Event], text: str = "") -> None:
        self._end(told)
        told.append(PartStart(self._next, part, self._number))
        if text:
            told.append(PartDelta(self._next, text, self._number))
        told.append(PartEnd(self._next, choice=self._number))
        self._next += 1

    def _call(self, call: Mapping[str, Any], signature: Signature | None, told: list[Event]) -> None:
        self._calls = True
        made = as_text(call.get("id")) or self._answer.made_id()
        args = call.get("args")
        text = args if isinstance(args, str) else dumps(as_object(args)).decode()
        self._whole(ToolCall(made, as_text(call.get("name")), signature=signature), told, text or "{}")


def _media(part: Mapping[str, Any]) -> Media | None:
    """A picture, or sound, that the model made."""
    rest = {key: value for key, value in part.items() if key not in ("inlineData", "fileData")}
    inline, held = as_object(part.get("inlineData")), as_object(part.get("fileData"))
    if data := as_text(inline.get("data")):
        mime = as_text(inline.get("mimeType"))
        return Media(kind_of(mime), mime, standard(data), extras=bag(rest))
    if uri := as_text(held.get("fileUri")):
        mime = as_text(held.get("mimeType"))
        return Media(kind_of(mime, uri), mime, url=uri, extras=bag(rest))
    return None
