"""What a flag is: its name, the type of its value in Go's words, its default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tusd_py.core.go_values import format_duration, parse_duration, parse_integer, parse_mode, parse_truth

ENVIRONMENT_PREFIX = "TUSD_PY_"


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
    """One of some words, which the usage shows in the place of a type."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return Kind("|".join(choices), parse, lambda value: f'"{value}"')


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag; one that is not offered says what to use `instead`, and may only have its default."""

    name: str
    kind: Kind
    default: Any
    help: str = ""
    instead: str = ""

    @property
    def variable(self) -> str:
        """The environment variable that sets the flag where the command line does not."""
        return ENVIRONMENT_PREFIX + self.name.upper().replace("-", "_")
