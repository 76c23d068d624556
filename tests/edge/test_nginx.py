"""The README's nginx configurations, in a real nginx."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.edge import FILE_ID, OTHER_FILE_ID, readme_block, signature_over
from tests.edge.nginx import Nginx, nginx, publish, state_directory
from tests.running import eventually
from tusd_py.core.links import LinkSigner

LINKS = "# /etc/nginx/conf.d/tusd-py.conf"
ACCELERATION = "# X-Accel-Redirect"
PROXY = "location /files/ {"

OLD_KEY, KEY = secrets.token_hex(32), secrets.token_hex(32)
SIGNER = LinkSigner([OLD_KEY.encode(), KEY.encode()])
FOREIGN = LinkSigner([b"f" * 32])

DATA = bytes(range(256)) * 1024
ABOUT = {"type": "image/png", "disposition": 'inline;filename="ü\\"1".png;filename*=UTF-8\'\'%C3%BC1.png'}
SECRET = b"not for everyone"
HTML_ID, NOT_DESCRIBED, TORN, NOT_THERE, TAKEN_AWAY = ("f_" + digit * 32 for digit in "abcde")


@dataclass(frozen=True)
class Edge:
    """A running nginx and the state directory that it serves from."""

    server: Nginx
    state: Path


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    with state_directory() as state:
        keys = state / "signing.keys"
        keys.write_text(f"# oldest first\n{OLD_KEY}\n\n  {KEY}\r\n")
        keys.chmod(0o600)
        publish(state, FILE_ID, DATA, ABOUT)
        publish(state, OTHER_FILE_ID, b"other", {"type": "text/plain", "disposition": "inline"})
        publish(state, HTML_ID, b"<script>", {"type": "text/html", "disposition": "attachment"})
        for name in ("stray", "f_0123456789ABCDEF0123456789ABCDEF"):
            publish(state, name, SECRET, ABOUT)
        for file_id in (NOT_DESCRIBED, TORN):
            (state / "public" / file_id).write_bytes(SECRET)
        (state / "public" / f"{TORN}.json").write_bytes(b"")
        # Beside the public files is what nginx could read as well.
        (state / "quarantine").mkdir()
        for path in (state / "quarantine" / FILE_ID, state / "private", state.parent / f"{'0' * 32}.info"):
            path.write_bytes(SECRET)
            path.chmod(0o644)
        with nginx(readme_block(LINKS), state) as server:
            yield Edge(server, state)


def expiry(seconds: float = 60) -> int:
    return int(time.time() + seconds)


def link(file_id: str = FILE_ID, signer: LinkSigner = SIGNER, seconds: float = 60) -> str:
    return f"/files/{file_id}?{signer.query(file_id, expiry(seconds))}"


# --- good links ---


def test_a_good_link_serves_the_bytes_as_the_server_describes_them(edge: Edge) -> None:
    answer = edge.server.request("GET", link())
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"].encode("latin-1").decode() == ABOUT["disposition"]
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["accept-ranges"] == "bytes"


def test_what_is_not_for_showing_is_an_attachment(edge: Edge) -> None:
    answer = edge.server.request("GET", link(HTML_ID))
    assert answer.status == 200
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_head_says_the_same_without_the_bytes(edge: Edge) -> None:
    head, get = edge.server.request("HEAD", link()), edge.server.request("GET", link())
    assert (head.status, head.body) == (200, b"")
    names = get.headers.keys() - {"date", "cache-control"}
    assert {name: head.headers[name] for name in names} == {name: get.headers[name] for name in names}


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=1000-1999", 1000, 2000), ("bytes=-5", len(DATA) - 5, len(DATA))],
)
def test_a_range_is_a_part_of_the_bytes(edge: Edge, asked: str, start: int, end: int) -> None:
    answer = edge.server.request("GET", link(), {"Range": asked})
    assert (answer.status, answer.body) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"].startswith("inline;")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_range_beyond_the_end_is_said(edge: Edge) -> None:
    answer = edge.server.request("GET", link(), {"Range": f"bytes={len(DATA)}-"})
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"
    assert answer.headers["content-type"] == "text/html"


def test_a_file_that_has_not_changed_is_not_sent_again(edge: Edge) -> None:
    changed_at = edge.server.request("HEAD", link()).headers["last-modified"]
    assert edge.server.request("GET", link(), {"If-Modified-Since": changed_at}).status == 304
    earlier = formatdate(0, usegmt=True)
    assert edge.server.request("GET", link(), {"If-Modified-Since": earlier}).status == 200


def test_a_link_of_the_old_key_is_good_and_so_is_one_with_its_parameters_the_other_way_round(edge: Edge) -> None:
    assert edge.server.request("GET", link(signer=LinkSigner([OLD_KEY.encode()]))).status == 200
    expires = expiry()
    assert (
        edge.server.request("GET", f"/files/{FILE_ID}?sig={SIGNER.sign(FILE_ID, expires)}&expires={expires}").status
        == 200
    )


def test_no_cache_keeps_a_file_longer_than_its_link(edge: Edge) -> None:
    private, _, age = edge.server.request("GET", link(seconds=3600)).headers["cache-control"].partition(", max-age=")
    assert private == "private"
    assert 3500 < int(age) <= 3600


def test_a_link_ends_when_it_expires(edge: Edge) -> None:
    short = ""

    def is_good() -> bool:
        nonlocal short
        short = link(seconds=2)
        return edge.server.request("GET", short).status == 200

    eventually(is_good)  # on a slow machine it may have ended before it is asked for
    eventually(lambda: edge.server.request("GET", short).status == 403)


def test_a_file_that_is_taken_away_is_gone_at_once(edge: Edge) -> None:
    address = link(TAKEN_AWAY)
    publish(edge.state, TAKEN_AWAY, b"x", ABOUT)
    assert edge.server.request("GET", address).status == 200
    (edge.state / "public" / TAKEN_AWAY).unlink()
    assert edge.server.request("GET", address).status == 404


# --- bad links ---


def assert_refused(edge: Edge, target: str, *statuses: int) -> None:
    for method in ("GET", "HEAD"):
        answer = edge.server.request(method, target)
        assert answer.status in statuses
        assert DATA[:64] not in answer.body
        assert "content-disposition" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"


def bad_links() -> dict[str, str]:
    expires = expiry()
    signature = SIGNER.sign(FILE_ID, expires)
    other_last = "A" if signature[-1] != "A" else "E"
    queries = {
        "no query": "",
        "an empty query": "?",
        "no signature": f"?expires={expires}",
        "no expiry": f"?sig={signature}",
        "empty values": "?expires=&sig=",
        "later": f"?expires={expires + 1}&sig={signature}",
        "never": f"?expires={'9' * 19}&sig={signature}",
        "a zero before the expiry": f"?expires=0{expires}&sig={signature}",
        "too many digits": f"?{SIGNER.query(FILE_ID, 10**19)}",
        "a hexadecimal expiry": f"?expires=0x7fffffff&sig={signature_over(KEY.encode(), FILE_ID + ':0x7fffffff')}",
        "expired": f"?{SIGNER.query(FILE_ID, expiry(-1))}",
        "expired long ago": f"?{SIGNER.query(FILE_ID, 1)}",
        "a foreign key": f"?{FOREIGN.query(FILE_ID, expires)}",
        "an empty key": f"?{LinkSigner([b'']).query(FILE_ID, expires)}",
        "the comment as the key": f"?{LinkSigner([b'# oldest first']).query(FILE_ID, expires)}",
        "another file": f"?{SIGNER.query(OTHER_FILE_ID, expires)}",
        "a thumbnail": f"?{SIGNER.query(FILE_ID + '/thumbnail/256', expires)}",
        "the first character": f"?expires={expires}&sig={'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "the last character": f"?expires={expires}&sig={signature[:-1]}{other_last}",
        "the spare bits": f"?expires={expires}&sig={signature[:-1]}{chr(ord(signature[-1]) + 1)}",
        "padding": f"?expires={expires}&sig={signature}=",
        "a shorter signature": f"?expires={expires}&sig={signature[:-1]}",
        "an escaped parameter": f"?%65xpires={expires}&sig={signature}",
        "another parameter": f"?expires={expires}&sig={signature}&download=1",
        "an ampersand": f"?expires={expires}&sig={signature}&",
        "a semicolon": f"?expires={expires};sig={signature}",
        "a fragment": f"?expires={expires}&sig={signature}#",
    }
    return {name: f"/files/{FILE_ID}{query}" for name, query in queries.items()}


@pytest.mark.parametrize("name", bad_links())
def test_a_link_that_is_not_good_is_refused(edge: Edge, name: str) -> None:
    assert_refused(edge, bad_links()[name], 403)


@pytest.mark.parametrize("again", ["expires", "expires=1", "expires={expires}", "sig=", "sig={signature}", "a&a"])
def test_a_parameter_that_stands_twice_is_a_bad_request(edge: Edge, again: str) -> None:
    expires = expiry()
    more = again.format(expires=expires, signature=SIGNER.sign(FILE_ID, expires))
    good = SIGNER.query(FILE_ID, expires)
    assert_refused(edge, f"/files/{FILE_ID}?{good}&{more}", 400)
    assert_refused(edge, f"/files/{FILE_ID}?{more}&{good}", 400)


@pytest.mark.parametrize("file_id", [NOT_THERE, NOT_DESCRIBED, TORN])
def test_what_is_not_published_or_only_half_is_not_found(edge: Edge, file_id: str) -> None:
    assert_refused(edge, link(file_id), 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_files_can_only_be_read(edge: Edge, method: str) -> None:
    assert edge.server.request(method, link(OTHER_FILE_ID)).status == 405
    assert edge.server.request("GET", link(OTHER_FILE_ID)).body == b"other"


# --- everything else ---

PATHS = [
    b"/",
    b"/files",
    b"/files/",
    b"/files/public/",
    b"/public/%b",
    b"/internal/%b",
    b"/%b",
    b"/files/%b.json",
    b"/files/%b%%2ejson",
    b"/files/%b%%00.json",
    b"/files/%b%%00",
    b"/files/%b\x00.json",
    b"/files/%b%%0a",
    b"/files/%b;.json",
    b"/files/%b/",
    b"/files/%b/.json",
    b"/files/%b/..",
    b"/files/%b/../",
    b"/files/%b/../signing.keys",
    b"/files/%b/../../signing.keys",
    b"/files/%b/%%2e%%2e/%%2e%%2e/signing.keys",
    b"/files/%b%%2f%%2e%%2e%%2f%%2e%%2e%%2fsigning.keys",
    b"/files/%b/../%b.json",
    b"/files/../signing.keys",
    b"/files/../public/../signing.keys",
    b"/files../signing.keys",
    b"/files/..%%2fsigning.keys",
    b"/files/%%2e%%2e/signing.keys",
    b"/files/%%2e%%2e%%2fsigning.keys",
    b"/files/%%252e%%252e/signing.keys",
    b"/files/..\\signing.keys",
    b"/files/....//signing.keys",
    b"/files//signing.keys",
    b"//files/../../signing.keys",
    b"/files/signing.keys",
    b"/signing.keys",
    b"/../signing.keys",
    b"/.tusd-py/signing.keys",
    b"/files/.tusd-py/signing.keys",
    b"/files/../private",
    b"/files/../quarantine/%b",
    b"/files/%%2e%%2e/quarantine/%b",
    b"/quarantine/%b",
    b"/files/quarantine/%b",
    b"/files/00000000000000000000000000000000.info",
    b"/files/../../00000000000000000000000000000000.info",
    b"/files/00000000000000000000000000000000",
    b"/files/f_*",
    b"/files/f_0123456789ABCDEF0123456789ABCDEF",
    b"/files/stray",
    # Other spellings of a good path are no path.
    b"/files//%b",
    b"//files/%b",
    b"/files/./%b",
    b"/files/x/../%b",
    b"/files/%%66_0123456789abcdef0123456789abcdef",
    b"/%%66iles/%b",
]


@pytest.mark.parametrize("path", PATHS)
def test_nothing_else_can_be_reached_even_with_a_good_signature(edge: Edge, path: bytes) -> None:
    file_id = FILE_ID.encode()
    path = path.replace(b"%b", file_id).replace(b"%%", b"%")
    subjects = {FILE_ID, path.removeprefix(b"/files/").decode(), path.rpartition(b"/")[2].decode(), ""}
    queries = [b"", *(b"?" + SIGNER.query(subject, expiry()).encode() for subject in subjects)]
    for query in queries:
        answer = edge.server.raw(path + query)
        status = int(answer.split(b" ")[1])
        assert status in (400, 403, 404), answer
        for kept in (DATA[:64], SECRET, KEY.encode(), OLD_KEY.encode(), b"image/png", b"Index of", b"signing.keys"):
            assert kept not in answer


def test_a_good_path_written_as_an_absolute_one_is_that_path(edge: Edge) -> None:
    assert edge.server.raw(b"http://edge" + link().encode()).startswith(b"HTTP/1.1 200 ")
    assert edge.server.raw(b"http://edge/files/../signing.keys").startswith(b"HTTP/1.1 404 ")


def test_the_workers_may_not_open_the_key_file_and_do_not_hold_it_open(edge: Edge) -> None:
    if os.geteuid() == 0:
        for worker in edge.server.workers():
            status = Path(f"/proc/{worker}/status").read_text()
            assert "Uid:\t65534\t65534\t65534\t65534" in status
        assert (edge.state / "signing.keys").stat().st_uid == 0
        assert (edge.state / "signing.keys").stat().st_mode & 0o077 == 0
    for process in (edge.server.process.pid, *edge.server.workers()):
        opened = [os.readlink(path) for path in Path(f"/proc/{process}/fd").iterdir()]
        assert str(edge.state / "signing.keys") not in opened


def test_nothing_that_opens_a_file_is_logged(edge: Edge) -> None:
    edge.server.request("GET", link())
    edge.server.request("GET", link(NOT_THERE))
    edge.server.request("GET", link(signer=FOREIGN))
    publish(edge.state, TAKEN_AWAY, b"x", ABOUT)
    (edge.state / "public" / TAKEN_AWAY).unlink()
    edge.server.request("GET", link(TAKEN_AWAY))
    logged = eventually(edge.server.logged)
    assert f"GET /files/{FILE_ID}" in logged
    assert "sig=" not in logged
    assert KEY not in logged


def test_a_new_key_counts_after_a_reload_and_a_removed_one_does_not() -> None:
    with state_directory() as state:
        keys = state / "signing.keys"
        publish(state, FILE_ID, DATA, ABOUT)
        old, new = (link(signer=LinkSigner([key.encode()])) for key in (OLD_KEY, KEY))
        keys.write_text(OLD_KEY)
        with nginx(readme_block(LINKS), state) as server:
            assert (server.request("GET", old).status, server.request("GET", new).status) == (200, 403)
            keys.write_text(f"{OLD_KEY}\n{KEY}\n")
            server.reload()
            eventually(lambda: server.request("GET", new).status == 200)
            keys.write_text(KEY)
            server.reload()
            eventually(lambda: server.request("GET", old).status == 403)
            assert server.request("GET", new).status == 200


@pytest.mark.parametrize("keys", ["", "\n# no key\n", None])
def test_without_a_key_it_does_not_start(keys: str | None) -> None:
    with state_directory() as state:
        if keys is not None:
            (state / "signing.keys").write_text(keys)
        with pytest.raises(AssertionError, match=r"signing\.keys"), nginx(readme_block(LINKS), state):
            pass


# --- X-Accel-Redirect ---


class Origin(BaseHTTPRequestHandler):
    """What the server answers to a good link, for any path below `/files/`: no bytes, but where they are."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-Accel-Redirect", "/internal/" + self.path.removeprefix("/files/").partition("?")[0])
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Disposition", "inline;filename=1.png")
        self.send_header("Access-Control-Allow-Origin", "https://app.example.org")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def accelerated(edge: Edge) -> Iterator[Nginx]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Origin) as origin:
        thread = Thread(target=origin.serve_forever)
        thread.start()
        proxy = readme_block(PROXY).replace("127.0.0.1:8080", f"127.0.0.1:{origin.server_port}")
        configuration = (
            f"server {{\nlisten 80;\naccess_log /var/log/nginx/tusd-py.log;\n{proxy}{readme_block(ACCELERATION)}}}\n"
        )
        with nginx(configuration, edge.state) as server:
            yield server
        origin.shutdown()
        thread.join()


def test_nginx_sends_the_bytes_that_the_server_points_to(accelerated: Nginx) -> None:
    answer = accelerated.request("GET", link())
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == "inline;filename=1.png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
    assert "access-control-expose-headers" not in answer.headers
    assert "x-accel-redirect" not in answer.headers


def test_it_sends_ranges_and_answers_head_too(accelerated: Nginx) -> None:
    part = accelerated.request("GET", link(), {"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, DATA[10:20])
    head = accelerated.request("HEAD", link())
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(DATA))


@pytest.mark.parametrize(
    "path", ["/internal/", f"/internal/{FILE_ID}", f"/internal/../internal/{FILE_ID}", "/internal/../signing.keys"]
)
def test_nobody_but_the_server_can_point_there(accelerated: Nginx, path: str) -> None:
    answer = accelerated.request("GET", path)
    assert answer.status in (403, 404)
    assert DATA[:64] not in answer.body
