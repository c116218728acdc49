"""Content blocks of Anthropic's requests as parts: everything that `system` and `messages` hold."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec

from wire.jsons import dumps
from wire.neutral.parts import (
    NONE,
    Extras,
    Foreign,
    Media,
    Part,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from wire.neutral.seals import MARK, UNSIGNED, On, opened, restored
from wire.types import BadRequest

NAME: Final = "anthropic"
REDACTED: Final = "redacted:"
"""How the value of a signature begins that stood in the `data` of `redacted_thinking`: such a block has to go
back as one, also through clients that know thoughts of one kind only."""
ATTRIBUTION: Final = "x-anthropic-billing-header:"
"""How the block begins that Claude Code puts before its system prompt, for Anthropic's accounts."""
PLAIN_CACHE: Final = ({"type"}, {"type", "ttl"})
Block = Mapping[str, Any]
Placed = tuple[Part, On]
P = TypeVar("P", Text, Media)


def wrong(where: str, what: str) -> BadRequest:
    """What is said of a field that cannot be read."""
    return BadRequest(f"'{where}' {what}", param=where)


def text_at(value: Any, where: str) -> str:
    """A string; "" where absent. Raises BadRequest."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong(where, "must be a string")
    return value


def object_at(value: Any, where: str) -> dict[str, Any]:
    """An object; an empty one where absent. Raises BadRequest."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(where, "must be an object")
    return value


def objects_at(value: Any, where: str) -> list[dict[str, Any]]:
    """A list of objects; an empty one where absent. Raises BadRequest."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong(where, "must be a list")
    return [object_at(item, f"{where}.{number}") for number, item in enumerate(value)]


def rest_of(block: Block, known: Iterable[str]) -> Extras:
    """What stands in an object beside the known keys, in this format's bag."""
    rest = {key: value for key, value in block.items() if key not in known}
    return {NAME: rest} if rest else NONE


def cache_of(block: Block, where: str) -> tuple[str, dict[str, Any]]:
    """A cache mark's time to live, "" for none, and the mark itself where there is more to it."""
    mark = object_at(block.get("cache_control"), f"{where}.cache_control")
    if not mark:
        return "", {}
    ttl = mark.get("ttl")
    plain = mark.get("type") == "ephemeral" and mark.keys() in PLAIN_CACHE and ttl in (None, "5m", "1h")
    return ttl if ttl == "1h" else "5m", {} if plain else {"cache_control": mark}


def read_content(content: Any, where: str, role: str) -> tuple[Part, ...]:
    """The parts of a message's `content`, a string or a list of blocks. Raises BadRequest."""
    if isinstance(content, str):
        return (Text(content),) if content else ()
    placed = (
        _read_block(block, f"{where}.{number}", role)
        for number, block in enumerate(objects_at(content, where))
    )
    return restored(placed)


def _read_block(block: Block, where: str, role: str) -> Placed:
    kind = text_at(block.get("type"), f"{where}.type")
    if not kind:
        raise wrong(f"{where}.type", "is missing")
    if kind in _SPOKEN_BY and _SPOKEN_BY[kind] != role:
        raise wrong(where, f"is a {kind} block, which cannot stand in a message of the {role}")
    if kind in ("thinking", "redacted_thinking"):
        return _thinking(block, where, kind)
    if role == "system" and kind == "text" and str(block.get("text")).startswith(ATTRIBUTION):
        # No words for a model, and new ones with every request: no other vendor could ever cache the prompt.
        return _whole(Text(""), block), "own"
    reader = _READERS.get(kind)
    return Foreign(NAME, block) if reader is None else reader(block, where), "own"


def _extras(block: Block, known: tuple[str, ...], more: Mapping[str, Any]) -> Extras:
    found = rest_of(block, ("type", "cache_control", *known))
    return {NAME: {**found.get(NAME, {}), **more}} if more else found


def _text(block: Block, where: str) -> Part:
    cache, more = cache_of(block, where)
    text = text_at(block.get("text"), f"{where}.text")
    return Text(text, cache=cache, extras=_extras(block, ("text",), more))


def _thinking(block: Block, where: str, kind: str) -> Placed:
    sealed_in, text_in = ("signature", "thinking") if kind == "thinking" else ("data", "")
    told = text_at(block.get(sealed_in), f"{where}.{sealed_in}")
    text = text_at(block.get(text_in), f"{where}.{text_in}") if text_in else ""
    extras = rest_of(block, ("type", sealed_in, text_in))
    if not told:
        return Thinking(text, extras=extras), "own"
    signature, on = opened(told, NAME)
    if kind == "redacted_thinking" and not told.startswith(MARK.decode()):
        signature = Signature(NAME, REDACTED + told)
    return Thinking(text, None if signature == UNSIGNED else signature, extras), on


