"""What each vendor refuses by its own documents: the rules that `strict` holds requests to."""

from __future__ import annotations

from simulator.rules import anthropic, chat, gemini, responses
from simulator.rules.table import Rule, Table

TABLES: dict[str, Table] = {
    "openai_chat": chat.RULES,
    "openai_responses": responses.RULES,
    "anthropic": anthropic.RULES,
    "gemini": gemini.RULES,
}
RULES: tuple[Rule, ...] = tuple(row for table in TABLES.values() for row in table.rows)
