"""Names of tools and ids of calls, made to fit a dialect's rules (conversion.md, 29 and 39)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b

_ODD = re.compile(r"[^A-Za-z0-9_-]")


def fitted(name: str, *, longest: int = 64, first: str = "") -> str:
    """The name itself where it fits `[A-Za-z0-9_-]{1,longest}` and begins as the pattern `first` wants, else
    one made from it that does: the same every time, and another for every other name."""
    if 0 < len(name) <= longest and not _ODD.search(name) and re.match(first, name):
        return name
    tail = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    plain = _ODD.sub("_", name)
    if not re.match(first, plain):
        plain = f"t_{plain}"
    return f"{plain[: longest - 9]}_{tail}"


def short_id(made: str) -> str:
    """A call's id of nine letters and digits, as Mistral wants them: the same for the same id, and another
    for every other one."""
    if len(made) == 9 and made.isascii() and made.isalnum():
        return made
    return blake2b(made.encode("utf-8", "surrogatepass"), digest_size=5).hexdigest()[:9]


def renamed(names: Iterable[str], *, longest: int = 64, first: str = "") -> dict[str, str]:
    """From the name that upstream is to know to the client's, for those that differ."""
    fits = {fitted(name, longest=longest, first=first): name for name in names}
    return {ours: name for ours, name in fits.items() if ours != name}


def call_id(request_id: str, number: int) -> str:
    """An id for a call that the vendor gave none, unique as long as the request's is."""
    return f"call_{blake2b(f'{request_id}/{number}'.encode(), digest_size=12).hexdigest()}"
