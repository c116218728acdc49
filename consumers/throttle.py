"""Addresses that send bad API keys, one after another (security.md, 33)."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from ipaddress import IPv6Address, ip_address

WINDOW = 60.0
"""Seconds in which bad keys are counted."""
ADDRESSES = 10_000
"""Most addresses that are remembered; the one longest without a bad key goes first."""
_PREFIX = 64
"""Bits of an IPv6 address that belong to its network: one client has the rest to choose from."""


class Throttle:
    """Remembers the bad keys of each address. From `most` of them within a minute on the address is held
    back, until the oldest of them is a minute old; 0 holds nobody back. Times are monotonic seconds, handed
    in. `bad` is empty while there is nobody to look at."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.bad: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.bad)

    def note(self, address: str, now: float) -> bool:
        """Counts a bad key; True where from now on the address is held back."""
        if not self._most:
            return False
        source = source_of(address)
        times = self.bad.get(source)
        if times is None:
            times = self.bad[source] = deque(maxlen=self._most)
            if len(self.bad) > ADDRESSES:
                self.bad.popitem(last=False)
        self.bad.move_to_end(source)
        times.append(now)
        return len(times) == self._most and now - times[0] < WINDOW

    def wait(self, address: str, now: float) -> int:
        """Whole seconds for which the address is held back; 0 where it is not."""
        times = self.bad.get(source_of(address))
        if times is None or len(times) < self._most:
            return 0
        return max(0, math.ceil(times[0] + WINDOW - now))

    def count(self, address: str, now: float) -> int:
        """How many bad keys of the address are remembered of the last minute; of more than `most` the newest
        count."""
        return sum(now - each < WINDOW for each in self.bad.get(source_of(address), ()))

    def forget(self, now: float) -> None:
        """Lets go of the addresses that have been quiet for a minute."""
        while self.bad:
            source, times = next(iter(self.bad.items()))
            if now - times[-1] < WINDOW:
                break
            del self.bad[source]


def source_of(address: str) -> str:
    """What is held back as one: an IPv4 address, or the network of an IPv6 one. What is no address stands for
    itself."""
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> (128 - _PREFIX) << (128 - _PREFIX)))
