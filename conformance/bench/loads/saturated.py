"""What another client notices while uploads take all that the server has."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from .. import tus
from ..connection import Connection
from ..measures import Round, Run
from ..payload import PAYLOAD
from ..server import Server
from .probing import probing


@dataclass(frozen=True)
class Saturated:
    """`senders` upload `size` bytes again and again for `seconds`; another client asks for the offset of an upload."""

    senders: int
    size: int
    seconds: float

    def against(self, server: Server) -> Run:
        probed = server.create(1)
        part = PAYLOAD.slice(0, self.size)

        def send(connection: Connection, is_enough: threading.Event) -> int:
            count = 0
            while not is_enough.is_set():
                target = tus.location(connection.ask(tus.create(server.path, self.size)))
                tus.check_offset(connection.ask(tus.patch(target, 0, rest=part)), self.size)
                connection.ask(tus.delete(target))
                count += 1
            return count

        def run() -> Round:
            is_enough = threading.Event()
            with ExitStack() as stack:
                connections = [stack.enter_context(server.connect()) for _ in range(self.senders)]
                pool = stack.enter_context(ThreadPoolExecutor(self.senders))
                stack.callback(is_enough.set)
                latencies = stack.enter_context(probing(server.port, probed))
                with server.measured() as cost:
                    sending = [pool.submit(send, connection, is_enough) for connection in connections]
                    time.sleep(self.seconds)
                    is_enough.set()
                    sent = sum(each.result() for each in sending)
            return Round(sent * self.size, cost, {"HEAD": latencies})

        server.needs("termination")
        return run
