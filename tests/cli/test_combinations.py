"""Flags that do not go together, or with what is served here (tusd-compat 1.3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli import tusd_flags
from tusd_py.cli.combinations import refusals, warnings
from tusd_py.cli.flags import parse_flags

NO_RECEIVER = "-hooks-enabled-events has no effect without -hooks-dir, -hooks-http, -hooks-grpc or -hooks-python"
NO_PROGRAM = "in -hooks-dir there is no program with the name of an enabled event: none is run"
TLS = ("-tls-certificate=c", "-tls-key=k")


def given(*arguments: str) -> dict[str, object]:
    values = parse_flags(arguments, {}).values
    return {name.replace("-", "_"): value for name, value in values.items()}


@pytest.mark.parametrize("name", tusd_flags.NOT_OFFERED)
def test_what_is_not_offered_is_refused_with_what_to_do_instead(name: str) -> None:
    assert parse_flags([], {}).values[name] != tusd_flags.NOT_OFFERED[name]
    [text] = refusals(given(f"-{name}={tusd_flags.NOT_OFFERED[name]}"))
    assert text.startswith(f"-{name} is not offered: ")
    assert "\n" not in text


@pytest.mark.parametrize("name", tusd_flags.NOT_OFFERED)
def test_its_default_may_be_given(name: str) -> None:
    [default] = [str(default) for flag, _, default in tusd_flags.FLAGS if flag == name]
    assert not list(refusals(given(f"-{name}={default}")))


@pytest.mark.parametrize(
    "arguments",
    [
        ("-enable-h2c", *TLS),
        ("-tls-mode", "tls11", *TLS),
        ("-hooks-grpc=a:1", "-hooks-grpc-secure"),
        ("-hooks-enabled-events", "pre-create, post-create"),
        ("-hooks-enabled-events", "pre-nothing"),
        ("-hooks-enabled-events", ","),
        ("-base-path", "files"),
        ("-base-path", ""),
        ("-base-path", "https://example.org/files/"),
    ],
)
def test_what_tusd_does_not_start_with_is_refused(arguments: tuple[str, ...]) -> None:
    assert len(list(refusals(given(*arguments)))) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-tls-mode", "tls11"),
        ("-tls-mode", "tls11", "-tls-key=k"),
        TLS,
        ("-hooks-grpc-secure",),
        ("-hooks-grpc=a:1", "-hooks-grpc-secure", "-hooks-grpc-server-tls-certificate=c"),
        ("-hooks-enabled-events=",),
        ("-hooks-enabled-events", "pre-access,pre-finish"),
        ("-hooks-dir=a", "-hooks-http=http://b", "-hooks-grpc=c:1"),
        ("-enable-h2c",),
    ],
)
def test_what_tusd_starts_with_is_not(arguments: tuple[str, ...]) -> None:
    assert not list(refusals(given(*arguments)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), ()),
        (TLS, ()),
        (TLS[:1], ("plain HTTP is served: TLS needs both -tls-certificate and -tls-key",)),
        (TLS[1:], ("plain HTTP is served: TLS needs both -tls-certificate and -tls-key",)),
        (("-tls-mode", "tls11"), ("-tls-mode has no effect without -tls-certificate and -tls-key",)),
        (("-enable-h2c",), ("-enable-h2c has no effect: HTTP/1.1 is served, put a proxy in front to have HTTP/2",)),
        (("-log-format", "xml"), ("-log-format is json or text: text is written",)),
        (("-log-format", "json"), ()),
        *(((f"-hooks-enabled-events={names}",), (NO_RECEIVER,)) for names in ("pre-access", "post-finish", "")),
        (("-hooks-enabled-events=pre-access", "-hooks-python=a:b"), ()),
        (("-hooks-dir=/nowhere",), (NO_PROGRAM,)),
        (("-hooks-dir={hooks}",), ()),
        (("-hooks-dir={hooks}", "-hooks-enabled-events=pre-finish"), (NO_PROGRAM,)),
        (
            ("-hooks-http=http://a", "-hooks-enabled-events=pre-terminate", "-disable-termination"),
            ("pre-terminate never comes with -disable-termination",),
        ),
        (
            ("-hooks-http=http://a", "-hooks-enabled-events=file-quarantined", "-api-path="),
            ("file-quarantined never comes without -clamd, -allowed-types or the API",),
        ),
        (("-hooks-http=http://a", "-hooks-enabled-events=file-quarantined,pre-terminate"), ()),
        (("-api-key-file=k", "-api-path="), ("-api-key-file has no effect without -api-path",)),
        (("-api-key-file=k",), ()),
        (("-hooks-http-secret-file=k",), ("-hooks-http-secret-file has no effect without -hooks-http",)),
        (("-webhook-secret-file=k",), ("-webhook-secret-file has no effect without -webhook-url",)),
        (("-webhook-public-only",), ("-webhook-public-only has no effect without -webhook-url",)),
        (("-webhook-public-only", "-webhook-secret-file=k", "-webhook-url=http://a"), ()),
        (("-scan-trust-limits",), ("-scan-trust-limits has no effect without -clamd",)),
    ],
)
def test_what_has_no_effect_is_warned_about(tmp_path: Path, arguments: tuple[str, ...], said: tuple[str, ...]) -> None:
    (tmp_path / "post-finish").touch()
    placed = [argument.format(hooks=tmp_path) for argument in arguments]
    assert tuple(warnings(given(*placed))) == said
