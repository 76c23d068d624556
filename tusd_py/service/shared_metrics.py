"""Metrics of several workers, as if they were one process.

This is prometheus_client's multiprocess mode: every process writes its values into files, and the page adds them up.
Ours are named after rows of the board in place of process ids, so that the successor of a worker goes on with what that
has counted: no counter goes back, and no file is left of the dead.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, values
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from tusd_py.state.board import Board, Column

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONNECTIONS_OPEN = "Open connections."


def share_values(board: Board) -> None:
    """Metrics that this process makes from now on are those of all workers."""
    os.environ[VARIABLE] = str(board.directory)  # the library knows no other way
    values.ValueClass = values.MultiProcessValue(lambda: board.row)  # type: ignore[no-untyped-call]


def shared_registry(board: Board) -> CollectorRegistry:
    """What the page of every worker shows."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(board.directory))  # type: ignore[no-untyped-call]
    registry.register(_Connections(board))
    registry.register(_Processes(board))
    return registry


class _Connections(Collector):
    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterable[Metric]:
        open_connections = self._board.total(Column.CONNECTIONS)
        return [GaugeMetricFamily("tusd_connections_open", CONNECTIONS_OPEN, open_connections)]


class _Processes(Collector):
    """The library's metrics of a process for each of them, by its row: `worker="0"` is the supervisor."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for row in [0, *self._board.workers]:
            pid = self._board.of(row, Column.PID)
            for metric in ProcessCollector(pid=lambda: pid, registry=None).collect():  # noqa: B023 -- called at once
                family = families.setdefault(metric.name, _family_like(metric))
                family.add_sample(metric.samples[0].name, {"worker": str(row)}, metric.samples[0].value)
        return families.values()


def _family_like(metric: Metric) -> Metric:
    kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
    return kind(metric.name, metric.documentation, labels=["worker"])
