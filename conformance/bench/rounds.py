"""Measuring a shape: all its contenders started fresh, and rounds in which each has its turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .contenders import DISK, Contender
from .measures import Load, Round, Run
from .messages import Broken, Lacking
from .server import Server
from .shapes import Shape

Result = TypeVar("Result")


@dataclass(frozen=True)
class Row:
    """One contender's rounds in one shape, or why there are none."""

    contender: str
    rounds: Sequence[Round] = ()
    lacks: str | None = None
    trouble: str | None = None


@dataclass(frozen=True)
class Places:
    """Where servers have their directories: a tmpfs, and a disk for the shapes that are about it."""

    memory: Path
    disk: Path


class Measurement:
    """One shape against its contenders; what ends without a result is told in its row, and the others go on."""

    def __init__(self, shape: Shape, load: Load, places: Places) -> None:
        self._shape = shape
        self._load = load
        self.title = shape.titled(load)
        self._place = places.disk if shape.need == DISK else places.memory
        self._rows: dict[str, Row] = {}

    def run(self, contenders: Sequence[Contender], rounds: int, tell: Callable[[str], None]) -> list[Row]:
        """`rounds` rounds, in which the order of the contenders rotates, after one that is dropped: memory that is
        touched for the first time costs twice. What is too long for that is measured as often as the shape says.
        """
        dropped = 0 if self._shape.rounds else 1
        with ExitStack() as stack:
            tell(f"{self.title}: starting")
            runs = self._start(contenders, stack)
            for number in range(dropped + (self._shape.rounds or rounds)):
                names = list(runs)
                for name in names[number % len(names) :] + names[: number % len(names)] if names else []:
                    tell(f"{self.title}: {name}, round {number + 1 - dropped}")
                    result = self._try(name, runs[name])
                    if result is None:
                        del runs[name]
                    elif number >= dropped:
                        self._rows[name] = Row(name, (*self._rows[name].rounds, result))
        return list(self._rows.values())

    def _start(self, contenders: Sequence[Contender], stack: ExitStack) -> dict[str, Run]:
        """Start all at once, then make them ready one after the other."""
        servers = []
        for contender in contenders:
            lacks = contender.why_not_here()
            if lacks is None and self._shape.need is not None and self._shape.need not in contender.options:
                lacks = f"no {self._shape.need}"
            self._rows[contender.name] = Row(contender.name, lacks=lacks)
            if lacks is None:
                server = Server(contender, self._shape.need, self._place)
                stack.callback(server.stop)
                servers.append(server)
                self._try(server.name, server.start)
        runs = {}
        for server in servers:
            if self._rows[server.name].trouble is None:
                run = self._try(server.name, lambda server=server: self._ready(server))  # type: ignore[misc]
                if run is not None:
                    runs[server.name] = run
        return runs

    def _ready(self, server: Server) -> Run:
        server.wait()
        return self._load.against(server)

    def _try(self, name: str, act: Callable[[], Result]) -> Result | None:
        """The result, or nothing and the reason in the row."""
        try:
            return act()
        except Lacking as error:
            self._rows[name] = Row(name, lacks=str(error))
        except (Broken, OSError) as error:
            self._rows[name] = Row(name, trouble=str(error))
        return None
