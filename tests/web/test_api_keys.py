"""API keys: who has none is refused, and who has a link to a file comes no further with it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chunked import fields_of
from tests.running import CHUNK as TUS_CHUNK
from tests.running import TUS, ServerStarter
from tests.web.api import SMALL_CHUNKS, ApiClient, announcement, error_of, key_file, on_disk, served

KEY, OTHER_KEY = "k" * 40, "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    """The API of a server that asks for one of two keys, spoken to with the first."""
    folder = tmp_path_factory.mktemp("keyed")
    with served(folder / "data", "-api-key-file", str(key_file(folder, KEY, OTHER_KEY))) as api:
        yield ApiClient(api.server, key=KEY)


def test_without_a_key_nothing_is_done(keyed: ApiClient) -> None:
    upload_id, file_id = keyed.upload(b"hello")
    before = on_disk(keyed.server)
    stranger = ApiClient(keyed.server)
    answers = [
        stranger.announce(announcement(b"hello")),
        stranger.put(upload_id, 0, b"hello"),
        stranger.complete(upload_id),
        *(stranger.call("GET", f"/uploads/{upload_id}/{what}") for what in ("status", "download")),
        stranger.call("DELETE", f"/uploads/{upload_id}"),
        *(stranger.call("GET", f"/files/{file_id}{what}") for what in ("", "/download")),
        *(stranger.call("GET", path) for path in ("/uploads/unknown/status", "/files/unknown")),
    ]
    for answer in answers:
        assert error_of(answer) == (401, "ERR_UNAUTHORIZED")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert on_disk(keyed.server) == before


NO_KEYS = [
    *("", "Bearer", "Bearer ", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY, f"Bearer x {KEY}"),
    *(f"Bearer {KEY},{OTHER_KEY}", f"Bearer {KEY.upper()}", f'Bearer "{KEY}"', f"Token {KEY}", f"Bearer ü{KEY}"),
    *("Bearer # for these tests", "Bearer " + "x" * 100_000),
]


def test_any_of_the_keys_opens_and_nothing_else_does(keyed: ApiClient) -> None:
    stranger = ApiClient(keyed.server)
    for credentials in (f"Bearer {KEY}", f"Bearer {OTHER_KEY}", f"bearer {KEY}", f"BEARER  {KEY} "):
        answer = stranger.call("GET", "/uploads/unknown/status", headers={"Authorization": credentials})
        assert error_of(answer) == (404, "ERR_UPLOAD_NOT_FOUND")
    for credentials in NO_KEYS:
        headers = {"Authorization": credentials}
        answer = stranger.call("GET", "/uploads/unknown/status", headers=headers)
        assert error_of(answer) == (401, "ERR_UNAUTHORIZED"), credentials
    assert KEY not in keyed.server.output()


def test_a_body_is_not_asked_for_without_a_key(keyed: ApiClient) -> None:
    upload_id = keyed.initiate(b"hello")
    head = ApiClient(keyed.server).put_head(upload_id, 0, b"hello", Expect="100-continue")
    assert keyed.server.raw(head, until_closed=False).startswith(b"HTTP/1.1 401 ")


def test_health_the_description_preflights_and_tus_need_no_key(keyed: ApiClient) -> None:
    server = keyed.server
    assert server.request("GET", "/health").status == 200
    assert server.request("GET", "/api/openapi.json").status == 200
    preflight = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    assert server.request("OPTIONS", "/api/uploads/initiate", preflight).status == 204
    url = server.create(5)
    assert server.patch(url, 0, b"hello").status == 204
    assert server.request("GET", url).body == b"hello"


def test_a_link_needs_no_key(keyed: ApiClient) -> None:
    upload_id, _ = keyed.upload(b"hello")
    assert keyed.server.request("GET", keyed.link(upload_id)).body == b"hello"


@pytest.mark.parametrize("flag", ["-api-key-file", "-signing-key-file"])
def test_a_key_file_that_is_not_safe_is_refused_at_start(start: ServerStarter, tmp_path: Path, flag: str) -> None:
    path = key_file(tmp_path, KEY)
    path.chmod(0o644)
    server = start(flag, str(path), wait=False)
    assert server.process.wait(20) == 1
    assert "can be read or written by others" in server.output()
    assert KEY not in server.output()


@pytest.mark.parametrize("has_keys", [False, True])
def test_the_holder_of_a_link_can_neither_make_another_nor_learn_the_upload(
    start: ServerStarter, tmp_path: Path, *, has_keys: bool
) -> None:
    """With `-downloads signed` a link is all that its holder has, who knows the whole API and tries all of it."""
    keys = ("-api-key-file", str(key_file(tmp_path, KEY))) if has_keys else ()
    owner = ApiClient(start(*SMALL_CHUNKS, "-downloads", "signed", *keys), key=KEY if has_keys else None)
    server = owner.server
    by_chunks, _ = owner.upload(b"hello", fileName="a.txt")
    by_tus = server.create(5).rpartition("/")[2]
    server.patch(f"{server.url}{by_tus}", 0, b"hello")
    owner.await_status(owner.status(by_tus)["fileId"])
    for upload_id in (by_chunks, by_tus):
        link = owner.link(upload_id)
        path, _, query = link.partition("?")
        file_id = path.rpartition("/")[2]
        expires = int(re.findall(r"expires=(\d+)", query)[0])
        holder = ApiClient(server)
        seen = []
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            for target in (
                *(link, path, f"/files/{file_id}/", f"/files/{file_id}.info", f"/files/{file_id}/thumbnail/small"),
                *(f"/api/files/{file_id}", f"/api/files/{file_id}/download", f"/api/files/{file_id}/download?{query}"),
                *(f"/api/files/{file_id}/download?ttl=86400", f"/api/uploads/{file_id}/download"),
                *(f"/api/uploads/{file_id}", f"/api/uploads/{file_id}/status", f"/api/uploads/{file_id}/complete"),
                *(f"/api/uploads/{file_id}/chunks/0", "/api/uploads", "/api/files", "/files/", "/api/openapi.json"),
                *(f"/files/.tusd-py/public/{file_id}", f"/files/.tusd-py/files/{file_id[2:4]}/{file_id}.json"),
                *("/metrics", "/health", "/"),
            ):
                for headers in (
                    TUS | {"Origin": "https://page.example", "X-HTTP-Method-Override": "DELETE"},
                    TUS_CHUNK | {"Upload-Offset": "0", "Upload-Concat": f"final;/files/{file_id}"},
                ):
                    seen.append((method, target, server.request(method, target, headers)))
        for method, target, answer in seen:
            told = json.dumps(dict(answer.headers)) + answer.body.decode("utf-8", "replace")
            assert upload_id not in told, (method, target)
            assert answer.status != 204 or method == "OPTIONS", (method, target)
            for other_expiry in re.findall(r"sig=", told):
                raise AssertionError((method, target, other_expiry))
            if answer.status == 200 and "sig=" not in target:
                assert answer.body != b"hello", (method, target)
        minting = error_of(holder.call("GET", f"/files/{file_id}/download"))
        assert minting == (401, "ERR_UNAUTHORIZED")
        described = holder.call("GET", f"/files/{file_id}")
        assert described.status == (401 if has_keys else 200)
        later = query.replace(str(expires), str(expires + 1))
        assert server.request("GET", f"{path}?{later}").status == 403
        assert server.request("GET", link).body == b"hello"
        assert owner.status(upload_id)["status"] == "ready"
    minted = owner.call("GET", f"/files/{owner.status(by_chunks)['fileId']}/download")
    assert minted.status == (200 if has_keys else 401)


def test_who_knows_the_upload_may_always_have_a_link(start: ServerStarter) -> None:
    api = ApiClient(start("-downloads", "signed"))
    upload_id, file_id = api.upload(b"hello")
    answer = api.call("GET", f"/uploads/{upload_id}/download")
    assert api.server.request("GET", fields_of(answer)["downloadUrl"]).body == b"hello"
    assert error_of(api.call("GET", f"/files/{file_id}/download")) == (401, "ERR_UNAUTHORIZED")


def test_a_key_that_the_server_makes_is_for_its_owner_only(start: ServerStarter) -> None:
    server = start()
    path = server.upload_dir / ".tusd-py" / "signing.keys"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_uid == os.getuid()
