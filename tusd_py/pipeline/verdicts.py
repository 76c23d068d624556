"""What clamd says about a file, and what that means: only `OK` is clean, and what nobody looked into is no virus."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

LARGEST_SCANNED = 2_147_483_645
"""Bytes. The engine does not scan longer files (INT_MAX - 2), and calls them clean unless told to alert."""


class Finding(Enum):
    """How a scan has ended."""

    CLEAN = auto()
    INFECTED = auto()
    UNSCANNABLE = auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`detail` is the signature of what was found, or the reason why the bytes cannot be scanned."""

    finding: Finding
    detail: str = ""


CLEAN = Verdict(Finding.CLEAN)


class NoVerdict(Exception):
    """The scanner has not said whether this file is clean; the text says what happened instead."""


_ALERTS_OF_LIMITS = {
    "Heuristics.Limits.Exceeded": "beyond a limit of the scanner",
    "Heuristics.XZ.DicSizeLimit": "beyond a limit of the scanner",
    "Heuristics.Encrypted": "encrypted",
    # Releases before 1.0 have no name for files that are too large (Cisco-Talos/clamav#720).
    "(null)": "beyond a limit of the scanner",
}
"""What is FOUND, by the beginning of its name, without being an infection."""

_ERRORS_OF_LIMITS = {
    "INSTREAM size limit exceeded.": "larger than the scanner's StreamMaxLength",
    "Exceeded time limit": "beyond a limit of the scanner (MaxScanTime)",
    "Time limit reached": "beyond a limit of the scanner (MaxScanTime)",
}
"""What is an ERROR that would come again; every other one may pass."""

_ANSWER = re.compile(r"(?:[^:]*: )?(?:(?P<what>\S(?:.*\S)?) )?(?P<state>OK|FOUND|ERROR)")
_LONGEST_DETAIL = 200


def unscannable(reason: str) -> Verdict:
    return Verdict(Finding.UNSCANNABLE, reason)


def too_large(size: int, limit: int) -> Verdict:
    return unscannable(f"larger than can be scanned ({size} bytes, at most {limit})")


def read_answer(text: str) -> Verdict:
    """Understand clamd's answer to FILDES or INSTREAM. Raises `NoVerdict`."""
    match = _ANSWER.fullmatch(text)
    what, state = (match["what"] or "", match["state"]) if match else ("", "")
    if state == "OK" and not what:
        return CLEAN
    if state == "FOUND" and what:
        for name, reason in _ALERTS_OF_LIMITS.items():
            if what.startswith(name):
                limit = what.removeprefix(name).strip(".")
                return unscannable(f"{reason} ({limit})" if limit else reason)
        return Verdict(Finding.INFECTED, what[:_LONGEST_DETAIL])
    if state == "ERROR" and what in _ERRORS_OF_LIMITS:
        return unscannable(_ERRORS_OF_LIMITS[what])
    raise NoVerdict(f"clamd answered {text[:_LONGEST_DETAIL]!r}")
