"""Turns of the middle as Anthropic's `system` and `messages`.

The rules are those of platform.claude.com/docs: build-with-claude/working-with-messages (turns of one role
after another are one), agents-and-tools/tool-use/handle-tool-calls (the results of all calls of a turn, and
first, in the user's next one), build-with-claude/thinking (thoughts go back as they came),
build-with-claude/mid-conversation-system-messages (where a system message may stand).
"""

from __future__ import annotations

import base64
import json
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import orjson

from wire.neutral.anthropic_blocks import NAME, REDACTED
from wire.neutral.claude import Claude
from wire.neutral.names import fitted
from wire.neutral.parts import (
    Extras,
    Foreign,
    Media,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from wire.neutral.requests import CannotHold, Request
from wire.types import BadRequest

LONGEST_NAME: Final = 128
LONGEST_ID: Final = 128
IMAGES: Final = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))
EMPTY: Final = "(empty message)"
GO_ON: Final = "Continue."
BEFORE: Final = "(The conversation so far begins with your own words.)"
NO_RESULT: Final = "No result of this call is on record."
Out = dict[str, Any]


class Group(msgspec.Struct):
    """Turns of one role in a row: one message. `extras` are the keys that only this format has on it."""

    role: str
    blocks: list[Out]
    extras: Out


def own(extras: Extras) -> Mapping[str, Any]:
    """What a bag holds for this format."""
    return extras.get(NAME, {})


def marked(block: Out, cache: str) -> Out:
    """The block with its cache mark, where it has one. Five minutes are the default and go without a word, as
    clones of this format refuse `ttl` (conversion.md, 51)."""
    if cache:
        block["cache_control"] = (
            {"type": "ephemeral"} if cache == "5m" else {"type": "ephemeral", "ttl": cache}
        )
    return block


