"""What becomes of uploads on a server with a real scanner, as their clients see it, by both protocols."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO

import pytest
from PIL import Image

from tests.chunked import Json, fields_of, sha256, state_of
from tests.hooks.receivers import Receiver, receiver
from tests.pipeline.clamav import MIB, ClamAV, encrypted_zip
from tests.pipeline.corpus import Sample, corpus
from tests.running import CHUNK, DEADLINE, TUS, Answer, Server, ServerStarter, eventually
from tusd_py.core.links import LinkSigner
from tusd_py.pipeline.probes import EICAR, Part, zipped

SIGNATURE = "Eicar-Test-Signature.UNOFFICIAL"
TEXT = b"This is a harmless line.\n"
LARGE_SIZE = 300 * MIB

HOOKS = "post-finish,file-ready,file-quarantined,file-failed"

Content = bytes | IO[bytes]


# --- sending files ---


@dataclass(frozen=True)
class Sent:
    """A finished upload; `parts` are the addresses of what it was put together from."""

    upload_id: str
    file_id: str
    parts: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return f"/files/{self.upload_id}"


def metadata(**values: str) -> str:
    return ",".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in values.items())


def length_of(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.seek(0, 2)


def by_tus(
    server: Server, content: Content, claim: str = "text/plain", watch: Callable[[Sent], object] = lambda _: None
) -> Sent:
    """Send a file; `watch` is told before its last bytes are there."""
    size = length_of(content)
    url = server.create(size, Upload_Metadata=metadata(filename="a.txt", filetype=claim))
    upload_id = url.rpartition("/")[2]
    sent = Sent(upload_id, file_id_in_advance(server, upload_id))
    watch(sent)
    if size:
        if not isinstance(content, bytes):
            content.seek(0)
        connection = server.http_connection()
        headers = CHUNK | {"Upload-Offset": "0", "Content-Length": str(size)}
        connection.request("PATCH", f"/files/{upload_id}", content, headers)
        assert connection.getresponse().status == 204
        connection.close()
    return sent


def by_concatenation(server: Server, content: bytes, watch: Callable[[Sent], object] = lambda _: None) -> Sent:
    """Send two halves, and have them put together."""
    half = len(content) // 2
    parts = []
    for piece in (content[:half], content[half:]):
        url = server.create(len(piece), Upload_Concat="partial")
        watch(Sent(url.rpartition("/")[2], ""))
        assert server.patch(url, 0, piece).status == 204
        parts.append("/files/" + url.rpartition("/")[2])
    answer = server.request("POST", headers=TUS | {"Upload-Concat": "final;" + " ".join(parts)})
    assert answer.status == 201, answer
    upload_id = answer.headers["location"].rpartition("/")[2]
    sent = Sent(upload_id, file_id_in_advance(server, upload_id), tuple(parts))
    watch(sent)
    return sent


def in_chunks(
    server: Server, content: bytes, claim: str = "text/plain", watch: Callable[[Sent], object] = lambda _: None
) -> Sent:
    announcement = {"fileName": "a.txt", "fileSize": len(content), "contentType": claim, "checksum": sha256(content)}
    answer = server.request("POST", "/api/uploads/initiate", body=json.dumps(announcement).encode())
    assert answer.status == 201, answer
    fields = fields_of(answer)
    upload_id, size = fields["uploadId"], fields["chunkSize"]
    session = json.loads((state_of(server) / "chunks" / upload_id / "session.json").read_bytes())
    sent = Sent(upload_id, session["fileId"])
    watch(sent)
    for number in range(fields["totalChunks"]):
        chunk = content[number * size : (number + 1) * size]
        headers = {"X-Chunk-Checksum": sha256(chunk)}
        assert server.request("PUT", f"/api/uploads/{upload_id}/chunks/{number}", headers, chunk).status == 200
    answer = server.request("POST", f"/api/uploads/{upload_id}/complete")
    assert answer.status == 200, answer
    assert fields_of(answer)["fileId"] == sent.file_id
    return sent


SENDERS = {"tus": by_tus, "chunks": in_chunks}


def file_id_in_advance(server: Server, upload_id: str) -> str:
    """The id of the file that an upload is to be, which no client knows yet."""
    info = json.loads((server.upload_dir / f"{upload_id}.info").read_bytes())
    return str(info["TusdPy"]["FileId"])


def signed_link(server: Server, file_id: str) -> str:
    """A link that nobody has been given yet."""
    keys = (state_of(server) / "signing.keys").read_bytes().split()
    return f"/files/{file_id}?{LinkSigner(keys).query(file_id, int(time.time()) + 600)}"


def status_of(server: Server, sent: Sent) -> str:
    answer = server.request("GET", f"/api/uploads/{sent.upload_id}/status")
    assert answer.status == 200, answer
    fields = fields_of(answer)
    assert fields["fileId"] == sent.file_id
    return str(fields["status"])


def record_when_settled(server: Server, file_id: str) -> Json:
    """The record of a file, once nothing more is done to it; thumbnails are niced, and take long on a busy machine."""

    def look() -> Json | None:
        record = fields_of(server.request("GET", f"/api/files/{file_id}?wait=10"))
        return None if record["status"] == "processing" else record

    record: Json = eventually(look, 120.0)
    return record


# --- a client that wants bytes that it must not have ---


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


# --- what is infected, or cannot be scanned ---


@pytest.fixture(scope="module")
def scanned(start_shared: ServerStarter, small: ClamAV, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server that scans."""
    return start_shared("-clamd", small.unix, upload_dir=tmp_path_factory.mktemp("scanned"))


