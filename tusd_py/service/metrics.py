"""Prometheus metrics with tusd's names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from tusd_py.core.errors import UploadError
from tusd_py.core.hook_events import Event
from tusd_py.service.shared_metrics import CONNECTIONS_OPEN, share_values, shared_registry
from tusd_py.state.board import Board

METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS")
_WITHOUT_SUFFIX = ("bytes_received", "uploads_created", "uploads_finished", "uploads_terminated")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """One registry for each server, of all its processes if they share a `board`; safe to use from any thread."""

    def __init__(self, board: Board | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._board = board
        self._queues: dict[str, Callable[[], float]] = {}
        self._is_state_well: Callable[[], bool] = lambda: True
        self._backlog: Callable[[], tuple[int, float]] | None = None
        if board is not None:
            share_values(board)
        self._registry = CollectorRegistry()
        self._exposed = self._registry if board is None else shared_registry(board)
        requests = Counter("tusd_requests_total", "Requests by method.", ["method"], registry=self._registry)
        self._errors = Counter(
            "tusd_errors_total", "Errors by status and code.", ["status", "code"], registry=self._registry
        )
        counter = {
            name: Counter(f"tusd_{name}", description, registry=self._registry)
            for name, description in zip(
                _WITHOUT_SUFFIX,
                (
                    "Bytes received for uploads.",
                    "Uploads created.",
                    "Uploads finished.",
                    "Uploads terminated.",
                ),
                strict=True,
            )
        }
        self.bytes_received = counter["bytes_received"]
        self.uploads_created = counter["uploads_created"]
        self.uploads_finished = counter["uploads_finished"]
        self.uploads_terminated = counter["uploads_terminated"]
        self.uploads_expired = Counter(
            "tusd_py_uploads_expired_total", "Uploads removed because they expired.", registry=self._registry
        )
        self.lock_takeovers = Counter(
            "tusd_py_lock_takeovers_total", "Requests stopped for a newer one.", registry=self._registry
        )
        self._hooks = Counter(
            "tusd_hook_invocations_total", "Hook invocations by type.", ["hooktype"], registry=self._registry
        )
        self._hook_errors = Counter(
            "tusd_hook_errors_total", "Hook errors by type.", ["hooktype"], registry=self._registry
        )
        self._steps = Histogram(
            "tusd_py_pipeline_step_seconds",
            "Time of the steps that finished files go through.",
            ["step", "outcome"],
            buckets=(0.001, 0.01, 0.1, 1, 10, 100, 1000),
            registry=self._registry,
        )
        self._files_pending = Gauge(
            "tusd_py_pipeline_pending",
            "Finished files that are not settled.",
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )
        self._oldest_pending = Gauge(
            "tusd_py_pipeline_oldest_seconds",
            "Age of the oldest file that is not settled.",
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )
        self._deliveries = Counter(
            "tusd_py_delivery_attempts_total",
            "Attempts to tell receivers what has happened: delivered, failed, or dead after the last one.",
            ["receiver", "outcome"],
            registry=self._registry,
        )
        self._deliveries_queued = Gauge(
            "tusd_py_delivery_queued",
            "Events that are not delivered yet.",
            ["kind"],
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )
        if board is None:
            self._connections = Gauge("tusd_connections_open", CONNECTIONS_OPEN, registry=self._registry)
            ProcessCollector(registry=self._registry)
        self._state_events = Counter(
            "tusd_py_state_events_total",
            "What happened to the coordination with other processes.",
            ["event"],
            registry=self._registry,
        )
        self._state_well = Gauge(
            "tusd_py_state_well",
            "Whether processes can coordinate as they should.",
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )
        self._requests_by = {method: requests.labels(method) for method in METHODS}
        for event in Event:
            self._hooks.labels(event.value)
            self._hook_errors.labels(event.value)

    def watch_connections(self, count: Callable[[], int]) -> None:
        """Where nobody else counts them."""
        if self._board is None:
            self._connections.set_function(count)

    def count_request(self, method: str) -> None:
        if method in self._requests_by:
            self._requests_by[method].inc()

    def count_error(self, status: int, code: str) -> None:
        self._errors.labels(str(status), code).inc()

    def count_hook(self, event: Event) -> None:
        self._hooks.labels(event.value).inc()

    def count_hook_error(self, event: Event) -> None:
        self._hook_errors.labels(event.value).inc()

    def count_delivery(self, receiver: str, outcome: str) -> None:
        self._deliveries.labels(receiver, outcome).inc()

    def watch_deliveries(self, kind: str, queued: Callable[[], float]) -> None:
        """Show how many events of a kind, of hooks or of the webhook, there are to deliver."""
        self._queues[kind] = queued

    def count_state_event(self, event: str) -> None:
        self._state_events.labels(event).inc()

    def watch_state(self, is_well: Callable[[], bool]) -> None:
        self._is_state_well = is_well

    def watch_files(self, backlog: Callable[[], tuple[int, float]]) -> None:
        """Show how many finished files are not settled, and the age of the oldest in seconds."""
        self._backlog = backlog

    def observe_step(self, step: str, outcome: str, seconds: float) -> None:
        self._steps.labels(step, outcome).observe(seconds)

    def exposition(self) -> bytes:
        """The metrics as text; four of tusd's counters lack the suffix that the library gives to every counter.

        Blocks while what has to be counted is counted.
        """
        if self._backlog is not None:
            with suppress(UploadError):
                count, oldest = self._backlog()
                self._files_pending.set(count)
                self._oldest_pending.set(oldest)
        for kind, queued in self._queues.items():
            with suppress(OSError):
                self._deliveries_queued.labels(kind).set(queued())
        self._state_well.set(self._is_state_well())
        text = generate_latest(self._exposed)
        for name in _WITHOUT_SUFFIX:
            text = text.replace(f"tusd_{name}_total".encode(), f"tusd_{name}".encode())
        return text
