"""How many bytes of text make a token, learned for each model from requests whose usage was reported."""

from __future__ import annotations

from collections import OrderedDict

DEFAULT = 4.0
LOWEST, HIGHEST = 1.0, 12.0
ENOUGH_TOKENS = 16
"""A shorter answer says little about the ratio and moves it not at all."""
SHARE_OF_THE_NEW = 0.05
ALL_OF_THE_FIRST = 32
ONE_IN = 16
"""Measuring an answer's text takes longer than relaying it: of a model's requests beyond the first ones only
one in so many teaches."""


class Ratios:
    """Bytes of delivered text per output token and model, as an exponential average. Holds the `limit`
    models used last; not thread-safe."""

    def __init__(self, limit: int = 1_000) -> None:
        self._limit = limit
        self._learned: OrderedDict[str, float] = OrderedDict()
        self._asked: OrderedDict[str, int] = OrderedDict()

    def get(self, model: str) -> float:
        """Bytes per token of `model`; 4 while nothing is known of it."""
        return self._learned.get(model, DEFAULT)

    def wants(self, model: str) -> bool:
        """Whether the finished request that is asked for should be learned from."""
        asked = self._asked[model] = self._asked.get(model, 0) + 1
        if asked > 1:
            self._asked.move_to_end(model)
        elif len(self._asked) > self._limit:
            self._asked.popitem(last=False)
        return asked <= ALL_OF_THE_FIRST or asked % ONE_IN == 0

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
