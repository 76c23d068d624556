"""What flags do that no other test looks at, and a command line with all of them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.cli import tusd_flags
from tests.running import Server, ServerStarter, eventually
from tests.web.test_golden_exchanges import hook


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("flags", "umask", "directory", "file"),
    [
        ((), "0002", 0o775, 0o664),
        ((), "0027", 0o750, 0o640),
        (("-dir-perms", "0711", "-file-perms", "604"), "0", 0o711, 0o604),
    ],
)
def test_permissions_are_the_flags_less_the_umask(
    start: ServerStarter, tmp_path: Path, flags: tuple[str, ...], umask: str, directory: int, file: int
) -> None:
    server = start(*flags, upload_dir=tmp_path / "new", wrapper=["sh", "-c", f'umask {umask}; exec "$@"', "sh"])
    url = server.create(5)
    server.patch(url, 0, b"hello")
    path = server.path_of(url)
    assert mode_of(server.upload_dir) == directory
    assert (mode_of(path), mode_of(Path(f"{path}.info"))) == (file, file)


@pytest.mark.parametrize("is_verbose", [True, False])
def test_a_quiet_log_has_everything_but_the_calls_of_hooks(
    start: ServerStarter, tmp_path: Path, is_verbose: bool
) -> None:
    server = start(*hook(tmp_path, "pre-create", "cat >/dev/null"), f"-verbose={is_verbose}")
    server.create(5)
    eventually(lambda: "event=ResponseOutgoing" in server.output())
    assert ("level=DEBUG event=HookInvocationStart" in server.output()) is is_verbose
    assert ("level=DEBUG event=HookInvocationFinish" in server.output()) is is_verbose
    assert "level=INFO event=UploadCreated" in server.output()


def works(server: Server) -> bool:
    url = server.create(5)
    return server.patch(url, 0, b"hello").status == 204 and server.path_of(url).read_bytes() == b"hello"


def test_a_command_line_with_every_flag_of_tusds_starts_the_server(start: ServerStarter) -> None:
    texts = {"True": "true", "False": "false"}
    flags = [
        f"-{name}={texts.get(str(default), str(default))}{'s' if kind == 'dur' else ''}"
        for name, kind, default in tusd_flags.FLAGS
        if name not in ("host", "port", "upload-dir", "version") and kind != "oct"
    ]
    assert works(start(*flags, "-dir-perms=775", "-file-perms=664"))


def test_flags_without_effect_are_taken(start: ServerStarter) -> None:
    names = ("filelock-holder-poll-interval", "filelock-acquirer-poll-interval", "request-completion-timeout")
    assert works(start(*(f"-{name}=1ms" for name in names)))


@pytest.mark.parametrize(("number", "seconds"), [("0", "0"), ("-1", "-1s")])
def test_nothing_and_less_mean_the_default(start: ServerStarter, number: str, seconds: str) -> None:
    names = ("network-timeout", "acquire-lock-timeout", "progress-hooks-interval", "request-completion-timeout")
    assert works(start(f"-max-size={number}", *(f"-{name}={seconds}" for name in names)))


def test_the_password_of_redis_is_shown_nowhere(start: ServerStarter) -> None:
    server = start("-redis-url", "redis://user:s3cret@127.0.0.1:1/0")
    url = server.create(1)
    assert server.patch(url, 0, b"x").status == 503
    assert "Using redis://127.0.0.1:1/0 to coordinate with other hosts." in server.output()
    assert "event=StateError" in server.output()
    assert "s3cret" not in server.output()
