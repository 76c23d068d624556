"""Where the JSON API is, what pages of other origins may do with it, and what stands beside it."""

from __future__ import annotations

import pytest

from tests.chunked import fields_of
from tests.running import DEADLINE, TUS, ServerStarter
from tests.web.api import SMALL_CHUNKS, ApiClient, announcement, error_of

ORIGIN = {"Origin": "https://page.example"}


@pytest.mark.parametrize("path", ["v2", "//v2//"])
def test_the_api_is_where_it_is_wanted(start: ServerStarter, path: str) -> None:
    server = start(*SMALL_CHUNKS, "-api-path", path)
    api = ApiClient(server, "/v2")
    upload_id, _ = api.upload(b"hello")
    assert server.request("GET", api.link(upload_id)).body == b"hello"
    assert server.request("GET", "/api/openapi.json").body.startswith(b"Welcome")
    assert error_of(server.request("GET", "/v2")) == (404, "ERR_NOT_FOUND")
    assert server.request("GET", "/v2x").body.startswith(b"Welcome")


def test_an_empty_path_switches_the_api_off(start: ServerStarter) -> None:
    server = start("-api-path", "", "-show-greeting=false")
    for method, path in (("POST", "/api/uploads/initiate"), ("GET", "/api/openapi.json"), ("GET", "/uploads/x/status")):
        assert server.request(method, path).status == 404
    url = server.create(5)
    assert server.patch(url, 0, b"hello").status == 204
    assert server.request("GET", url).body == b"hello"


def test_at_the_root_the_api_health_and_metrics_win_over_ids(start: ServerStarter) -> None:
    api = ApiClient(start(*SMALL_CHUNKS, "-base-path", "/"))
    server = api.server
    upload_id, file_id = api.upload(b"hello")
    link = api.link(upload_id)
    assert link.startswith(f"http://127.0.0.1:{server.port}/{file_id}?")
    assert server.request("GET", link).body == b"hello"
    assert server.request("GET", f"/{upload_id}").body == b"hello"
    assert server.offset(f"/{upload_id}") == 5
    assert fields_of(server.request("GET", "/health"))["status"] == "ok"
    assert server.request("GET", "/metrics").body.startswith(b"# HELP")
    assert error_of(server.request("GET", "/api")) == (404, "ERR_NOT_FOUND")
    url = server.create(5)
    assert url.startswith(f"http://127.0.0.1:{server.port}/")
    assert server.patch(url, 0, b"hello").status == 204
    assert server.request("HEAD", "/apis", TUS).status == 404


@pytest.mark.parametrize(
    "flags",
    [
        ("-api-path", "/files"),
        ("-api-path", "/files/api"),
        ("-api-path", "/"),
        ("-base-path", "/api/files/"),
        ("-metrics-path", "/files/metrics"),
        ("-metrics-path", "/api"),
        ("-metrics-path", "/health"),
    ],
    ids=" ".join,
)
def test_places_that_hide_one_another_are_refused(start: ServerStarter, flags: tuple[str, str]) -> None:
    server = start(*flags, wait=False)
    assert server.process.wait(DEADLINE) == 1
    assert "hide" in server.output() or "are both /health" in server.output()


def test_where_nothing_may_be_removed_the_api_removes_nothing(start: ServerStarter) -> None:
    api = ApiClient(start(*SMALL_CHUNKS, "-disable-termination"))
    upload_id, _ = api.upload(b"hello")
    answer = api.call("DELETE", f"/uploads/{upload_id}")
    assert error_of(answer) == (405, "ERR_METHOD_NOT_ALLOWED")
    assert "DELETE" not in answer.headers["allow"]
    assert api.status(upload_id)["status"] == "ready"
    described = api.ask("GET", "/openapi.json")["paths"]
    assert "delete" not in described.get("/uploads/{uploadId}", {})


