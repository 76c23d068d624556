"""The syntax of Go's `flag` package, over the table of flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tusd_py.cli.kinds import ENVIRONMENT_PREFIX, TRUTH, Flag
from tusd_py.cli.table import FLAGS, GROUPS, OUR_GROUPS


class FlagError(Exception):
    """The command line cannot be understood; the text is what Go would print."""


class HelpWanted(Exception):
    """`-h`, `-help` or `--help` was given."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The value of every flag, by name; what was named among them; and what was given but means nothing."""

    values: dict[str, Any]
    ignored: tuple[str, ...]
    subjects: tuple[str, ...] = ()


def parse_flags(arguments: Sequence[str], environment: Mapping[str, str], *, subject_count: int = 0) -> CommandLine:
    """Read the flags. The command line wins over the environment, a later flag over an earlier one.

    As in Go, flags end at the first argument that is none, but for so many subjects as are expected, which may stand
    anywhere; what follows is ignored. Raises `FlagError`, `HelpWanted`.
    """
    values = {name: flag.default for name, flag in FLAGS.items()}
    for flag in FLAGS.values():
        if flag.variable in environment:
            values[flag.name] = _parse(flag, environment[flag.variable], f"environment variable {flag.variable}")
    rest, subjects = list(arguments), list[str]()
    while rest and (_is_flag(rest[0]) or len(subjects) < subject_count):
        argument = rest.pop(0)
        if not _is_flag(argument):
            subjects.append(argument)
            continue
        if argument == "--":
            missing = subject_count - len(subjects)
            subjects, rest = subjects + rest[:missing], rest[missing:]
            break
        name, has_value, text = argument.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise FlagError(f"bad flag syntax: {argument}")
        if name not in FLAGS:
            if name in ("h", "help"):
                raise HelpWanted
            raise FlagError(f"flag provided but not defined: -{name}")
        flag = FLAGS[name]
        if not has_value:
            if flag.kind is TRUTH:
                text = "true"
            elif rest:
                text = rest.pop(0)
            else:
                raise FlagError(f"flag needs an argument: -{name}")
        values[name] = _parse(flag, text, f"-{name}" if flag.kind is TRUTH else f"flag -{name}")
    known = {flag.variable for flag in FLAGS.values()}
    unknown = [name for name in environment if name.startswith(ENVIRONMENT_PREFIX) and name not in known]
    return CommandLine(values, ignored=(*rest, *unknown), subjects=tuple(subjects))


def _is_flag(argument: str) -> bool:
    return len(argument) > 1 and argument.startswith("-")


def _parse(flag: Flag, text: str, where: str) -> Any:
    try:
        return flag.kind.parse(text)
    except ValueError as error:
        what = "boolean value" if flag.kind is TRUTH else "value"
        raise FlagError(f'invalid {what} "{text}" for {where}: {error}') from error


def usage(command: str) -> str:
    """What `-help` prints: tusd's groups in tusd's order, then ours."""
    lines = [f"Usage of {command}:", ""]
    titled = {**GROUPS, **{f"{title} (not in tusd)": flags for title, flags in OUR_GROUPS.items()}}
    for title, flags in titled.items():
        lines.append(f"{title}:")
        for flag in flags:
            lines.append(f"  -{flag.name} {flag.kind.name}".rstrip())
            shows_default = flag.default not in ("", 0, False, None)
            default = f" (default {flag.kind.show(flag.default)})" if shows_default else ""
            lines.append(f"    \t{flag.help or f'Not offered: {flag.instead}'}{default}")
        lines.append("")
    lines.append(f"Each flag can also be set in the environment: -max-size as {FLAGS['max-size'].variable}.")
    return "\n".join(lines)