class Conversation:
    """A request's turns as they go to a model. `dropped` names what was left out of them."""

    def __init__(self, request: Request, model: Claude) -> None:
        self.dropped: list[str] = []
        self.called: dict[str, None] = {}
        """Names of the tools that were called, in order."""
        self._origin = request.origin
        self._ids: dict[str, int] = {}
        """Ids that were given out, and how often each was asked for."""
        opening, rest = _parted(request.turns)
        self.system = self._system(opening)
        self._groups = self._grouped(rest, len(opening), model)
        self._paired()
        self._shaped(model)

    @property
    def messages(self) -> list[Out]:
        """As they stand on the wire."""
        return [
            {"role": group.role, "content": _short(group.blocks) if group.blocks else [], **group.extras}
            for group in self._groups
        ]

    @property
    def prefilled(self) -> bool:
        """Whether the last word is the assistant's."""
        return self._groups[-1].role == "assistant"

    @property
    def thoughtful(self) -> bool:
        """Whether thoughts go back."""
        return any(_is_thought(block) for group in self._groups for block in group.blocks)

    @property
    def thoughtless(self) -> bool:
        """Whether the calls that are being answered right now were made in a turn that does not begin with a
        thought: with a budget to think, Anthropic refuses that (conversion.md, 45)."""
        first: Group | None = None
        for group in reversed(self._groups):
            if group.role == "assistant":
                if not _has(group, "tool_use"):
                    break
                first = group
            elif group.role == "user" and not _has(group, "tool_result"):
                break
        return first is not None and not _is_thought(first.blocks[0])

    def thoughts_first(self) -> None:
        """Puts the thoughts of each message with calls before its words, where something else came first:
        with a budget to think, Anthropic wants it so."""
        for group in self._groups:
            if _has(group, "tool_use") and not _is_thought(group.blocks[0]):
                thoughts = [block for block in group.blocks if _is_thought(block)]
                group.blocks = thoughts + [block for block in group.blocks if not _is_thought(block)]

    def forget_thoughts(self) -> None:
        """Leaves out all thoughts, but those of a message that holds nothing else."""
        for group in self._groups:
            group.blocks = [block for block in group.blocks if not _is_thought(block)] or group.blocks

    def _system(self, turns: Sequence[Turn]) -> list[Out]:
        blocks: list[Out] = []
        for number, turn in enumerate(turns):
            self._fill(blocks, turn.parts, f"messages.{number}")
        return blocks

    def _grouped(self, turns: Sequence[Turn], offset: int, model: Claude) -> list[Group]:
        groups: list[Group] = []
        for number, (turn, answered) in enumerate(zip(turns, _answered(turns), strict=True)):
            before = groups[-1].role if groups else ""
            role, parts = turn.role, turn.parts
            if role == "system" and not (model.system_turns and answered and before in ("user", "system")):
                role, parts = "user", tuple(_reminders(parts))
            files: list[Part] = []
            if role == "assistant" and self._origin != NAME:
                # "'image' blocks are not permitted within assistant turns": they stand in the user's behind.
                files = [part for part in parts if isinstance(part, Media)]
                parts = tuple(part for part in parts if not isinstance(part, Media))
            blocks = groups[-1].blocks if before == role else []
            had = len(blocks)
            self._fill(blocks, parts, f"messages.{offset + number}")
            if turn.role == "user" and len(blocks) == had:
                blocks.append({"type": "text", "text": EMPTY})
            if turn.name:
                self.dropped.append("name")
            extras = own(turn.extras) if turn.role == role else {}
            if before == role:
                groups[-1].extras.update(extras)
            elif blocks or extras:
                groups.append(Group(role, blocks, dict(extras)))
            if files:
                if not groups or groups[-1].role != "user":
                    groups.append(Group("user", [], {}))
                self._fill(groups[-1].blocks, files, f"messages.{offset + number}")
        return groups

    def _fill(self, blocks: list[Out], parts: Iterable[Part], where: str) -> None:
        for number, part in enumerate(parts):
            block = self._block(part, f"{where}.content.{number}")
            if block is not None:
                blocks.append(block)
            elif isinstance(part, Text) and part.cache and blocks and not _is_thought(blocks[-1]):
                marked(blocks[-1], part.cache)  # a mark is never lost with an empty block (50)

    def _block(self, part: Part, where: str) -> Out | None:
        match part:
            case Text():
                return _text(part)
            case ToolCall():
                return self._call(part, where)
            case ToolResult():
                return self._result(part, where)
            case Thinking():
                return _thought(part)
            case Media():
                return self._media(part, where)
            case Refusal():
                return _text(Text(part.text))
            case Foreign() if part.origin == NAME:
                return dict(part.value)
        raise CannotHold(f"'{where}' is a block that only {part.origin} understands", param=where)

    def _call(self, call: ToolCall, where: str) -> Out:
        tool = fitted(call.name, longest=LONGEST_NAME)
        self.called[tool] = None
        block = {
            "type": "tool_use",
            "id": self._unique(fitted(call.id, longest=LONGEST_ID)),
            "name": tool,
            "input": _arguments(call, where),
        }
        return _Call({**marked(block, call.cache), **own(call.extras)}, call.id)

    def _unique(self, name: str) -> str:
        """The id, or one made from it where a vendor gave it to several calls."""
        times = self._ids[name] = self._ids.get(name, 0) + 1
        return name if times == 1 else self._unique(f"{name}_{times}")

    def _result(self, result: ToolResult, where: str) -> Out:
        blocks: list[Out] = []
        self._fill(blocks, result.parts, where)
        block: Out = {"type": "tool_result", "tool_use_id": "", "content": _short(blocks)}
        if result.failed:
            block["is_error"] = True
        return _Result({**marked(block, result.cache), **own(result.extras)}, result.call_id)

    def _media(self, media: Media, where: str) -> Out:
        more = own(media.extras)
        if "type" in more:
            return dict(more)
        if media.kind not in ("image", "document"):
            raise CannotHold(f"'{where}' is {media.kind}, which Anthropic does not take", param=where)
        if media.detail not in ("", "auto"):
            self.dropped.append("detail")
        block: Out = {"type": media.kind, "source": self._source(media, where)}
        if media.name and media.kind == "document":
            block["title"] = media.name
        return {**marked(block, media.cache), **more}

    def _source(self, media: Media, where: str) -> Out:
        mime = media.mime.partition(";")[0].strip().lower()
        if media.file_id:
            if self._origin != NAME:
                raise CannotHold(f"'{where}' is a file that another vendor holds", param=where)
            return {"type": "file", "file_id": media.file_id}
        if media.url and (media.kind == "image" or mime in ("", "application/pdf")):
            if media.url.startswith(("http://", "https://")):
                return {"type": "url", "url": media.url}
            raise CannotHold(f"'{where}' names an address that Anthropic does not fetch", param=where)
        if media.kind == "image":
            mime = "image/jpeg" if mime == "image/jpg" else mime
            if mime in IMAGES and media.data:
                return {"type": "base64", "media_type": mime, "data": media.data}
        elif media.data and mime == "application/pdf":
            return {"type": "base64", "media_type": mime, "data": media.data}
        elif media.data and (mime.startswith("text/") or mime in ("application/json", "application/xml")):
            return {"type": "text", "media_type": "text/plain", "data": _decoded(media.data, where)}
        raise CannotHold(
            f"'{where}' is {mime or 'of no named type'}, which Anthropic does not take", param=where
        )

    def _paired(self) -> None:
        """Gives every call its result in the message behind it, before all else there; results without a call
        become plain text (32). A call that nobody answered gets a result that says so: a session that was
        broken off in the middle goes on (33)."""
        results = _Results(self._groups)
        groups: list[Group] = []
        answers: list[Out] = []
        for number, group in enumerate(self._groups):
            if group.role == "user":
                group.blocks = answers + [each for block in group.blocks for each in _freed(block)]
            elif answers:
                groups.append(Group("user", answers, {}))
            groups.append(group)
            answers = [results.take(block, number) for block in group.blocks if isinstance(block, _Call)]
        self._groups = [*groups, Group("user", answers, {})] if answers else groups

    def _shaped(self, model: Claude) -> None:
        """A conversation that may begin and end as it does."""
        groups = self._groups = [group for group in self._groups if group.blocks or group.role == "system"]
        if not groups:
            if not self.system:
                raise BadRequest("'messages' holds nothing to answer", param="messages")
            groups.append(Group("user", [self.system.pop()], {}))  # somebody must have spoken (52)
        if groups[0].role == "assistant" and self._origin != NAME:
            groups.insert(0, Group("user", [{"type": "text", "text": BEFORE}], {}))
        last = groups[-1]
        if last.role != "assistant" or self._origin == NAME:
            return
        if not model.prefills:
            self.dropped.append("prefill")
            groups.append(Group("user", [{"type": "text", "text": GO_ON}], {}))
        elif last.blocks[-1]["type"] == "text":
            # "final assistant content cannot end with trailing whitespace"
            last.blocks[-1]["text"] = last.blocks[-1]["text"].rstrip()