def test_links_lead_to_where_the_proxy_is(start: ServerStarter) -> None:
    api = ApiClient(start("-behind-proxy", "-base-path", "/up/"))
    upload_id, file_id = api.upload(b"hello")
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "files.example"}
    for path in (f"/uploads/{upload_id}/download", f"/files/{file_id}/download"):
        link = fields_of(api.call("GET", path, headers=forwarded))["downloadUrl"]
        assert link.startswith(f"https://files.example/up/{file_id}?")
        assert api.server.request("GET", link).body == b"hello"


# --- pages of other origins ---


def test_a_preflight_is_answered_with_what_the_api_needs(api: ApiClient) -> None:
    asked = ORIGIN | {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-chunk-checksum"}
    for path in ("/uploads/initiate", "/uploads/x/chunks/0", "/files/x", "/openapi.json", "/nowhere"):
        answer = api.call("OPTIONS", path, headers=asked)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        assert answer.headers["access-control-allow-methods"] == "GET, HEAD, POST, PUT, DELETE, OPTIONS"
        assert answer.headers["access-control-allow-headers"] == "Authorization, Content-Type, X-Chunk-Checksum"
        assert answer.headers["access-control-max-age"] == "86400"
        assert answer.headers["vary"] == "Origin"


def test_answers_and_errors_can_be_read_by_a_page(api: ApiClient) -> None:
    for answer in (
        api.call("POST", "/uploads/initiate", b"{}", ORIGIN),
        api.call("GET", "/uploads/unknown/status", headers=ORIGIN),
        api.call("GET", "/nowhere", headers=ORIGIN),
        api.call("PATCH", "/uploads/initiate", headers=ORIGIN),
        api.call("GET", "/openapi.json", headers=ORIGIN),
    ):
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        assert answer.headers["access-control-expose-headers"] == "Retry-After"
    assert "access-control-allow-origin" not in api.call("GET", "/openapi.json").headers


def test_an_origin_that_is_not_allowed_is_refused(start: ServerStarter) -> None:
    api = ApiClient(start("-cors-allow-origin", r"https://.*\.example"))
    foreign = {"Origin": "https://page.test"}
    for method, path in (("OPTIONS", "/uploads/initiate"), ("POST", "/uploads/initiate"), ("GET", "/openapi.json")):
        answer = api.call(method, path, headers=foreign)
        assert error_of(answer) == (403, "ERR_ORIGIN_NOT_ALLOWED")
        assert "access-control-allow-origin" not in answer.headers
    assert api.call("GET", "/openapi.json", headers=ORIGIN).status == 200
    assert api.announce(announcement(b"")).status == 201


def test_cors_can_be_switched_off(start: ServerStarter) -> None:
    api = ApiClient(start("-disable-cors", "-cors-allow-origin", "nobody"))
    answer = api.call("GET", "/openapi.json", headers=ORIGIN)
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers


# --- beside it ---


def test_requests_and_errors_are_counted(start: ServerStarter) -> None:
    server = start()
    api = ApiClient(server)
    upload_id, _ = api.upload(b"hello")
    api.call("GET", "/uploads/unknown/status")
    api.call("DELETE", f"/uploads/{upload_id}")
    metrics = server.request("GET", "/metrics").body.decode()
    assert 'tusd_errors_total{code="ERR_UPLOAD_NOT_FOUND",status="404"} 1.0' in metrics
    for line in ("tusd_uploads_created 1.0", "tusd_uploads_finished 1.0", "tusd_uploads_terminated 1.0"):
        assert line in metrics
    assert "tusd_bytes_received 5.0" in metrics


def test_every_request_is_logged_with_its_id(start: ServerStarter) -> None:
    server = start()
    ApiClient(server).call("GET", "/uploads/unknown/status", headers={"X-Request-ID": "abc"})
    assert "event=RequestIncoming method=GET path=/uploads/unknown/status requestId=abc" in server.output()
    assert "event=ResponseOutgoing method=GET path=/uploads/unknown/status requestId=abc status=404" in server.output()
