"""The messages of a Chat Completions request, read into turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from wire.jsons import as_object, as_objects, as_text
from wire.neutral.chat_reasoning import FIELDS, NAME, packed, thoughts
from wire.neutral.names import call_id
from wire.neutral.parts import (
    NONE,
    Extras,
    Foreign,
    Media,
    Part,
    Refusal,
    Role,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from wire.neutral.seals import opened
from wire.types import BadRequest

AUDIO: Final = {"wav": "audio/wav", "mp3": "audio/mpeg"}
"""MIME types of OpenAI's names for kinds of sound."""
LEGACY: Final = "legacy"
"""In a tool's bag: the client speaks of `functions`, and is answered with a `function_call`."""
_ALONE: Final = {"google": {"thought_signature": ""}}


def wrong(where: str, wanted: str) -> BadRequest:
    """A field that is not what it must be."""
    return BadRequest(f"'{where}' must be {wanted}", param=where)


def text_at(value: Any, where: str) -> str:
    """A string. Raises BadRequest for anything else."""
    if not isinstance(value, str):
        raise wrong(where, "a string")
    return value


def object_at(value: Any, where: str) -> dict[str, Any]:
    """An object. Raises BadRequest for anything else."""
    if not isinstance(value, dict):
        raise wrong(where, "an object")
    return value


def list_at(value: Any, where: str) -> list[Any]:
    """An array. Raises BadRequest for anything else."""
    if not isinstance(value, list):
        raise wrong(where, "an array")
    return value


def bag(value: Mapping[str, Any], *known: str) -> Extras:
    """What stands in an object beside the known keys."""
    rest = {key: told for key, told in value.items() if key not in known and told is not None}
    return {NAME: rest} if rest else NONE


def read_messages(messages: Any) -> tuple[Turn, ...]:
    """The turns, with results of tools that follow one another in one turn. Raises BadRequest."""
    reader = _Messages()
    for number, message in enumerate(list_at(messages, "messages")):
        where = f"messages.{number}"
        reader.read(object_at(message, where), where)
    if not reader.turns:
        raise wrong("messages", "an array with at least one message")
    return tuple(reader.turns)


class _Messages:
    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self._functions: list[tuple[str, str]] = []
        """Calls in the old way, which have no id: name, and the id made for it."""

    def read(self, message: dict[str, Any], where: str) -> None:
        role = message.get("role")
        if role in ("system", "developer", "user"):
            self.turns.append(self._plain(message, role, where))
        elif role == "assistant":
            self.turns.append(self._assistant(message, where))
        elif role == "tool":
            self._result(_result(message, where))
        elif role == "function":
            self._result(self._old_result(message, where))
        else:
            raise wrong(f"{where}.role", "system, developer, user, assistant, tool or function")

    def _plain(self, message: dict[str, Any], role: str, where: str) -> Turn:
        extras = bag(message, "role", "content", "name")
        if role == "developer":
            extras = {NAME: {**extras.get(NAME, {}), "role": role}}
        kind: Role = "user" if role == "user" else "system"
        return Turn(kind, tuple(_content(message, where)), _name(message, where), extras)

    def _assistant(self, message: dict[str, Any], where: str) -> Turn:
        parts: list[Part] = [*thoughts(message), *_content(message, where)]
        if message.get("refusal") is not None:
            parts.append(Refusal(text_at(message["refusal"], f"{where}.refusal")))
        if message.get("audio") is not None:
            parts.append(Foreign(NAME, {"audio": object_at(message["audio"], f"{where}.audio")}))
        known = ("role", "content", "name", "refusal", "audio", "tool_calls", "function_call", *FIELDS)
        extras = bag(message, *known)
        signature, extras = _signature(extras)
        if signature is not None:
            _sign(parts, signature)
        for number, call in enumerate(list_at(message.get("tool_calls") or [], f"{where}.tool_calls")):
            place = f"{where}.tool_calls.{number}"
            parts.append(_call(object_at(call, place), place))
        if message.get("function_call") is not None:
            parts.append(self._old_call(message["function_call"], f"{where}.function_call"))
        return Turn("assistant", tuple(parts), _name(message, where), extras)

    def _old_call(self, value: Any, where: str) -> ToolCall:
        call = object_at(value, where)
        name = text_at(call.get("name"), f"{where}.name")
        self._functions.append((name, call_id("function_call", len(self.turns))))
        return ToolCall(self._functions[-1][1], name, _arguments(call.get("arguments"), f"{where}.arguments"))

    def _old_result(self, message: dict[str, Any], where: str) -> ToolResult:
        name = text_at(message.get("name"), f"{where}.name")
        found = next((each for each in self._functions if each[0] == name), None)
        if found is not None:
            self._functions.remove(found)
        made = found[1] if found else call_id("function", len(self.turns))
        return ToolResult(made, tuple(_content(message, where)), name)

    def _result(self, result: ToolResult) -> None:
        last = self.turns[-1] if self.turns else None
        if last is not None and last.role == "user" and last.parts and isinstance(last.parts[-1], ToolResult):
            self.turns[-1] = msgspec.structs.replace(last, parts=(*last.parts, result))
        else:
            self.turns.append(Turn("user", (result,)))


