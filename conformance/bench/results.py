"""What the rounds come to: medians, spreads, and ratios round by round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .measures import Round
from .payload import MIB
from .rounds import Row
from .shapes import Shape


@dataclass(frozen=True)
class Figures:
    """One contender's figures in one shape: speed and processor time in the shape's unit, as medians of the rounds;
    `spread` is half of the way from the slowest to the fastest round, in parts of the median; the peak in MiB.
    """

    speed: float
    spread: float | None
    cpu: float
    memory: float
    further: Mapping[str, float]


@dataclass(frozen=True)
class Results:
    """All rows of a shape."""

    shape: Shape
    title: str
    rows: Sequence[Row]

    def row(self, contender: str) -> Row | None:
        """The row of a contender, if it has rounds."""
        return next((row for row in self.rows if row.contender == contender and row.rounds), None)

    def figures(self, row: Row) -> Figures:
        speeds = [each.speed for each in row.rounds]
        return Figures(
            speed=statistics.median(speeds) * self.shape.unit.speed_factor,
            spread=(max(speeds) - min(speeds)) / 2 / statistics.median(speeds) if len(speeds) > 1 else None,
            cpu=statistics.median(each.cpu for each in row.rounds) * self.shape.unit.cpu_factor,
            memory=max(each.cost.peak_memory for each in row.rounds) / MIB,
            further=_further(row.rounds),
        )

    def ratio(self, one: str, other: str, value: Callable[[Round], float]) -> float | None:
        """How many times the other's value the one's is: the median of the ratios of rounds that ran side by side."""
        ours, theirs = self.row(one), self.row(other)
        if ours is None or theirs is None:
            return None
        pairs = zip(ours.rounds, theirs.rounds, strict=False)
        return statistics.median(value(mine) / value(its) for mine, its in pairs)

    def as_json(self) -> dict[str, Any]:
        return {
            "shape": self.shape.name,
            "title": self.title,
            "speed": self.shape.unit.speed,
            "cpu": self.shape.unit.cpu,
            "contenders": {row.contender: self._row_as_json(row) for row in self.rows},
        }

    def _row_as_json(self, row: Row) -> dict[str, Any]:
        if not row.rounds:
            return {"lacks": row.lacks, "trouble": row.trouble}
        others = [each.contender for each in self.rows if each.rounds and each is not row]
        return {
            **asdict(self.figures(row)),
            "speed ratio to": {other: self.ratio(row.contender, other, by_speed) for other in others},
            "cpu ratio to": {other: self.ratio(row.contender, other, by_cpu) for other in others},
            "rounds": [
                {"amount": each.amount, "values": dict(each.values), **asdict(each.cost)} for each in row.rounds
            ],
        }


def by_speed(each: Round) -> float:
    return each.speed


def by_cpu(each: Round) -> float:
    return each.cpu


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of all do not exceed."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def _further(rounds: Sequence[Round]) -> dict[str, float]:
    """Milliseconds of single requests over all rounds, then the medians of other values."""
    found: dict[str, float] = {}
    for name in rounds[0].times:
        times = [time for each in rounds for time in each.times[name]]
        if times:
            found |= {f"{name} median ms": statistics.median(times), f"{name} p99 ms": percentile(times, 99)}
    for name in rounds[0].values:
        found[name] = statistics.median(each.values[name] for each in rounds if name in each.values)
    return found
