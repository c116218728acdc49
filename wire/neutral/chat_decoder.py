"""Answers of Chat Completions, streamed and whole, read into events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from wire.jsons import as_object, as_objects, as_text, load_object, loads
from wire.neutral.chat_messages import signature_in
from wire.neutral.chat_reasoning import NAME, PLAIN, Tags, packed, thought, words
from wire.neutral.collect import fold
from wire.neutral.dialect import Asked
from wire.neutral.events import Event, Finish, Over, PartDelta, PartEnd, PartStart, Reason, Reply, Start
from wire.neutral.names import call_id
from wire.neutral.parts import (
    NONE,
    Extras,
    Foreign,
    Media,
    Part,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from wire.sse import Frame
from wire.types import BadFrame
from wire.usage import OPENAI, Counters, from_openai

REASONS: Final[Mapping[str, Reason]] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",  # Mistral
    "model_context_window_exceeded": "context_length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "refusal",
    "refusal": "refusal",
    "sensitive": "refusal",  # Zhipu
}
_ENDED: Final = frozenset({"stop", "stop_sequence"})
_MOST_CHOICES: Final = 128
"""Alternatives that OpenAI gives at most."""


class ChatDecoder:
    """Reads one streamed answer. What a choice has said is ended when the answer is, as vendors go on after
    their finish_reason."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._choices: dict[int, _Choice] = {}
        self._started = False
        self._calls = 0
        self.seal = PLAIN if "reasoning_content" in asked.quirks else None
        """What signs thinking that nobody has signed."""

    def feed(self, frame: Frame) -> Iterable[Event]:
        """The events of a frame. Raises BadFrame."""
        return self.take(load_object(frame.data))

    def take(self, event: Mapping[str, Any]) -> list[Event]:
        """The events of a chunk, or of a whole answer."""
        told: list[Event] = []
        for place, choice in enumerate(as_objects(event.get("choices"))):
            if not self._started:
                self._started = True
                told.append(Start(as_text(event.get("id")), as_text(event.get("model"))))
            number = choice.get("index")
            if type(number) is not int or not 0 <= number < _MOST_CHOICES:
                number = place if place < _MOST_CHOICES else 0
            state = self._choices.get(number)
            if state is None:
                state = self._choices[number] = _Choice(number, self)
            state.take(choice, told)
        return told

    def finish(self) -> list[Event]:
        """Ends what is open."""
        told: list[Event] = []
        if not self._started:
            told.append(Start())
            self._choices[0] = _Choice(0, self)
        for number in sorted(self._choices):
            self._choices[number].finish(told)
        self._choices.clear()
        self._started = True
        return told

    def tags(self) -> Tags | None:
        """What splits thinking from text, where the endpoint's models write both into one."""
        quirks = self._asked.quirks
        opened = "think_opened" in quirks
        return Tags(opened=opened) if opened or "think_tags" in quirks else None

    def made_id(self) -> str:
        """An id for a call without one."""
        self._calls += 1
        return call_id(self._asked.id, self._calls)

    def asked_to_stop_at(self, sequence: str) -> bool:
        """Whether the client asked for this stop sequence."""
        return sequence in self._asked.request.stop


def read_reply(body: bytes, asked: Asked) -> Reply:
    """A whole answer. Raises BadFrame."""
    answer = load_object(body)
    decoder = ChatDecoder(asked)
    counters = Counters()
    counters.merge(answer.get("usage"), OPENAI)
    counters.service_tier = as_text(answer.get("service_tier"))
    counters.final = True
    usage = from_openai(counters)
    known = usage.input_reported or usage.output_reported
    return fold([*decoder.take(answer), *decoder.finish(), Over(usage if known else None)])


class _Call:
    """A tool call that is being told. It starts once its name is known."""

    def __init__(self, *, custom: bool) -> None:
        self.custom = custom
        self.id = ""
        """The vendor's own; "" where it gave none so far."""
        self.name = ""
        self.index = -1
        """Of its part; -1 before it starts."""
        self.waiting = ""
        self.said: list[str] = []
        """The arguments so far of a call without an id: what tells where the next one begins."""
        self.signature: Signature | None = None
        self.late: Signature | None = None

    def whole(self) -> bool:
        """Whether what was said so far is a whole JSON object."""
        if not self.said[-1].endswith("}"):
            return False
        try:
            loads("".join(self.said).encode("utf-8", "surrogatepass"))
        except BadFrame:
            return False
        return True


_Flow = Literal["text", "thinking", "refusal"]
_EMPTY: Final[Mapping[_Flow, Part]] = {"text": Text(""), "thinking": Thinking(), "refusal": Refusal("")}


