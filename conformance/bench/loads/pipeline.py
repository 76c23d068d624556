"""Finished files: how many a second go through the pipeline, where the time goes, and what uploads notice of it."""

from __future__ import annotations

import itertools
import re
import time
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from .. import tus
from ..api import Api
from ..connection import Connection
from ..measures import Round, Run
from ..messages import Broken, Request
from ..server import Server
from .corpus import Sample, make_corpus

_CONNECTIONS = 4
_POLL_INTERVAL = 0.05
_SCANNED_LIMIT = 120.0
_STEP = re.compile(
    r'^tusd_py_pipeline_step_seconds_(sum|count)\{outcome="([^"]*)",step="([^"]*)"\} (\S+)$', re.MULTILINE
)


@dataclass(frozen=True)
class PipelineLoad:
    """`files` of a mixed corpus, `rate` a second, each by POST and PATCH, until none is left in the pipeline. The times
    are those of a file's two answers together.
    """

    files: int
    rate: int

    def against(self, server: Server) -> Run:
        corpus = make_corpus()

        def run() -> Round:
            numbers = iter(range(self.files))
            targets: list[str] = []
            with ExitStack() as stack:
                connections = [stack.enter_context(server.connect()) for _ in range(_CONNECTIONS)]
                watching = stack.enter_context(server.connect())
                before = _steps(server, watching)
                pool = stack.enter_context(ThreadPoolExecutor(_CONNECTIONS))
                with server.measured() as cost:
                    began = time.perf_counter()
                    sending = [
                        pool.submit(self._send, server.path, each, corpus, numbers, began, targets)
                        for each in connections
                    ]
                    times = list(itertools.chain.from_iterable(each.result() for each in sending))
                    if server.has_pipeline:
                        _wait_until_scanned(server, watching, before["count", "scan"] + self.files)
                        Api(server, watching).wait_until_ready(_id(targets[-1]))
                if server.has_pipeline:
                    for target in targets:
                        Api(server, watching).wait_until_ready(_id(target))
                after = _steps(server, watching)
            server.remove(targets)
            values = {
                f"{step} ms": (after["sum", step] - before["sum", step]) / count * 1000
                for kind, step in sorted(after)
                if kind == "count" and (count := after[kind, step] - before[kind, step])
            }
            return Round(self.files, cost, {"answer": times}, values)

        return run

    def _send(
        self,
        path: str,
        connection: Connection,
        corpus: tuple[Sample, ...],
        numbers: Iterator[int],
        began: float,
        targets: list[str],
    ) -> list[float]:
        times = []
        for number in numbers:
            sample = corpus[number % len(corpus)]
            names = {"filename": sample.name, "filetype": sample.media_type}
            metadata = ",".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in names.items())
            time.sleep(max(0.0, began + number / self.rate - time.perf_counter()))
            start = time.perf_counter()
            answer = connection.ask(tus.create(path, len(sample.data), {"Upload-Metadata": metadata}))
            target = tus.location(answer)
            tus.check_offset(connection.ask(tus.patch(target, 0, sample.data)), len(sample.data))
            times.append((time.perf_counter() - start) * 1000)
            targets.append(target)
        return times


def _steps(server: Server, connection: Connection) -> dict[tuple[str, str], float]:
    """Seconds and runs of each step so far."""
    found: dict[tuple[str, str], float] = defaultdict(float)
    if not server.has_pipeline:
        return found
    metrics = connection.ask(Request("GET", "/metrics", 200)).body.decode()
    for kind, outcome, step, value in _STEP.findall(metrics):
        if outcome != "passed" and float(value):
            raise Broken(f"the pipeline's step {step} had the outcome {outcome}")
        found[kind, step] += float(value)
    return found


def _wait_until_scanned(server: Server, connection: Connection, count: float) -> None:
    end = time.monotonic() + _SCANNED_LIMIT
    while (scanned := _steps(server, connection)["count", "scan"]) < count:
        if time.monotonic() > end:
            raise Broken(f"{count - scanned:.0f} files are still not scanned")
        time.sleep(_POLL_INTERVAL)


def _id(target: str) -> str:
    return target.rpartition("/")[2]
