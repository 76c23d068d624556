"""A large file in numbered chunks: speed, cost, and how long `complete` takes."""

from __future__ import annotations

import hashlib
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from ..api import Api, Numbers, make_material
from ..measures import Round, Run
from ..server import Server


@dataclass(frozen=True)
class Chunks:
    """A file of `size` bytes from `senders` at once (with one: in order), until `complete` is answered."""

    senders: int
    size: int

    def against(self, server: Server) -> Run:
        with server.connect() as connection:
            api = Api(server, connection)
            upload = api.initiate(1, hashlib.sha256(b"x").hexdigest())
            api.delete(upload["uploadId"])
        material = make_material(self.size, int(upload["chunkSize"]))
        rounds = itertools.count()

        def run() -> Round:
            with ExitStack() as stack:
                apis = [Api(server, stack.enter_context(server.connect())) for _ in range(self.senders)]
                pool = stack.enter_context(ThreadPoolExecutor(self.senders))
                with server.measured() as cost:
                    upload_id = apis[0].initiate(self.size, material.digest.hex())["uploadId"]
                    numbers = Numbers(len(material.digests))
                    for sent in [pool.submit(api.send, upload_id, material, numbers) for api in apis]:
                        sent.result()
                    all_sent = time.perf_counter()
                    apis[0].complete(upload_id)
                    completion = (time.perf_counter() - all_sent) * 1000
                apis[0].wait_until_ready(upload_id)
                if next(rounds) == 0:
                    server.check_files(self.size, material.digest)
                apis[0].delete(upload_id)
            return Round(self.size, cost, {"complete": [completion]})

        return run