class _Call(dict[str, Any]):
    """A `tool_use` block, and the call's id as its client knows it."""

    def __init__(self, block: Out, call_id: str) -> None:
        super().__init__(block)
        self.call_id = call_id


class _Result(dict[str, Any]):
    """A `tool_result` block, and the id of the call that it is of, as its client knows it."""

    def __init__(self, block: Out, call_id: str) -> None:
        super().__init__(block)
        self.call_id = call_id
        self.paired = False


class _Results:
    """The results of a conversation, by the id of their call."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._waiting: dict[str, deque[tuple[int, _Result]]] = {}
        self._calls: dict[str, list[int]] = {}
        for number, group in enumerate(groups):
            for block in group.blocks:
                if isinstance(block, _Result):
                    self._waiting.setdefault(block.call_id, deque()).append((number, block))
                elif isinstance(block, _Call):
                    self._calls.setdefault(block.call_id, []).append(number)

    def take(self, call: _Call, number: int) -> Out:
        """The result of a call of this message: the first behind it, and before a later call of the same
        id."""
        waiting = self._waiting.get(call.call_id, deque())
        while waiting and waiting[0][0] < number:
            waiting.popleft()
        calls = self._calls[call.call_id]
        later = bisect_right(calls, number)
        if waiting and (later == len(calls) or waiting[0][0] < calls[later]):
            result = waiting.popleft()[1]
            result["tool_use_id"] = call["id"]
            result.paired = True
            return result
        return {"type": "tool_result", "tool_use_id": call["id"], "content": NO_RESULT, "is_error": True}


def _parted(turns: Sequence[Turn]) -> tuple[Sequence[Turn], Sequence[Turn]]:
    """The system's turns that open the conversation, and the others."""
    count = next((at for at, turn in enumerate(turns) if turn.role != "system"), len(turns))
    return turns[:count], turns[count:]