class _Choice:
    """One of the alternatives: which part is being told, and which calls."""

    def __init__(self, number: int, answer: ChatDecoder) -> None:
        self._number = number
        self._answer = answer
        self._tags = answer.tags()
        self._next = 0
        """The index of the next part."""
        self._flow: _Flow | None = None
        """What is being told outside of calls, as the part `_at`."""
        self._at = -1
        self._calls: dict[int, _Call] = {}
        self._all: list[_Call] = []
        self._reason = ""
        self._sequence = ""
        self._refused = False
        self._signature: Signature | None = None
        self._detail: dict[str, Any] = {}
        """The block of reasoning that is being told."""
        self._audio: dict[str, Any] = {}
        self._notes: dict[str, list[Any]] = {}
        """What goes into the bag of the text."""
        self._thought = False

    def take(self, choice: Mapping[str, Any], told: list[Event]) -> None:
        """One choice of a chunk."""
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            # Whole answers, and vendors that answer a stream with one.
            delta = as_object(choice.get("message")) if self._next == 0 else {}
        content = delta.get("content")
        if len(delta) == 1 and type(content) is str and self._flow == "text" and self._tags is None:
            if content:
                told.append(PartDelta(self._at, content, self._number))
        elif delta:
            self._delta(delta, content, told)
        if choice.get("finish_reason"):
            self._reason = as_text(choice["finish_reason"])
            self._stopped_at(choice)
        if choice.get("logprobs"):
            self._logprobs(as_object(choice["logprobs"]))

    def _delta(self, delta: Mapping[str, Any], content: Any, told: list[Event]) -> None:
        self._reasoning(delta, told)
        google = as_object(as_object(delta.get("extra_content")).get("google"))
        if isinstance(content, str):
            if content:
                self._content(content, google.get("thought") is True, told)
        elif isinstance(content, list):
            self._pieces(content, told)
        self._say("refusal", as_text(delta.get("refusal")), told)
        self._signature = signature_in(delta) or self._signature
        for picture in as_objects(delta.get("images")):
            self._picture(picture, told)
        for call in as_objects(delta.get("tool_calls")):
            self._call(call, told)
        if isinstance(delta.get("function_call"), dict):
            self._call({"index": -1, "function": delta["function_call"]}, told)
        if isinstance(delta.get("audio"), dict):
            self._hear(delta["audio"])
        notes = as_objects(delta.get("annotations"))
        if notes:
            self._notes.setdefault("annotations", []).extend(notes)

    def finish(self, told: list[Event]) -> None:
        """Ends the choice."""
        if self._tags is not None:
            for thinking, text in self._tags.finish():
                self._say("thinking" if thinking else "text", text, told)
        if self._signature is not None and self._flow != "text":
            self._start("text", told)
        self._end_flow(told)
        if self._audio:
            self._whole(Foreign(NAME, {"audio": self._audio}), told)
        for call in self._all:
            if call.index < 0:
                self._begin(call, told)
            told.append(PartEnd(call.index, call.late, choice=self._number))
        told.append(Finish(self._why(), self._reason, self._sequence, self._number))

    def _why(self) -> Reason:
        reason = REASONS.get(self._reason, "other") if self._reason else "stop"
        if reason in _ENDED:
            if self._all:
                return "tool_calls"  # Ollama, some Gemini (conversion.md, 60)
            if self._refused:
                return "refusal"
            if self._sequence:
                return "stop_sequence"
        return reason

    def _stopped_at(self, choice: Mapping[str, Any]) -> None:
        """vLLM and SGLang tell the stop sequence, or the token's number or text."""
        for key in ("stop_reason", "matched_stop"):
            if (sequence := as_text(choice.get(key))) and self._answer.asked_to_stop_at(sequence):
                self._sequence = sequence

    # What is said outside of calls.

    def _say(self, flow: _Flow, text: str, told: list[Event]) -> None:
        if not text:
            return
        if self._flow != flow:
            self._start(flow, told)
        told.append(PartDelta(self._at, text, self._number))

    def _start(self, flow: _Flow, told: list[Event]) -> None:
        self._end_flow(told)
        self._flow, self._at = flow, self._next
        self._next += 1
        self._refused = self._refused or flow == "refusal"
        told.append(PartStart(self._at, _EMPTY[flow], self._number))

    def _end_flow(self, told: list[Event]) -> None:
        if self._flow is None:
            return
        signature: Signature | None = None
        extras: Extras = NONE
        if self._flow == "text":
            signature, self._signature = self._signature, None
            if self._notes:
                extras, self._notes = {NAME: self._notes}, {}
        elif self._flow == "thinking":
            signature = thought(self._detail).signature if self._detail else self._answer.seal
            self._detail = {}
        told.append(PartEnd(self._at, signature, extras, self._number))
        self._flow = None

    def _content(self, text: str, thinking: bool, told: list[Event]) -> None:
        """Text; Google's compatibility layer marks thoughts, and puts tags around them besides."""
        if thinking:
            self._thought = True
            self._say("thinking", text.removeprefix("<thought>"), told)
            return
        if self._thought:
            text, self._thought = text.removeprefix("</thought>"), False
        if self._tags is None:
            self._say("text", text, told)
            return
        for is_thinking, piece in self._tags.feed(text):
            self._say("thinking" if is_thinking else "text", piece, told)

    def _pieces(self, content: list[Any], told: list[Event]) -> None:
        """A list in place of a string, as Mistral sends it."""
        for piece in as_objects(content):
            if piece.get("type") == "thinking":
                for each in as_objects(piece.get("thinking")):
                    self._say("thinking", as_text(each.get("text")), told)
            elif piece.get("type") == "refusal":
                self._say("refusal", as_text(piece.get("refusal")), told)
            elif isinstance(piece.get("text"), str):
                self._say("text", piece["text"], told)
            elif piece.get("type") == "image_url":
                self._picture(piece, told)
            else:
                self._whole(Foreign(NAME, piece), told)

    def _reasoning(self, delta: Mapping[str, Any], told: list[Event]) -> None:
        details = as_objects(delta.get("reasoning_details"))
        for detail in details:
            self._block(detail, told)
        if not any(words(detail) for detail in details):
            text = as_text(delta.get("reasoning_content")) or as_text(delta.get("reasoning"))
            if text and self._detail:
                self._end_flow(told)
            self._say("thinking", text, told)

    def _block(self, detail: dict[str, Any], told: list[Event]) -> None:
        """A block of `reasoning_details`, or more of the one before: of the same type and index."""
        known, new = self._detail.get("id"), detail.get("id")
        same = all(detail.get(key) == self._detail.get(key) for key in ("type", "index"))
        same = same and (not known or not new or known == new)
        if self._flow != "thinking" or not self._detail or not same:
            self._start("thinking", told)
        for key, value in detail.items():
            # A signature may come behind the words, in a piece of its own.
            if value is not None or key not in self._detail:
                self._detail[key] = value
        self._say("thinking", words(detail), told)

    def _whole(self, part: Part, told: list[Event]) -> None:
        self._end_flow(told)
        told.append(PartStart(self._next, part, self._number))
        told.append(PartEnd(self._next, choice=self._number))
        self._next += 1

    def _picture(self, picture: Mapping[str, Any], told: list[Event]) -> None:
        """A picture that the model made (openrouter.ai/docs/features/multimodal/image-generation)."""
        url = as_text(as_object(picture.get("image_url")).get("url"))
        head, _, data = url.partition(";base64,")
        if head.startswith("data:") and data:
            self._whole(Media("image", head.removeprefix("data:"), data), told)
        elif url:
            self._whole(Media("image", url=url), told)

    def _hear(self, audio: Mapping[str, Any]) -> None:
        for key, value in audio.items():
            known = self._audio.get(key)
            more = isinstance(value, str) and isinstance(known, str) and key in ("data", "transcript")
            self._audio[key] = f"{known}{value}" if more else value

    def _logprobs(self, logprobs: Mapping[str, Any]) -> None:
        if found := as_objects(logprobs.get("content")):
            self._notes.setdefault("logprobs", []).extend(found)

    # Calls.

    def _call(self, piece: Mapping[str, Any], told: list[Event]) -> None:
        custom = piece.get("type") == "custom" or isinstance(piece.get("custom"), dict)
        said = as_object(piece.get("custom" if custom else "function"))
        vendor_id, name = as_text(piece.get("id")), as_text(said.get("name"))
        index = piece.get("index")
        slot = index if type(index) is int else None
        call = self._known(slot, vendor_id, name)
        if call is None:
            call = _Call(custom=custom)
            self._calls[len(self._all) if slot is None else slot] = call
            self._all.append(call)
        signature = signature_in(piece)
        if call.index < 0:
            call.id, call.name = call.id or vendor_id, call.name or name
            call.signature = signature or call.signature
        elif signature is not None:
            call.late = signature
        text = _arguments(said.get("input" if custom else "arguments"))
        if not call.id and text:
            call.said.append(text)
        if call.index < 0 and call.name:
            self._begin(call, told)
            text = call.waiting + text
        if call.index < 0:
            call.waiting += text
        elif text:
            told.append(PartDelta(call.index, text, self._number))

    def _known(self, slot: int | None, vendor_id: str, name: str) -> _Call | None:
        """The call that a piece goes on with; None where it begins one (conversion.md, 24 and 26)."""
        if slot is None:
            call = self._all[-1] if self._all else None
            if call is not None and name and not vendor_id and call.name:
                return None
        else:
            call = self._calls.get(slot)
        if call is None or not vendor_id or vendor_id == call.id:
            # Without any id, a name behind whole arguments begins the next call.
            again = call is not None and not call.id and name and call.said and call.whole()
            return None if again else call
        begun = call.id or (name and call.name)
        return None if begun else call

    def _begin(self, call: _Call, told: list[Event]) -> None:
        self._end_flow(told)
        call.index = self._next
        self._next += 1
        made = call.id or self._answer.made_id()
        waiting = "" if call.name else call.waiting
        told.append(
            PartStart(
                call.index,
                ToolCall(made, call.name, waiting, call.custom, call.signature),
                self._number,
            )
        )


def _arguments(value: Any) -> str:
    """Text; an object where a vendor does not write it as text."""
    return packed(value) if isinstance(value, dict) else as_text(value)
