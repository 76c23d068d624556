"""Metrics with tusd's names, types and labels (tusd-compat 5.1)."""

from __future__ import annotations

import re

import pytest

from tests.running import TUS, Server, ServerStarter

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
