"""Cross-origin rules (tusd-compat 2.3, DESIGN's additions at the end of the lists)."""

from __future__ import annotations

from tests.running import TUS, Server, ServerStarter

ORIGIN = {"Origin": "https://page.example"}


def test_a_preflight_is_answered_with_what_clients_need(server: Server) -> None:
    headers = server.request("OPTIONS", headers=ORIGIN).headers
    assert headers["access-control-allow-origin"] == "https://page.example"
    assert headers["vary"] == "Origin"
    assert headers["access-control-allow-methods"] == "POST, HEAD, PATCH, OPTIONS, GET, DELETE"
    assert headers["access-control-allow-headers"] == (
        "Authorization, Origin, X-Requested-With, X-Request-ID, X-HTTP-Method-Override, Content-Type, Upload-Length, "
        "Upload-Offset, Tus-Resumable, Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Incomplete, "
        "Upload-Complete, Upload-Draft-Interop-Version, Upload-Checksum"
    )
    assert headers["access-control-max-age"] == "86400"
    assert "access-control-allow-credentials" not in headers
    assert headers["tus-version"] == "1.0.0"


def test_answers_and_errors_can_be_read_by_a_page(server: Server) -> None:
    for answer in (
        server.request("POST", headers=TUS | ORIGIN | {"Upload-Length": "1"}),
        server.request("POST", headers=TUS | ORIGIN),
        server.request("HEAD", server.url + "unknown", ORIGIN),
    ):
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        assert answer.headers["access-control-expose-headers"] == (
            "Upload-Offset, Location, Upload-Length, Tus-Version, Tus-Resumable, Tus-Max-Size, Tus-Extension, "
            "Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Incomplete, Upload-Complete, "
            "Upload-Draft-Interop-Version, Upload-Expires, Tus-Checksum-Algorithm, Retry-After, Link"
        )


def test_without_an_origin_there_are_no_cors_headers(server: Server) -> None:
    headers = server.request("OPTIONS").headers
    assert not [name for name in headers if name.startswith("access-control") or name == "vary"]


def test_an_origin_that_is_not_allowed_is_refused(start: ServerStarter) -> None:
    server = start("-cors-allow-origin", r"page\.ex")  # searched for, not matched against the whole
    assert server.request("OPTIONS", headers=ORIGIN).status == 200
    foreign = {"Origin": "https://page.test"}
    for method in ("OPTIONS", "POST", "HEAD", "GET"):
        answer = server.request(method, headers=TUS | foreign | {"Upload-Length": "1"})
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("access-control") or name == "vary"]
    assert server.request("POST", headers=TUS | foreign).code == "ERR_ORIGIN_NOT_ALLOWED"


def test_the_operator_can_add_to_the_lists(start: ServerStarter) -> None:
    server = start(
        *("-cors-allow-credentials", "-cors-allow-methods", "PURGE", "-cors-allow-headers", "X-One, X-Two"),
        *("-cors-max-age", "60", "-cors-expose-headers", "X-Three"),
    )
    preflight = server.request("OPTIONS", headers=ORIGIN).headers
    assert preflight["access-control-allow-credentials"] == "true"
    assert preflight["access-control-allow-methods"].endswith("GET, DELETE, PURGE")
    assert preflight["access-control-allow-headers"].endswith("Upload-Checksum, X-One, X-Two")
    assert preflight["access-control-max-age"] == "60"
    answer = server.request("POST", headers=TUS | ORIGIN | {"Upload-Length": "1"}).headers
    assert answer["access-control-expose-headers"].endswith("Link, X-Three")
    assert answer["access-control-allow-credentials"] == "true"


def test_cors_can_be_switched_off(start: ServerStarter) -> None:
    server = start("-disable-cors", "-cors-allow-origin", "nobody")
    answer = server.request("POST", headers=TUS | ORIGIN | {"Upload-Length": "1"})
    assert answer.status == 201
    assert "access-control-allow-origin" not in answer.headers
