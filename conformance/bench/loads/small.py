"""Many small uploads."""

from __future__ import annotations

from dataclasses import dataclass

from .. import tus
from ..lanes import Lane, open_lanes
from ..measures import Round, Run
from ..payload import PAYLOAD, sha256
from ..server import Server


@dataclass(frozen=True)
class SmallUploads:
    """`uploads` of `size` bytes over `connections` that stay open, each by POST and PATCH or, with `at_once`, by one
    POST with the bytes.
    """

    uploads: int
    connections: int
    size: int = 4096
    at_once: bool = False

    def against(self, server: Server) -> Run:
        if self.at_once:
            server.needs("creation-with-upload")
        part = PAYLOAD.slice(0, self.size)
        data = part.read(0, self.size)
        is_checked = False

        def run() -> Round:
            nonlocal is_checked
            targets: list[str] = []

            def lane(count: int) -> Lane:
                for _ in range(count):
                    if self.at_once:
                        answer = yield tus.create_with(server.path, data)
                        targets.append(tus.location(answer))
                    else:
                        answer = yield tus.create(server.path, self.size)
                        target = tus.location(answer)
                        answer = yield tus.patch(target, 0, data)
                        targets.append(target)
                    tus.check_offset(answer, self.size)

            with open_lanes(server.port, self.connections) as lanes, server.measured() as cost:
                lanes.run(lane(count) for count in shares(self.uploads, self.connections))
            if not is_checked:
                server.check_files(self.size, sha256(part), self.uploads)
                is_checked = True
            server.remove(targets)
            return Round(self.uploads, cost)

        return run


def shares(total: int, parts: int) -> list[int]:
    """`total` in as many parts, as equal as can be."""
    return [total // parts + (number < total % parts) for number in range(parts)]
