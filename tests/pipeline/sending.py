"""Sending files to a server that does something with them, by both protocols, and looking at what becomes of them."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import IO

from PIL import Image

from tests.chunked import Json, fields_of, sha256, state_of
from tests.pipeline.clamav import MIB
from tests.running import CHUNK, TUS, Server, eventually
from tusd_py.core.links import LinkSigner

SIGNATURE = "Eicar-Test-Signature.UNOFFICIAL"
TEXT = b"This is a harmless line.\n"
LARGE_SIZE = 300 * MIB

HOOKS = "post-finish,file-ready,file-quarantined,file-failed"

Content = bytes | IO[bytes]


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


def png(width: int, height: int) -> bytes:
    output = BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(output, "PNG")
    return output.getvalue()
