"""`contents` and `systemInstruction` of Gemini's requests as turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from wire.jsons import dumps
from wire.neutral.fields import object_at, text_if, wrong
from wire.neutral.gemini_fields import (
    NAME,
    bag,
    is_held,
    kind_of,
    listed,
    named,
    rest_of,
    standard,
)
from wire.neutral.names import call_id
from wire.neutral.parts import (
    Foreign,
    Media,
    Part,
    Role,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from wire.neutral.seals import On, opened, restored

_ROLES: Final[Mapping[str, Role]] = {
    "": "user",
    "user": "user",
    "function": "user",
    "tool": "user",
    "model": "assistant",
    "assistant": "assistant",
    "system": "system",
}
_SIGNED: Final = ("thought", "thoughtSignature")
CALL: Final = "functionCall"
RESULT: Final = "functionResponse"
Placed = tuple[Part, On]
Fields = dict[str, Any]


def read_system(value: Any) -> tuple[Turn, ...]:
    """`systemInstruction`, a content or plain text."""
    where = "systemInstruction"
    if value is None:
        return ()
    content = {"parts": [{"text": value}]} if isinstance(value, str) else named(value, where)
    parts = _Reader().parts(content, where, 0)
    return (Turn("system", parts, extras=bag(rest_of(content, ("parts", "role")))),) if parts else ()


def read_contents(value: Any) -> tuple[Turn, ...]:
    """The turns of `contents`. Raises BadRequest naming the field."""
    reader = _Reader()
    turns = []
    for number, each in enumerate(listed(value, "contents")):
        where = f"contents.{number}"
        raw = {"parts": [{"text": each}]} if isinstance(each, str) else object_at(each, where)
        content = named(raw, where)
        role = _ROLES.get(text_if(content.get("role"), f"{where}.role").lower())
        if role is None:
            raise wrong(f"{where}.role", "must be user or model")
        parts = reader.parts(content, where, number)
        turns.append(Turn(role, parts, extras=bag(rest_of(content, ("parts", "role")))))
    return tuple(_merged(turns))


def _merged(turns: list[Turn]) -> Iterator[Turn]:
    """The turns, with those of the model in a row in one: Google's client keeps a streamed answer as a
    content for each of its pieces."""
    waiting: Turn | None = None
    for turn in turns:
        same = (
            waiting is not None and turn.role == waiting.role == "assistant" and turn.extras == waiting.extras
        )
        if same and waiting is not None:
            waiting = msgspec.structs.replace(waiting, parts=_joined(waiting.parts, turn.parts))
            continue
        if waiting is not None:
            yield _sealed(waiting)
        waiting = turn
    if waiting is not None:
        yield _sealed(waiting)


def _joined(one: tuple[Part, ...], other: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts of two pieces, text that goes on in one: a piece may be a line's end alone, which would be
    lost as a text of its own."""
    if one and other and _plain(one[-1]) and _plain(other[0]):
        text = "".join(part.text for part in (one[-1], other[0]) if isinstance(part, Text))
        return (*one[:-1], Text(text), *other[1:])
    return (*one, *other)


def _plain(part: Part) -> bool:
    return isinstance(part, Text) and part == Text(part.text)


def _sealed(turn: Turn) -> Turn:
    """The turn with another vendor's seal on the thought that it is of, whose words came in pieces before."""
    parts: list[Part] = []
    for part in turn.parts:
        if not isinstance(part, Thinking) or part.signature is None or part.signature.origin == NAME:
            parts.append(part)
            continue
        words = part.text
        while parts and isinstance(before := parts[-1], Thinking) and before.signature is None:
            words = before.text + words
            parts.pop()
        parts.append(msgspec.structs.replace(part, text=words))
    return msgspec.structs.replace(turn, parts=tuple(parts)) if len(parts) < len(turn.parts) else turn


