"""The table of flags, and the syntax of Go's `flag` package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tusd_py.core.go_values import format_duration, parse_duration, parse_integer, parse_mode, parse_truth

ENVIRONMENT_PREFIX = "TUSD_PY_"


class FlagError(Exception):
    """The command line cannot be understood; the text is what Go would print."""


class HelpWanted(Exception):
    """`-h`, `-help` or `--help` was given."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of value: its name in the usage, how it is read (ValueError where it cannot be) and shown."""

    name: str
    parse: Callable[[str], Any]
    show: Callable[[Any], str] = str


TEXT = Kind("string", str, lambda value: f'"{value}"')
INTEGER = Kind("int", parse_integer)
DURATION = Kind("duration", parse_duration, format_duration)
MODE = Kind("value", parse_mode, lambda value: f"{value:o}")
TRUTH = Kind("", parse_truth, lambda value: str(value).lower())


def one_of(*choices: str) -> Kind:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return Kind("string", parse, lambda value: f'"{value}"')


@dataclass(frozen=True, slots=True)
class Flag:
    name: str
    kind: Kind
    default: Any
    help: str

    @property
    def variable(self) -> str:
        """The environment variable that sets the flag where the command line does not."""
        return ENVIRONMENT_PREFIX + self.name.upper().replace("-", "_")


GROUPS: dict[str, tuple[Flag, ...]] = {
    "Listening options": (
        Flag("host", TEXT, "0.0.0.0", "Host to bind the HTTP server to"),  # noqa: S104 -- tusd's default
        Flag("port", TEXT, "8080", "Port to bind the HTTP server to; 0 takes a free one"),
        Flag("unix-sock", TEXT, "", "Listen on this UNIX socket instead of a TCP port"),
        Flag("base-path", TEXT, "/files/", "Path under which uploads are served"),
        Flag("behind-proxy", TRUTH, False, "Respect X-Forwarded-* and Forwarded headers of a proxy"),
    ),
    "Upload protocol options": (
        Flag("disable-download", TRUTH, False, "Do not let uploads be downloaded"),
        Flag("disable-termination", TRUTH, False, "Do not let uploads be terminated"),
        Flag("disable-concatenation", TRUTH, False, "Do not let uploads be concatenated"),
        Flag("max-size", INTEGER, 0, "Largest size of an upload in bytes; 0 means no limit"),
    ),
    "CORS options": (
        Flag("disable-cors", TRUTH, False, "Ignore the Origin header and send no CORS headers"),
        Flag("cors-allow-origin", TEXT, ".*", "Regular expression that is searched for in the origin"),
        Flag("cors-allow-credentials", TRUTH, False, "Send Access-Control-Allow-Credentials: true"),
        Flag("cors-allow-methods", TEXT, "", "Methods to allow beside the usual ones"),
        Flag("cors-allow-headers", TEXT, "", "Request headers to allow beside the usual ones"),
        Flag("cors-max-age", TEXT, "86400", "Seconds for which a preflight may be cached"),
        Flag("cors-expose-headers", TEXT, "", "Response headers to expose beside the usual ones"),
    ),
    "File storage options": (
        Flag("upload-dir", TEXT, "./data", "Directory to store uploads in"),
        Flag("dir-perms", MODE, 0o775, "Permissions of created directories, octal"),
        Flag("file-perms", MODE, 0o664, "Permissions of created files, octal"),
        Flag(
            "filelock-holder-poll-interval", DURATION, 5.0, "Accepted for tusd; holders of an upload are told at once"
        ),
        Flag("filelock-acquirer-poll-interval", DURATION, 2.0, "Accepted for tusd; waiting requests are woken at once"),
    ),
    "Monitoring options": (
        Flag("expose-metrics", TRUTH, True, "Serve metrics for Prometheus"),
        Flag("metrics-path", TEXT, "/metrics", "Path under which metrics are served"),
        Flag("show-greeting", TRUTH, True, "Greet on paths that serve nothing else"),
        Flag("version", TRUTH, False, "Print the version and exit"),
        Flag("verbose", TRUTH, True, "Log details as well"),
        Flag("show-startup-logs", TRUTH, True, "Print the configuration at start"),
        Flag("log-format", TEXT, "text", "Format of the log: text or json"),
    ),
    "Timeout options": (
        Flag("network-timeout", DURATION, 60.0, "Longest wait for a request head and for each read of a body"),
        Flag("shutdown-timeout", DURATION, 10.0, "Longest wait for requests to end when the server is stopped"),
        Flag("acquire-lock-timeout", DURATION, 20.0, "Longest wait for another request to release an upload"),
        Flag(
            "request-completion-timeout", DURATION, 10.0, "Accepted for tusd; work that has begun is always completed"
        ),
    ),
    "Files and downloads (tusd does not have these)": (
        Flag("api-path", TEXT, "/api", "Path under which the JSON API is served; empty switches it off"),
        Flag("api-key-file", TEXT, "", "Keys of which the API asks one as bearer token, one a line; empty: none"),
        Flag("allowed-types", TEXT, None, "Media types to accept, with commas; chunk uploads have a list by default"),
        Flag("chunk-size", INTEGER, 5 * 1024 * 1024, "Bytes of a chunk, a multiple of 65536"),
        Flag("chunk-max-size", INTEGER, 5 * 1024**3, "Largest size of a file in chunks, in bytes; 0 means no limit"),
        Flag("chunk-expire-after", DURATION, 86400.0, "Remove unfinished chunk uploads unchanged for this long"),
        Flag("downloads", one_of("open", "signed", "off"), "open", "Who may download: open, signed (links only), off"),
        Flag("signing-key-file", TEXT, "", "Keys that sign links, one a line, newest last; empty: one is made"),
        Flag("signed-url-ttl", DURATION, 3600.0, "How long a signed link is good, unless it is asked for otherwise"),
        Flag("signed-url-max-ttl", DURATION, 86400.0, "How long a signed link may be good at most"),
        Flag("accel-redirect", TEXT, "", "Let the proxy send ready files, from this internal location"),
        Flag("pipeline-concurrency", INTEGER, 2, "Finished files to work on at once"),
    ),
    "Other options that tusd does not have": (
        Flag("state-dir", TEXT, "", 'Directory for our own files (default ".tusd-py" in the upload directory)'),
        Flag(
            "durability",
            one_of("none", "finish", "each"),
            "finish",
            "What survives a loss of power: none, finish (complete uploads) or each (all acknowledged bytes)",
        ),
        Flag("expire-after", DURATION, 0.0, "Remove unfinished uploads that have not changed for this long; 0 never"),
        Flag("compat", one_of("spec", "tusd"), "spec", "spec follows the specification, tusd is as lenient as tusd"),
        Flag("min-free-space", INTEGER, 0, "Bytes of free space that are always left; what would need them gets 507"),
        Flag("max-unfinished", INTEGER, 0, "Number of unfinished uploads above which no new one is taken (503)"),
        Flag("max-header-bytes", INTEGER, 1024 * 1024, "Largest size of a request head in bytes"),
    ),
}

