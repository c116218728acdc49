"""Turns of the middle as Gemini's `systemInstruction` and `contents`.

The rules are those of ai.google.dev/gemini-api/docs: text-generation (turns of user and model by turns, the
user's first), function-calling (all results of a turn's calls in the next content, as many as calls),
thought-signatures (what goes back, and where), and of the API's own errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import orjson

from wire.neutral.chat_turns import paired
from wire.neutral.gemini_contents import CALL, RESULT
from wire.neutral.gemini_fields import NAME, is_youtube, mime_of, own
from wire.neutral.gemini_models import Model
from wire.neutral.names import fitted
from wire.neutral.parts import (
    Foreign,
    Media,
    Part,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from wire.neutral.requests import CannotHold, Request
from wire.types import BadRequest

FIRST: Final = "[A-Za-z_]"
"""How a function's name begins."""
UNSIGNED: Final = "skip_thought_signature_validator"
"""Stands for the signature of a call that Gemini did not make, or whose signature was lost
(ai.google.dev/gemini-api/docs/thought-signatures, "FAQs")."""
BEFORE: Final = "(The conversation so far begins with your own words.)"
EMPTY: Final = "(empty message)"
GO_ON: Final = "Continue."
NO_RESULT: Final = "No result of this call is on record."
PICTURES: Final = frozenset(("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"))
IN_RESULTS: Final = frozenset(("image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"))
"""Types that `functionResponse.parts` takes (ai.google.dev/gemini-api/docs/function-calling, "Multimodal
function responses")."""
_PLAIN: Final = frozenset(
    ("application/json", "application/xml", "application/x-yaml", "application/javascript")
)
Out = dict[str, Any]


class Content(msgspec.Struct):
    """Turns of one role in a row. `results` are written before all else."""

    role: str
    parts: list[Out]
    results: list[Out]
    extras: Out

    def all(self) -> list[Out]:
        """Its parts, in order."""
        return [*self.results, *self.parts]


