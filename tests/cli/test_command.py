"""The command as an operator meets it: start-up lines, exit statuses, logs, pages."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import DEADLINE, Server, ServerStarter, eventually, request_head, reserved_port


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tusd_py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)


@pytest.mark.parametrize("flag", ["-h", "-help", "--help"])
def test_help_goes_to_standard_error_and_is_no_failure(flag: str) -> None:
    result = run(flag)
    assert result.returncode == 0
    assert result.stdout == ""
    assert result.stderr.startswith("Usage of ")


def test_a_bad_flag_is_explained_with_the_usage() -> None:
    result = run("-nonsense")
    assert result.returncode == 2
    assert result.stderr.startswith("flag provided but not defined: -nonsense\nUsage of ")


@pytest.mark.parametrize(
    ("flag", "full", "other", "status"),
    [("-version", "stdout", "stderr", 0), ("-help", "stderr", "stdout", 0), ("-nonsense", "stderr", "stdout", 2)],
)
def test_a_full_disk_under_what_is_said_changes_no_exit_status(flag: str, full: str, other: str, status: int) -> None:
    with open("/dev/full", "wb") as device:
        streams = {full: device, other: subprocess.PIPE}
        command = [sys.executable, "-m", "tusd_py", flag]
        result = subprocess.run(command, **streams, text=True, timeout=DEADLINE, check=False)  # type: ignore[call-overload]
    assert (result.returncode, getattr(result, other)) == (status, "")


def test_the_version_is_three_lines() -> None:
    result = run("-version")
    assert result.returncode == 0
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == ["Version", "Commit", "Date"]


@pytest.mark.parametrize(
    "flags",
    [
        ("-cors-allow-origin", "("),
        ("-port", "99999"),
        ("-port", "70000", "-host", "127.0.0.1"),
        ("-port", "-5", "-host", "127.0.0.1"),
        ("-port", "nonsense"),
        ("-base-path", "files"),
        ("-metrics-path", "metrics"),
        ("-upload-dir", "/dev/null/x"),
        ("-state-dir", "/proc/self"),
        ("-thumbnails", "abc"),
        ("-hooks-http", "http://[bad"),
        ("-hooks-python", "tests.cli.leaving:hook"),
    ],
)
def test_what_cannot_be_served_ends_the_start_with_one_line(tmp_path: Path, flags: tuple[str, ...]) -> None:
    result = run("-upload-dir", str(tmp_path), "-port", "0", *flags)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_refusal_is_one_line_where_the_log_format_has_it(tmp_path: Path, log_format: str) -> None:
    result = run("-upload-dir", str(tmp_path / "data"), "-port", "0", "-log-format", log_format, "-s3-bucket", "b")
    assert result.returncode == 1
    text = "-s3-bucket is not offered: keep uploads in -upload-dir and let a post-finish hook bring finished ones there"
    if log_format == "json":
        assert (json.loads(result.stdout)["msg"], result.stderr) == (text, "")
    else:
        assert re.fullmatch(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} " + re.escape(text) + "\n", result.stderr)
    assert not (tmp_path / "data").exists()


def test_h2c_is_warned_about_and_http_1_1_is_served(start: ServerStarter) -> None:
    server = start("-enable-h2c", "-show-startup-logs=true")
    assert "-enable-h2c has no effect: HTTP/1.1 is served" in server.output()
    assert server.raw(b"OPTIONS /files/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_state_directory_on_another_file_system_is_refused(tmp_path: Path) -> None:
    result = run("-upload-dir", str(tmp_path), "-port", "0", "-state-dir", f"/dev/shm/{tmp_path.name}-state")
    Path(f"/dev/shm/{tmp_path.name}-state").exists()
    assert result.returncode == 1
    assert "same file system" in result.stderr


def configuration_of(server: Server) -> list[str]:
    return [line.partition(" ")[2].partition(" ")[2] for line in server.output().splitlines()]


EXTENSIONS = "creation,creation-with-upload,termination,concatenation,creation-defer-length,checksum,checksum-trailer"


def test_start_up_lines_are_tusds(start: ServerStarter, tmp_path: Path) -> None:
    server = start("-max-size", "1048576", "-base-path", "/up/")
    assert configuration_of(server)[:7] == [
        f"Using '{tmp_path / 'data'}' as directory storage.",
        "Using 1.00MB as maximum size.",
        f"Supported tus extensions: {EXTENSIONS}",
        "Using 127.0.0.1:0 as address to listen.",
        "Using /up/ as the base path.",
        "Using /metrics as the metrics path.",
        f"You can now upload files to: http://127.0.0.1:{server.port}/up/",
    ]


def test_start_up_lines_name_hooks_and_a_socket_but_no_password(start: ServerStarter, tmp_path: Path) -> None:
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "pre-create").touch()
    hooks = ("-hooks-dir", os.path.relpath(tmp_path / "hooks"), "-hooks-http", "http://me:secret@127.0.0.1:1/hook?a=b")
    server = start(
        *hooks, "-expose-metrics=false", "-unix-sock", str(tmp_path / "s"), "-hooks-enabled-events=", wait=False
    )
    lines = [
        f"Using '{tmp_path / 'data'}' as directory storage.",
        "Using 0.00MB as maximum size.",
        f"Using '{tmp_path / 'hooks'}' for hooks",
        "Using 'http://127.0.0.1:1/hook?a=b' as the endpoint for hooks",
        "Enabled hook events: pre-create, post-create, post-receive, pre-finish, post-finish, pre-terminate, "
        "post-terminate",
        f"Supported tus extensions: {EXTENSIONS}",
        f"Using {tmp_path / 's'} as socket to listen.",
        "Using /files/ as the base path.",
    ]
    eventually(lambda: len(configuration_of(server)) >= len(lines))
    assert configuration_of(server) == lines


def test_a_server_that_is_told_to_says_nothing_at_its_start(start: ServerStarter) -> None:
    with reserved_port() as port:
        server = start("-show-startup-logs=false", port=port, wait=False)
        server.url = f"http://127.0.0.1:{port}/files/"
        eventually(lambda: accepts_connections(port))
        assert server.create(5)
    lines = server.output().splitlines()
    assert lines
    assert [line for line in lines if " event=" not in line] == []


def accepts_connections(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_metrics_are_where_they_are_wanted_and_nowhere_else(start: ServerStarter) -> None:
    server = start("-metrics-path", "/stats/prometheus")
    assert "Using /stats/prometheus as the metrics path." in server.output()
    assert b"tusd_uploads_created" in server.request("GET", "/stats/prometheus").body
    greeting = server.request("GET", "/metrics").body
    assert greeting.startswith(b"Welcome to ")
    assert b"\n- /stats/prometheus - " in greeting


def test_a_log_in_no_known_format_is_text_as_with_tusd(start: ServerStarter) -> None:
    server = start("-log-format", "xml")
    server.create(5)
    assert "-log-format is json or text: text is written" in server.output()
    assert re.search(r"^\d{4}/\d\d/\d\d \S+ level=INFO event=UploadCreated ", server.output(), re.MULTILINE)


@pytest.fixture(scope="module")
def fresh(start_shared: ServerStarter) -> Server:
    return start_shared()


def test_pages_beside_the_uploads(start: ServerStarter) -> None:
    server = start()
    greeting = server.request("PUT", "/anything")
    assert greeting.status == 200
    lines = greeting.body.decode().splitlines()
    assert (lines[0], lines[1]) == ("Welcome to tusd_py", "=" * len("Welcome to tusd_py"))
    pages = [line.split()[1] for line in lines if line.startswith("- /")]
    assert pages == ["/files/", "/metrics", "/health"]
    assert lines[-3:] == ["Version = 0.1.0", "GitCommit = n/a", "BuildDate = n/a"]
    assert greeting.headers["content-type"] == "text/plain; charset=utf-8"
    assert json.loads(server.request("GET", "/health").body) == {"status": "ok"}


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("//files/", "/files/"),
        ("//files//?a=b", "/files/?a=b"),
        ("/./files/x%20y", "/files/x%20y"),
        ("/a/../files/x", "/files/x"),
        ("//evil.example/..//files", "/files"),
        ("///evil.example/", "/evil.example/"),
        ("/\\\\evil.example//", "/%5C%5Cevil.example/"),
        ("//", "/"),
        ("/..", "/"),
    ],
)
def test_a_path_with_slashes_too_many_leads_to_the_one_that_is_meant(fresh: Server, path: str, clean: str) -> None:
    """As Go's server does, with a status by which clients repeat what they have sent."""
    answer = fresh.raw(request_head("POST", path, {"Connection": "close"}))
    assert answer.startswith(b"HTTP/1.1 307 ")
    assert f"\r\nlocation: {clean}\r\n".encode() in answer


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
