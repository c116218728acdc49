"""Anthropic's rules for a request to Messages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from simulator.rules.table import Body, Broken, Table, objects, words
from simulator.signing import digest, packed, unpacked

RULES: Final = Table("anthropic")
rule = RULES.rule

DOCS: Final = "https://platform.claude.com/docs/en"
_REFERENCE = f"{DOCS}/api/messages/create"
_CALLS = f"{DOCS}/agents-and-tools/tool-use/handle-tool-calls"
_TOOLS = f"{DOCS}/agents-and-tools/tool-use/define-tools"
_THINKING = f"{DOCS}/build-with-claude/extended-thinking"
_PRESERVED = f"{DOCS}/build-with-claude/preserved-thinking"
_CONSULT = f"Please consult our documentation at {_THINKING}"
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_THOUGHTS = ("thinking", "redacted_thinking")
_SYSTEM_TURNS = re.compile(r"claude-(opus-(4-[89]|5)|fable|mythos|(sonnet|haiku)-(5-5|[6-9]))")
_SYSTEM_BETA = "mid-conversation-system-2026-04-07"
"""What Claude Code sends to models that it takes for newer ones (those of the documents' page
build-with-claude/mid-conversation-system-messages); a name that is none of Claude's passes for
one."""
_FIELDS = words(
    "model messages max_tokens system stream tools tool_choice thinking temperature top_p top_k "
    "stop_sequences metadata service_tier output_config output_format cache_control container "
    "context_management mcp_servers inference_geo speed betas"
)


def blocks(content: object) -> list[Body]:
    """A message's content as blocks: a string is one of text."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else objects(content)


def messages(body: Body) -> list[tuple[str, str, list[Body]]]:
    """Path, role and blocks of each message."""
    return [
        (f"messages.{number}", message.get("role", ""), blocks(message.get("content")))
        for number, message in enumerate(objects(body.get("messages")))
    ]


def prefixes(body: Body) -> Iterator[tuple[str, Body, str]]:
    """Each block of the messages with its path and the digest of all that stands before it; in the end "",
    nothing and the digest of the whole. Cache marks are no part of it, nor is where a message of the same
    role ends."""
    head = [_unmarked(body.get("tools") or []), _unmarked(blocks(body.get("system")))]
    so_far = digest(*head)
    for where, role, content in messages(body):
        for number, block in enumerate(content):
            yield f"{where}.content.{number}", block, so_far
            so_far = digest(so_far, role, _unmarked(block))
    yield "", {}, so_far


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(each) for each in value]
    if not isinstance(value, dict):
        return value
    told = {key: _unmarked(each) for key, each in value.items() if key != "cache_control"}
    if told.get("type") == "tool_result" and not told.get("is_error", True):
        del told["is_error"]
    return {**told, "content": blocks(told["content"])} if "content" in told else told


def signed(thinking: str, prefix: str) -> str:
    """The signature of a thought behind this prefix."""
    return packed(f"{digest('anthropic', thinking)}{prefix}")


def thought(block: Body) -> str:
    """What a thinking block's signature is over."""
    return str(block.get("thinking", "")) if block.get("type") == "thinking" else "redacted"


@rule(
    "fields",
    "`max_tokens`, `messages` and `model` are required; fields that the reference does not list are refused.",
    _REFERENCE,
)
def _fields(body: Body) -> Iterator[Broken]:
    for name in body.keys() - _FIELDS:
        yield Broken(f"{name}: Extra inputs are not permitted")
    if body.get("max_tokens", 0) < 1:
        yield Broken("max_tokens: Input should be greater than or equal to 1")
    if not body.get("messages"):
        yield Broken("messages: at least one message is required")


@rule(
    "roles",
    "Each input message must be an object with a `role` and `content`; the role is `user` or `assistant`, on "
    "newer models `system` behind the user's.",
    _REFERENCE,
)
def _roles(body: Body) -> Iterator[Broken]:
    before, model = "", str(body.get("model", ""))
    newer = _SYSTEM_TURNS.search(model) or ("claude" not in model and _SYSTEM_BETA in body.get("betas", ()))
    for where, role, _ in messages(body):
        if role not in ("user", "assistant") and not (newer and role == "system" and before != "assistant"):
            yield Broken(f"{where}.role: Input should be 'user' or 'assistant'")
        before = role


@rule("text", "Text content blocks must be non-empty, and hold more than whitespace.", _REFERENCE)
def _text(body: Body) -> Iterator[Broken]:
    told = messages(body)
    for number, (where, role, content) in enumerate(told):
        last_word = role == "assistant" and number == len(told) - 1
        if not content and not last_word:
            yield Broken(
                f"{where}: all messages must have non-empty content except for the optional final assistant "
                "message"
            )
        for block in content:
            if block.get("type") == "text" and not str(block.get("text", "")).strip():
                yield Broken("messages: text content blocks must contain non-whitespace text")
    for block in blocks(body.get("system")):
        if not block.get("text"):
            yield Broken("system: text content blocks must be non-empty")


