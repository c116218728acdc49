"""How much thinking a word asks for, and the other way round (conversion.md, 46)."""

from __future__ import annotations

from typing import Final

BUDGETS: Final = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 65536}
"""Tokens by effort. The first four are Google's own, of its OpenAI compatibility layer
(ai.google.dev/gemini-api/docs/openai)."""


def budget_of(level: str) -> int:
    """Tokens of thinking for an effort; a word nobody knows counts as medium."""
    return BUDGETS.get(level, BUDGETS["medium"])


def level_of(budget: int) -> str:
    """The least effort among low, medium and high that has room for these tokens; -1, as the model finds fit,
    is medium."""
    if budget < 0:
        return "medium"
    return next((level for level in ("low", "medium") if budget <= BUDGETS[level]), "high")
