"""What models behind Chat Completions take, as far as their names tell, and how they are told to think."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from wire.neutral.efforts import budget_of, level_of
from wire.neutral.requests import Effort, Target

ORDER: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Efforts from the least."""


class Abilities(msgspec.Struct, frozen=True):
    """What a model takes. `reasoning`: OpenAI's rules for reasoning models hold. `levels`: the efforts it
    is known to take. `thinks`: it may. `tools_unthinking`: with function tools it wants the effort
    `none`."""

    reasoning: bool = False
    levels: tuple[str, ...] = ()
    thinks: bool = True
    parallel: bool = True
    verbosity: bool = False
    tools_unthinking: bool = False


_PLAIN: Final = Abilities(thinks=False)
_MODELS: Final = tuple(
    (re.compile(pattern), abilities)
    for pattern, abilities in (
        (r"o\d", Abilities(True, ("low", "medium", "high"), parallel=False)),
        (r"gpt-5[^/]*-chat", Abilities(thinks=False, verbosity=True)),
        (r"gpt-5(\.\d+)?-pro", Abilities(True, ("high",), verbosity=True)),
        (r"gpt-5(?![.\d])", Abilities(True, ("minimal", "low", "medium", "high"), verbosity=True)),
        (r"gpt-5\.1(?!\d)", Abilities(True, ("none", "low", "medium", "high"), verbosity=True)),
        (
            r"gpt-5\.[23](?!\d)",
            Abilities(True, ("none", "low", "medium", "high", "xhigh"), verbosity=True),
        ),
        # "Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions"
        # (github.com/openai/openai-openapi/issues/541); later ones want `none` in so many words
        # (github.com/BerriAI/litellm/pull/34569).
        (
            r"gpt-(5\.\d|[6-9](?!\d)|1\d)",
            Abilities(
                True, ("none", "low", "medium", "high", "xhigh"), verbosity=True, tools_unthinking=True
            ),
        ),
        (r"gpt-oss", Abilities(levels=("low", "medium", "high"))),
        (r"gemini-(2\.5|[3-9])", Abilities(levels=("low", "medium", "high"))),
        (r"(gpt|chatgpt|codex-mini)-", _PLAIN),
    )
)
_OTHERS: Final = Abilities()
"""Of whom nothing is known: some vendors refuse a request with an effort that its model does not take (Groq,
xAI)."""
USUAL: Final = ("none", "low", "medium", "high")
"""Efforts of vendors who are said to take them."""
UNSUPPORTED: Final = {
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "top_logprobs": 0,
    "logit_bias": None,
}
"""Knobs that OpenAI's reasoning models refuse (conversion.md, 56), with the value that says nothing."""


def abilities(model: str) -> Abilities:
    """By the model's own name, whoever serves it (`openai/o3` is `o3`); only OpenAI's own house knows
    `tools_unthinking`."""
    name = model.lower().rpartition("/")[2]
    found = next((able for pattern, able in _MODELS if pattern.match(name)), _OTHERS)
    return msgspec.structs.replace(found, tools_unthinking=False) if "/" in model else found


def nearest(level: str, levels: tuple[str, ...]) -> str:
    """The greatest of the known efforts that is not above this one, else the least; a word nobody knows stays
    as it is."""
    if level in levels or level not in ORDER:
        return level
    below = [known for known in levels if ORDER.index(known) < ORDER.index(level)]
    return below[-1] if below else levels[0]


def effort_fields(
    effort: Effort | None, target: Target, *, tools: bool, own: bool
) -> tuple[dict[str, Any], list[str]]:
    """How this target is told to think, and what of it could not be said. `own`: the client said it in this
    format."""
    if own:
        return _as_said(effort), []
    able, quirks = abilities(target.model), target.quirks
    if able.tools_unthinking and tools:
        asked = effort is not None and effort.enabled is not False
        return {"reasoning_effort": "none"}, ["effort"] if asked else []
    if effort is None or effort == Effort(shown=effort.shown):
        return {}, []
    if "reasoning_object" in quirks:
        return {"reasoning": _object(effort)}, []
    if "thinking_object" in quirks:
        if effort.enabled is False:
            return {"thinking": {"type": "disabled"}}, []
        level = _level(effort) if "reasoning_effort" in quirks else ""
        return {"thinking": {"type": "enabled"}, **({"reasoning_effort": level} if level else {})}, []
    levels = able.levels or (USUAL if "reasoning_effort" in quirks else ())
    if "no_reasoning_effort" in quirks or not levels:
        return {}, ["effort"] if effort.enabled is not False or able.thinks else []
    if effort.enabled is False:
        level = nearest("none", levels)
        return {"reasoning_effort": level}, [] if level == "none" else ["effort"]
    level = _level(effort)
    return {"reasoning_effort": nearest(level, levels)} if level else {}, []


def _level(effort: Effort) -> str:
    if effort.level or effort.budget is None:
        return effort.level
    return level_of(effort.budget)


def _object(effort: Effort) -> dict[str, Any]:
    """OpenRouter's `reasoning` (openrouter.ai/docs/use-cases/reasoning-tokens)."""
    if effort.enabled is False:
        return {"enabled": False}
    told: dict[str, Any] = {"enabled": True}
    if effort.budget is not None and effort.budget > 0:
        told = {"max_tokens": effort.budget}
    elif effort.level in ORDER:
        told = {"effort": nearest(effort.level, ORDER[:-1])}
    elif effort.level:
        told = {"max_tokens": budget_of(effort.level)}
    return told if effort.shown is not False else {**told, "exclude": True}


def _as_said(effort: Effort | None) -> dict[str, Any]:
    if effort is None:
        return {}
    if effort.budget is None and effort.shown is None and (effort.level or effort.enabled is False):
        return {"reasoning_effort": effort.level or "none"}
    told = {
        "effort": effort.level or None,
        "max_tokens": effort.budget,
        "enabled": effort.enabled,
        "exclude": None if effort.shown is None else not effort.shown,
    }
    return {"reasoning": {key: value for key, value in told.items() if value is not None}}


def read_effort(word: str, reasoning: dict[str, Any], thinking: dict[str, Any]) -> Effort | None:
    """What the three fields by which vendors are told say together: `reasoning_effort`, OpenRouter's
    `reasoning`, and the `thinking` of DeepSeek, Moonshot and Zhipu."""
    level = word or _text(reasoning.get("effort"))
    budget = _count(reasoning.get("max_tokens"))
    budget = _count(thinking.get("budget_tokens")) if budget is None else budget
    excluded, enabled = reasoning.get("exclude"), _flag(reasoning.get("enabled"))
    if thinking.get("type") in ("enabled", "disabled"):
        enabled = thinking["type"] == "enabled"
    if level == "none":
        level, enabled = "", False
    elif level or budget:
        enabled = True if enabled is None else enabled
    shown = not excluded if isinstance(excluded, bool) else None
    effort = Effort(enabled, level, budget, shown)
    return None if effort == Effort() else effort


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 10**9 else None