UNSUPPORTED = ("azure-", "enable-", "expose-pprof", "gcs-", "hooks-", "pprof-", "progress-hooks-", "s3-", "tls-")
"""How the names of tusd's flags begin that we do not have."""

FLAGS: Mapping[str, Flag] = {flag.name: flag for flags in GROUPS.values() for flag in flags}


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The value of every flag, by name; and what was given but means nothing."""

    values: dict[str, Any]
    ignored: tuple[str, ...]


def parse_flags(arguments: Sequence[str], environment: Mapping[str, str]) -> CommandLine:
    """Read the flags. The command line wins over the environment, a later flag over an earlier one.

    As in Go, flags end at the first argument that is none; what follows is ignored. Raises `FlagError`, `HelpWanted`.
    """
    values = {name: flag.default for name, flag in FLAGS.items()}
    for flag in FLAGS.values():
        if flag.variable in environment:
            values[flag.name] = _parse(flag, environment[flag.variable], f"environment variable {flag.variable}")
    rest = list(arguments)
    while rest and len(rest[0]) > 1 and rest[0].startswith("-"):
        argument = rest.pop(0)
        if argument == "--":
            break
        name, has_value, text = argument.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise FlagError(f"bad flag syntax: {argument}")
        flag_or_none = FLAGS.get(name)
        if flag_or_none is None:
            if name in ("h", "help"):
                raise HelpWanted
            if name.startswith(UNSUPPORTED):
                raise FlagError(f"flag -{name} of tusd is not supported")
            raise FlagError(f"flag provided but not defined: -{name}")
        flag = flag_or_none
        if not has_value:
            if flag.kind is TRUTH:
                text = "true"
            elif rest:
                text = rest.pop(0)
            else:
                raise FlagError(f"flag needs an argument: -{name}")
        values[name] = _parse(flag, text, f"flag -{name}")
    known = {flag.variable for flag in FLAGS.values()}
    unknown = [name for name in environment if name.startswith(ENVIRONMENT_PREFIX) and name not in known]
    return CommandLine(values, ignored=(*rest, *unknown))


def _parse(flag: Flag, text: str, where: str) -> Any:
    try:
        return flag.kind.parse(text)
    except ValueError as error:
        what = "boolean value" if flag.kind is TRUTH else "value"
        raise FlagError(f'invalid {what} "{text}" for {where}: {error}') from error


def usage(command: str) -> str:
    lines = [f"Usage of {command}:", ""]
    for group, flags in GROUPS.items():
        lines.append(f"{group}:")
        for flag in flags:
            lines.append(f"  -{flag.name} {flag.kind.name}".rstrip())
            shows_default = flag.default not in ("", 0, False, None)
            default = f" (default {flag.kind.show(flag.default)})" if shows_default else ""
            lines.append(f"    \t{flag.help}{default}")
        lines.append("")
    lines.append(f"Each flag can also be set in the environment: -max-size as {FLAGS['max-size'].variable}.")
    return "\n".join(lines)
