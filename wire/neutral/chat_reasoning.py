"""Reasoning in Chat Completions, of which OpenAI says nothing: what its vendors made of it.

`reasoning_content` (DeepSeek, api-docs.deepseek.com/guides/thinking_mode) and `reasoning` (OpenRouter, vLLM)
are plain text. `reasoning_details` (openrouter.ai/docs/use-cases/reasoning-tokens) is a list of blocks that
may be signed, which are to be sent back as they came. Some models put it into the text, between `<think>`
tags.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from wire.jsons import as_objects, as_text, dumps, load_object
from wire.neutral.parts import Signature, Thinking
from wire.neutral.seals import MARK, opened, slot
from wire.types import BadFrame

NAME: Final = "openai_chat"
FIELDS: Final = ("reasoning_content", "reasoning", "reasoning_details")
_MARK: Final = MARK.decode()
_FORMATS: Final = {
    "anthropic": "anthropic-claude-v1",
    "openai_responses": "openai-responses-v1",
    "gemini": "google-gemini-v1",
}
"""OpenRouter's names for whose a block is."""
PLAIN: Final = Signature(NAME, '{"type":"reasoning_content"}')
"""On thinking that its vendor wants back unsigned: what is signed, a client's format keeps."""
_WORDS: Final = frozenset({"text", "summary"})


def thought(detail: Mapping[str, Any]) -> Thinking:
    """One of `reasoning_details`. A foreign signature in it is unsealed; of a vendor's own block all but the
    words is its signature, so that the whole goes back unaltered."""
    secret = as_text(detail.get("signature")) or as_text(detail.get("data"))
    if secret.startswith(_MARK):
        return Thinking(words(detail), opened(secret, NAME)[0])
    rest = {key: value for key, value in detail.items() if key not in _WORDS}
    return Thinking(words(detail), Signature(NAME, packed(rest)))


def packed(value: Mapping[str, Any]) -> str:
    """JSON as text. Raises BadFrame where it is nested deeper than can be written."""
    try:
        return dumps(value).decode()
    except RecursionError as error:
        raise BadFrame("nested too deep") from error


def words(detail: Mapping[str, Any]) -> str:
    """What a block lets people read."""
    return as_text(detail.get("text")) or as_text(detail.get("summary"))


def thoughts(message: Mapping[str, Any]) -> Iterator[Thinking]:
    """The reasoning of a whole message: its blocks, and between them what its text alone tells, in order."""
    rest = as_text(message.get("reasoning_content")) or as_text(message.get("reasoning"))
    for detail in as_objects(message.get("reasoning_details")):
        part = thought(detail)
        at = rest.find(part.text) if part.text else -1
        if at > 0:
            yield Thinking(rest[:at])
        if at >= 0:
            rest = rest[at + len(part.text) :]
        yield part
    if rest:
        yield Thinking(rest)


def own_detail(part: Thinking) -> dict[str, Any] | None:
    """The block that a vendor of this format made; None for any other thinking, and where no such vendor made
    what the signature holds."""
    if part.signature is None or part.signature.origin != NAME:
        return None
    if part.signature == PLAIN:
        return None
    try:
        rest = load_object(part.signature.value.encode("utf-8", "surrogatepass"))
    except BadFrame:
        return None
    kind = rest.get("type")
    if part.text or kind in ("reasoning.text", "reasoning.summary"):
        rest["summary" if kind == "reasoning.summary" else "text"] = part.text
    return rest


def client_detail(part: Thinking, index: int) -> dict[str, Any] | None:
    """A signed block for a client, who sends it back; None for thinking that nobody signed. `index` counts a
    message's blocks."""
    own = own_detail(part)
    if own is not None:
        return {**own, "index": index}
    signature = part.signature
    if signature is None or signature.origin == NAME or not (sealed := slot(signature, NAME)):
        return None
    said = {"type": "reasoning.text", "text": part.text, "signature": sealed}
    hidden = {"type": "reasoning.encrypted", "data": sealed}
    return {
        **(said if part.text else hidden),
        "format": _FORMATS.get(signature.origin, "unknown"),
        "index": index,
    }


class Tags:
    """Tells thinking from text where a model writes both into its text: `<think>`, at the beginning alone, to
    `</think>`. `opened`: the vendor leaves out the first of them (the prompt held it)."""

    def __init__(self, *, opened: bool = False) -> None:
        self.settled = False
        """Whether all that comes is text."""
        self._thinking = opened
        self._held = ""
        self._blank = opened
        """Whether line ends that come next say nothing."""

    def feed(self, text: str) -> Iterator[tuple[bool, str]]:
        """Pieces, each with whether it is thinking."""
        held = self._held + text
        self._held = ""
        if not self._thinking and not self.settled:
            held = self._first(held)
        if self._thinking:
            yield from self._thought(held)
        elif self.settled:
            yield from self._text(held)

    def finish(self) -> Iterator[tuple[bool, str]]:
        """What was held because it might have been the beginning of a tag."""
        if self._held:
            yield self._thinking, self._held
            self._held = ""

    def _first(self, held: str) -> str:
        """What is left of the beginning; empty while it may still become a tag."""
        said = held.lstrip()
        if said.startswith("<think>"):
            self._thinking = self._blank = True
            return said.removeprefix("<think>")
        if "<think>".startswith(said):
            self._held = held
            return ""
        self.settled = True
        return held

    def _thought(self, held: str) -> Iterator[tuple[bool, str]]:
        said, tag, rest = held.partition("</think>")
        if not tag:
            keep = next((size for size in range(7, 0, -1) if held.endswith("</think>"[:size])), 0)
            said, self._held = held[: len(held) - keep], held[len(held) - keep :]
        if self._blank:
            said = said.lstrip("\r\n")
        if said:
            self._blank = False
            yield True, said
        if tag:
            self._thinking, self.settled, self._blank = False, True, True
            yield from self._text(rest)

    def _text(self, text: str) -> Iterator[tuple[bool, str]]:
        if self._blank:
            text = text.lstrip("\r\n")
        if text:
            self._blank = False
            yield False, text
