"""Go's flag syntax, and every flag of tusd (tusd-compat 1.1 and 1.2)."""

from __future__ import annotations

import re

import pytest

from tests.cli import tusd_flags
from tusd_py.cli.flags import FlagError, HelpWanted, parse_flags, usage
from tusd_py.cli.table import FLAGS


@pytest.mark.parametrize(("name", "kind", "default"), tusd_flags.FLAGS)
def test_every_flag_of_tusds_has_its_type_and_default(name: str, kind: str, default: object) -> None:
    (text, value), bad = tusd_flags.TYPES[kind]
    assert parse_flags([], {}).values[name] == default
    assert parse_flags([f"-{name}={text}"], {}).values[name] == value
    if kind == "bool":
        assert parse_flags([f"--{name}"], {}).values[name] is True
    else:
        assert parse_flags([f"-{name}", text], {}).values[name] == value
    if bad:
        with pytest.raises(FlagError, match=rf'^invalid (boolean )?value "{bad}" for .*-{name}: '):
            parse_flags([f"-{name}={bad}"], {})


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
        (["-host", ""], "host", ""),
        (["-host", "-port"], "host", "-port"),
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
        *(["-dir", "data"], ["-timeout", "5"], ["-hooks-stop-code", "1"]),  # of tusd's first version
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


def test_the_usage_has_tusds_groups_in_tusds_order_and_then_ours() -> None:
    text = usage("tusd-py")
    assert text.startswith("Usage of tusd-py:\n\nListening options:\n  -host string\n")
    titles = re.findall(r"^(\S.*):$", text, re.MULTILINE)[1:]
    count = len(tusd_flags.GROUPS)
    assert titles[:count] == list(tusd_flags.GROUPS)
    assert titles[count:]
    assert all(title.endswith(" (not in tusd)") for title in titles[count:])
    for title, flags in tusd_flags.GROUPS.items():
        group = text.partition(f"\n{title}:\n")[2].partition("\n\n")[0]
        assert re.findall(r"^  -(\S+)", group, re.MULTILINE) == [name for name, _, _ in flags]


def test_the_usage_names_every_flag_with_its_type_and_default() -> None:
    text = usage("tusd-py")
    assert [name for name in FLAGS if f"  -{name}" not in text] == []
    assert re.search(r'^  -port string\n    \t.* \(default "8080"\)$', text, re.MULTILINE)
    assert re.search(r"^  -dir-perms value\n    \t.* \(default 775\)$", text, re.MULTILINE)
    assert re.search(r"^  -network-timeout duration\n    \t.* \(default 1m0s\)$", text, re.MULTILINE)
    assert re.search(r"^  -behind-proxy\n    \t[^(]*$", text, re.MULTILINE)
    assert re.search(r'^  -scan-unscannable quarantine\|pass\n    \t.* \(default "quarantine"\)$', text, re.MULTILINE)
    assert re.search(r'^  -infected keep\|delete\n    \t.* \(default "keep"\)$', text, re.MULTILINE)


def test_what_follows_the_flags_is_ignored_and_named() -> None:
    assert parse_flags(["-verbose", "false", "-max-size", "5"], {}).ignored == ("false", "-max-size", "5")
