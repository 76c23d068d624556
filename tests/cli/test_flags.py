"""Go's flag syntax (tusd-compat 1.1)."""

from __future__ import annotations

import pytest

from tusd_py.cli.flags import FLAGS, FlagError, HelpWanted, parse_flags, usage


def test_without_flags_the_defaults_are_tusds() -> None:
    values = parse_flags([], {}).values
    expected = {
        "host": "0.0.0.0",  # noqa: S104
        "port": "8080",
        "unix-sock": "",
        "base-path": "/files/",
        "behind-proxy": False,
        "disable-download": False,
        "disable-termination": False,
        "disable-concatenation": False,
        "max-size": 0,
        "disable-cors": False,
        "cors-allow-origin": ".*",
        "cors-allow-credentials": False,
        "cors-allow-methods": "",
        "cors-allow-headers": "",
        "cors-max-age": "86400",
        "cors-expose-headers": "",
        "upload-dir": "./data",
        "dir-perms": 0o775,
        "file-perms": 0o664,
        "expose-metrics": True,
        "metrics-path": "/metrics",
        "show-greeting": True,
        "version": False,
        "verbose": True,
        "show-startup-logs": True,
        "log-format": "text",
        "network-timeout": 60,
        "shutdown-timeout": 10,
        "acquire-lock-timeout": 20,
        "request-completion-timeout": 10,
    }
    assert {name: values[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["-max-size", "100"], "max-size", 100),
        (["--max-size=100"], "max-size", 100),
        (["-max-size", "010"], "max-size", 8),
        (["-max-size", "0x10"], "max-size", 16),
        (["-max-size", "1_000"], "max-size", 1000),
        (["-max-size=1", "-max-size=2"], "max-size", 2),
        (["-host="], "host", ""),
        (["-cors-allow-origin=a=b"], "cors-allow-origin", "a=b"),
        (["-behind-proxy"], "behind-proxy", True),
        (["-behind-proxy=T"], "behind-proxy", True),
        (["-expose-metrics=false"], "expose-metrics", False),
        (["-expose-metrics", "false"], "expose-metrics", True),
        (["-expose-metrics", "false", "-behind-proxy"], "behind-proxy", False),
        (["--", "-behind-proxy"], "behind-proxy", False),
        (["-", "-behind-proxy"], "behind-proxy", False),
        (["-network-timeout", "1m30s"], "network-timeout", 90),
        (["-network-timeout", "1.5h"], "network-timeout", 5400),
        (["-network-timeout", ".5s"], "network-timeout", 0.5),
        (["-network-timeout", "0"], "network-timeout", 0),
        (["-dir-perms", "0700"], "dir-perms", 0o700),
        (["-file-perms", "600"], "file-perms", 0o600),
    ],
)
def test_values_are_read_as_go_reads_them(arguments: list[str], name: str, value: object) -> None:
    assert parse_flags(arguments, {}).values[name] == value


@pytest.mark.parametrize(
    "arguments",
    [
        *(["-por", "1"], ["-unknown"], ["---port=1"], ["-=1"], ["-port"], ["-max-size", "1e9"], ["-max-size", ""]),
        *(["-max-size", "9223372036854775808"], ["-network-timeout", "2"], ["-behind-proxy=yes"]),
        *(["-dir-perms", "0o775"], ["-dir-perms", "8"], ["-durability", "always"], ["-compat", "go"]),
    ],
)
def test_what_go_would_not_read_is_an_error(arguments: list[str]) -> None:
    with pytest.raises(FlagError):
        parse_flags(arguments, {})


@pytest.mark.parametrize("argument", ["-h", "-help", "--help"])
def test_help_is_not_an_error(argument: str) -> None:
    with pytest.raises(HelpWanted):
        parse_flags([argument], {})


def test_the_environment_sets_flags_and_the_command_line_wins() -> None:
    environment = {"TUSD_PY_MAX_SIZE": "5", "TUSD_PY_BEHIND_PROXY": "true", "TUSD_PY_UNKNOWN": "x"}
    line = parse_flags(["-max-size", "6"], environment)
    assert (line.values["max-size"], line.values["behind-proxy"]) == (6, True)
    assert line.ignored == ("TUSD_PY_UNKNOWN",)
    with pytest.raises(FlagError, match="TUSD_PY_MAX_SIZE"):
        parse_flags([], {"TUSD_PY_MAX_SIZE": "x"})


def test_the_usage_names_every_flag() -> None:
    text = usage("tusd-py")
    assert text.startswith("Usage of tusd-py:")
    assert [name for name in FLAGS if f"  -{name}" not in text] == []


def test_what_follows_the_flags_is_ignored_and_named() -> None:
    assert parse_flags(["-verbose", "false", "-max-size", "5"], {}).ignored == ("false", "-max-size", "5")


@pytest.mark.parametrize("name", ["hooks-dir", "tls-certificate", "s3-bucket", "enable-h2c", "progress-hooks-interval"])
def test_flags_of_tusd_that_are_not_here_are_called_so(name: str) -> None:
    with pytest.raises(FlagError, match=f"flag -{name} of tusd is not supported"):
        parse_flags([f"-{name}", "x"], {})