@rule("calls.id", "`id`: A unique identifier for this particular tool use block.", _CALLS)
def _call_ids(body: Body) -> Iterator[Broken]:
    seen: set[str] = set()
    for where, block, _ in prefixes(body):
        if block.get("type") != "tool_use":
            continue
        name = str(block.get("id", ""))
        if not _ID.fullmatch(name):
            yield Broken(f"{where}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
        if name in seen:
            yield Broken(f"{where}: `tool_use` ids must be unique")
        if not isinstance(block.get("input"), dict):
            yield Broken(f"{where}.tool_use.input: Input should be a valid dictionary")
        seen.add(name)


@rule(
    "calls.answered",
    "Tool result blocks must immediately follow their corresponding tool use blocks in the message history. "
    "You cannot include any messages between the assistant's tool use message and the user's tool result "
    "message.",
    _CALLS,
)
def _answered(body: Body) -> Iterator[Broken]:
    told = messages(body)
    for number, (where, _, content) in enumerate(told):
        behind = told[number + 1][2] if number + 1 < len(told) else []
        results = {block.get("tool_use_id") for block in behind if block.get("type") == "tool_result"}
        calls = [block.get("id") for block in content if block.get("type") == "tool_use"]
        missing = [str(call) for call in calls if call not in results]
        if missing:
            yield Broken(
                f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block "
                "in the next message."
            )


@rule(
    "results.called",
    "`tool_use_id`: The id of the tool use request this is a result for. Return one `tool_result` for each "
    "`tool_use` block, all together in the next user message.",
    _CALLS,
)
def _called(body: Body) -> Iterator[Broken]:
    before: list[Body] = []
    for where, role, content in messages(body):
        calls = {block.get("id") for block in before if block.get("type") == "tool_use"}
        results = [block.get("tool_use_id") for block in content if block.get("type") == "tool_result"]
        for number, block in enumerate(content):
            if block.get("type") != "tool_result":
                continue
            call = block.get("tool_use_id")
            if call not in calls or role != "user":
                yield Broken(
                    f"{where}.content.{number}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{call}. "
                    "Each `tool_result` block must have a corresponding `tool_use` block in the previous "
                    "message."
                )
            if results.count(call) > 1:
                yield Broken(
                    f"{where}.content.{number}: each tool_use must have a single result. Found multiple "
                    f"`tool_result` blocks with id: {call}"
                )
        before = content


@rule(
    "results.first",
    "In the user message containing tool results, the tool_result blocks must come FIRST in the content "
    "array. Any text must come AFTER all tool results.",
    _CALLS,
)
def _first(body: Body) -> Iterator[Broken]:
    for where, _, content in messages(body):
        kinds = [block.get("type") == "tool_result" for block in content]
        if kinds != sorted(kinds, reverse=True):
            yield Broken(
                f"{where}: `tool_result` blocks must come first in the content of a message that has some"
            )


@rule(
    "tools",
    "`name`: Must match the regex ^[a-zA-Z0-9_-]{1,128}$. `input_schema`: A JSON Schema object defining the "
    "expected parameters for the tool.",
    _TOOLS,
)
def _tools(body: Body) -> Iterator[Broken]:
    tools = objects(body.get("tools"))
    for number, tool in enumerate(tools):
        if not _NAME.fullmatch(str(tool.get("name", ""))):
            yield Broken(
                f"tools.{number}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            )
        if "type" not in tool and (tool.get("input_schema") or {}).get("type") != "object":
            yield Broken(f"tools.{number}.custom.input_schema.type: Field required")
    if any(count > 1 for count in Counter(str(tool.get("name")) for tool in tools).values()):
        yield Broken("tools: Tool names must be unique.")
    if body.get("tool_choice") and not tools:
        yield Broken("tool_choice: tool_choice may only be specified while providing tools")
    if not tools and any(block.get("type") in ("tool_use", "tool_result") for _, block, _ in prefixes(body)):
        yield Broken("Requests which include `tool_use` or `tool_result` blocks must define tools.")


@rule("cache", "You can define up to 4 cache breakpoints.", f"{DOCS}/build-with-claude/prompt-caching")
def _cache(body: Body) -> Iterator[Broken]:
    system, tools = blocks(body.get("system")), objects(body.get("tools"))
    marked = [*system, *tools, *(block for _, block, _ in prefixes(body))]
    count = sum("cache_control" in each for each in marked) + ("cache_control" in body)
    if count > 4:
        yield Broken(f"A maximum of 4 blocks with cache_control may be provided. Found {count}.")


@rule(
    "thinking.signature",
    "Include the complete unmodified block back to the API. The `signature` field is used to verify that "
    "thinking blocks were generated by Claude.",
    _THINKING,
)
def _signature(body: Body) -> Iterator[Broken]:
    for where, block, _ in prefixes(body):
        kind = block.get("type")
        if kind not in _THOUGHTS:
            continue
        if kind == "thinking" and "signature" not in block:
            yield Broken(f"{where}.thinking.signature: Field required")
        elif unpacked(block.get("signature", block.get("data")))[:32] != digest("anthropic", thought(block)):
            slot = "signature" if kind == "thinking" else "data"
            yield Broken(f"{where}: Invalid `{slot}` in `{kind}` block")


@rule(
    "thinking.prefix",
    "Nothing before the thinking block has changed. The top-level `system` prompt, `tools`, and `messages` "
    "before the block are its prefix.",
    _PRESERVED,
)
def _prefix(body: Body) -> Iterator[Broken]:
    binding = (body.get("thinking") or {}).get("block_binding") or {}
    if binding.get("prefix_mismatch_behavior") == "drop_block":
        return
    for where, block, prefix in prefixes(body):
        kind = block.get("type")
        if kind in _THOUGHTS and unpacked(block.get("signature", block.get("data")))[32:] != prefix:
            yield Broken(
                f"{where}: Invalid `signature` in `{kind}` block. The block is bound to a different "
                "conversation. Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to "
                '"drop_block".'
            )


def _mode(body: Body) -> str:
    return str((body.get("thinking") or {}).get("type", ""))


@rule(
    "thinking.kept",
    "During tool use, you must pass `thinking` blocks back to the API for the last assistant message. If "
    "thinking is enabled, the final assistant turn should start with a thinking block.",
    _THINKING,
)
def _kept(body: Body) -> Iterator[Broken]:
    if _mode(body) != "enabled":
        return
    loop: tuple[str, list[Body]] | None = None
    for where, role, content in reversed(messages(body)):
        kinds = {block.get("type") for block in content}
        if role == "assistant" and "tool_use" in kinds:
            loop = where, content
        elif role == "assistant" or (role == "user" and "tool_result" not in kinds):
            break
    if loop is not None and loop[1][0].get("type") not in _THOUGHTS:
        yield Broken(
            f"{loop[0]}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
            f"`{loop[1][0].get('type')}`. When `thinking` is enabled, a final `assistant` message must start "
            "with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks). We "
            "recommend you include thinking blocks from previous turns. To avoid this requirement, disable "
            f"`thinking`. {_CONSULT}"
        )


@rule(
    "thinking.budget",
    "The minimum budget is 1,024 tokens. `budget_tokens` must be set to a value less than `max_tokens`.",
    _THINKING,
)
def _budget(body: Body) -> Iterator[Broken]:
    if _mode(body) != "enabled":
        return
    budget = body["thinking"].get("budget_tokens")
    if budget is None:
        yield Broken("thinking.enabled.budget_tokens: Field required")
    elif budget < 1024:
        yield Broken("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    elif budget >= body["max_tokens"]:
        yield Broken(f"`max_tokens` must be greater than `thinking.budget_tokens`. {_CONSULT}")


@rule(
    "thinking.sampling",
    "Thinking isn't compatible with `temperature` or `top_k` modifications. When thinking is enabled, you "
    "can set `top_p` to values between 1 and 0.95.",
    f"{_THINKING}#feature-compatibility",
)
def _sampling(body: Body) -> Iterator[Broken]:
    if _mode(body) not in ("enabled", "adaptive"):
        if not 0 <= (body.get("temperature") or 0) <= 1:
            yield Broken("temperature: range: 0..1")
        return
    if body.get("temperature", 1) != 1:
        yield Broken(f"`temperature` may only be set to 1 when thinking is enabled. {_CONSULT}")
    if body.get("top_k") is not None:
        yield Broken(f"`top_k` must be unset when thinking is enabled. {_CONSULT}")
    if not 0.95 <= body.get("top_p", 1) <= 1:
        yield Broken(
            f"`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled. {_CONSULT}"
        )


@rule(
    "thinking.tool_choice",
    'Using `tool_choice: {"type": "any"}` or `tool_choice: {"type": "tool", "name": "..."}` will result in '
    "an "
    "error because these options force tool use, which is incompatible with extended thinking.",
    _THINKING,
)
def _forced(body: Body) -> Iterator[Broken]:
    if _mode(body) == "enabled" and (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        yield Broken("Thinking may not be enabled when tool_choice forces tool use.")


@rule(
    "prefill",
    "You cannot pre-fill responses when thinking is enabled. Final assistant content cannot end with "
    "trailing whitespace.",
    f"{_THINKING}#feature-compatibility",
)
def _prefill(body: Body) -> Iterator[Broken]:
    told = messages(body)
    if not told or told[-1][1] != "assistant":
        return
    if _mode(body) == "enabled":
        yield Broken("This model does not support assistant message prefill with thinking enabled.")
    content = told[-1][2]
    said = str(content[-1].get("text", "")) if content else ""
    if said != said.rstrip():
        yield Broken("messages: final assistant content cannot end with trailing whitespace")


@rule("stop_sequences", "Each stop sequence must contain non-whitespace.", _REFERENCE)
def _stops(body: Body) -> Iterator[Broken]:
    for number, stop in enumerate(body.get("stop_sequences") or ()):
        if not str(stop).strip():
            yield Broken(f"stop_sequences.{number}: each stop sequence must contain non-whitespace")
