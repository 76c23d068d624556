"""Metrics with tusd's names, types and labels (tusd-compat 5.1)."""

from __future__ import annotations

import re
import time

import pytest

from tests.hooks.receivers import Reply, receiver
from tests.patching import patch_head
from tests.running import CHUNK, TUS, Server, ServerStarter, eventually, read_all

TYPES = {
    "tusd_requests_total": "counter",
    "tusd_errors_total": "counter",
    "tusd_bytes_received": "counter",
    "tusd_uploads_created": "counter",
    "tusd_uploads_finished": "counter",
    "tusd_uploads_terminated": "counter",
    "tusd_connections_open": "gauge",
    "tusd_hook_invocations_total": "counter",
    "tusd_hook_errors_total": "counter",
    "process_cpu_seconds_total": "counter",
}
POST_HOOKS = ("post-create", "post-receive", "post-finish", "post-terminate")
HOOK_TYPES = ("pre-create", "pre-finish", "pre-terminate", *POST_HOOKS)


@pytest.fixture(scope="module")
def fresh(start_shared: ServerStarter) -> Server:
    return start_shared()


def metrics_of(server: Server) -> list[str]:
    answer = server.request("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.body.decode().splitlines()


def values(server: Server, name: str) -> dict[str, float]:
    """The samples of a metric by what stands in the braces."""
    found = [re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line) for line in metrics_of(server)]
    return {match[1] or "": float(match[2]) for match in found if match}


@pytest.mark.parametrize("name", TYPES)
def test_every_metric_has_its_type(fresh: Server, name: str) -> None:
    assert f"# TYPE {name} {TYPES[name]}" in metrics_of(fresh)


@pytest.mark.parametrize("name", ["tusd_hook_invocations_total", "tusd_hook_errors_total"])
def test_every_type_of_hook_is_there_from_the_start(fresh: Server, name: str) -> None:
    found = values(fresh, name)
    assert [found[f'hooktype="{kind}"'] for kind in HOOK_TYPES] == [0.0] * len(HOOK_TYPES)


def test_every_method_is_there_from_the_start_and_no_other_is_counted(start: ServerStarter) -> None:
    server = start()
    methods = ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS")
    assert values(server, "tusd_requests_total") == {f'method="{method}"': 0.0 for method in methods}
    server.request("PUT", headers=TUS)
    server.request("POST", headers=TUS | {"X-HTTP-Method-Override": "OPTIONS"})
    counted = values(server, "tusd_requests_total")
    assert {name for name, value in counted.items() if value} == {'method="OPTIONS"'}


def test_uploads_are_counted_and_so_are_errors_but_not_a_wrong_method(start: ServerStarter) -> None:
    server = start()
    url = server.create(5)
    server.patch(url, 0, b"hel")
    server.patch(url, 0, b"x")
    server.patch(url, 3, b"lo")
    server.request("PUT", url, TUS)
    server.request("DELETE", url, TUS)
    assert values(server, "tusd_errors_total") == {'code="ERR_MISMATCHED_OFFSET",status="409"': 1.0}
    for name, value in (("bytes_received", 5), ("uploads_created", 1), ("uploads_finished", 1)):
        assert values(server, f"tusd_{name}") == {"": value}
    assert values(server, "tusd_uploads_terminated") == {"": 1}
    assert values(server, "tusd_connections_open") == {"": 1}


def test_bytes_are_counted_however_they_come_and_what_go_would_refuse_is_no_error(start: ServerStarter) -> None:
    server = start()
    url = server.request("POST", headers=CHUNK | {"Upload-Length": "5"}, body=b"hel").headers["location"]
    server.patch(url, 3, b"lo")
    assert values(server, "tusd_bytes_received") == {"": 5}
    assert server.request("GET", url, {"Range": "bytes=9-"}).status == 416
    with server.connection(), server.connection():
        eventually(lambda: values(server, "tusd_connections_open") == {"": 3})
    eventually(lambda: values(server, "tusd_connections_open") == {"": 1})
    assert values(server, "tusd_errors_total") == {}


def test_what_hooks_decide_is_counted_as_it_ends(start: ServerStarter) -> None:
    """A rejection with the status of the hook, a stop as a termination; what pre-finish prevents is not finished."""
    rejection = Reply(body=b'{"RejectUpload":true,"HTTPResponse":{"StatusCode":402}}')
    stop = Reply(body=b'{"StopUpload":true}')
    with receiver(rejection, Reply(), stop, Reply(), Reply(404)) as hooks:
        events = ("-hooks-enabled-events", "pre-create,post-receive,pre-finish")
        server = start("-hooks-http", hooks.url, *events, "-progress-hooks-interval", "50ms")
        assert server.request("POST", headers=TUS | {"Upload-Length": "5"}).status == 402
        url = server.create(100)
        with server.connection() as connection:
            connection.sendall(patch_head(url, 0, 100) + b"hello")
            assert b"ERR_UPLOAD_STOPPED" in read_all(connection)
        assert server.request("POST", headers=TUS | {"Upload-Length": "0"}).status == 500
    assert values(server, "tusd_errors_total") == {
        'code="ERR_UPLOAD_REJECTED",status="402"': 1,
        'code="ERR_UPLOAD_STOPPED",status="400"': 1,
        'code="ERR_INTERNAL_SERVER_ERROR",status="500"': 1,
    }
    assert values(server, "tusd_uploads_terminated") == {"": 1}
    assert values(server, "tusd_uploads_created") == {"": 2}
    assert values(server, "tusd_uploads_finished") == {"": 0}


def test_the_process_is_described_with_the_names_of_all_prometheus_libraries(fresh: Server) -> None:
    names = ("cpu_seconds_total", "open_fds", "max_fds", "virtual_memory_bytes", "resident_memory_bytes")
    assert [name for name in names if values(fresh, f"process_{name}")[""] <= 0] == []
    assert abs(time.time() - values(fresh, "process_start_time_seconds")[""]) < 3600
