"""A final upload from parts."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from .. import tus
from ..measures import Round, Run
from ..messages import Broken
from ..payload import PAYLOAD, sha256
from ..server import Server


@dataclass(frozen=True)
class Concatenation:
    """`parts` of `size` bytes each, uploaded once and concatenated in every round; uploading is not measured."""

    parts: int
    size: int

    def against(self, server: Server) -> Run:
        server.needs("concatenation")
        total = self.parts * self.size
        targets = self._upload_parts(server)
        rounds = itertools.count()

        def run() -> Round:
            nonlocal targets
            if not _are_there(server, targets):  # some servers take the parts apart for their bytes
                targets = self._upload_parts(server)
            with server.connect() as connection:
                with server.measured() as cost:
                    answer = connection.ask(tus.concatenate(server.path, targets))
                final = tus.location(answer)
                tus.check_offset(connection.ask(tus.head(final)), total)
            if next(rounds) == 0:
                server.check_files(total, sha256(PAYLOAD.slice(0, total)))
            server.remove([final])
            return Round(total, cost)

        return run

    def _upload_parts(self, server: Server) -> list[str]:
        targets = []
        with server.connect() as connection:
            for number in range(self.parts):
                target = server.create(self.size, {"Upload-Concat": "partial"})
                connection.ask(tus.patch(target, 0, rest=PAYLOAD.slice(number * self.size, self.size)))
                targets.append(target)
        return targets


def _are_there(server: Server, targets: list[str]) -> bool:
    with server.connect() as connection:
        try:
            connection.ask(tus.head(targets[0]))
        except Broken:
            return False
    return True