def _name(message: Mapping[str, Any], where: str) -> str:
    name = message.get("name")
    return "" if name is None else text_at(name, f"{where}.name")


def _content(message: Mapping[str, Any], where: str) -> Iterator[Part]:
    """The parts of a message's content. Nothing at all for an empty string."""
    content = message.get("content")
    if isinstance(content, str):
        if content:
            yield Text(content)
    elif isinstance(content, list):
        for number, part in enumerate(content):
            yield from _part(object_at(part, f"{where}.content.{number}"), f"{where}.content.{number}")
    elif content is not None:
        raise wrong(f"{where}.content", "a string or an array")


def _part(part: dict[str, Any], where: str) -> Iterable[Part]:
    kind = text_at(part.get("type"), f"{where}.type")
    read = _PARTS.get(kind)
    return (Foreign(NAME, part),) if read is None else read(part, where)


def _text(part: dict[str, Any], where: str) -> Iterator[Part]:
    text = text_at(part.get("text"), f"{where}.text")
    yield Text(text, None, _cache(part), bag(part, "type", "text", "cache_control"))


def _cache(value: Mapping[str, Any]) -> str:
    """The mark that OpenRouter took over from Anthropic (openrouter.ai/docs/features/prompt-caching). It
    lasts five minutes where it does not say."""
    mark = value.get("cache_control")
    return (as_text(mark.get("ttl")) or "5m") if isinstance(mark, dict) else ""


def _picture(part: dict[str, Any], where: str) -> Iterator[Part]:
    place = f"{where}.image_url"
    image = part.get("image_url")
    image = {"url": image} if isinstance(image, str) else object_at(image, place)
    found = _located("image", image.get("url"), f"{place}.url")
    yield msgspec.structs.replace(
        found,
        detail=as_text(image.get("detail")),
        cache=_cache(part),
        extras=bag(part, "type", "image_url", "cache_control"),
    )


def _film(part: dict[str, Any], where: str) -> Iterator[Part]:
    film = object_at(part.get("video_url"), f"{where}.video_url")
    found = _located("video", film.get("url"), f"{where}.video_url.url")
    yield msgspec.structs.replace(
        found, cache=_cache(part), extras=bag(part, "type", "video_url", "cache_control")
    )


def _located(kind: Any, url: Any, where: str) -> Media:
    """Bytes where the address holds them (`data:`), else the address."""
    url = text_at(url, where)
    if url[:5].lower() != "data:":
        return Media(kind, url=url)
    head, comma, data = url[5:].partition(",")
    mime, *options = head.split(";")
    if not comma or not options or options[-1].strip().lower() != "base64":
        raise wrong(where, "an address, or data in base64")
    return Media(kind, mime.strip().lower(), data)


def _sound(part: dict[str, Any], where: str) -> Iterator[Part]:
    audio = object_at(part.get("input_audio"), f"{where}.input_audio")
    data = text_at(audio.get("data"), f"{where}.input_audio.data")
    kind = text_at(audio.get("format"), f"{where}.input_audio.format")
    yield Media(
        "audio",
        AUDIO.get(kind, f"audio/{kind}"),
        data,
        cache=_cache(part),
        extras=bag(part, "type", "input_audio", "cache_control"),
    )


