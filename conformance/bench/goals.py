"""What ours is meant to reach, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .machine import Machine
from .results import Results, by_cpu, by_speed

_HASHED = "limit + 1.1 × SHA-256"


@dataclass(frozen=True)
class Goal:
    """`measure` is "speed" or "cpu" (as ratios to the contender `against`), "memory" in MiB, or the name of a further
    figure; the bound is the smallest good value if `is_least`, else the largest.
    """

    shape: str
    measure: str
    against: str | None
    bound: float
    is_least: bool = False
    contender: str = "ours"

    def __str__(self) -> str:
        sign = "≥" if self.is_least else "≤"
        return f"{self.measure} {sign} {self.bound:g}{f' × {self.against}' if self.against else ''}"

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.is_least else value <= self.bound


def _faster(shape: str, against: str, bound: float) -> Goal:
    return Goal(shape, "speed", against, bound, is_least=True)


GOALS = (
    _faster("patch", "tusd", 1.8),
    Goal("patch", "cpu", "tusd", 0.5),
    _faster("patch", "@tus/server", 5),
    Goal("patch", "cpu", "limit", 1.1),
    _faster("two", "tusd", 2.0),
    Goal("two", "cpu", "tusd", 0.5),
    _faster("two", "@tus/server", 5),
    Goal("two", "cpu", "limit", 1.1),
    _faster("pieces", "tusd", 1.7),
    Goal("pieces", "cpu", "tusd", 0.5),
    _faster("pieces", "@tus/server", 5),
    Goal("pieces", "cpu", "limit", 1.2),
    Goal("small-8", "cpu", "tusd", 1.0),
    _faster("small-8", "@tus/server", 5),
    Goal("sha256", "cpu", _HASHED, 1.0),
    _faster("get", "tusd", 1.0),
    Goal("memory", "memory", None, 120),
    Goal("slow", "memory", None, 300),
    Goal("slow", "HEAD p99 ms", None, 100),
    Goal("large", "memory", None, 150),
    Goal("in-order", "complete p99 ms", None, 1000),
    Goal("links", "link p99 ms", None, 5),
    Goal("pipeline", "answer p99 ms", "ours", 1.5, contender="ours-pipeline"),
)


def measured(goal: Goal, results: Mapping[str, Results], machine: Machine) -> float | None:
    """The value that is held against the goal's bound; None: it was not measured, or the peer was not there."""
    shape = results.get(goal.shape)
    row = shape.row(goal.contender) if shape else None
    if shape is None or row is None:
        return None
    figures = shape.figures(row)
    if goal.against == _HASHED:
        limit = _figure("limit", results.get("patch"))
        return figures.cpu / (limit + 1.1 * machine.hash_cpu) if limit else None
    if goal.measure in {"speed", "cpu"} and goal.against is not None:
        return shape.ratio(goal.contender, goal.against, by_speed if goal.measure == "speed" else by_cpu)
    value = figures.memory if goal.measure == "memory" else figures.further.get(goal.measure)
    if goal.against is None or value is None:
        return value
    other = shape.row(goal.against)
    return value / shape.figures(other).further[goal.measure] if other else None


def _figure(contender: str, results: Results | None) -> float | None:
    """The processor time of a contender."""
    row = results.row(contender) if results else None
    return results.figures(row).cpu if results and row else None
