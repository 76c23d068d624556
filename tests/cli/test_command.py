"""The command as an operator meets it: start-up lines, exit statuses, logs, pages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import DEADLINE, TUS, ServerStarter


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tusd_py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)


def test_help_goes_to_standard_error_and_is_no_failure() -> None:
    result = run("-help")
    assert result.returncode == 0
    assert result.stdout == ""
    assert result.stderr.startswith("Usage of ")


def test_a_bad_flag_is_explained_with_the_usage() -> None:
    result = run("-nonsense")
    assert result.returncode == 2
    assert result.stderr.startswith("flag provided but not defined: -nonsense\nUsage of ")


def test_the_version_is_three_lines() -> None:
    result = run("-version")
    assert result.returncode == 0
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == ["Version", "Commit", "Date"]


@pytest.mark.parametrize(
    "flags",
    [
        ("-cors-allow-origin", "("),
        ("-port", "99999"),
        ("-port", "nonsense"),
        ("-base-path", "files"),
        ("-metrics-path", "metrics"),
        ("-upload-dir", "/dev/null/x"),
        ("-state-dir", "/proc/self"),
    ],
)
def test_what_cannot_be_served_ends_the_start_with_one_line(tmp_path: Path, flags: tuple[str, ...]) -> None:
    result = run("-upload-dir", str(tmp_path), "-port", "0", *flags)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1


def test_a_state_directory_on_another_file_system_is_refused(tmp_path: Path) -> None:
    result = run("-upload-dir", str(tmp_path), "-port", "0", "-state-dir", f"/dev/shm/{tmp_path.name}-state")
    Path(f"/dev/shm/{tmp_path.name}-state").exists()
    assert result.returncode == 1
    assert "same file system" in result.stderr


def test_start_up_lines_are_tusds(start: ServerStarter, tmp_path: Path) -> None:
    server = start("-max-size", "1048576", "-base-path", "/up/")
    lines = [line.partition(" ")[2].partition(" ")[2] for line in server.output().splitlines()]
    assert lines[:7] == [
        f"Using '{tmp_path / 'data'}' as directory storage.",
        "Using 1.00MB as maximum size.",
        "Supported tus extensions: creation,creation-with-upload,termination,concatenation,creation-defer-length,"
        "checksum,checksum-trailer",
        "Using 127.0.0.1:0 as address to listen.",
        "Using /up/ as the base path.",
        "Using /metrics as the metrics path.",
        f"You can now upload files to: http://127.0.0.1:{server.port}/up/",
    ]


def test_events_are_logged_with_tusds_names(start: ServerStarter) -> None:
    server = start()
    url = server.create(5)
    server.patch(url, 0, b"hello")
    server.request("POST", headers={"X-Request-ID": "abc"})
    server.terminate()
    text = server.output()
    line = r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} level=(\w+) event=(\w+) method=(\w+) "
    events = re.findall(line, text, re.MULTILINE)
    assert events == [
        ("INFO", "RequestIncoming", "POST"),
        ("INFO", "UploadCreated", "POST"),
        ("INFO", "ResponseOutgoing", "POST"),
        ("INFO", "RequestIncoming", "PATCH"),
        ("INFO", "ChunkWriteStart", "PATCH"),
        ("INFO", "ChunkWriteComplete", "PATCH"),
        ("INFO", "UploadFinished", "PATCH"),
        ("INFO", "ResponseOutgoing", "PATCH"),
        ("INFO", "RequestIncoming", "POST"),
        ("INFO", "ResponseOutgoing", "POST"),
    ]
    assert "requestId=abc" in text


def test_json_logs_have_the_event_under_msg(start: ServerStarter) -> None:
    server = start("-log-format", "json")
    server.request("POST", headers=TUS | {"Upload-Length": "5", "X-Request-ID": 'a"b' + "c" * 50})
    server.terminate()
    lines = [json.loads(line) for line in server.output().splitlines()]
    assert all(list(line)[:3] == ["time", "level", "msg"] for line in lines)
    (incoming,) = [line for line in lines if line["msg"] == "RequestIncoming"]
    assert (incoming["method"], incoming["path"], incoming["requestId"]) == ("POST", "", 'a"b' + "c" * 33)


def test_quiet_logs_do_not_show_configuration(start: ServerStarter) -> None:
    server = start("-show-startup-logs=false", "-log-format", "json", wait=False)
    server.terminate()
    assert "Supported tus extensions" not in server.output()


def test_metrics_have_tusds_names(start: ServerStarter) -> None:
    server = start()
    url = server.create(5)
    server.patch(url, 0, b"hel")
    server.patch(url, 0, b"x")
    server.patch(url, 3, b"lo")
    server.request("DELETE", url, TUS)
    answer = server.request("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.body.decode().splitlines()
    for line in (
        'tusd_requests_total{method="POST"} 1.0',
        'tusd_requests_total{method="PATCH"} 3.0',
        'tusd_requests_total{method="GET"} 0.0',
        'tusd_errors_total{code="ERR_MISMATCHED_OFFSET",status="409"} 1.0',
        "tusd_bytes_received 5.0",
        "tusd_uploads_created 1.0",
        "tusd_uploads_finished 1.0",
        "tusd_uploads_terminated 1.0",
        "tusd_connections_open 1.0",
        "# TYPE tusd_bytes_received counter",
    ):
        assert line in lines


def test_pages_beside_the_uploads(start: ServerStarter) -> None:
    server = start()
    greeting = server.request("PUT", "/anything")
    assert greeting.status == 200
    assert b"- /files/ - " in greeting.body
    assert greeting.body.decode().splitlines()[-3:] == ["Version = 0.1.0", "GitCommit = n/a", "BuildDate = n/a"]
    assert json.loads(server.request("GET", "/health").body) == {"status": "ok"}


def test_pages_can_be_switched_off(start: ServerStarter) -> None:
    server = start("-show-greeting=false", "-expose-metrics=false")
    for path in ("/", "/metrics"):
        answer = server.request("GET", path)
        assert (answer.status, answer.body) == (404, b"404 page not found\n")


def test_uploads_at_the_root_leave_the_other_pages_their_names(start: ServerStarter) -> None:
    server = start("-base-path", "/")
    url = server.create(5)
    assert url == f"http://127.0.0.1:{server.port}/{url.rpartition('/')[2]}"
    assert server.patch(url, 0, b"hello").status == 204
    assert b"tusd_uploads_finished" in server.request("GET", "/metrics").body
    assert server.request("GET", "/health").status == 200
    assert server.request("GET", "/").status == 405


def test_locations_follow_the_proxy_only_when_told_to(start: ServerStarter) -> None:
    """tusd-compat 2.7, the table of Location."""
    forwarded = {"X-Forwarded-Host": "up.example:443", "X-Forwarded-Proto": "https"}
    both = forwarded | {"Forwarded": 'for=1.2.3.4; proto=http; host="other.example:80"'}
    direct, proxied = start(), start("-behind-proxy")
    length = TUS | {"Upload-Length": "5"}
    assert direct.request("POST", headers=length | both).headers["location"].startswith(direct.url)
    for headers, expected in (
        (forwarded, "https://up.example/files/"),
        (both, "http://other.example/files/"),
        ({"X-Forwarded-Proto": "HTTPS"}, f"http://127.0.0.1:{proxied.port}/files/"),
    ):
        assert proxied.request("POST", headers=length | headers).headers["location"].startswith(expected)