class Conversation:
    """A request's turns as they go to a model. `dropped` names what was left out of them."""

    def __init__(self, request: Request, model: Model) -> None:
        self.dropped: list[str] = []
        self._own = request.origin == NAME
        self._model = model
        self._results, self._taken = ({}, set()) if self._own else paired(request.turns)
        opening = next(
            (at for at, turn in enumerate(request.turns) if turn.role != "system"), len(request.turns)
        )
        self._system: list[Out] = []
        self._system_extras: Out = {}
        self._contents: list[Content] = []
        self._open(request.turns[:opening])
        for number, turn in enumerate(request.turns[opening:], opening):
            self._turn(turn, number)
        self._shaped()
        if model.wants_signatures:
            self._signed()

    @property
    def system(self) -> Out | None:
        """`systemInstruction`; None for none."""
        return {"parts": self._system, **self._system_extras} if self._system else None

    @property
    def contents(self) -> list[Out]:
        """As they stand on the wire."""
        return [
            {"role": content.role, "parts": content.all(), **content.extras} for content in self._contents
        ]

    def _open(self, turns: Iterable[Turn]) -> None:
        for number, turn in enumerate(turns):
            for at, part in enumerate(turn.parts):
                if isinstance(part, Text | Refusal):
                    self._system += self._part(part, f"messages.{number}.content.{at}")
                else:  # the instruction holds text alone: it opens the conversation instead
                    self._at("user").parts += self._part(part, f"messages.{number}.content.{at}")
            if self._own:
                self._system_extras.update(own(turn.extras))

    def _at(self, role: str) -> Content:
        """The last content, if it is this role's, else a new one."""
        if self._own or not self._contents or self._contents[-1].role != role:
            self._contents.append(Content(role, [], [], {}))
        return self._contents[-1]

    def _turn(self, turn: Turn, number: int) -> None:
        parts = [
            (f"messages.{number}.content.{at}", part)
            for at, part in enumerate(turn.parts)
            if (number, at) not in self._taken
        ]
        if turn.role == "assistant":
            self._assistant(turn, parts, self._results.get(number, {}))
            return
        if turn.parts and not parts:
            return  # its results stand behind their calls
        content = self._at("user")
        had = len(content.parts)
        for where, part in parts:
            content.parts += self._part(_reminder(part) if turn.role == "system" else part, where)
        if len(content.parts) == had and turn.role == "user" and not self._own:
            content.parts.append({"text": EMPTY})
        if self._own:
            content.extras.update(own(turn.extras))

    def _assistant(
        self, turn: Turn, parts: Sequence[tuple[str, Part]], results: Mapping[str, ToolResult]
    ) -> None:
        written = [each for where, part in parts for each in self._part(part, where)]
        if not written and not self._own:
            return
        content = self._at("model")
        content.parts += written
        if self._own:
            content.extras.update(own(turn.extras))
        calls = [part for _, part in parts if isinstance(part, ToolCall)]
        if not calls or self._own:
            return
        behind = Content("user", [], [], {})
        self._contents.append(behind)
        for call in calls:
            self._result(call, results.get(call.id), behind)

    def _part(self, part: Part, where: str) -> Iterator[Out]:
        """A part as it stands in a content, if it has a place there."""
        match part:
            case Text():
                signature = _sealed(part.signature)
                if part.text or signature or self._own:
                    yield {"text": part.text, **signature, **self._more(part)}
            case ToolCall():
                yield self._call(part, where)
            case Thinking():
                yield from self._thought(part)
            case Media():
                yield self._media(part, where)
            case ToolResult() if self._own:
                yield self._answer(part, part.call_id, part.name, where)[0]
            case ToolResult():
                yield from self._orphan(part, where)
            case Refusal():
                yield {"text": part.text}
            case Foreign() if part.origin == NAME:
                yield dict(part.value)
            case Foreign():
                raise CannotHold(f"'{where}' is a block that only {part.origin} understands", param=where)

    def _more(self, part: Text | Thinking | Media | ToolCall | ToolResult) -> Out:
        return own(part.extras) if self._own else {}

    def _thought(self, part: Thinking) -> Iterator[Out]:
        """A thought with this format's own signature, or of its own clients; of others neither signature nor
        words (conversion.md, 44 and 47)."""
        signature = _sealed(part.signature)
        if signature or (self._own and part.signature is None):
            yield {"text": part.text, "thought": True, **signature, **self._more(part)}

    def _call(self, call: ToolCall, where: str) -> Out:
        more = self._more(call)
        body = {"id": call.id, "name": self._name(call.name), "args": _arguments(call, where)}
        body.update(more.pop(CALL, {}))
        return {CALL: _told(body), **_sealed(call.signature), **more}

    def _name(self, name: str) -> str:
        return name if self._own else fitted(name, first=FIRST)

    def _result(self, call: ToolCall, result: ToolResult | None, content: Content) -> None:
        """What answers a call. One that nobody answered gets a word that says so: Gemini wants as many
        results as calls (conversion.md, 30 and 33)."""
        result = result or ToolResult(call.id, (Text(NO_RESULT),), failed=True)
        answer, files = self._answer(result, call.id, call.name, f"messages.results.{call.id}")
        content.results.append(answer)
        if files:
            content.parts += [{"text": f"Attached to the result of tool call {call.id}:"}, *files]

    def _answer(self, result: ToolResult, call_id: str, name: str, where: str) -> tuple[Out, list[Out]]:
        """A result, and the files that have no place in it (conversion.md, 34)."""
        texts: list[str] = []
        within: list[Out] = []
        behind: list[Out] = []
        for number, part in enumerate(result.parts):
            at = f"{where}.content.{number}"
            if isinstance(part, Media):
                media = self._media(part, at)
                mime = media.get("inlineData", {}).get("mimeType")
                inside = self._own or (self._model.media_results and mime in IN_RESULTS)
                (within if inside else behind).append(media)
            elif self._own and isinstance(part, Foreign):
                within += self._part(part, at)
            else:
                texts += [each.get("text", "") for each in self._part(part, at)]
        if behind:
            texts.append("(The files of this result follow.)")
        # Always a string: Gemini reads `$ref` in an object as its own (conversion.md, 37).
        response = {"error" if result.failed else "output": "\n".join(texts)}
        body: Out = {"id": call_id, "name": self._name(name), "response": response}
        if within:
            body["parts"] = within
        more = self._more(result)
        body.update(more.pop(RESULT, {}))
        return {RESULT: _told(body), **more}, behind

    def _orphan(self, result: ToolResult, where: str) -> Iterator[Out]:
        """A result whose call is not there, as plain text (conversion.md, 32)."""
        yield {"text": f"Result of the tool call {result.call_id or result.name}:"}
        for number, part in enumerate(result.parts):
            yield from self._part(part, f"{where}.content.{number}")

    def _media(self, part: Media, where: str) -> Out:
        more = self._more(part)
        if self._own:
            return self._given(part, more)
        if part.detail not in ("", "auto"):
            self.dropped.append("detail")
        if part.data:
            return {"inlineData": {"mimeType": _taken(part, where), "data": part.data}}
        if is_youtube(part.url):
            return {"fileData": {"fileUri": part.url}}
        if part.url:
            raise CannotHold(f"Gemini does not fetch '{where}': the file's bytes are needed", param=where)
        raise CannotHold(f"'{where}' is a file that another vendor holds", param=where)

    def _given(self, part: Media, more: Out) -> Out:
        """A file of a client of this format, as it stood there."""
        key = "fileData" if part.url or part.file_id else "inlineData"
        located: Out = {"data": part.data} if key == "inlineData" else {"fileUri": part.file_id or part.url}
        named = {"displayName": part.name} if part.name else {}
        mime = {"mimeType": part.mime} if part.mime else {}
        return {key: {**mime, **located, **named, **more.pop(key, {})}, **more}

    def _shaped(self) -> None:
        """A conversation that may begin and end as it does."""
        if self._own:
            return
        contents = self._contents = [each for each in self._contents if each.parts or each.results]
        if not contents:
            if not self._system:
                raise BadRequest("'messages' holds nothing to answer", param="messages")
            contents.append(Content("user", [self._system.pop()], [], {}))  # somebody must speak (52)
        if contents[0].role == "model":
            contents.insert(0, Content("user", [{"text": BEFORE}], [], {}))
        if contents[-1].role == "model" and not self._model.prefills:
            self.dropped.append("prefill")
            contents.append(Content("user", [{"text": GO_ON}], [], {}))

    def _signed(self) -> None:
        """Puts a word for a signature on the first call of each step of the turn that is going on, where it
        has none: Gemini 3 refuses the request else."""
        for content in reversed(self._contents):
            if content.role == "user" and not content.results:
                return
            call = next((part for part in content.parts if CALL in part), None)
            if content.role == "model" and call is not None and "thoughtSignature" not in call:
                call["thoughtSignature"] = UNSIGNED


