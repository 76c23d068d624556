"""Flags that do not go together, or with what is served here (tusd-compat 1.3)."""

from __future__ import annotations

import pytest

from tests.cli import tusd_flags
from tusd_py.cli.combinations import refusals, warnings
from tusd_py.cli.flags import parse_flags

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


@pytest.mark.parametrize(("arguments", "count"), [((), 0), (TLS, 0), (TLS[:1], 1), (TLS[1:], 1), (("-enable-h2c",), 1)])
def test_what_has_no_effect_is_warned_about(arguments: tuple[str, ...], count: int) -> None:
    assert len(list(warnings(given(*arguments)))) == count
