"""What Anthropic's models take, by their names: the same request is a 400 on one and right on another.

From platform.claude.com/docs: build-with-claude/thinking, /effort, /structured-outputs, /preserved-thinking,
/mid-conversation-system-messages, models/opus-5-5/whats-new-opus-5-5, models/sonnet-5-5/whats-new-sonnet-5-5,
models/haiku-5-5/migration-guide, and the migration guides before them.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

_NAME = re.compile(
    r"claude-(?:(\d)(?:[.-](\d))?-)?(opus|sonnet|haiku|fable|mythos)"
    r"(?:-(\d{1,2})(?!\d)(?:[.-](\d{1,2})(?!\d))?)?"
)
"""`claude-3-7-sonnet-20250219`, `claude-opus-4-6`, `anthropic.claude-opus-4-6-v1`, `claude-sonnet-4.5`."""
_LIMITS = (((4, 6), 128_000), ((4, 5), 64_000), ((4, 0), 32_000), ((3, 7), 64_000), ((3, 5), 8_192))
"""Greatest `max_tokens` by least version; older models: 4,096."""


class Claude(msgspec.Struct, frozen=True):
    """What a model takes. The defaults are those of a model of another maker behind this format: what the
    format always had, and nothing that came later."""

    thinks: bool = True
    always_thinks: bool = False
    """`disabled` is refused."""
    thinks_unasked: bool = False
    """Without `thinking` in the request it thinks all the same."""
    adaptive: bool = False
    budgets: bool = True
    """Thinking by `budget_tokens`."""
    between_tools: bool = False
    """The least thinking is `between_tools`, not `disabled`."""
    efforts: tuple[str, ...] = ()
    """Words for `output_config.effort`, from the least to the greatest."""
    samples: bool = True
    """`temperature`, `top_p` and `top_k`."""
    samples_both: bool = True
    """`temperature` and `top_p` in one request."""
    forces_tools: bool = True
    """`tool_choice` of `any` or `tool`."""
    shapes: bool = False
    """`output_config.format`, and `strict` tools."""
    prefills: bool = True
    """The last turn may be the assistant's."""
    system_turns: bool = False
    """`system` among the messages."""
    binds: bool = False
    """Its thoughts are refused once anything before them has changed."""
    most_tokens: int = 0
    """Greatest `max_tokens`; 0 where not known."""


@lru_cache(maxsize=256)
def claude(model: str) -> Claude:
    """What the model of this name takes. A version nobody knew yet takes what the last known one takes."""
    found = _NAME.search(model.lower())
    if found is None:
        return Claude()
    before, behind, family, major, minor = found.groups()
    great = family in ("fable", "mythos")
    version = (int(before or major or (5 if great else 3)), int((behind if before else minor) or 0))
    always = great or (family == "opus" and version >= (5, 5))
    between = family == "sonnet" and version >= (5, 5)
    limit = next((most for least, most in _LIMITS if version >= least), 4_096)
    return Claude(
        thinks=version >= (3, 7),
        always_thinks=always,
        thinks_unasked=version >= (5, 0),
        adaptive=version >= (4, 6),
        budgets=(3, 7) <= version < (4, 7),
        between_tools=between,
        efforts=_efforts(family, version),
        samples=version < (4, 7),
        samples_both=version < (4, 1),
        forces_tools=not (always or between),
        shapes=version >= (4, 5),
        prefills=version < (4, 6),
        system_turns=version >= {"opus": (4, 8), "fable": (5, 0), "mythos": (5, 0)}.get(family, (5, 5)),
        binds=version >= ((5, 1) if great else (5, 5)),
        most_tokens=64_000 if family == "sonnet" and (4, 0) <= version < (4, 5) else limit,
    )


def _efforts(family: str, version: tuple[int, int]) -> tuple[str, ...]:
    if version >= (4, 7):
        return ("low", "medium", "high", "xhigh", "max")
    if version >= (4, 6):
        return ("low", "medium", "high", "max")
    return ("low", "medium", "high") if (family, version) == ("opus", (4, 5)) else ()