class _Reader:
    """Reads contents one after another. Calls and results without ids are paired: a result is of the first
    call of its name that still waits, else of the first that waits at all (conversion.md, 29)."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, str]] = []
        """Ids and names of the calls that have no result yet."""
        self._made = 0
        self._turn = 0

    def parts(self, content: Fields, where: str, turn: int) -> tuple[Part, ...]:
        """The parts of a content."""
        self._turn, self._made = turn, 0
        placed = []
        for number, each in enumerate(listed(content.get("parts"), f"{where}.parts")):
            at = f"{where}.parts.{number}"
            raw = {"text": each} if isinstance(each, str) else object_at(each, at)
            placed.append(self._part(raw, at))
        return restored(placed)

    def _part(self, raw: Fields, where: str) -> Placed:
        fields = named(raw, where)
        signature, on = _signature(fields, where)
        if CALL in fields:
            return self._call(fields, signature, where), on
        if RESULT in fields:
            return self._result(fields, where), "own"
        for key, read in _MEDIA.items():
            if key in fields and fields.get("thought") is not True:
                return read(fields, where), "own"
        if "text" not in fields and rest_of(fields, _SIGNED):
            return Foreign(NAME, raw), "own"
        text = text_if(fields.get("text"), f"{where}.text")
        extras = bag(rest_of(fields, ("text", *_SIGNED)))
        if fields.get("thought") is True:
            return Thinking(text, signature, extras), on
        return Text(text, signature, extras=extras), on

    def _call(self, fields: Fields, signature: Signature | None, where: str) -> ToolCall:
        where = f"{where}.{CALL}"
        call = named(fields[CALL], where)
        name = text_if(call.get("name"), f"{where}.name")
        if not name:
            raise wrong(f"{where}.name", "is missing")
        args = call.get("args")
        arguments = "" if args is None else dumps(object_at(args, f"{where}.args")).decode()
        extras = rest_of(fields, (CALL, "thoughtSignature"))
        inner = rest_of(call, ("id", "name", "args"))
        made = text_if(call.get("id"), f"{where}.id")
        if not made:
            made, inner["id"] = self._id("call"), None
        if inner:
            extras[CALL] = inner
        self._waiting.append((made, name))
        return ToolCall(made, name, arguments, signature=signature, extras=bag(extras))

    def _result(self, fields: Fields, where: str) -> ToolResult:
        where = f"{where}.{RESULT}"
        result = named(fields[RESULT], where)
        name = text_if(result.get("name"), f"{where}.name")
        extras = rest_of(fields, (RESULT,))
        inner = rest_of(result, ("id", "name", "response", "parts"))
        told = text_if(result.get("id"), f"{where}.id")
        made = self._answered(told, name)
        if not told:
            inner["id"] = None
        response = result.get("response")
        texts, failed = _said(response, f"{where}.response")
        if response != ({"error" if failed else "output": texts[0].text} if texts else None):
            inner["response"] = response
        media = []
        for number, each in enumerate(listed(result.get("parts"), f"{where}.parts")):
            media.append(_result_part(each, f"{where}.parts.{number}"))
        if inner:
            extras[RESULT] = inner
        return ToolResult(made, (*texts, *media), name, failed, extras=bag(extras))

    def _answered(self, told: str, name: str) -> str:
        """The id of the call that a result is of."""
        found = next((each for each in self._waiting if each[0] == told), None)
        if found is None and told:
            return told
        found = found or next((each for each in self._waiting if each[1] == name), None)
        found = found or next(iter(self._waiting), None)
        if found is None:
            return self._id("result")
        self._waiting.remove(found)
        return found[0]

    def _id(self, kind: str) -> str:
        """An id that stays the same while the history grows."""
        self._made += 1
        return call_id(f"{kind}/{self._turn}", self._made)


def _signature(fields: Fields, where: str) -> tuple[Signature | None, On]:
    told = text_if(fields.get("thoughtSignature"), f"{where}.thoughtSignature")
    return opened(told, NAME) if told else (None, "own")


def _said(response: Any, where: str) -> tuple[tuple[Text, ...], bool]:
    """A result's words, and whether it tells a failure: `output` and `error` are Google's own keys, `result`
    what its examples write; anything else is the result itself."""
    if response is None:
        return (), False
    fields = object_at(response, where)
    if len(fields) == 1:
        ((key, value),) = fields.items()
        if key in ("output", "error", "result"):
            return (Text(_words(value)),), key == "error"
    return (Text(_words(fields)),), False


def _words(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value).decode()


def _result_part(raw: Any, where: str) -> Part:
    fields = named(object_at(raw, where), where)
    for key, read in _MEDIA.items():
        if key in fields:
            return read(fields, where)
    return Foreign(NAME, raw)


def _inline(fields: Fields, where: str) -> Media:
    where = f"{where}.inlineData"
    blob = named(fields["inlineData"], where)
    mime = text_if(blob.get("mimeType"), f"{where}.mimeType")
    return Media(
        kind_of(mime),
        mime,
        data=standard(text_if(blob.get("data"), f"{where}.data")),
        name=text_if(blob.get("displayName"), f"{where}.displayName"),
        extras=_media_extras(fields, "inlineData", rest_of(blob, ("mimeType", "data", "displayName"))),
    )


def _file(fields: Fields, where: str) -> Media:
    where = f"{where}.fileData"
    blob = named(fields["fileData"], where)
    mime = text_if(blob.get("mimeType"), f"{where}.mimeType")
    uri = text_if(blob.get("fileUri"), f"{where}.fileUri")
    if not uri:
        raise wrong(f"{where}.fileUri", "is missing")
    media = Media(
        kind_of(mime, uri),
        mime,
        name=text_if(blob.get("displayName"), f"{where}.displayName"),
        extras=_media_extras(fields, "fileData", rest_of(blob, ("mimeType", "fileUri", "displayName"))),
    )
    if is_held(uri):
        return msgspec.structs.replace(media, file_id=uri)
    return msgspec.structs.replace(media, url=uri)


def _media_extras(fields: Fields, key: str, inner: Fields) -> Any:
    extras = rest_of(fields, (key,))
    if inner:
        extras[key] = inner
    return bag(extras)


_MEDIA: Final[Mapping[str, Callable[[Fields, str], Media]]] = {"inlineData": _inline, "fileData": _file}
