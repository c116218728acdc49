"""An answer made, and not yet on its way."""

from __future__ import annotations

from dataclasses import dataclass, replace

from simulator.compose import CREATED, ID
from simulator.options import Options

EVENT_STREAM = "text/event-stream; charset=utf-8"
_ID, _CREATED = ID.encode(), str(CREATED).encode()


@dataclass(frozen=True, slots=True)
class Made:
    """`frames`: one for a whole answer. `kind`: its content type. `model`: the name that was asked for."""

    options: Options
    frames: list[bytes]
    kind: str = "application/json"
    model: str = ""
    streamed: bool = False

    def stamped(self, fresh: str, now: int) -> Made:
        """The same with its own id and time in place of the placeholders."""
        if not self.frames:
            return self
        joined = b"\0".join(self.frames).replace(_ID, fresh.encode()).replace(_CREATED, str(now).encode())
        return replace(self, frames=joined.split(b"\0") if len(self.frames) > 1 else [joined])
