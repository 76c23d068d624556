"""Uploads in numbered chunks: from initiate to complete, in any order, by anybody, through any end."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.chunked import fields_of, sha256, state_of
from tests.running import TUS, Server, ServerStarter, eventually, read_head, request_head
from tests.web.api import (
    CHUNK,
    SMALL_CHUNKS,
    ApiClient,
    announcement,
    chunk_of,
    error_of,
    on_disk,
    read_answer,
    some_bytes,
    traces_of,
)

SOON = 10.0
"""Seconds in which a newcomer replaces a stalled request on any machine; less than it would wait for one in vain."""


def data_of(api: ApiClient, upload_id: str) -> Path:
    return state_of(api.server) / "chunks" / upload_id / "data"


def has_bytes_at(path: Path, offset: int, expected: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(len(expected)) == expected


# --- the whole ---


def test_a_file_goes_from_announcement_to_download(api: ApiClient) -> None:
    data = some_bytes(3 * CHUNK - 1000)
    answer = api.announce(announcement(data, fileName="naïve €.txt", ownerId="ann"))
    upload_id = fields_of(answer)["uploadId"]
    assert answer.status == 201
    assert fields_of(answer) == {"uploadId": upload_id, "totalChunks": 3, "chunkSize": CHUNK, "status": "uploading"}
    assert len(upload_id) == 32
    started = {"uploadId": upload_id, "status": "uploading", "ownerId": "ann", "totalChunks": 3}
    assert api.status(upload_id) == started | {"uploadedChunks": [], "missingChunks": [0, 1, 2]}
    api.send(upload_id, data, [2, 0])
    assert api.status(upload_id) == started | {"uploadedChunks": [0, 2], "missingChunks": [1]}
    api.send(upload_id, data, [1])

    answer = api.complete(upload_id)
    completed = fields_of(answer)
    file_id = completed["fileId"]
    assert answer.status == 200
    described = {"fileName": "naïve €.txt", "fileSize": len(data), "checksum": sha256(data)}
    assert completed in [{"fileId": file_id, "status": status} | described for status in ("processing", "ready")]
    api.await_status(file_id)
    assert fields_of(api.complete(upload_id)) == completed | {"status": "ready"}
    everything = started | {"status": "ready", "uploadedChunks": [0, 1, 2], "missingChunks": [], "fileId": file_id}
    assert api.status(upload_id) == everything

    answer = api.server.request("GET", api.link(upload_id))
    assert (answer.status, answer.body) == (200, data)
    assert set(traces_of(api.server, upload_id, file_id)) == {
        *(f".tusd-py/files/{file_id[2:4]}/{file_id}.json", f".tusd-py/public/{file_id}"),
        *(f".tusd-py/public/{file_id}.json", upload_id, upload_id + ".info"),
    }


def test_the_answers_are_json_that_nobody_keeps(api: ApiClient) -> None:
    for answer in (api.announce(announcement(b"x")), api.announce(b"{"), api.call("GET", "/nowhere")):
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_empty_file_has_no_chunks_and_can_be_completed(api: ApiClient) -> None:
    answer = api.announce(announcement(b""))
    assert fields_of(answer)["totalChunks"] == 0
    upload_id = fields_of(answer)["uploadId"]
    assert error_of(api.put(upload_id, 0, b"")) == (400, "ERR_INVALID_CHUNK_NUMBER")
    assert fields_of(api.complete(upload_id))["fileSize"] == 0
    assert (api.server.upload_dir / upload_id).read_bytes() == b""


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_the_last_chunk_has_the_rest(api: ApiClient, size: int) -> None:
    data = some_bytes(size)
    upload_id, _ = api.upload(data)
    assert api.status(upload_id)["totalChunks"] == -(-size // CHUNK)
    assert (api.server.upload_dir / upload_id).read_bytes() == data


def test_chunks_may_come_in_any_order_and_at_once(api: ApiClient) -> None:
    data = some_bytes(40 * CHUNK + 7)
    upload_id = api.initiate(data)
    numbers = sorted(range(41), key=lambda number: number * 17 % 41)
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda number: api.put(upload_id, number, chunk_of(data, number)), numbers)
        assert {answer.status for answer in answers} == {200}
    assert api.complete(upload_id).status == 200
    assert (api.server.upload_dir / upload_id).read_bytes() == data


def test_chunks_may_go_to_any_server_of_the_directory(api: ApiClient, neighbour: ApiClient) -> None:
    data = some_bytes(6 * CHUNK)
    upload_id = api.initiate(data)
    api.send(upload_id, data, [0, 2, 4])
    neighbour.send(upload_id, data, [5, 3, 1])
    file_id = fields_of(neighbour.complete(upload_id))["fileId"]
    api.await_status(file_id)
    assert fields_of(api.complete(upload_id))["fileId"] == file_id


@pytest.mark.parametrize("durability", ["none", "each"])
def test_how_durable_it_is_to_be_changes_no_answer(start: ServerStarter, durability: str) -> None:
    api = ApiClient(start(*SMALL_CHUNKS, "-durability", durability))
    data = some_bytes(2 * CHUNK)
    upload_id, file_id = api.upload(data)
    assert api.file(file_id)["checksum"] == sha256(data)
    assert api.server.request("GET", api.link(upload_id)).body == data


# --- the same chunk twice ---


def test_the_same_chunk_again_is_read_and_forgotten(api: ApiClient) -> None:
    data = some_bytes(2 * CHUNK)
    upload_id = api.initiate(data)
    api.send(upload_id, data, [0])
    again = api.put_head(upload_id, 0, chunk_of(data, 0)) + chunk_of(data, 0)
    with api.server.connection() as connection:
        for _ in range(2):  # the connection goes on
            connection.sendall(again)
            assert read_answer(connection).status == 200
    api.send(upload_id, data, [0, 1])
    assert api.complete(upload_id).status == 200


def test_bytes_that_do_not_belong_to_the_checksum_change_nothing_in_a_chunk_that_is_here(api: ApiClient) -> None:
    """What is forgotten is not verified either."""
    data = some_bytes(CHUNK)
    upload_id = api.initiate(data)
    api.send(upload_id, data)
    assert api.put(upload_id, 0, some_bytes(CHUNK, seed=2), checksum=sha256(data)).status == 200
    assert has_bytes_at(data_of(api, upload_id), 0, data)


def test_other_bytes_for_a_chunk_that_is_here_are_refused(api: ApiClient) -> None:
    data, other = some_bytes(2 * CHUNK), some_bytes(CHUNK, seed=2)
    upload_id = api.initiate(data)
    api.send(upload_id, data, [1])
    answer = api.put(upload_id, 1, other)
    assert error_of(answer) == (409, "ERR_CHUNK_EXISTS")
    assert fields_of(answer)["chunk"] == 1
    api.send(upload_id, data, [0])
    assert api.complete(upload_id).status == 200
    assert (api.server.upload_dir / upload_id).read_bytes() == data


def test_a_chunk_whose_bytes_were_wrong_can_be_sent_again(api: ApiClient) -> None:
    data = some_bytes(CHUNK)
    upload_id = api.initiate(data)
    wrong = api.put(upload_id, 0, some_bytes(CHUNK, seed=2), checksum=sha256(data))
    assert error_of(wrong) == (422, "ERR_CHUNK_CHECKSUM_MISMATCH")
    assert api.status(upload_id)["missingChunks"] == [0]
    api.send(upload_id, data)
    assert api.complete(upload_id).status == 200


def test_a_client_that_goes_in_the_middle_of_a_chunk_sends_it_again(api: ApiClient) -> None:
    data = some_bytes(CHUNK)
    upload_id = api.initiate(data)
    with api.server.connection() as connection:
        connection.sendall(api.put_head(upload_id, 0, data) + data[:1000])
        connection.shutdown(socket.SHUT_WR)
        assert error_of(read_answer(connection)) == (400, "ERR_UNEXPECTED_EOF")
    assert api.status(upload_id)["missingChunks"] == [0]
    api.send(upload_id, data)
    assert api.complete(upload_id).status == 200


# --- several at once ---


@pytest.mark.parametrize("processes", [1, 2])
def test_a_stalled_sender_of_a_chunk_is_replaced(api: ApiClient, neighbour: ApiClient, processes: int) -> None:
    _replace_a_stalled_sender(api, api if processes == 1 else neighbour, CHUNK)


def test_a_stalled_sender_of_a_large_chunk_is_replaced(start: ServerStarter) -> None:
    """Its bytes take the other way to the disk."""
    api = ApiClient(start("-chunk-size", str(16 * CHUNK)))
    _replace_a_stalled_sender(api, api, 16 * CHUNK)


def _replace_a_stalled_sender(api: ApiClient, newcomer: ApiClient, size: int) -> None:
    data = some_bytes(2 * size)
    first, second = data[:size], data[size:]
    upload_id = api.initiate(data)
    with api.server.connection() as stalled:
        stalled.sendall(api.put_head(upload_id, 0, first, Expect="100-continue"))
        assert read_head(stalled).startswith(b"HTTP/1.1 100 ")
        stalled.sendall(first[: size // 2])
        began = time.monotonic()
        assert newcomer.put(upload_id, 1, second).status == 200  # which disturbs nobody
        assert newcomer.put(upload_id, 0, first).status == 200
        assert time.monotonic() - began < SOON
        assert error_of(read_answer(stalled)) == (400, "ERR_UPLOAD_INTERRUPTED")
    assert api.complete(upload_id).status == 200
    assert (api.server.upload_dir / upload_id).read_bytes() == data


def test_of_many_senders_of_one_chunk_the_bytes_of_one_count(api: ApiClient) -> None:
    bodies = [some_bytes(CHUNK, seed) for seed in range(12)]
    upload_id = api.initiate(bodies[0])
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda body: api.put(upload_id, 0, body), bodies))
    statuses = [answer.status for answer in answers]
    assert statuses.count(200) == 1
    assert {error_of(answer) for answer in answers if answer.status != 200} <= {
        (409, "ERR_CHUNK_EXISTS"),
        (400, "ERR_UPLOAD_INTERRUPTED"),
    }
    assert has_bytes_at(data_of(api, upload_id), 0, bodies[statuses.index(200)])


@pytest.mark.parametrize("processes", [1, 2])
def test_complete_does_not_wait_for_a_stalled_chunk(api: ApiClient, neighbour: ApiClient, processes: int) -> None:
    other = api if processes == 1 else neighbour
    data = some_bytes(2 * CHUNK)
    upload_id = api.initiate(data)
    api.send(upload_id, data)
    with api.server.connection() as stalled:
        stalled.sendall(api.put_head(upload_id, 0, chunk_of(data, 0), Expect="100-continue"))
        assert read_head(stalled).startswith(b"HTTP/1.1 100 ")
        began = time.monotonic()
        assert other.complete(upload_id).status == 200
        assert time.monotonic() - began < SOON
        assert error_of(read_answer(stalled)) == (400, "ERR_UPLOAD_INTERRUPTED")
    assert (api.server.upload_dir / upload_id).read_bytes() == data


@pytest.mark.parametrize("processes", [1, 2])
def test_removal_does_not_wait_for_a_stalled_chunk(api: ApiClient, neighbour: ApiClient, processes: int) -> None:
    other = api if processes == 1 else neighbour
    data = some_bytes(2 * CHUNK)
    upload_id = api.initiate(data)
    with api.server.connection() as stalled:
        stalled.sendall(api.put_head(upload_id, 1, chunk_of(data, 1), Expect="100-continue"))
        assert read_head(stalled).startswith(b"HTTP/1.1 100 ")
        stalled.sendall(chunk_of(data, 1)[:1000])
        began = time.monotonic()
        assert other.call("DELETE", f"/uploads/{upload_id}").status == 204
        assert time.monotonic() - began < SOON
        assert error_of(read_answer(stalled)) == (400, "ERR_UPLOAD_INTERRUPTED")
    assert traces_of(api.server, upload_id) == []


def test_removal_gets_its_turn_among_many_senders(api: ApiClient) -> None:
    data = some_bytes(64 * CHUNK)
    upload_id = api.initiate(data)
    is_over = False

    def send_for_ever(number: int) -> int:
        status = 0
        while not is_over and status != 404:
            status = api.put(upload_id, number, chunk_of(data, number), checksum=sha256(b"never right")).status
        return status

    with ThreadPoolExecutor(8) as pool:
        senders = [pool.submit(send_for_ever, number) for number in range(8)]
        eventually(lambda: api.server.output().count("method=PUT") > 20)
        began = time.monotonic()
        try:
            assert api.call("DELETE", f"/uploads/{upload_id}").status == 204
        finally:
            is_over = True
        assert time.monotonic() - began < SOON
        assert {sender.result() for sender in senders} == {404}
    assert traces_of(api.server, upload_id) == []


# --- complete ---


def test_complete_says_which_chunks_are_missing(api: ApiClient) -> None:
    data = some_bytes(4 * CHUNK)
    upload_id = api.initiate(data)
    api.send(upload_id, data, [1, 3])
    answer = api.complete(upload_id)
    assert error_of(answer) == (409, "ERR_CHUNKS_MISSING")
    assert fields_of(answer)["missingChunks"] == [0, 2]
    assert api.status(upload_id)["status"] == "uploading"
    api.send(upload_id, data, [0, 2])
    assert api.complete(upload_id).status == 200


def test_a_file_with_another_checksum_has_failed_for_good(api: ApiClient) -> None:
    data = some_bytes(2 * CHUNK)
    upload_id = api.initiate(data, checksum=sha256(b"another file"))
    api.send(upload_id, data)
    for _ in range(2):
        assert error_of(api.complete(upload_id)) == (422, "ERR_FILE_CHECKSUM_MISMATCH")
    status = api.status(upload_id)
    assert (status["status"], status["missingChunks"], "fileId" in status) == ("failed", [], False)
    assert error_of(api.put(upload_id, 0, chunk_of(data, 0))) == (409, "ERR_UPLOAD_FAILED")
    assert error_of(api.call("GET", f"/uploads/{upload_id}/download")) == (409, "ERR_FILE_NOT_READY")
    assert api.server.request("HEAD", f"/files/{upload_id}", TUS).status == 404
    assert api.call("DELETE", f"/uploads/{upload_id}").status == 204
    assert traces_of(api.server, upload_id) == []


def test_chunks_that_were_damaged_on_disk_are_asked_for_again(api: ApiClient) -> None:
    data = some_bytes(4 * CHUNK)
    upload_id = api.initiate(data)
    api.send(upload_id, data, [1, 2, 3])
    with data_of(api, upload_id).open("r+b") as file:
        for number in (1, 3):
            file.seek(number * CHUNK + 5)
            file.write(bytes([data[number * CHUNK + 5] ^ 1]))
    api.send(upload_id, data, [0])
    answer = api.complete(upload_id)
    assert error_of(answer) == (409, "ERR_CHUNKS_MISSING")
    assert fields_of(answer)["missingChunks"] == [1, 3]
    assert api.status(upload_id)["missingChunks"] == [1, 3]
    api.send(upload_id, data, [1, 3])
    assert api.complete(upload_id).status == 200
    assert (api.server.upload_dir / upload_id).read_bytes() == data


@pytest.mark.parametrize("processes", [1, 2])
def test_many_who_complete_at_once_hear_the_same(api: ApiClient, neighbour: ApiClient, processes: int) -> None:
    other = api if processes == 1 else neighbour
    data = some_bytes(20 * CHUNK)
    upload_id = api.initiate(data)
    api.send(upload_id, data, reversed(range(20)))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: (api, other)[number % 2].complete(upload_id), range(8)))
    assert {answer.status for answer in answers} == {200}
    assert len({fields_of(answer)["fileId"] for answer in answers}) == 1
    file_id = fields_of(answers[0])["fileId"]
    api.await_status(file_id)
    assert len(traces_of(api.server, upload_id, file_id)) == 5


def test_who_goes_during_complete_finds_the_result_by_status(start: ServerStarter) -> None:
    api = ApiClient(start("-chunk-size", str(1024 * 1024)))
    data = some_bytes(24 * 1024 * 1024)
    upload_id = api.initiate(data)
    for number in reversed(range(24)):  # so that there is all to be done in the end
        assert api.put(upload_id, number, data[number << 20 : (number + 1) << 20]).status == 200
    with api.server.connection() as connection:
        connection.sendall(request_head("POST", f"/api/uploads/{upload_id}/complete"))
    eventually(lambda: api.status(upload_id)["status"] == "ready")
    assert fields_of(api.complete(upload_id))["checksum"] == sha256(data)


def test_a_complete_upload_takes_no_chunks(api: ApiClient) -> None:
    data = some_bytes(CHUNK)
    upload_id, _ = api.upload(data)
    for chunk in (data, some_bytes(CHUNK, seed=2)):
        assert error_of(api.put(upload_id, 0, chunk)) == (409, "ERR_UPLOAD_COMPLETE")
    assert (api.server.upload_dir / upload_id).read_bytes() == data


# --- beside tus ---


def test_a_session_is_no_tus_upload_until_it_is_complete(api: ApiClient) -> None:
    data = some_bytes(CHUNK)
    upload_id = api.initiate(data)
    url = f"{api.server.url}{upload_id}"
    api.send(upload_id, data)
    assert [api.server.request(method, url, TUS).status for method in ("HEAD", "GET", "DELETE")] == [404] * 3
    assert api.server.patch(url, 0, b"x").status == 404
    final = TUS | {"Upload-Concat": f"final;/files/{upload_id}"}
    assert api.server.request("POST", headers=final).code == "ERR_INVALID_CONCAT"
    assert api.complete(upload_id).status == 200
    head = api.server.request("HEAD", url, TUS)
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == (str(CHUNK), str(CHUNK))
    assert head.headers["upload-metadata"].startswith("filename ")
    info = json.loads((api.server.upload_dir / f"{upload_id}.info").read_text())
    assert (info["Size"], info["MetaData"]["filetype"]) == (CHUNK, "text/plain")
    assert api.server.patch(url, CHUNK, b"x").status == 413
    file_id = api.status(upload_id)["fileId"]
    assert api.server.request("DELETE", url, TUS).status == 204
    eventually(lambda: not traces_of(api.server, upload_id, file_id))  # also of what was being done with it


def test_chunks_are_not_for_tus_uploads(api: ApiClient) -> None:
    for size in (5, 0):
        upload_id = api.server.create(size).rpartition("/")[2]
        assert error_of(api.put(upload_id, 0, b"hello")) == (409, "ERR_NOT_CHUNKED")
        assert error_of(api.complete(upload_id)) == (409, "ERR_NOT_CHUNKED")


def test_the_status_of_a_tus_upload_makes_a_file_of_it_when_it_is_complete(api: ApiClient) -> None:
    metadata = ",".join(
        f"{key} {b64encode(value).decode()}" for key, value in {"filename": b"a.txt", "ownerId": b"ann"}.items()
    )
    url = api.server.create(5, Upload_Metadata=metadata)
    upload_id = url.rpartition("/")[2]
    api.server.patch(url, 0, b"hel")
    progress = {"uploadId": upload_id, "status": "uploading", "ownerId": "ann"}
    nothing = {"uploadedChunks": [], "missingChunks": [], "totalChunks": 0}
    assert api.status(upload_id) == progress | nothing
    assert error_of(api.call("GET", f"/uploads/{upload_id}/download")) == (409, "ERR_FILE_NOT_READY")
    assert "link" not in api.server.patch(url, 3, b"lo").headers
    assert traces_of(api.server, upload_id) == [upload_id, upload_id + ".info"]
    file_id = api.status(upload_id)["fileId"]
    api.await_status(file_id)
    assert api.status(upload_id) == progress | nothing | {"status": "ready", "fileId": file_id}
    record = api.file(file_id)
    assert (record["fileName"], record["fileSize"], record["ownerId"]) == ("a.txt", 5, "ann")
    assert (record["contentType"], record["checksum"]) == ("application/octet-stream", None)
    assert api.server.request("GET", api.link(upload_id)).body == b"hello"
    assert api.server.offset(url) == 5


def test_a_part_of_a_file_is_no_file(api: ApiClient) -> None:
    upload_id = api.server.create(0, Upload_Concat="partial").rpartition("/")[2]
    assert "fileId" not in api.status(upload_id)
    assert error_of(api.call("GET", f"/uploads/{upload_id}/download")) == (409, "ERR_FILE_NOT_READY")


# --- the end ---


def test_an_upload_can_be_removed_in_any_state(start: ServerStarter) -> None:
    api = ApiClient(start(*SMALL_CHUNKS))
    data = some_bytes(2 * CHUNK)
    begun = api.initiate(data)
    half = api.initiate(data)
    api.send(half, data, [1])
    whole = api.initiate(data)
    api.send(whole, data)
    failed = api.initiate(data, checksum=sha256(b""))
    api.send(failed, data)
    api.complete(failed)
    ready, file_id = api.upload(data)
    by_tus = api.server.create(5)
    finished = api.server.create(5)
    api.server.patch(finished, 0, b"hello")
    with_record = api.server.create(0)
    tus_file_id = api.status(with_record.rpartition("/")[2])["fileId"]
    for upload in (begun, half, whole, failed, ready, by_tus, finished, with_record):
        upload_id = upload.rpartition("/")[2]
        answer = api.call("DELETE", f"/uploads/{upload_id}")
        assert (answer.status, answer.body) == (204, b"")
        assert "content-type" not in answer.headers
        assert not [name for name in on_disk(api.server) if upload_id in name]
        for method, path in (("GET", "/status"), ("POST", "/complete"), ("GET", "/download"), ("DELETE", "")):
            assert error_of(api.call(method, f"/uploads/{upload_id}{path}")) == (404, "ERR_UPLOAD_NOT_FOUND")
        assert error_of(api.put(upload_id, 0, chunk_of(data, 0))) == (404, "ERR_UPLOAD_NOT_FOUND")
    assert on_disk(api.server) == []
    for removed in (file_id, tus_file_id):
        assert error_of(api.call("GET", f"/files/{removed}")) == (404, "ERR_FILE_NOT_FOUND")


def test_a_link_ends_with_its_file(api: ApiClient) -> None:
    upload_id, _ = api.upload(b"hello")
    link = api.link(upload_id)
    assert api.server.request("GET", link).status == 200
    api.call("DELETE", f"/uploads/{upload_id}")
    assert api.server.request("GET", link).status == 404


def age(api: ApiClient, upload_id: str, seconds: float) -> None:
    """Make the newest change of a session one of the past."""
    then = time.time() - seconds
    for path in data_of(api, upload_id).parent.iterdir():
        os.utime(path, (then, then))


def test_a_session_expires_by_the_clock_and_then_from_the_disk(start: ServerStarter) -> None:
    first = ApiClient(start(*SMALL_CHUNKS))
    data = some_bytes(2 * CHUNK)
    finished, _ = first.upload(data)
    for name in (finished, finished + ".info"):
        os.utime(first.server.upload_dir / name, (1, 1))
    upload_id = first.initiate(data)
    first.send(upload_id, data, [0])
    age(first, upload_id, 3)
    first.server.kill()
    api = ApiClient(start(*SMALL_CHUNKS, "-chunk-expire-after", "1s", upload_dir=first.server.upload_dir))
    expired = (410, "ERR_UPLOAD_EXPIRED")
    for _ in range(2):
        assert error_of(api.put(upload_id, 1, chunk_of(data, 1))) == expired
        for method, path in (("GET", "/status"), ("POST", "/complete"), ("GET", "/download")):
            assert error_of(api.call(method, f"/uploads/{upload_id}{path}")) == expired
        eventually(lambda: not [name for name in on_disk(api.server) if upload_id in name])
    assert (api.server.upload_dir / finished).read_bytes() == data
    assert api.status(finished)["status"] == "ready"


def test_every_chunk_prolongs_a_session(start: ServerStarter) -> None:
    api = ApiClient(start(*SMALL_CHUNKS, "-chunk-expire-after", "1h"))
    data = some_bytes(2 * CHUNK)
    upload_id = api.initiate(data)
    age(api, upload_id, 3000)
    api.send(upload_id, data, [0])
    assert (data_of(api, upload_id).parent / "marks").stat().st_mtime > time.time() - 60


def test_a_stop_ends_a_chunk_which_is_sent_again_after_the_restart(start: ServerStarter) -> None:
    api = ApiClient(start(*SMALL_CHUNKS))
    data = some_bytes(3 * CHUNK)
    upload_id = api.initiate(data)
    api.send(upload_id, data, [0])
    with api.server.connection() as connection, api.server.connection() as again:
        for number, stalled in ((1, connection), (0, again)):
            stalled.sendall(api.put_head(upload_id, number, chunk_of(data, number), Expect="100-continue"))
            assert read_head(stalled).startswith(b"HTTP/1.1 100 ")
            stalled.sendall(chunk_of(data, number)[:1000])
        api.server.process.send_signal(signal.SIGTERM)
        for stopped in (connection, again):
            answer = read_answer(stopped)
            assert error_of(answer) == (503, "ERR_SERVER_SHUTDOWN")
            assert int(answer.headers["retry-after"]) > 0
    assert api.server.process.wait(20) == 0
    api = ApiClient(start(*SMALL_CHUNKS, upload_dir=api.server.upload_dir))
    assert api.status(upload_id)["missingChunks"] == [1, 2]
    api.send(upload_id, data, [2, 1])
    assert api.complete(upload_id).status == 200
    assert (api.server.upload_dir / upload_id).read_bytes() == data


def test_what_is_left_of_a_complete_that_was_killed_is_completed_or_removed(start: ServerStarter) -> None:
    """The session goes last, so it may still be there beside the upload that was made of it."""
    api = ApiClient(start(*SMALL_CHUNKS))
    data = some_bytes(CHUNK)
    kept, removed = api.initiate(data), api.initiate(data)
    sessions = {upload_id: data_of(api, upload_id).parent for upload_id in (kept, removed)}
    for upload_id, session in sessions.items():
        api.send(upload_id, data)
        before = {path.name: path.read_bytes() for path in session.iterdir()}
        assert api.complete(upload_id).status == 200
        session.mkdir()
        os.link(api.server.upload_dir / upload_id, session / "data")
        for name in ("marks", "session.json"):
            (session / name).write_bytes(before[name])
    assert api.complete(kept).status == 200
    assert api.call("DELETE", f"/uploads/{removed}").status == 204
    for upload_id, status in ((kept, 200), (removed, 404)):
        assert api.call("GET", f"/uploads/{upload_id}/status").status == status
    assert not [name for name in on_disk(api.server) if removed in name or "chunks/" in name]


# --- limits ---


def test_too_many_unfinished_uploads_count_both_ways_of_uploading(start: ServerStarter) -> None:
    api = ApiClient(start(*SMALL_CHUNKS, "-max-unfinished", "2"))
    url = api.server.create(5)
    upload_id = api.initiate(b"x")
    refused = api.announce(announcement(b"x"))
    assert error_of(refused) == (503, "ERR_TOO_MANY_UPLOADS")
    assert int(refused.headers["retry-after"]) > 0
    api.send(upload_id, b"x")
    api.complete(upload_id)
    upload_id = api.initiate(b"x")
    api.call("DELETE", f"/uploads/{upload_id}")
    api.server.request("DELETE", url, TUS)
    api.initiate(b"x")
    api.initiate(b"x")
    assert api.announce(announcement(b"x")).status == 503


def test_what_would_leave_too_little_free_space_is_refused(start: ServerStarter) -> None:
    api = ApiClient(start("-min-free-space", str(2**62)))
    assert error_of(api.announce(announcement(b"x"))) == (507, "ERR_DISK_FULL")
    assert on_disk(api.server) == []


def test_sessions_are_for_their_owner_only_on_disk(server: Server) -> None:
    upload_id = ApiClient(server).initiate(b"x")
    assert (state_of(server) / "chunks").stat().st_mode & 0o077 == 0
    assert (state_of(server) / "chunks" / upload_id).stat().st_mode & 0o077 == 0
