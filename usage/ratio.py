"""How many bytes of text make a token, learned for each model from requests whose usage was reported."""

from __future__ import annotations

from collections import OrderedDict

DEFAULT = 4.0
LOWEST, HIGHEST = 1.0, 12.0
ENOUGH_TOKENS = 16
"""A shorter answer says little about the ratio and moves it not at all."""
SHARE_OF_THE_NEW = 0.05


class Ratios:
    """Bytes of delivered text per output token and model, as an exponential average. Holds the `limit`
    models used last; not thread-safe."""

    def __init__(self, limit: int = 1_000) -> None:
        self._limit = limit
        self._learned: OrderedDict[str, float] = OrderedDict()

    def get(self, model: str) -> float:
        """Bytes per token of `model`; 4 while nothing is known of it."""
        return self._learned.get(model, DEFAULT)

    def learn(self, model: str, *, text_bytes: int, tokens: int) -> None:
        """Takes in a finished request with reported output. Single requests far off (hidden reasoning, no
        text) are cut to 1 to 12 bytes a token."""
        if tokens < ENOUGH_TOKENS or text_bytes <= 0:
            return
        seen = min(max(text_bytes / tokens, LOWEST), HIGHEST)
        known = self._learned.get(model)
        self._learned[model] = seen if known is None else known + SHARE_OF_THE_NEW * (seen - known)
        self._learned.move_to_end(model)
        if len(self._learned) > self._limit:
            self._learned.popitem(last=False)
