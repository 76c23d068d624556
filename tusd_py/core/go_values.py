"""Values of command-line flags as Go writes them: durations, integers, truth values, file modes."""

from __future__ import annotations

import re
from fractions import Fraction

_UNITS = {
    "ns": Fraction(1, 10**9),
    **dict.fromkeys(("us", "µs", "μs"), Fraction(1, 10**6)),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_PREFIXED = re.compile(r"[+-]?(0[xX](_?[0-9a-fA-F])+|0[oO]?(_?[0-7])+|0[bB](_?[01])+|[1-9](_?[0-9])*|0)")
_OCTAL = re.compile(r"[0-7]+")
_TRUTH = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def parse_duration(text: str) -> float:
    """Seconds of a Go duration such as `1h30m`, `1.5s`, `.5s`; only `0` may stand without a unit. Raises ValueError."""
    unsigned = text.removeprefix("-").removeprefix("+") if text[:2] not in ("+-", "-+") else text
    if unsigned == "0":
        return 0.0
    seconds, position = Fraction(0), 0
    while match := _DURATION_PART.match(unsigned, position):
        seconds += Fraction(match[1] if match[1][-1] != "." else match[1] + "0") * _UNITS[match[2]]
        position = match.end()
    if position == 0 or position != len(unsigned):
        raise ValueError("parse error")
    if seconds * 10**9 > 2**63 - 1:
        raise ValueError("value out of range")
    return float(-seconds if text.startswith("-") else seconds)


def format_duration(seconds: float) -> str:
    """A duration as Go prints it: `1m0s`, `1h0m0s`, `1.5s`, `250ms`, `10µs`."""
    nanoseconds = round(abs(seconds) * 10**9)
    sign = "-" if seconds < 0 else ""
    if nanoseconds == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if nanoseconds < size * 1000:
            return f"{sign}{_decimal(nanoseconds, size)}{unit}"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{head}{_decimal(rest, 10**9)}s"


def _decimal(number: int, unit: int) -> str:
    whole, rest = divmod(number, unit)
    digits = str(rest).zfill(len(str(unit)) - 1).rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def parse_integer(text: str) -> int:
    """A signed 64-bit integer in Go's bases: `0x10`, `0o17`, `0b1`, a leading `0` is octal. Raises ValueError."""
    if not _PREFIXED.fullmatch(text):
        raise ValueError("parse error")
    digits = text.lstrip("+-")
    is_old_octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_"
    magnitude = int(digits.replace("_", ""), 8 if is_old_octal else 0)
    value = -magnitude if text[0] == "-" else magnitude
    if not -(2**63) <= value < 2**63:
        raise ValueError("value out of range")
    return value


def parse_truth(text: str) -> bool:
    """One of Go's spellings of true and false. Raises ValueError."""
    if text not in _TRUTH:
        raise ValueError("parse error")
    return _TRUTH[text]


def parse_mode(text: str) -> int:
    """File permissions in octal digits. Raises ValueError."""
    if not _OCTAL.fullmatch(text) or (mode := int(text, 8)) >= 2**32:
        raise ValueError("parse error")
    return mode