def _file(part: dict[str, Any], where: str) -> Iterator[Part]:
    place = f"{where}.file"
    file = object_at(part.get("file"), place)
    data, held = file.get("file_data"), file.get("file_id")
    if data is None and held is None:
        raise wrong(place, "a file with file_data or file_id")
    found = Media("document", file_id="" if held is None else text_at(held, f"{place}.file_id"))
    if data is not None:
        told = text_at(data, f"{place}.file_data")
        # Older clients send bare base64, which OpenAI took for a PDF, the only kind there was.
        plain = ":" not in told[:16]
        found = (
            Media("document", "application/pdf", told)
            if plain
            else _located("document", told, f"{place}.file_data")
        )
    yield msgspec.structs.replace(
        found,
        name=as_text(file.get("filename")),
        cache=_cache(part),
        extras=bag(part, "type", "file", "cache_control"),
    )


def _refusal(part: dict[str, Any], where: str) -> Iterator[Part]:
    yield Refusal(text_at(part.get("refusal"), f"{where}.refusal"))


def _mistral_thinking(part: dict[str, Any], _where: str) -> Iterator[Part]:
    """Mistral's (docs.mistral.ai/capabilities/reasoning)."""
    if said := "".join(as_text(piece.get("text")) for piece in as_objects(part.get("thinking"))):
        yield Thinking(said)


_PARTS: Final[Mapping[str, Callable[[dict[str, Any], str], Iterable[Part]]]] = {
    "text": _text,
    "image_url": _picture,
    "video_url": _film,
    "input_audio": _sound,
    "file": _file,
    "refusal": _refusal,
    "thinking": _mistral_thinking,
}


def _result(message: dict[str, Any], where: str) -> ToolResult:
    return ToolResult(
        text_at(message.get("tool_call_id"), f"{where}.tool_call_id"),
        tuple(_content(message, where)),
        _name(message, where),
        extras=bag(message, "role", "content", "tool_call_id", "name"),
    )


def _call(call: dict[str, Any], where: str) -> ToolCall:
    made = text_at(call.get("id"), f"{where}.id")
    custom = call.get("type") == "custom"
    key, said = ("custom", "input") if custom else ("function", "arguments")
    called = object_at(call.get(key), f"{where}.{key}")
    signature, extras = _signature(bag(call, "id", "type", "index", key))
    return ToolCall(
        made,
        text_at(called.get("name"), f"{where}.{key}.name"),
        _arguments(called.get(said), f"{where}.{key}.{said}"),
        custom,
        signature,
        extras=extras,
    )


def _arguments(value: Any, where: str) -> str:
    """Text, or the object that careless clients send in its place."""
    if isinstance(value, dict):
        return packed(value)
    return "" if value is None else text_at(value, where)


def _signature(extras: Extras) -> tuple[Signature | None, Extras]:
    """Gemini's signature, taken out of a bag."""
    told = extras.get(NAME, {})
    signature = signature_in(told)
    if signature is None or _keys(told["extra_content"]) != _keys(_ALONE):
        return signature, extras
    rest = {key: value for key, value in told.items() if key != "extra_content"}
    return signature, {NAME: rest} if rest else NONE


def _keys(extra: dict[str, Any]) -> list[Any]:
    return [list(extra), list(extra["google"])]


def signature_in(told: Mapping[str, Any]) -> Signature | None:
    """Gemini's signature as its own compatibility layer spells it on calls and messages
    (ai.google.dev/gemini-api/docs/thought-signatures; conversion.md, 43)."""
    google = as_object(as_object(told.get("extra_content")).get("google"))
    value = as_text(google.get("thought_signature"))
    return opened(value, "gemini")[0] if value else None


def _sign(parts: list[Part], signature: Signature) -> None:
    """Puts a message's signature on its last text."""
    for number in range(len(parts) - 1, -1, -1):
        part = parts[number]
        if isinstance(part, Text):
            parts[number] = msgspec.structs.replace(part, signature=signature)
            return
    parts.append(Text("", signature))
