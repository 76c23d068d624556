"""Large bodies: each upload on a connection and a thread of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from .. import tus
from ..connection import Connection
from ..measures import Round, Run
from ..payload import PAYLOAD, Slice, sha256
from ..server import Server


@dataclass(frozen=True)
class Patches:
    """`uploads` at once of `size` bytes each, in PATCHes of `piece` bytes (0: in one), with a checksum of each or not.

    Creating them is not measured.
    """

    uploads: int
    size: int
    piece: int = 0
    checksum: bool = False

    def against(self, server: Server) -> Run:
        whole = PAYLOAD.slice(0, self.size)
        if self.checksum:
            server.needs("checksum")
            for start in range(0, self.size, self._piece):
                sha256(self._part(start))
        is_checked = False

        def run() -> Round:
            nonlocal is_checked
            targets = [server.create(self.size) for _ in range(self.uploads)]
            with ExitStack() as stack:
                connections = [stack.enter_context(server.connect()) for _ in targets]
                pool = stack.enter_context(ThreadPoolExecutor(len(targets)))
                with server.measured() as cost:
                    for sent in [pool.submit(self._send, *each) for each in zip(connections, targets, strict=True)]:
                        sent.result()
            if not is_checked:
                server.check_files(self.size, sha256(whole), self.uploads)
                is_checked = True
            server.remove(targets)
            return Round(self.uploads * self.size, cost)

        return run

    @property
    def _piece(self) -> int:
        return self.piece or self.size

    def _part(self, start: int) -> Slice:
        return PAYLOAD.slice(start, min(self._piece, self.size - start))

    def _send(self, connection: Connection, target: str) -> None:
        for start in range(0, self.size, self._piece):
            part = self._part(start)
            digest = sha256(part) if self.checksum else None
            answer = connection.ask(tus.patch(target, start, rest=part, sha256=digest))
            tus.check_offset(answer, start + part.length)
