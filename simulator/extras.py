"""The other doors: token counts, embeddings, reranking, completions, moderation, images, audio, model lists."""

from __future__ import annotations

from simulator.core import Seen, Vendor
from simulator.options import Options
from simulator.play import Play

Told = tuple[Options, list[bytes], str, str, bool]
"""Options, frames, content type, model, streamed: what `routes.finish` makes a play of."""


def answer(vendor: Vendor, seen: Seen, dialect: str, model: str, verb: str) -> Play | Told | None:
    """What one of the other paths answers; None where there is no such path. `model`, `verb`: of a Gemini path."""
    return None
