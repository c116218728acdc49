"""What readers of Gemini's JSON share: names in both spellings, checked values, kinds of media.

The wire is protobuf's JSON: a reader takes `snake_case` and `camelCase` for the same name, counts as text,
both alphabets of base64 (protobuf.dev/programming-guides/json); what is written is `camelCase`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, Literal

from wire.neutral.fields import wrong
from wire.neutral.parts import NONE, Extras

NAME: Final = "gemini"
_WORD = re.compile(r"(?<=.)_([a-z0-9])")
_STANDARD = str.maketrans("-_", "+/")
_YOUTUBE = re.compile(r"https?://(?:(?:www\.|m\.)?youtube\.com|youtu\.be)/", re.IGNORECASE)
_HELD = re.compile(r"gs://|files/|https://[\w.-]*\.googleapis\.com/")
_SUFFIXES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "pdf": "application/pdf",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
}
Kind = Literal["image", "document", "audio", "video"]


def camel(name: str) -> str:
    """A field's name as it is written."""
    return _WORD.sub(lambda found: found[1].upper(), name) if "_" in name else name


def named(value: Any, where: str) -> dict[str, Any]:
    """An object by its fields' written names, less what is null; an empty one where absent. Raises
    BadRequest."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(where, "must be an object")
    return {camel(key): each for key, each in value.items() if each is not None}


def listed(value: Any, where: str) -> list[Any]:
    """A list; an empty one where absent, and one of a lone object, which Google's own examples write. Raises
    BadRequest."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise wrong(where, "must be a list")
    return value


def count_at(value: Any, where: str) -> int | None:
    """An integer, as text too; None where absent. Raises BadRequest."""
    if value is None:
        return None
    if isinstance(value, str):
        value = int(value) if re.fullmatch(r"-?[0-9]{1,18}", value) else value
    elif type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or abs(value) >= 2**63:
        raise wrong(where, "must be an integer")
    return value


def rest_of(fields: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """What stands in an object beside the known fields."""
    return {key: value for key, value in fields.items() if key not in known}


def bag(fields: dict[str, Any]) -> Extras:
    """What this format alone knows, as a part's bag."""
    return {NAME: fields} if fields else NONE


def own(extras: Extras) -> dict[str, Any]:
    """What a bag holds for this format."""
    return dict(extras.get(NAME, ()))


def standard(data: str) -> str:
    """Base64 in the alphabet that all others read; Google's own client writes the other one."""
    if "-" in data or "_" in data:
        data = data.translate(_STANDARD)
    return data + "=" * (-len(data) % 4) if len(data) % 4 else data


def kind_of(mime: str, uri: str = "") -> Kind:
    """What sort of media a type is; without one, the address tells."""
    if not mime and is_youtube(uri):
        return "video"
    first = (mime or mime_of(uri)).partition("/")[0].lower()
    return first if first in ("image", "audio", "video") else "document"  # type: ignore[return-value]


def mime_of(uri: str) -> str:
    """The type that an address ends in; "" for none that is known."""
    return _SUFFIXES.get(uri.partition("?")[0].rpartition(".")[2].lower(), "")


def is_youtube(uri: str) -> bool:
    """Whether Gemini itself fetches this film (ai.google.dev/gemini-api/docs/video-understanding)."""
    return _YOUTUBE.match(uri) is not None


def is_held(uri: str) -> bool:
    """Whether an address is of a file that Google holds: of the Files API, or in Cloud Storage."""
    return _HELD.match(uri) is not None
