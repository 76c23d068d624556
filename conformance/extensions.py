"""For each extension, the smallest use of it: whether a server does it, whatever it announces."""

from __future__ import annotations

from collections.abc import Callable

from .tus import OFFSET_STREAM, Server, checksum
from .wire import Connection, chunked


def creation(server: Server) -> bool:
    return server.post({"Upload-Length": "1"}).status == 201


def creation_with_upload(server: Server) -> bool:
    reply = server.post({"Upload-Length": "2", "Content-Type": OFFSET_STREAM}, b"x")
    return reply.status == 201 and server.offset(server.created(reply)) == 1


def creation_defer_length(server: Server) -> bool:
    reply = server.post({"Upload-Defer-Length": "1"})
    return reply.status == 201 and server.head(server.created(reply)).header("Upload-Defer-Length") == "1"


def expiration(server: Server) -> bool:
    upload = server.create(2)
    return server.patch(upload, 0, b"x").header("Upload-Expires") is not None


def checksums(server: Server) -> bool:
    right = server.patch(server.create(1), 0, b"x", {"Upload-Checksum": checksum(b"x")})
    wrong = server.patch(server.create(1), 0, b"x", {"Upload-Checksum": checksum(b"y")})
    return right.status == 204 and wrong.status >= 400


def checksum_trailer(server: Server) -> bool:
    def status(promised: str) -> int:
        upload = server.create(1)
        fields = {"Transfer-Encoding": "chunked", "Trailer": "Upload-Checksum"}
        head = server.patch_message(upload, 0, None, fields).head()
        with Connection(upload) as connection:
            connection.send(head + chunked([b"x"], [("Upload-Checksum", promised)]))
            return connection.reply().status

    return status(checksum(b"x")) == 204 and status(checksum(b"y")) >= 400


def termination(server: Server) -> bool:
    upload = server.create(1)
    return server.delete(upload).status == 204 and server.head(upload).status in {404, 410}


def concatenation(server: Server) -> bool:
    partial = server.post({"Upload-Length": "1", "Upload-Concat": "partial"})
    if partial.status != 201:
        return False
    part = server.created(partial)
    server.patch(part, 0, b"x")
    return server.post({"Upload-Concat": f"final;{part}"}).status == 201


def concatenation_unfinished(server: Server) -> bool:
    partial = server.post({"Upload-Length": "1", "Upload-Concat": "partial"})
    if partial.status != 201:
        return False
    return server.post({"Upload-Concat": f"final;{server.created(partial)}"}).status == 201


WORKS: dict[str, Callable[[Server], bool]] = {
    "creation": creation,
    "creation-with-upload": creation_with_upload,
    "creation-defer-length": creation_defer_length,
    "expiration": expiration,
    "checksum": checksums,
    "checksum-trailer": checksum_trailer,
    "termination": termination,
    "concatenation": concatenation,
    "concatenation-unfinished": concatenation_unfinished,
}
"""All extensions of tus 1.0.0 (no other name is known to the specification)."""
