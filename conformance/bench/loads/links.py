"""Making signed links: how long one takes when many are asked for."""

from __future__ import annotations

import itertools
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from ..api import Api, make_material
from ..connection import Connection
from ..measures import Round, Run
from ..messages import Request
from ..server import Server

_CONNECTIONS = 4


@dataclass(frozen=True)
class Links:
    """`rate` requests a second for links to `files` files, for `seconds`; a time counts from when a request was due."""

    rate: int
    files: int
    seconds: float

    def against(self, server: Server) -> Run:
        with server.connect() as connection:
            ids = [_make_file(Api(server, connection)) for _ in range(self.files)]

        def run() -> Round:
            count = int(self.rate * self.seconds)
            waiting: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
            for number, upload_id in zip(range(count), itertools.cycle(ids)):
                waiting.put((number, f"{server.api_path}/uploads/{upload_id}/download"))
            with ExitStack() as stack:
                connections = [stack.enter_context(server.connect()) for _ in range(_CONNECTIONS)]
                pool = stack.enter_context(ThreadPoolExecutor(_CONNECTIONS))
                with server.measured() as cost:
                    began = time.perf_counter()
                    asking = [pool.submit(self._ask, each, waiting, began) for each in connections]
                    times = list(itertools.chain.from_iterable(each.result() for each in asking))
            return Round(count, cost, {"link": times})

        return run

    def _ask(self, connection: Connection, waiting: queue.SimpleQueue[tuple[int, str]], began: float) -> list[float]:
        """A request waits for none before it, as long as a connection is free."""
        times: list[float] = []
        while True:
            try:
                number, path = waiting.get_nowait()
            except queue.Empty:
                return times
            due = began + number / self.rate
            time.sleep(max(0.0, due - time.perf_counter()))
            connection.ask(Request("GET", path, 200))
            times.append((time.perf_counter() - due) * 1000)


def _make_file(api: Api) -> str:
    """An upload whose file is ready; its id."""
    material = make_material(1, 1)
    upload_id: str = api.initiate(1, material.digest.hex())["uploadId"]
    api.send(upload_id, material, iter([0]))
    api.complete(upload_id)
    api.wait_until_ready(upload_id)
    return upload_id