def _answered(turns: Sequence[Turn]) -> list[bool]:
    """Of each turn whether the next one that is not the system's is the assistant's, or there is none."""
    told, assistant = [], True
    for turn in reversed(turns):
        told.append(assistant)
        if turn.role != "system":
            assistant = turn.role == "assistant"
    return told[::-1]


def _reminders(parts: Iterable[Part]) -> Iterator[Part]:
    """What the system says in the midst of a conversation, for models that know the system at the beginning
    alone: at its place, so that order and cached prefix stay, and as Claude Code tells its own."""
    for part in parts:
        if isinstance(part, Text) and part.text.strip():
            text = f"<system-reminder>\n{part.text}\n</system-reminder>"
            yield msgspec.structs.replace(part, text=text)
        else:
            yield part


def _text(part: Text) -> Out | None:
    more = own(part.extras)
    if "type" in more:
        return dict(more)
    if not part.text.strip():
        return None  # "text content blocks must contain non-whitespace text"
    return {**marked({"type": "text", "text": part.text}, part.cache), **more}


def _thought(part: Thinking) -> Out | None:
    """A thought with this format's own signature; of others neither signature nor words (44, 47)."""
    if part.signature is None or part.signature.origin != NAME or not part.signature.value:
        return None
    value = part.signature.value
    if value.startswith(REDACTED):
        return {"type": "redacted_thinking", "data": value.removeprefix(REDACTED), **own(part.extras)}
    return {"type": "thinking", "thinking": part.text, "signature": value, **own(part.extras)}


def _arguments(call: ToolCall, where: str) -> Out:
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


def _freed(block: Out) -> list[Out]:
    """A result without a call as text and what else it holds; nothing of one that stands with its call; any
    other block as it is."""
    if not isinstance(block, _Result):
        return [block]
    if block.paired:
        return []
    content = block["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) and content else content
    title = {"type": "text", "text": f"Result of the tool call {block.call_id}:"}
    return [title, *(blocks or ())]


def _decoded(data: str, where: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode("utf-8", "surrogatepass")
    except ValueError:
        raise CannotHold(f"'{where}' is not text in base64", param=where) from None


def _short(blocks: list[Out]) -> list[Out] | str:
    """Blocks as `content`: a string where there is one of text and nothing about it."""
    if not blocks:
        return ""
    only = blocks[0]
    return only["text"] if len(blocks) == 1 and only.keys() == {"type", "text"} else blocks


def _has(group: Group, kind: str) -> bool:
    return any(block.get("type") == kind for block in group.blocks)


def _is_thought(block: Out) -> bool:
    return block.get("type") in ("thinking", "redacted_thinking")
