"""From rounds to figures: a ratio is taken within one round, the figure is the median of the rounds."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field


@dataclass
class Measured:
    """One server under one workload in one round."""

    units: int
    """Requests, or chunks of a clocked stream."""
    server: float
    """Seconds of CPU."""
    recorder: float
    latency_p50: float
    latency_p99: float
    rate: float
    """Requests a second."""
    kept: float
    """Share of the chunks that arrived within a second, of those that were due."""
    delay_p99: float
    first_p50: float = 0.0
    """Milliseconds that the first chunk of a stream took from the upstream."""

    @property
    def cost(self) -> float:
        """Milliseconds of CPU for a unit, the recorder's included."""
        return (self.server + self.recorder) / self.units * 1000

    @property
    def recorder_cost(self) -> float:
        return self.recorder / self.units * 1000


@dataclass(frozen=True)
class Figure:
    """A median with its quartiles."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: list[float]) -> Figure:
        if len(values) < 2:
            return cls(*values * 3)
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, lower, upper)

    def text(self, digits: int = 2) -> str:
        return f"{self.median:.{digits}f} ({self.lower:.{digits}f} to {self.upper:.{digits}f})"


@dataclass
class Results:
    """Everything measured: workload -> server -> one entry a round."""

    rounds: dict[str, dict[str, list[Measured]]] = field(default_factory=dict)

    def add(self, workload: str, server: str, measured: Measured) -> None:
        self.rounds.setdefault(workload, {}).setdefault(server, []).append(measured)

    def ratio(self, workload: str, server: str, to: str = "control") -> Figure:
        """A server's cost over the control's, round by round."""
        ours, theirs = self.rounds[workload][server], self.rounds[workload][to]
        return Figure.of([one.cost / other.cost for one, other in zip(ours, theirs, strict=True)])

    def beyond(self, workload: str, other: str, server: str) -> tuple[Figure, Figure]:
        """What a workload costs a server as a multiple of another, and by how many milliseconds its first
        chunks come later; round by round."""
        pairs = list(zip(self.rounds[workload][server], self.rounds[other][server], strict=True))
        return (
            Figure.of([one.cost / base.cost for one, base in pairs]),
            Figure.of([one.first_p50 - base.first_p50 for one, base in pairs]),
        )

    def figure(self, workload: str, server: str, name: str) -> Figure:
        """The figure of one attribute of `Measured`."""
        return Figure.of([float(getattr(each, name)) for each in self.rounds[workload][server]])


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of the values lie; 0 where there are none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0
