"""Random sequences of requests to the chunk-number mode, and of killed servers, against a model of the uploads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, precondition, rule, run_state_machine_as_test

from tests import chunked
from tests.chunked import Chunked, Source, announced, fields_of, record_when_settled, sha256
from tests.running import Answer, Server, ServerStarter

CHUNK_SIZES = st.sampled_from([65536, 524288])
"""Small bodies and large ones go different ways through the server."""

KILLS = 2
"""In one sequence, at most: it is what takes time."""

sizes = st.one_of(st.integers(0, 300_000), st.integers(700_000, 1_500_000))
"""Up to a few chunks of either size."""


@dataclass
class Modelled:
    """What an upload must be: the chunks that count, and the file that it has become.

    With `has_failed` the file is not the one that was announced.
    """

    upload: Chunked
    has_wrong_digest: bool
    chunks: set[int] = field(default_factory=set)
    has_failed: bool = False
    file_id: str | None = None

    @property
    def missing(self) -> list[int]:
        return sorted(set(range(self.upload.count)) - self.chunks)


def some_bytes(count: int, seed: int) -> bytes:
    """Text that differs from place to place and from file to file, so that a mistaken place would show."""
    return b"".join(sha256(b"%d %d" % (seed, number)).encode() for number in range(count // 64 + 1))[:count]


class Uploading(RuleBasedStateMachine):
    server: Server
    restart: Callable[[Server, int], Server]

    uploads = Bundle("uploads")

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, Modelled] = {}
        self.kills = 0

    @rule(target=uploads, size=sizes, seed=st.integers(0, 5), has_wrong_digest=st.sampled_from([False, False, True]))
    def initiate(self, size: int, seed: int, has_wrong_digest: bool) -> str:
        source = Source(some_bytes(size, seed))
        body = source.announcement()
        if has_wrong_digest:
            body = body.replace(source.digest.encode(), sha256(b"other").encode())
        upload = announced(self.server.request("POST", "/api/uploads/initiate", body=body), source)
        self.model[upload.id] = Modelled(upload, has_wrong_digest)
        return upload.id

    @rule(
        upload_id=uploads,
        wish=st.integers(0, 30),
        way=st.sampled_from(["right", "right", "right", "wrong digest", "other bytes", "short", "long"]),
    )
    def put(self, upload_id: str, wish: int, way: str) -> None:
        """`wish` is a number among those that the file has, and the one after."""
        model = self.model[upload_id]
        self.send(model, wish % (model.upload.count + 1), way)

    @rule(upload_id=uploads, wish=st.integers(0, 30), way=st.sampled_from(["right", "wrong digest", "other bytes"]))
    def put_again(self, upload_id: str, wish: int, way: str) -> None:
        """`wish` is a number among those that count."""
        model = self.model[upload_id]
        if model.chunks:
            self.send(model, sorted(model.chunks)[wish % len(model.chunks)], way)

    def send(self, model: Modelled, number: int, way: str) -> None:
        upload = model.upload
        data = upload.chunk(number)
        if way == "other bytes":
            data = bytes(byte ^ 1 for byte in data[:16]) + data[16:]
        elif way in {"short", "long"}:
            data = data[:-1] if way == "short" else data + b"!"
        digest = sha256(b"other") if way == "wrong digest" else sha256(data)
        answer = chunked.put(self.server, upload, number, data, digest)
        assert (answer.status, error_of(answer)) == self.expected(model, number, way), answer
        if answer.status == 200:
            assert fields_of(answer) == {"status": "chunk_received", "chunkNum": number}
            model.chunks.add(number)
            if way == "other bytes":  # a file of its own, as good as the one that was announced
                source = upload.source.data
                start = number * upload.chunk_size
                model.upload = Chunked(
                    upload.id, Source(source[:start] + data + source[start + len(data) :]), upload.chunk_size
                )
                model.has_wrong_digest = True

    def expected(self, model: Modelled, number: int, way: str) -> tuple[int, str | None]:
        """The status and the code that a chunk is answered with."""
        if model.file_id is not None:
            return 409, "ERR_UPLOAD_COMPLETE"
        if model.has_failed:
            return 409, "ERR_UPLOAD_FAILED"
        if number == model.upload.count:
            return 400, "ERR_INVALID_CHUNK_NUMBER"
        if way == "short":
            return 400, "ERR_INVALID_CHUNK_LENGTH"
        if way == "long":
            return 413, "ERR_CHUNK_TOO_LARGE"
        if number in model.chunks:
            return (409, "ERR_CHUNK_EXISTS") if way in {"other bytes", "wrong digest"} else (200, None)
        return (422, "ERR_CHUNK_CHECKSUM_MISMATCH") if way == "wrong digest" else (200, None)

    @rule(upload_id=uploads)
    def put_the_rest(self, upload_id: str) -> None:
        model = self.model[upload_id]
        if model.file_id is None and not model.has_failed:
            for number in model.missing:
                assert chunked.put(self.server, model.upload, number).status == 200
                model.chunks.add(number)

    @rule(upload_id=uploads)
    def complete(self, upload_id: str) -> None:
        model = self.model[upload_id]
        answer = chunked.complete(self.server, model.upload)
        if model.missing:
            assert (answer.status, error_of(answer)) == (409, "ERR_CHUNKS_MISSING"), answer
            assert fields_of(answer)["missingChunks"] == model.missing
        elif model.has_wrong_digest:
            assert (answer.status, error_of(answer)) == (422, "ERR_FILE_CHECKSUM_MISMATCH"), answer
            model.has_failed = True
        else:
            fields = fields_of(answer)
            assert answer.status == 200, answer
            assert (fields["fileSize"], fields["checksum"]) == (
                len(model.upload.source.data),
                model.upload.source.digest,
            )
            assert fields["status"] in {"processing", "ready"}
            assert model.file_id in {None, fields["fileId"]}
            model.file_id = fields["fileId"]

    @rule(upload_id=consumes(uploads))
    def delete(self, upload_id: str) -> None:
        model = self.model.pop(upload_id)
        path = model.upload.path
        assert self.server.request("DELETE", path).status == 204
        for method, url in (
            ("GET", f"{path}/status"),
            ("POST", f"{path}/complete"),
            ("PUT", f"{path}/chunks/0"),
            ("DELETE", path),
            ("GET", f"/files/{upload_id}"),
        ):
            answer = self.server.request(method, url, {"X-Chunk-Checksum": sha256(b"")})
            assert answer.status == 404, (method, url, answer)
        if model.file_id is not None:
            assert self.server.request("GET", f"/api/files/{model.file_id}").status == 404

    @precondition(lambda self: self.model and self.kills < KILLS)
    @rule(chunk_size=CHUNK_SIZES)
    def kill_and_restart(self, chunk_size: int) -> None:
        self.kills += 1
        type(self).server = self.restart(self.server, chunk_size)

    @rule(upload_id=uploads)
    def look(self, upload_id: str) -> None:
        model = self.model[upload_id]
        state = chunked.status(self.server, model.upload)
        assert (state["uploadId"], state["totalChunks"]) == (upload_id, model.upload.count)
        assert (state["uploadedChunks"], state["missingChunks"]) == (sorted(model.chunks), model.missing)
        assert state.get("fileId") == model.file_id
        if model.file_id is not None:
            chunked.assert_ready(self.server, model.upload, record_when_settled(self.server, model.file_id))
            return
        assert state["status"] == ("failed" if model.has_failed else "uploading")
        # Nothing of it can be had, by tus neither.
        assert self.server.request("GET", f"/files/{upload_id}").status == 404
        assert self.server.request("GET", f"{model.upload.path}/download").status == 409

    def teardown(self) -> None:
        for upload_id in self.model:
            self.look(upload_id)


def error_of(answer: Answer) -> str | None:
    """The code of an error; every error has one, and a sentence."""
    if answer.status < 400:
        return None
    fields = fields_of(answer)
    assert fields["error"]
    return str(fields["code"])


def test_uploads_in_chunks_are_what_the_model_says(start: ServerStarter, request: pytest.FixtureRequest) -> None:
    class Here(Uploading):
        server = start("-chunk-size", "65536")

        @staticmethod
        def restart(server: Server, chunk_size: int) -> Server:
            server.kill()
            return start("-chunk-size", str(chunk_size), port=server.port, upload_dir=server.upload_dir)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=300 if request.config.getoption("--long") else 15,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