def _tool_use(block: Block, where: str) -> Part:
    cache, more = cache_of(block, where)
    arguments = dumps(object_at(block.get("input"), f"{where}.input")).decode()
    name = text_at(block.get("name"), f"{where}.name")
    if not name:
        raise wrong(f"{where}.name", "is missing")
    return ToolCall(
        text_at(block.get("id"), f"{where}.id"),
        name,
        arguments,
        cache=cache,
        extras=_extras(block, ("id", "name", "input"), more),
    )


def _tool_result(block: Block, where: str) -> Part:
    cache, more = cache_of(block, where)
    content = block.get("content")
    parts: tuple[Part, ...]
    if isinstance(content, str):
        parts = (Text(content),) if content else ()
    else:
        parts = tuple(
            _read_result(inner, f"{where}.content.{number}")
            for number, inner in enumerate(objects_at(content, f"{where}.content"))
        )
    failed = block.get("is_error")
    if failed not in (None, True, False):
        raise wrong(f"{where}.is_error", "must be true or false")
    return ToolResult(
        text_at(block.get("tool_use_id"), f"{where}.tool_use_id"),
        parts,
        failed=bool(failed),
        cache=cache,
        extras=_extras(block, ("tool_use_id", "content", "is_error"), more),
    )


def _read_result(block: Block, where: str) -> Part:
    reader = _IN_RESULTS.get(text_at(block.get("type"), f"{where}.type"))
    return Foreign(NAME, block) if reader is None else reader(block, where)


def _media(kind: Literal["image", "document"]) -> Callable[[Block, str], Part]:
    def read(block: Block, where: str) -> Part:
        cache, more = cache_of(block, where)
        at = f"{where}.source"
        source = object_at(block.get("source"), at)
        told = {key: text_at(source.get(key), f"{at}.{key}") for key in ("media_type", "url", "file_id")}
        media = Media(
            kind,
            mime=told["media_type"],
            url=told["url"],
            file_id=told["file_id"],
            name=text_at(block.get("title"), f"{where}.title"),
            cache=cache,
            extras=_extras(block, ("source", "title"), more),
        )
        match source.get("type"):
            case "base64":
                return msgspec.structs.replace(media, data=text_at(source.get("data"), f"{at}.data"))
            case "text":
                return _plain_document(media, text_at(source.get("data"), f"{at}.data"))
            case "content":
                return _content_document(block, media, source.get("content"), f"{at}.content")
            case "url" if media.url:
                return media
            case "file" if media.file_id:
                return media
        raise wrong(at, "is not a source of base64, text, content, url or file")

    return read


def _plain_document(media: Media, text: str) -> Media:
    data = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
    return msgspec.structs.replace(media, mime="text/plain", data=data)


def _content_document(block: Block, media: Media, content: Any, where: str) -> Part:
    """A document made of blocks: for others its text; the block itself where there is more than text."""
    if isinstance(content, str):
        texts: list[str] = [content]
    else:
        inner = objects_at(content, where)
        if any(each.get("type") != "text" for each in inner):
            return Foreign(NAME, block)
        texts = [text_at(each.get("text"), f"{where}.{number}.text") for number, each in enumerate(inner)]
    return _plain_document(_whole(media, block), "\n\n".join(texts))


def _search_result(block: Block, where: str) -> Part:
    """For others its title, its source and its text."""
    lines = [text_at(block.get(key), f"{where}.{key}") for key in ("title", "source")]
    for number, inner in enumerate(objects_at(block.get("content"), f"{where}.content")):
        lines.append(text_at(inner.get("text"), f"{where}.content.{number}.text"))
    cache, _ = cache_of(block, where)
    return _whole(Text("\n".join(filter(None, lines)), cache=cache), block)


def _tool_reference(block: Block, where: str) -> Part:
    """A tool that a search found. Other formats are told of all tools at once."""
    cache, _ = cache_of(block, where)
    return _whole(Text(text_at(block.get("tool_name"), f"{where}.tool_name"), cache=cache), block)


def _whole(part: P, block: Block) -> P:
    """The part with its block as it stood there, which is what goes back into this format."""
    return msgspec.structs.replace(part, extras={NAME: dict(block)})


_SPOKEN_BY: Final = {
    "tool_use": "assistant",
    "thinking": "assistant",
    "redacted_thinking": "assistant",
    "tool_result": "user",
}
_IN_RESULTS: Final[Mapping[str, Callable[[Block, str], Part]]] = {
    "text": _text,
    "image": _media("image"),
    "document": _media("document"),
    "search_result": _search_result,
    "tool_reference": _tool_reference,
}
_READERS: Final[Mapping[str, Callable[[Block, str], Part]]] = {
    **{kind: _IN_RESULTS[kind] for kind in ("text", "image", "document", "search_result")},
    "tool_use": _tool_use,
    "tool_result": _tool_result,
}
