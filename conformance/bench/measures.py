"""The words of a measurement: a load, a round of it, and the unit in which its speed is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .payload import GIB, MIB
from .server import Cost, Server


@dataclass(frozen=True)
class Round:
    """How much was done (bytes, or requests), what it cost, milliseconds of single requests by what they are, and other
    values by their names.
    """

    amount: float
    cost: Cost
    times: Mapping[str, Sequence[float]] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def speed(self) -> float:
        return self.amount / self.cost.seconds

    @property
    def cpu(self) -> float:
        return self.cost.cpu_seconds / self.amount


Run = Callable[[], Round]


class Load(Protocol):
    """What a client does: a value of sizes and counts."""

    def against(self, server: Server) -> Run:
        """Make ready what all rounds need. Each call of the result is a round, and leaves no large file behind.

        Raises:
            Lacking: the server does not have what this needs.
            Broken: the server does not do what it was asked for.
        """
        ...


@dataclass(frozen=True)
class Unit:
    """How speed and cost are told: names, and what the bare numbers are multiplied with."""

    speed: str
    speed_factor: float
    cpu: str
    cpu_factor: float


BYTES = Unit("MiB/s", 1 / MIB, "CPU s/GiB", GIB)
UPLOADS = Unit("uploads/s", 1, "CPU ms/upload", 1000)
REQUESTS = Unit("requests/s", 1, "CPU ms/request", 1000)
FILES = Unit("files/s", 1, "CPU ms/file", 1000)
