"""Files: their records, the signed links to them, and which bytes are served to whom."""

from __future__ import annotations

import fcntl
import io
import json
import re
import time
from base64 import b64encode
from pathlib import Path

import pytest
from PIL import Image

from tests.chunked import fields_of, sha256, state_of
from tests.running import CHUNK as TUS_CHUNK
from tests.running import TUS, Answer, Server, ServerStarter, eventually
from tests.web.api import SMALL_CHUNKS, ApiClient, announcement, error_of, key_file, some_bytes, traces_of
from tusd_py.core.links import LinkSigner
from tusd_py.store.keys import read_keys

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def get(api: ApiClient, url: str, **headers: str) -> Answer:
    return api.server.request("GET", url, {name.replace("_", "-"): value for name, value in headers.items()})


def signer_of(api: ApiClient) -> LinkSigner:
    """Who knows the server's key."""
    return LinkSigner(read_keys(state_of(api.server) / "signing.keys"))


def with_metadata(**metadata: str) -> dict[str, str]:
    return {
        "Upload_Metadata": ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in metadata.items())
    }


def tus_upload(server: Server, body: bytes = b"hello", **metadata: str) -> str:
    url = server.create(len(body), **with_metadata(**metadata))
    assert server.patch(url, 0, body).status == 204
    return url


