"""Uploads in chunks where hooks choose their ids and places, or do not let them become files yet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chunked import fields_of
from tests.running import TUS, ServerStarter, eventually
from tests.web.api import CHUNK, SMALL_CHUNKS, ApiClient, error_of, on_disk, some_bytes, traces_of


def hooks(folder: Path, **scripts: str) -> tuple[str, ...]:
    """The flags of hook programs; keywords are events, underscores as dashes."""
    directory = folder / "hooks"
    directory.mkdir()
    for name, script in scripts.items():
        program = directory / name.replace("_", "-")
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    events = ",".join(name.replace("_", "-") for name in scripts)
    return ("-hooks-dir", str(directory), "-hooks-enabled-events", events)


def choosing(**changes: object) -> str:
    return f"echo '{json.dumps({'ChangeFileInfo': changes})}'"


@pytest.mark.parametrize("upload_id", ["a/b", "a/status", "a/chunks/0", "a/complete", "a/download", "status", "a%2Fb"])
def test_an_upload_can_be_asked_for_and_removed_whatever_its_id_is(
    start: ServerStarter, tmp_path: Path, upload_id: str
) -> None:
    """A slash in it may be written as `%2F`, and has to be where the path could be read as another one."""
    api = ApiClient(start(*SMALL_CHUNKS, *hooks(tmp_path, pre_create=choosing(ID=upload_id))))
    data = some_bytes(CHUNK + 1)
    encoded = upload_id.replace("%", "%25").replace("/", "%2F")
    for is_complete in (False, True):
        assert api.initiate(data) == upload_id
        assert api.status(encoded)["uploadId"] == upload_id
        api.send(encoded, data, [0])
        assert error_of(api.complete(encoded)) == (409, "ERR_CHUNKS_MISSING")
        if is_complete:
            api.send(encoded, data, [1])
            assert api.complete(encoded).status == 200
            eventually(lambda: api.status(encoded)["status"] == "ready")
            assert api.server.request("GET", api.link(encoded)).body == data
        assert api.call("DELETE", f"/uploads/{encoded}").status == 204
        assert error_of(api.call("GET", f"/uploads/{encoded}/status")) == (404, "ERR_UPLOAD_NOT_FOUND")
    assert not [path for path in on_disk(api.server) if "chunks" in path]


def test_a_slash_may_stand_as_it_is_where_that_can_be_nothing_else(start: ServerStarter, tmp_path: Path) -> None:
    api = ApiClient(start(*SMALL_CHUNKS, *hooks(tmp_path, pre_create=choosing(ID="a/b"))))
    assert api.initiate(b"hello") == "a/b"
    api.send("a/b", b"hello")
    assert api.complete("a/b").status == 200
    assert api.call("DELETE", "/uploads/a/b").status == 204
    assert api.call("GET", "/uploads/a/b/status").status == 404


def test_two_ids_of_which_one_is_the_others_status_are_told_apart(start: ServerStarter, tmp_path: Path) -> None:
    scripts = 'if [ -e first ]; then echo \'{"ChangeFileInfo": {"ID": "a/status"}}\'; else touch first; '
    flags = hooks(tmp_path, pre_create=scripts + 'echo \'{"ChangeFileInfo": {"ID": "a"}}\'; fi')
    api = ApiClient(start(*SMALL_CHUNKS, *flags))
    data = some_bytes(CHUNK)
    assert [api.initiate(data), api.initiate(data)] == ["a", "a/status"]
    assert api.status("a")["uploadId"] == "a"
    assert api.status("a%2Fstatus")["uploadId"] == "a/status"
    assert api.status("a/status")["uploadId"] == "a/status", "/uploads/a/status/status"
    assert api.call("DELETE", "/uploads/a/status").status == 405
    assert api.call("DELETE", "/uploads/a%2Fstatus").status == 204
    assert api.status("a")["uploadId"] == "a"
    assert api.call("GET", "/uploads/a%2Fstatus/status").status == 404


def test_a_file_is_where_a_hook_wants_it(start: ServerStarter, tmp_path: Path) -> None:
    flags = hooks(tmp_path, pre_create=choosing(Storage={"Path": "elsewhere/name"}))
    api = ApiClient(start(*SMALL_CHUNKS, *flags))
    data = some_bytes(2 * CHUNK)
    upload_id, file_id = api.upload(data)
    assert (api.server.upload_dir / "elsewhere" / "name").read_bytes() == data
    assert not (api.server.upload_dir / upload_id).exists()
    assert api.server.request("GET", api.link(upload_id)).body == data
    second = api.initiate(data)
    api.send(second, data)
    assert error_of(api.complete(second)) == (400, "ERR_UPLOAD_EXISTS"), "the place is taken"
    assert api.call("DELETE", f"/uploads/{second}").status == 204
    assert (api.server.upload_dir / "elsewhere" / "name").read_bytes() == data
    assert api.call("DELETE", f"/uploads/{upload_id}").status == 204
    assert not [path for path in on_disk(api.server) if "elsewhere" in path]
    assert traces_of(api.server, upload_id, second, file_id) == []


@pytest.mark.parametrize("protocol", ["tus", "api"])
def test_what_is_complete_but_not_let_through_is_no_file_yet_and_can_be_removed(
    start: ServerStarter, tmp_path: Path, protocol: str
) -> None:
    """It stands where it would after a crash just before its record was made."""
    api = ApiClient(start(*SMALL_CHUNKS, *hooks(tmp_path, pre_finish="[ -e open ] || exit 1")))
    server, data = api.server, some_bytes(2 * CHUNK)
    upload_id = api.initiate(data)
    api.send(upload_id, data)
    for _ in range(2):
        assert api.complete(upload_id).status == 500
        assert server.request("HEAD", f"/files/{upload_id}", TUS).status == 423
        assert error_of(api.call("GET", f"/uploads/{upload_id}/download")) == (409, "ERR_FILE_NOT_READY")
        assert server.request("GET", f"/files/{upload_id}").status == 409
        assert api.status(upload_id)["status"] == "uploading"
    if protocol == "tus":
        assert server.request("DELETE", f"/files/{upload_id}", TUS).status == 204
    else:
        assert api.call("DELETE", f"/uploads/{upload_id}").status == 204
    (tmp_path / "hooks" / "open").touch()
    assert error_of(api.complete(upload_id)) == (404, "ERR_UPLOAD_NOT_FOUND")
    assert traces_of(server, upload_id) == []


def test_what_is_let_through_later_becomes_a_file(start: ServerStarter, tmp_path: Path) -> None:
    api = ApiClient(start(*SMALL_CHUNKS, *hooks(tmp_path, pre_finish="[ -e open ] || exit 1")))
    data = some_bytes(2 * CHUNK)
    upload_id = api.initiate(data)
    api.send(upload_id, data)
    assert api.complete(upload_id).status == 500
    (tmp_path / "hooks" / "open").touch()
    answer = api.complete(upload_id)
    assert answer.status == 200
    again = fields_of(api.complete(upload_id))
    assert fields_of(answer) | {"status": again["status"]} == again
    assert api.server.offset(f"/files/{upload_id}") == len(data)