BAD = {
    "plain": (EICAR, "text/plain", SIGNATURE),
    "zip": (zipped(Part("a", EICAR)), "application/zip", SIGNATURE),
    "encrypted zip": (encrypted_zip("a", EICAR, b"secret"), "application/zip", "unscannable: encrypted (Zip)"),
    "beyond the limits": (
        TEXT * (9 * MIB // len(TEXT)) + EICAR,
        "text/plain",
        "unscannable: beyond a limit of the scanner (MaxFileSize)",
    ),
}


@pytest.mark.parametrize("protocol", SENDERS)
@pytest.mark.parametrize("kind", BAD)
def test_what_is_not_clean_is_quarantined_and_nobody_gets_a_byte_at_any_moment(
    scanned: Server, protocol: str, kind: str
) -> None:
    content, claim, result = BAD[kind]
    with polling(scanned) as poller:
        sent = SENDERS[protocol](scanned, content, claim, poller.watch)
        record_when_settled(scanned, sent.file_id)
    assert poller.bytes_got == []
    assert (403, "ERR_FILE_QUARANTINED") in poller.seen
    assert_out_of_reach(scanned, sent, result)
    assert (state_of(scanned) / "quarantine" / sent.file_id).stat().st_size == len(content)


def test_what_becomes_a_virus_by_concatenation_is_quarantined_and_its_parts_cannot_be_had(scanned: Server) -> None:
    with polling(scanned) as poller:
        sent = by_concatenation(scanned, EICAR, poller.watch)
        record_when_settled(scanned, sent.file_id)
    assert poller.bytes_got == []
    assert {(403, "ERR_FILE_QUARANTINED"), (409, "ERR_FILE_NOT_READY")} <= set(poller.seen)
    assert_out_of_reach(scanned, sent, SIGNATURE)
    again = scanned.request("POST", headers=TUS | {"Upload-Concat": "final;" + " ".join(sent.parts)})
    second = again.headers["location"].rpartition("/")[2]
    assert_out_of_reach(scanned, Sent(second, file_id_in_advance(scanned, second), sent.parts), SIGNATURE)


def test_the_end_of_a_large_file_is_scanned(start: ServerStarter, large: ClamAV, tmp_path: Path) -> None:
    server = start("-clamd", large.unix)
    source = tmp_path / "source"
    with source.open("wb+") as file, polling(server) as poller:
        file.seek(LARGE_SIZE - len(EICAR))
        file.write(EICAR)
        sent = by_tus(server, file, "application/octet-stream", poller.watch)
        eventually(lambda: status_of(server, sent) != "processing", 60.0)
    assert poller.bytes_got == []
    assert_out_of_reach(server, sent, SIGNATURE)


def test_the_end_of_a_large_file_in_chunks_is_scanned(
    start: ServerStarter, large: ClamAV, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--long"):
        pytest.skip("takes long: --long")
    server = start("-clamd", large.unix)
    content = TEXT * (LARGE_SIZE // len(TEXT)) + EICAR
    with polling(server) as poller:
        sent = in_chunks(server, content, watch=poller.watch)
        eventually(lambda: status_of(server, sent) != "processing", 60.0)
    assert poller.bytes_got == []
    assert_out_of_reach(server, sent, SIGNATURE)


@pytest.mark.parametrize("protocol", SENDERS)
def test_a_clean_file_is_ready_and_its_link_works(scanned: Server, protocol: str) -> None:
    content = TEXT * 1000
    with polling(scanned) as poller:
        sent = SENDERS[protocol](scanned, content, "text/plain", poller.watch)
        record = record_when_settled(scanned, sent.file_id)
        eventually(lambda: {"public/", sent.path} <= set(poller.bytes_got))
    assert (record["status"], record["scanResult"]) == ("ready", "clean")
    assert status_of(scanned, sent) == "ready"
    link = fields_of(scanned.request("GET", f"/api/uploads/{sent.upload_id}/download"))["downloadUrl"]
    assert scanned.request("GET", link).body == content
    assert scanned.request("GET", sent.path).body == content
    assert scanned.request("GET", link, {"Range": "bytes=0-3"}).body == content[:4]


def test_what_cannot_be_scanned_may_pass_and_is_shown_as_such(start: ServerStarter, small: ClamAV) -> None:
    server = start("-clamd", small.unix, "-scan-unscannable", "pass")
    sent = by_tus(server, encrypted_zip("a", b"harmless", b"secret"), "application/zip")
    record = record_when_settled(server, sent.file_id)
    assert (record["status"], record["scanResult"]) == ("ready", "unscannable: encrypted (Zip)")
    assert server.request("GET", sent.path).status == 200


def test_infected_bytes_can_be_deleted(start: ServerStarter, small: ClamAV) -> None:
    server = start("-clamd", small.tcp, "-infected", "delete")
    sent = by_tus(server, EICAR)
    assert_out_of_reach(server, sent, SIGNATURE)
    assert EICAR not in server.files().values()


def test_a_file_from_before_the_scanner_is_scanned_before_it_is_served(start: ServerStarter, small: ClamAV) -> None:
    server = start()
    bad, good, unknown = in_chunks(server, EICAR), in_chunks(server, TEXT), server.create(len(EICAR))
    assert server.patch(unknown, 0, EICAR).status == 204
    for sent in (bad, good):
        assert record_when_settled(server, sent.file_id)["status"] == "ready"
    server.terminate()
    server = start("-clamd", small.unix, upload_dir=server.upload_dir)
    for path in (bad.path, signed_link(server, good.file_id), "/files/" + unknown.rpartition("/")[2]):
        answer = server.request("GET", path)
        assert (answer.status, answer.code) == (409, "ERR_FILE_NOT_READY")
    assert_out_of_reach(server, bad, SIGNATURE)
    assert record_when_settled(server, good.file_id)["scanResult"] == "clean"
    assert server.request("GET", good.path).body == TEXT
    eventually(lambda: server.request("GET", "/files/" + unknown.rpartition("/")[2]).status == 403)


def test_a_scanner_that_cannot_be_believed_prevents_the_start(start: ServerStarter, stock: ClamAV) -> None:
    server = start("-clamd", stock.unix, wait=False)
    assert server.process.wait(DEADLINE) == 1
    assert "AlertExceedsMax yes" in server.output()
    trusting = start("-clamd", stock.unix, "-scan-trust-limits")
    assert_out_of_reach(trusting, by_tus(trusting, EICAR), SIGNATURE)


# --- hooks ---


def told(hooks: Receiver, sent: Sent) -> list[str]:
    """What a receiver was told of an upload, in order."""
    return [body["Type"] for body in hooks.bodies if body["Event"]["Upload"]["ID"] == sent.upload_id]


@pytest.mark.parametrize("protocol", SENDERS)
def test_post_finish_comes_when_the_file_is_ready_with_the_request_but_without_credentials(
    start: ServerStarter, own: ClamAV, protocol: str
) -> None:
    with receiver() as hooks:
        server = start("-clamd", own.unix, "-hooks-http", hooks.url, "-hooks-enabled-events", HOOKS)
        own.pause()
        good, bad = SENDERS[protocol](server, TEXT), SENDERS[protocol](server, EICAR)
        if protocol == "tus":
            headers = {"Authorization": "Bearer secret", "X-Team": "blue", "Cookie": "a=b"}
            url = server.create(len(TEXT))
            assert server.request("PATCH", url, CHUNK | headers | {"Upload-Offset": "0"}, TEXT).status == 204
            upload_id = url.rpartition("/")[2]
            good = Sent(upload_id, file_id_in_advance(server, upload_id))
        assert told(hooks, good) == []
        own.resume()
        eventually(lambda: told(hooks, good) == ["post-finish", "file-ready"] and told(hooks, bad))
    assert told(hooks, bad) == ["file-quarantined"]
    finished = next(body for body in hooks.bodies if body["Event"]["Upload"]["ID"] == good.upload_id)
    request = finished["Event"]["HTTPRequest"]
    if protocol == "tus":
        assert (request["Method"], request["URI"]) == ("PATCH", good.path)
        assert request["Header"]["X-Team"] == ["blue"]
    else:
        assert (request["Method"], request["URI"]) == ("POST", f"/api/uploads/{good.upload_id}/complete")
    assert not {"Authorization", "Cookie"} & set(request["Header"])
    assert finished["Event"]["Upload"]["Storage"]["Path"] == str(server.upload_dir / good.upload_id)
    assert "secret" not in "".join(map(str, hooks.bodies))


def test_post_finish_can_come_at_the_moment_at_which_tusd_sends_it(start: ServerStarter, own: ClamAV) -> None:
    with receiver() as hooks:
        flags = ("-clamd", own.unix, "-hooks-http", hooks.url, "-hooks-enabled-events", HOOKS)
        server = start(*flags, "-post-finish-after-scan=false")
        own.pause()
        good, bad = by_tus(server, TEXT), by_tus(server, EICAR)
        eventually(lambda: told(hooks, good) == told(hooks, bad) == ["post-finish"])
        assert status_of(server, good) == status_of(server, bad) == "processing"
        own.resume()
        eventually(lambda: len(hooks.received) == 4)
    assert told(hooks, good) == ["post-finish", "file-ready"]
    assert told(hooks, bad) == ["post-finish", "file-quarantined"]


def test_file_events_have_the_record_and_links_that_work(start: ServerStarter, small: ClamAV) -> None:
    with receiver() as hooks:
        server = start(
            *("-clamd", small.unix, "-hooks-http", hooks.url, "-hooks-enabled-events", HOOKS),
            *("-thumbnails", "32", "-public-url", "https://example.org/"),
        )
        good, bad = by_tus(server, png(80, 40), "image/png"), by_tus(server, EICAR)
        eventually(lambda: told(hooks, good)[-1:] == ["file-ready"] and told(hooks, bad))
    ready = next(body["Event"]["File"] for body in hooks.bodies if body["Type"] == "file-ready")
    record = record_when_settled(server, good.file_id)
    assert ready.items() >= record.items()
    place = "https://example.org"
    assert ready["downloadUrl"].startswith(f"{place}/files/{good.file_id}?")
    assert server.request("GET", ready["downloadUrl"].removeprefix(place)).body == png(80, 40)
    assert server.request("GET", ready["thumbnailUrls"]["32"].removeprefix(place)).status == 200
    quarantined = next(body["Event"]["File"] for body in hooks.bodies if body["Type"] == "file-quarantined")
    assert quarantined == record_when_settled(server, bad.file_id)
    assert "downloadUrl" not in quarantined


# --- clients that wait ---


def test_a_client_can_wait_for_a_file(start: ServerStarter, own: ClamAV) -> None:
    server = start("-clamd", own.unix)
    own.pause()
    sent = by_tus(server, TEXT)
    started = time.monotonic()
    assert fields_of(server.request("GET", f"/api/files/{sent.file_id}?wait=1"))["status"] == "processing"
    assert time.monotonic() - started > 0.9
    answers: list[Json] = []
    waiting = threading.Thread(
        target=lambda: answers.append(fields_of(server.request("GET", f"/api/files/{sent.file_id}?wait=30")))
    )
    waiting.start()
    own.resume()
    waiting.join(DEADLINE)
    assert [answer["status"] for answer in answers] == ["ready"]
    for query in ("wait=x", "wait=", "wait=1&wait=2", "wait=-1", "other=1"):
        assert server.request("GET", f"/api/files/{sent.file_id}?{query}").status == 400, query


def test_a_client_can_listen_to_what_becomes_of_a_file(start: ServerStarter, own: ClamAV) -> None:
    server = start("-clamd", own.unix)
    own.pause()
    sent = by_tus(server, EICAR)
    connection = server.http_connection()
    connection.request("GET", f"/api/files/{sent.file_id}/events")
    response = connection.getresponse()
    assert (response.status, response.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert response.readline() == b"event: processing\n"
    own.resume()
    events = [text for text in response.read().decode().split("\n\n") if text.startswith("event:")]
    connection.close()
    (event,) = events
    name, data = event.split("\n")
    assert name == "event: quarantined"
    assert json.loads(data.removeprefix("data: ")) == record_when_settled(server, sent.file_id)
    whole = server.request("GET", f"/api/files/{sent.file_id}/events").body
    assert whole.startswith(b"event: quarantined\n")
    assert server.request("GET", f"/api/files/f_{'0' * 32}/events").status == 404


def test_a_server_does_not_wait_long_for_those_who_listen(start: ServerStarter, own: ClamAV) -> None:
    server = start("-clamd", own.unix, "-shutdown-timeout", "1s")
    own.pause()
    sent = by_tus(server, TEXT)
    connection = server.http_connection()
    connection.request("GET", f"/api/files/{sent.file_id}/events")
    assert connection.getresponse().readline() == b"event: processing\n"
    started = time.monotonic()
    own.resume()
    own.stop()
    server.terminate()
    assert time.monotonic() - started < 8
    connection.close()


# --- thumbnails ---


def png(width: int, height: int) -> bytes:
    output = BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(output, "PNG")
    return output.getvalue()


@pytest.mark.parametrize("protocol", SENDERS)
def test_thumbnails_are_served_by_signed_link_only(start: ServerStarter, small: ClamAV, protocol: str) -> None:
    server = start("-clamd", small.unix, "-thumbnails", "128,32")
    sent = SENDERS[protocol](server, png(400, 100), "image/png")
    record = record_when_settled(server, sent.file_id)
    assert [(each["size"], each["width"], each["height"]) for each in record["thumbnails"]] == [
        ("32", 32, 8),
        ("128", 128, 32),
    ]
    minted = fields_of(server.request("GET", f"/api/files/{sent.file_id}/download"))
    assert set(minted["thumbnailUrls"]) == {"32", "128"}
    link = minted["thumbnailUrls"]["128"]
    answer = server.request("GET", link)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/webp")
    with Image.open(BytesIO(answer.body)) as image:
        assert (image.format, image.size) == ("WEBP", (128, 32))
    head = server.request("HEAD", link)
    assert (head.status, head.headers["content-length"]) == (200, str(len(answer.body)))
    path, _, query = link.partition("?")
    for refused in (path, link.replace("/128?", "/32?"), f"/files/{sent.file_id}?{query}", path + "?" + query[:-4]):
        assert server.request("GET", refused).status == 403, refused
    keys = (state_of(server) / "signing.keys").read_bytes().split()
    for size, status in (("64", 404), ("../128", 403), ("128.webp", 403)):
        subject = f"{sent.file_id}/thumbnail/{size}"
        query = LinkSigner(keys).query(subject, int(time.time()) + 60)
        assert server.request("GET", f"/files/{subject}?{query}").status == status, size


def test_what_is_no_image_has_no_thumbnails(start: ServerStarter, small: ClamAV) -> None:
    server = start("-clamd", small.unix, "-thumbnails", "32")
    sent = by_tus(server, TEXT)
    assert record_when_settled(server, sent.file_id)["thumbnails"] == []
    assert "thumbnailUrls" not in fields_of(server.request("GET", f"/api/files/{sent.file_id}/download"))


# --- removing ---


def left_of(server: Server, sent: Sent) -> list[str]:
    """Files that are named after an upload or its file, or hold its bytes."""
    names = [str(path.relative_to(server.upload_dir)) for path in server.upload_dir.rglob("*")]
    return sorted(name for name in names if sent.upload_id in name or sent.file_id in name)


@pytest.mark.parametrize("protocol", SENDERS)
@pytest.mark.parametrize("way", ["/files/", "/api/uploads/"])
def test_removing_an_upload_removes_everything_of_its_file(
    start: ServerStarter, small: ClamAV, protocol: str, way: str
) -> None:
    server = start("-clamd", small.unix, "-thumbnails", "32")
    good, bad = SENDERS[protocol](server, png(80, 40), "image/png"), SENDERS[protocol](server, EICAR)
    assert record_when_settled(server, good.file_id)["status"] == "ready"
    assert record_when_settled(server, bad.file_id)["status"] == "quarantined"
    link = signed_link(server, good.file_id)
    state = state_of(server).relative_to(server.upload_dir)
    assert {f"{state}/public/{good.file_id}", f"{state}/thumbnails/{good.file_id}/32.webp"} <= set(
        left_of(server, good)
    )
    assert f"{state}/quarantine/{bad.file_id}" in left_of(server, bad)
    for sent in (good, bad):
        assert server.request("DELETE", way + sent.upload_id, TUS).status == 204
        assert left_of(server, sent) == []
        assert server.request("GET", f"/api/files/{sent.file_id}").status == 404
        assert server.request("GET", f"/api/uploads/{sent.upload_id}/status").status == 404
        assert server.request("DELETE", way + sent.upload_id, TUS).status == 404
    assert server.request("GET", link).status == 404


# --- many files ---


def expected(sample: Sample) -> tuple[str, bool]:
    return ("ready" if sample.honest else "quarantined"), sample.picture is not None


def sent_by_turns(server: Server, samples: Sequence[Sample], allowed: frozenset[str]) -> Iterator[tuple[Sample, Sent]]:
    """Every other file in chunks, where its claim allows that."""
    for number, sample in enumerate(samples):
        in_turn = number % 2 and sample.claim in allowed
        yield sample, (in_chunks if in_turn else by_tus)(server, sample.content, sample.claim)


def test_every_file_of_a_mixed_corpus_becomes_what_it_has_to(
    start: ServerStarter, large: ClamAV, request: pytest.FixtureRequest
) -> None:
    samples = corpus(500) if request.config.getoption("--long") else corpus()
    server = start("-clamd", large.unix, "-detect", "-thumbnails", "64,16", "-pipeline-concurrency", "4")
    claims = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "text/plain"})
    sent = list(sent_by_turns(server, samples, claims))
    assert len(sent) >= 60
    outcomes, wanted = {}, {}
    for sample, upload in sent:
        record = record_when_settled(server, upload.file_id)
        outcomes[sample.kind] = (record["status"], bool(record["thumbnails"]), record["detectedType"])
        wanted[sample.kind] = (*expected(sample), sample.detected)
        if sample.honest and sample.content:
            assert server.request("GET", signed_link(server, upload.file_id)).body == sample.content, sample.kind
    assert outcomes == wanted


# --- what it costs when it is off ---


def test_without_a_flag_of_the_pipeline_a_tus_upload_makes_no_record(server: Server) -> None:
    url = server.create(len(TEXT), Upload_Metadata=metadata(filetype="text/plain"))
    answer = server.patch(url, 0, TEXT)
    assert "link" not in answer.headers
    upload_id = url.rpartition("/")[2]
    state = state_of(server)
    assert [path for folder in ("pending", "files", "public") for path in (state / folder).rglob("*.json")] == []
    assert "FileId" not in (server.upload_dir / f"{upload_id}.info").read_text()
    assert server.request("GET", url).body == TEXT
    assert fields_of(server.request("GET", f"/api/uploads/{upload_id}/status"))["totalChunks"] == 0
    eventually(lambda: list((state / "files").rglob("*.json")))