def rewrite_record(api: ApiClient, file_id: str, **fields: object) -> None:
    """Change what stands on disk about a file."""
    [path] = state_of(api.server).glob(f"files/*/{file_id}.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.fixture(scope="module")
def hello(api: ApiClient) -> tuple[str, str]:
    """The ids of an upload and its file that no test changes."""
    return api.upload(b"hello")


# --- records ---


def test_a_record_tells_what_is_known_and_neither_the_upload_nor_a_path(api: ApiClient) -> None:
    data = some_bytes(1000)
    upload_id, file_id = api.upload(data, fileName="b.txt", contentType="text/plain; charset=utf-8", ownerId="ann")
    record = api.file(file_id)
    times = [record.pop("createdAt"), record.pop("completedAt")]
    assert all(TIME.fullmatch(each) for each in times)
    assert times == sorted(times)
    announced = {"fileName": "b.txt", "fileSize": 1000, "contentType": "text/plain; charset=utf-8", "ownerId": "ann"}
    assert [record.pop(name) for name in ("detectedType", "scanResult", "thumbnails")] == ["text/plain", None, []]
    assert record == {"id": file_id, "checksum": sha256(data), "status": "ready"} | announced
    assert upload_id.encode() not in api.call("GET", f"/files/{file_id}").body


def test_what_an_edge_may_serve_is_the_same_file_with_its_headers(api: ApiClient) -> None:
    upload_id, file_id = api.upload(b"hello", fileName="é.txt")
    public = state_of(api.server) / "public"
    assert (public / file_id).samefile(api.server.upload_dir / upload_id)
    headers = json.loads((public / f"{file_id}.json").read_text())
    answer = get(api, api.link(upload_id))
    assert headers["type"] == answer.headers["content-type"] == "text/plain"
    assert headers["disposition"] == answer.headers["content-disposition"].encode("latin-1").decode()


def test_a_file_whose_bytes_are_taken_away_is_gone(api: ApiClient) -> None:
    upload_id, file_id = api.upload(b"hello")
    tus_url = tus_upload(api.server)
    tus_file_id = api.status(tus_url.rpartition("/")[2])["fileId"]
    api.await_status(tus_file_id)
    links = [api.link(upload_id), api.link(tus_url.rpartition("/")[2])]
    (api.server.upload_dir / upload_id).unlink()
    api.server.path_of(tus_url).unlink()
    for link in links:
        assert get(api, link).status == 410
    for gone in (file_id, tus_file_id):
        assert api.file(gone)["status"] == "gone"
        assert error_of(api.call("GET", f"/files/{gone}/download")) == (410, "ERR_FILE_GONE")
        assert not [path for path in traces_of(api.server, gone) if "public" in path]
    for uploaded, gone in ((upload_id, file_id), (tus_url.rpartition("/")[2], tus_file_id)):
        assert api.status(uploaded)["status"] == "gone"
        assert error_of(api.call("GET", f"/uploads/{uploaded}/download")) == (410, "ERR_FILE_GONE")
        assert api.call("DELETE", f"/uploads/{uploaded}").status == 204
        assert traces_of(api.server, uploaded, gone) == []


def test_the_sweep_finds_the_files_whose_bytes_are_gone(start: ServerStarter) -> None:
    api = ApiClient(start(*SMALL_CHUNKS))
    upload_id, file_id = api.upload(b"hello")
    api.server.kill()
    (api.server.upload_dir / upload_id).unlink()
    start(*SMALL_CHUNKS, upload_dir=api.server.upload_dir)
    [path] = state_of(api.server).glob(f"files/*/{file_id}.json")
    eventually(lambda: json.loads(path.read_text())["status"] == "gone")
    assert not (state_of(api.server) / "public" / file_id).exists()


def test_a_file_is_served_when_it_is_ready_and_never_before(start: ServerStarter) -> None:
    api = ApiClient(start(*SMALL_CHUNKS))
    upload_id, file_id = api.upload(b"hello")
    link = api.link(upload_id)
    api.server.kill()
    rewrite_record(api, file_id, status="processing")
    [record] = state_of(api.server).glob(f"files/*/{file_id}.json")
    pending = record.rename(state_of(api.server) / "pending" / record.name)
    with pending.open("r+b") as claimed:  # by somebody who is not done with it
        fcntl.flock(claimed, fcntl.LOCK_EX)
        api = ApiClient(start(*SMALL_CHUNKS, upload_dir=api.server.upload_dir))
        assert api.status(upload_id)["status"] == "processing"
        for path in (f"/uploads/{upload_id}/download", f"/files/{file_id}/download"):
            answer = api.call("GET", path)
            assert error_of(answer) == (409, "ERR_FILE_NOT_READY")
            assert fields_of(answer)["status"] == "processing"
        for url in (link, f"/files/{upload_id}"):
            assert (get(api, url).status, get(api, url).code) == (409, "ERR_FILE_NOT_READY")
        assert fields_of(api.complete(upload_id))["status"] == "processing"
        api.server.kill()
    api = ApiClient(start(*SMALL_CHUNKS, upload_dir=api.server.upload_dir))
    api.await_status(file_id)
    assert get(api, link).body == b"hello"


@pytest.mark.parametrize(
    ("status", "answer"),
    [("quarantined", (403, "ERR_FILE_QUARANTINED")), ("failed", (409, "ERR_FILE_NOT_READY"))],
)
def test_a_file_that_is_not_to_be_had_is_not_served(api: ApiClient, status: str, answer: tuple[int, str]) -> None:
    upload_id, file_id = api.upload(b"hello")
    link = api.link(upload_id)
    rewrite_record(api, file_id, status=status)
    for path in (f"/uploads/{upload_id}/download", f"/files/{file_id}/download"):
        assert error_of(api.call("GET", path)) == answer
    for url in (link, f"/files/{upload_id}"):
        assert (get(api, url).status, get(api, url).code) == answer


@pytest.mark.parametrize("query", ["wait=-1", "wait=x", "wait=1.5", "wait=", "wait=1&wait=1", "x=1", "wait=99999"])
def test_a_wait_that_is_none_is_refused(api: ApiClient, hello: tuple[str, str], query: str) -> None:
    assert error_of(api.call("GET", f"/files/{hello[1]}?{query}")) == (400, "ERR_INVALID_QUERY")
    assert fields_of(api.call("GET", f"/files/{hello[1]}?wait=60"))["status"] == "ready"  # at once


def test_thumbnails_are_had_by_links_and_go_with_their_file(start: ServerStarter) -> None:
    api = ApiClient(start("-thumbnails", "16,32"))
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(picture, "PNG")
    upload_id, file_id = api.upload(picture.getvalue(), fileName="a.png", contentType="image/png")
    sizes = [each["size"] for each in api.file(file_id)["thumbnails"]]
    links = api.ask("GET", f"/uploads/{upload_id}/download")["thumbnailUrls"]
    assert sorted(links) == sorted(sizes)
    assert len(links) == 2
    whole = api.link(upload_id).partition("?")[2]
    for link in links.values():
        answer = get(api, link)
        assert (answer.status, answer.headers["content-type"][:6]) == (200, "image/")
        assert api.server.request("HEAD", link).headers["content-length"] == str(len(answer.body))
        path = link.partition("?")[0]
        assert path.startswith(f"http://127.0.0.1:{api.server.port}/files/{file_id}/thumbnail/")
        assert [get(api, path + query).status for query in ("", "?" + whole, "?expires=1&sig=x")] == [403] * 3
    assert len([path for path in traces_of(api.server, file_id) if "/thumbnails/" in path]) == 2
    assert api.call("DELETE", f"/uploads/{upload_id}").status == 204
    assert traces_of(api.server, upload_id, file_id) == []
    assert {get(api, link).status for link in links.values()} == {404}


# --- links ---


def test_a_link_gives_the_bytes_their_head_and_their_parts(api: ApiClient) -> None:
    data = some_bytes(100_000)
    upload_id, file_id = api.upload(data, fileName="a.txt")
    link = api.link(upload_id)
    assert re.fullmatch(rf"http://127.0.0.1:{api.server.port}/files/{file_id}\?expires=\d+&sig=[\w-]{{43}}", link)
    whole = get(api, link)
    assert (whole.status, whole.body) == (200, data)
    assert whole.headers["content-type"] == "text/plain"
    assert whole.headers["content-disposition"] == 'inline;filename="a.txt"'
    assert whole.headers["x-content-type-options"] == "nosniff"
    head = api.server.request("HEAD", link)
    assert (head.status, head.body) == (200, b"")
    kept = ("content-type", "content-disposition", "content-length", "last-modified", "accept-ranges")
    assert [head.headers[name] for name in kept] == [whole.headers[name] for name in kept]
    part = get(api, link, Range="bytes=10-19")
    assert (part.status, part.body, part.headers["content-range"]) == (206, data[10:20], "bytes 10-19/100000")
    assert api.server.request("HEAD", link, {"Range": "bytes=10-19"}).status == 206
    assert get(api, link, Range="bytes=100000-").status == 416
    assert get(api, link, If_Modified_Since=whole.headers["last-modified"]).status == 304
    assert "upload" not in json.dumps(dict(whole.headers)).lower()


def test_both_ways_to_a_link_give_the_same_file(api: ApiClient) -> None:
    upload_id, file_id = api.upload(b"hello")
    by_file = api.ask("GET", f"/files/{file_id}/download")
    assert by_file["downloadUrl"].partition("?")[0] == api.link(upload_id).partition("?")[0]
    assert by_file["expires"] == int(by_file["downloadUrl"].partition("expires=")[2].partition("&")[0])
    assert get(api, by_file["downloadUrl"]).body == b"hello"


def test_links_survive_a_restart(start: ServerStarter) -> None:
    api = ApiClient(start(*SMALL_CHUNKS))
    upload_id, _ = api.upload(b"hello")
    link = api.link(upload_id)
    api.server.terminate()
    api = ApiClient(start(*SMALL_CHUNKS, upload_dir=api.server.upload_dir))
    assert get(api, link).body == b"hello"


def test_links_of_an_old_key_are_good_as_long_as_it_is_in_the_file(start: ServerStarter, tmp_path: Path) -> None:
    old, new = "o" * 40, "n" * 40
    keys = key_file(tmp_path, old)
    api = ApiClient(start("-signing-key-file", str(keys)))
    upload_id, _ = api.upload(b"hello")
    link = api.link(upload_id)
    for lines, status in (((old, new), 200), ((new,), 403)):
        api.server.kill()
        key_file(tmp_path, *lines)
        api = ApiClient(start("-signing-key-file", str(keys), upload_dir=api.server.upload_dir))
        assert get(api, link).status == status
        assert get(api, api.link(upload_id)).status == 200


def test_a_link_that_was_altered_is_worth_nothing(api: ApiClient) -> None:
    upload_id, file_id = api.upload(b"hello")
    _, other_id = api.upload(b"other")
    path, _, query = api.link(upload_id).partition("?")
    expires, signature = re.fullmatch(r"expires=(\d+)&sig=(.+)", query).groups()  # type: ignore[union-attr]
    for altered in (
        *("", "?", f"?expires={expires}", f"?sig={signature}", f"?expires={expires}&sig="),
        *(f"?expires={int(expires) + 1}&sig={signature}", f"?expires=0{expires}&sig={signature}"),
        *(f"?expires={expires}&sig={signature[:-1]}", f"?expires={expires}&sig={signature}A"),
        *(f"?expires={expires}&sig={signature}=", f"?expires={expires}&sig={signature[:-1]}%{ord(signature[-1]):x}"),
        *(f"?expires={expires}&sig={signature}&x=1", f"?{query}&", f"?expires={expires};sig={signature}"),
        *(f"?expires={expires}&SIG={signature}", f"?expires={expires}&sig={signature.swapcase()}"),
    ):
        for method in ("GET", "HEAD"):
            answer = api.server.request(method, path + altered)
            assert answer.status == 403, altered
            assert answer.body == (
                b"" if method == "HEAD" else b"ERR_INVALID_LINK: the link is not valid, or no longer\n"
            )
    for position in range(len(signature)):
        other = "A" if signature[position] != "A" else "B"
        changed = signature[:position] + other + signature[position + 1 :]
        assert get(api, f"{path}?expires={expires}&sig={changed}").status == 403
    assert get(api, f"{path.replace(file_id, other_id)}?{query}").status == 403
    assert get(api, f"{path}?sig={signature}&expires={expires}").body == b"hello"


def test_a_parameter_that_stands_twice_is_refused(api: ApiClient) -> None:
    upload_id, _ = api.upload(b"hello")
    link = api.link(upload_id)
    for more in (link.partition("?")[2].partition("&")[0], "sig=x", "x&x"):
        answer = get(api, f"{link}&{more}")
        assert (answer.status, answer.code) == (400, "ERR_INVALID_QUERY")


def test_a_link_ends_when_its_time_is_over(api: ApiClient) -> None:
    _, file_id = api.upload(b"hello")
    signer, now = signer_of(api), int(time.time())
    assert get(api, f"/files/{file_id}?{signer.query(file_id, now + 60)}").status == 200
    assert get(api, f"/files/{file_id}?{signer.query(file_id, now - 1)}").status == 403


def test_a_signature_is_over_a_file_and_nothing_else(api: ApiClient) -> None:
    """Not over an upload, another file, a thumbnail, or by another key."""
    upload_id, file_id = api.upload(b"hello")
    tus_id = tus_upload(api.server).rpartition("/")[2]
    signer, expires = signer_of(api), int(time.time()) + 60
    for signed_id in (upload_id, tus_id):
        answer = get(api, f"/files/{signed_id}?{signer.query(signed_id, expires)}")
        assert (answer.status, answer.code) == (403, "ERR_LINK_REQUIRED")
        assert get(api, f"/files/{signed_id}?sig=").status == 403
    for subject in (upload_id, file_id + "/thumbnail/small", "f_" + "0" * 32):
        assert get(api, f"/files/{file_id}?{signer.query(subject, expires)}").status == 403
    foreign = LinkSigner([b"x" * 40])
    assert get(api, f"/files/{file_id}?{foreign.query(file_id, expires)}").status == 403
    unknown = "f_" + "0" * 32
    assert get(api, f"/files/{unknown}?{signer.query(unknown, expires)}").status == 404
    assert get(api, f"/files/{unknown}").status == 403  # which says nothing about the file


def test_a_file_id_gives_no_way_to_write_or_to_delete(api: ApiClient) -> None:
    _, file_id = api.upload(b"hello")
    url = f"/files/{file_id}"
    assert api.server.request("PATCH", url, TUS_CHUNK | {"Upload-Offset": "5"}, b"x").status == 405
    assert api.server.request("DELETE", url, TUS).status == 405
    assert error_of(api.call("DELETE", f"/uploads/{file_id}")) == (404, "ERR_UPLOAD_NOT_FOUND")
    assert api.file(file_id)["status"] == "ready"


def test_a_link_lives_as_long_as_is_wanted_and_allowed(start: ServerStarter) -> None:
    api = ApiClient(start("-signed-url-ttl", "10m", "-signed-url-max-ttl", "1h"))
    upload_id, file_id = api.upload(b"hello")
    for query, seconds in (("", 600), ("?ttl=1", 1), ("?ttl=60", 60), ("?ttl=3600", 3600), ("?ttl=999999999", 3600)):
        for path in (f"/uploads/{upload_id}/download", f"/files/{file_id}/download"):
            now = time.time()
            assert now + seconds - 2 < api.ask("GET", path + query)["expires"] <= time.time() + seconds
    dying = api.link(upload_id, "?ttl=1")
    eventually(lambda: get(api, dying).status == 403)


@pytest.mark.parametrize(
    "query",
    [
        *("ttl=0", "ttl=-1", "ttl=1.5", "ttl=x", "ttl=", "ttl", "ttl=1e3", "ttl=%31", "ttl=01", "ttl=1&ttl=1"),
        *("ttl=1&x=1", "x=1", "ttl=" + "9" * 30, "ttl=1;ttl=2", "&", "TTL=1"),
    ],
)
def test_a_lifetime_that_is_none_is_refused(api: ApiClient, hello: tuple[str, str], query: str) -> None:
    upload_id, file_id = hello
    for path in (f"/uploads/{upload_id}/download", f"/files/{file_id}/download"):
        assert error_of(api.call("GET", f"{path}?{query}")) == (400, "ERR_INVALID_QUERY")


def test_no_link_and_no_key_is_ever_logged(start: ServerStarter, tmp_path: Path) -> None:
    key = "secret" * 8
    api = ApiClient(start("-api-key-file", str(key_file(tmp_path, key))), key=key)
    upload_id, _ = api.upload(b"hello")
    link = api.link(upload_id)
    assert get(api, link).status == 200
    assert get(api, link + "x").status == 403
    [signing_key] = read_keys(state_of(api.server) / "signing.keys")
    for secret in (key, link.partition("sig=")[2], signing_key.decode()):
        assert secret not in api.server.output()


# --- who may download what ---


def test_open_downloads_serve_a_tus_upload_as_tusd_and_a_chunk_upload_when_it_is_ready(api: ApiClient) -> None:
    unfinished = api.server.create(5)
    api.server.patch(unfinished, 0, b"hel")
    assert get(api, unfinished).body == b"hel"
    assert get(api, tus_upload(api.server)).body == b"hello"
    upload_id, _ = api.upload(b"hello")
    assert get(api, f"/files/{upload_id}").body == b"hello"


def test_signed_downloads_are_by_links_only(start: ServerStarter) -> None:
    api = ApiClient(start("-downloads", "signed"))
    upload_id, _ = api.upload(b"hello")
    url = tus_upload(api.server)
    for refused in (url, f"{api.server.url}{upload_id}"):
        answer = get(api, refused)
        assert (answer.status, answer.code) == (403, "ERR_LINK_REQUIRED")
        assert api.server.request("HEAD", refused, TUS).headers["upload-offset"] == "5"
        uploaded = refused.rpartition("/")[2]
        api.await_status(api.status(uploaded)["fileId"])
        assert get(api, api.link(uploaded)).body == b"hello"


@pytest.mark.parametrize("flags", [("-downloads", "off"), ("-disable-download",)])
def test_downloads_that_are_off_are_off_in_every_way(start: ServerStarter, flags: tuple[str, ...]) -> None:
    api = ApiClient(start(*flags))
    upload_id, file_id = api.upload(b"hello")
    link = f"/files/{file_id}?{signer_of(api).query(file_id, int(time.time()) + 60)}"
    for url in (link, f"/files/{upload_id}", tus_upload(api.server)):
        assert get(api, url).status == 405
    for path in (f"/uploads/{upload_id}/download", f"/files/{file_id}/download"):
        answer = api.call("GET", path)
        assert error_of(answer) == (405, "ERR_METHOD_NOT_ALLOWED")
        assert answer.headers["allow"] == "OPTIONS"
    assert api.file(file_id)["status"] == "ready"


def test_a_front_server_is_told_which_file_to_send(start: ServerStarter) -> None:
    api = ApiClient(start("-accel-redirect", "/internal/"))
    upload_id, file_id = api.upload(b"hello", fileName="a.txt")
    link = api.link(upload_id)
    for method, url in (("GET", link), ("HEAD", link), ("GET", f"/files/{upload_id}")):
        answer = api.server.request(method, url, {"Range": "bytes=0-1"})  # which the front server sees as well
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["x-accel-redirect"] == f"/internal/{file_id}"
        assert answer.headers["content-type"] == "text/plain"
        assert answer.headers["content-disposition"] == 'inline;filename="a.txt"'
    assert get(api, f"/files/{file_id}").status == 403
    (state_of(api.server) / "public" / file_id).unlink()
    assert get(api, api.link(upload_id)).body == b"hello"
    assert get(api, tus_upload(api.server)).body == b"hello"


# --- an allow-list ---


def test_types_that_are_not_allowed_are_refused_by_what_the_client_says(start: ServerStarter) -> None:
    api = ApiClient(start("-allowed-types", "image/png,text/plain"))
    allowed: tuple[dict[str, str], ...] = (
        {},
        {"filetype": "image/png"},
        {"type": "text/plain"},
        {"filetype": "Text/Plain; charset=x"},
    )
    for claim in (*allowed, {"filetype": "image/png", "type": "text/html"}, {"filename": "x.html"}):
        api.server.create(1, **with_metadata(**claim))
    before = sorted(api.server.upload_dir.iterdir())
    for claim in ({"filetype": "text/html"}, {"type": "text/html"}, {"filetype": "text/html", "type": "image/png"}):
        headers = {"Upload-Length": "1", "Upload-Metadata": with_metadata(**claim)["Upload_Metadata"]}
        answer = api.server.request("POST", headers=TUS | headers)
        assert (answer.status, answer.code) == (415, "ERR_TYPE_NOT_ALLOWED")
        with_body = api.server.request("POST", headers=TUS_CHUNK | headers, body=b"x")
        assert with_body.status == 415
    assert sorted(api.server.upload_dir.iterdir()) == before
    assert error_of(api.announce(announcement(b"", contentType="image/jpeg"))) == (415, "ERR_TYPE_NOT_ALLOWED")
    assert api.announce(announcement(b"", contentType="image/png")).status == 201


def test_parts_are_not_judged_by_what_the_client_says_and_their_whole_is(start: ServerStarter) -> None:
    server = start("-allowed-types", "image/png")
    html = with_metadata(filetype="text/html")
    part = server.create(0, Upload_Concat="partial", **html)
    headers = TUS | {"Upload-Concat": f"final;{part}"}
    refused = server.request("POST", headers=headers | {"Upload-Metadata": html["Upload_Metadata"]})
    assert (refused.status, refused.code) == (415, "ERR_TYPE_NOT_ALLOWED")
    assert server.request("POST", headers=headers).status == 201


def test_with_an_allow_list_only_ready_files_are_served(start: ServerStarter) -> None:
    api = ApiClient(start("-allowed-types", "text/plain"))
    not_ready = (409, "ERR_FILE_NOT_READY")
    unfinished = api.server.create(5)
    part = api.server.create(0, Upload_Concat="partial")
    for url in (unfinished, part):
        assert (get(api, url).status, get(api, url).code) == not_ready
    api.server.patch(unfinished, 0, b"hello")
    eventually(lambda: get(api, unfinished).status == 200)
    assert get(api, unfinished).body == b"hello"


def test_files_that_are_older_than_the_allow_list_are_served_when_they_are_ready(start: ServerStarter) -> None:
    server = start()
    url = tus_upload(server)
    server.kill()
    api = ApiClient(start("-allowed-types", "text/plain", upload_dir=server.upload_dir))
    path = f"/files/{url.rpartition('/')[2]}"
    assert get(api, path).status in (200, 409)
    eventually(lambda: get(api, path).body == b"hello")


# --- where the file is described ---


def test_the_answer_that_finishes_an_upload_says_where_its_file_is_described(start: ServerStarter) -> None:
    server = start("-downloads", "signed")
    api = ApiClient(server)
    url = server.create(5)
    assert "link" not in server.patch(url, 0, b"hel").headers
    part = server.create(0, Upload_Concat="partial")
    empty = server.request("POST", headers=TUS | {"Upload-Length": "0"})
    at_once = server.request("POST", headers=TUS_CHUNK | {"Upload-Length": "5"}, body=b"hello")
    final = server.request("POST", headers=TUS | {"Upload-Concat": f"final;{part} {part}"})
    last = server.patch(url, 3, b"lo")
    file_ids = set()
    for answer, location in (
        (last, url),
        *((answer, answer.headers["location"]) for answer in (empty, at_once, final)),
    ):
        match = re.fullmatch(r'<(/api/files/(f_[0-9a-f]{32}))>; rel="describedby"', answer.headers["link"])
        assert match is not None
        record = fields_of(server.request("GET", match[1]))
        assert record["id"] == match[2] == api.status(location.rpartition("/")[2])["fileId"]
        file_ids.add(match[2])
    assert len(file_ids) == 4
    for answer in (server.request("POST", headers=TUS | {"Upload-Length": "5"}), server.request("HEAD", part, TUS)):
        assert "link" not in answer.headers


def test_without_a_record_or_an_api_nothing_is_said(start: ServerStarter) -> None:
    for flags in ((), ("-downloads", "signed", "-api-path", "")):
        server = start(*flags)
        url = server.create(5)
        assert "link" not in server.patch(url, 0, b"hello").headers
        server.kill()
