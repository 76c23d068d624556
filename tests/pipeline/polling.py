"""A client that wants bytes that it must not have."""

from __future__ import annotations

import http.client
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.chunked import fields_of, state_of
from tests.pipeline.sending import Sent, record_when_settled, signed_link, status_of
from tests.running import CHUNK, DEADLINE, TUS, Answer, Server, eventually


@dataclass
class Poller:
    """Asks for everything that could be the bytes of uploads, without a pause; `seen` counts statuses and codes."""

    server: Server
    seen: Counter[tuple[int, str]] = field(default_factory=Counter)
    bytes_got: list[str] = field(default_factory=list)
    rounds: int = 0
    _watched: list[Sent] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)
    _trouble: list[Exception] = field(default_factory=list)

    def watch(self, sent: Sent) -> None:
        self._watched.append(sent)

    def run(self) -> None:
        connection = self.server.http_connection()
        try:
            while not self._is_over.is_set():
                for sent in list(self._watched):
                    self._look(connection, sent)
                self.rounds += 1
        except Exception as error:
            self._trouble.append(error)
        finally:
            connection.close()

    def stop(self) -> None:
        self._is_over.set()

    def check(self) -> None:
        if self._trouble:
            raise self._trouble[0]

    def _look(self, connection: http.client.HTTPConnection, sent: Sent) -> None:
        self._ask(connection, sent.path)
        self._ask(connection, sent.path, {"Range": "bytes=0-3"})
        if not sent.file_id:
            return
        link = signed_link(self.server, sent.file_id)
        self._ask(connection, link)
        self._ask(connection, link, {"Range": "bytes=-4"})
        for minting in (f"/api/uploads/{sent.upload_id}/download", f"/api/files/{sent.file_id}/download"):
            minted = self._ask(connection, minting, is_download=False)
            if minted is not None:
                self._ask(connection, "/files/" + fields_of(minted)["downloadUrl"].partition("/files/")[2])
        if (state_of(self.server) / "public" / sent.file_id).exists():
            self.bytes_got.append("public/")

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        path: str,
        headers: dict[str, str] | None = None,
        *,
        is_download: bool = True,
    ) -> Answer | None:
        """The answer, if it gives what was asked for."""
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        answer = Answer(response.status, dict(response.getheaders()), response.read())
        is_given = 200 <= answer.status <= 299
        code = re.search(r"ERR_\w+", answer.body.decode("latin-1"))
        self.seen[answer.status, code[0] if code and not is_given else ""] += 1
        if is_given and is_download:
            self.bytes_got.append(path)
        return answer if is_given else None


@contextmanager
def polling(server: Server, clients: int = 2) -> Iterator[Poller]:
    poller = Poller(server)
    threads = [threading.Thread(target=poller.run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield poller
        # What was settled is asked for by all of them after that, too.
        end = poller.rounds + 2 * clients
        eventually(lambda: poller.rounds >= end or poller._trouble)
    finally:
        poller.stop()
        for thread in threads:
            thread.join(DEADLINE)
    poller.check()


def assert_out_of_reach(server: Server, sent: Sent, result: str) -> None:
    """The file is quarantined, by all that is said of it, and there is no way to its bytes."""
    record = record_when_settled(server, sent.file_id)
    assert (record["status"], record["scanResult"]) == ("quarantined", result)
    assert status_of(server, sent) == "quarantined"
    for path in (
        sent.path,
        signed_link(server, sent.file_id),
        f"/api/uploads/{sent.upload_id}/download",
        f"/api/files/{sent.file_id}/download",
    ):
        answer = server.request("GET", path)
        assert answer.status == 403, answer
        assert b"ERR_FILE_QUARANTINED" in answer.body
    for part in sent.parts:
        assert server.request("GET", part).status == 409
    assert server.request("HEAD", sent.path, TUS).status == 403
    assert server.request("PATCH", sent.path, CHUNK | {"Upload-Offset": "0"}).status == 403
    final = {"Upload-Concat": f"final;{sent.path}"}
    assert server.request("POST", headers=TUS | final).status in {400, 403}
    assert not (server.upload_dir / sent.upload_id).exists()
    assert not (state_of(server) / "public" / sent.file_id).exists()