def _told(body: Out) -> Out:
    """Without what the client did not say: an id that was made for it."""
    return {key: value for key, value in body.items() if value is not None}


def _sealed(signature: Signature | None) -> Out:
    """This format's own signature; another's is dropped (conversion.md, 44)."""
    if signature is None or signature.origin != NAME or not signature.value:
        return {}
    return {"thoughtSignature": signature.value}


def _reminder(part: Part) -> Part:
    """What the system says in the midst of a conversation, at its place, as Claude Code tells its own."""
    if isinstance(part, Text) and part.text.strip():
        text = f"<system-reminder>\n{part.text}\n</system-reminder>"
        return msgspec.structs.replace(part, text=text)
    return part


def _arguments(call: ToolCall, where: str) -> Out | None:
    if call.custom:
        return {"input": call.arguments}
    if not call.arguments.strip():
        return {}
    try:
        value = orjson.loads(call.arguments)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        try:
            value = json.loads(call.arguments)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict):
        raise CannotHold(f"'{where}' calls a tool with arguments that are no JSON object", param=where)
    return value


def _taken(part: Media, where: str) -> str:
    """The type of a file, as Gemini takes it."""
    mime = (part.mime.partition(";")[0].strip() or mime_of(part.name)).lower()
    if part.kind == "image":
        mime = "image/jpeg" if mime == "image/jpg" else mime
        if mime in PICTURES:
            return mime
    elif mime == "application/pdf" or (mime and part.kind != "document"):
        return mime
    elif mime.startswith("text/") or mime in _PLAIN:
        return "text/plain"
    raise CannotHold(f"'{where}' is {mime or 'of no named type'}, which Gemini does not take", param=where)
