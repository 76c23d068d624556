"""The result of every requirement, for reading: a table in a file, and a line per level at the end of the run."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from .marks import LEVELS
from .untestable import UNTESTABLE
from .wire import Reply

CHAPTERS = ("CORE", "CRE", "DEF", "CWU", "EXP", "CHK", "TRM", "CAT", "X")
"""The chapters of the table, in their order."""

RESULTS = ("failed", "known failure", "passed", "skipped", "not run", "not testable")
"""What a row can show; a row of several tests shows the first of these that one of them had."""


@dataclass
class Row:
    """A requirement at one level, with what came of each of its sentences."""

    outcomes: dict[str, set[str]]
    reasons: list[str] = field(default_factory=list)

    @property
    def result(self) -> str:
        """The worst of the outcomes."""
        outcomes = set().union(*self.outcomes.values())
        return next((result for result in RESULTS if result in outcomes), "not run")

    @property
    def sentence(self) -> str:
        """The first sentence that the result is about."""
        sentences = [sentence for sentence, outcomes in self.outcomes.items() if self.result in outcomes]
        return (sentences or list(self.outcomes))[0]


@dataclass(frozen=True)
class Subject:
    """What a test is about."""

    requirements: tuple[str, ...]
    level: str
    sentence: str


def requirements_of(item: pytest.Item) -> tuple[str, ...]:
    """The identifiers in the mark `covers`, else the one in the test's name."""
    mark = item.get_closest_marker("covers")
    if mark is not None:
        return tuple(mark.args)
    name = re.match(r"test_([A-Z]+)_(\d\d)_", item.name)
    return (f"{name[1]}-{name[2]}",) if name else ()


class Report:
    """Collects outcomes while pytest runs."""

    def __init__(self, config: pytest.Config) -> None:
        self.options: Reply | None = None
        self._path: str | None = config.getoption("report", None)
        self._url: str = config.getoption("base_url", None) or ""
        self._subjects: dict[str, Subject] = {}
        self._rows: dict[tuple[str, str], Row] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            level = next((level for level in LEVELS if item.get_closest_marker(level)), None)
            requirements = requirements_of(item)
            if level is None or not requirements or not isinstance(item, pytest.Function):
                continue
            sentence = " ".join((inspect.getdoc(item.function) or "").split())
            self._subjects[item.nodeid] = Subject(requirements, level, sentence)
            for requirement in requirements:
                self._rows.setdefault((requirement, level), Row({})).outcomes.setdefault(sentence, set())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome, reason = _outcome(report)
        subject = self._subjects.get(report.nodeid)
        if subject is None or outcome is None:
            return
        for requirement in subject.requirements:
            row = self._rows[requirement, subject.level]
            row.outcomes[subject.sentence].add(outcome)
            if reason and reason not in row.reasons:
                row.reasons.append(reason)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self._summary():
            terminalreporter.write_line(line)

    def pytest_sessionfinish(self) -> None:
        if self._path is not None and self._rows:
            Path(self._path).write_text("\n".join(self._document()) + "\n", encoding="utf-8")

    def _complete(self) -> dict[tuple[str, str], Row]:
        """All rows in the order of the chapters, with those of which there is no test."""
        rows = dict(self._rows)
        for requirement, (level, reason) in UNTESTABLE.items():
            rows.setdefault((requirement, level), Row({reason: {"not testable"}}))
        levels = list(LEVELS)

        def place(key: tuple[str, str]) -> tuple[int, str, int]:
            return CHAPTERS.index(key[0].split("-")[0]), key[0], levels.index(key[1])

        return {key: rows[key] for key in sorted(rows, key=place)}

    def _summary(self) -> Iterator[str]:
        rows = self._complete()
        for level in LEVELS:
            results = [row.result for (_, other), row in rows.items() if other == level]
            counts = [f"{results.count(result)} {result}" for result in RESULTS if result in results]
            yield f"{level.upper()}: {len(results)} requirements: {', '.join(counts)}"

    def _document(self) -> Iterator[str]:
        yield "# Conformance to tus 1.0.0"
        yield ""
        yield f"`{self._url}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        yield ""
        for line in self._summary():
            yield f"* {line}"
        if self.options is not None:
            yield from ("", "The answer to OPTIONS:", "", "```", f"HTTP/1.1 {self.options.status}")
            yield from (f"{name}: {value}" for name, value in self.options.fields)
            yield "```"
        yield from ("", "| requirement | level | result | |", "|---|---|---|---|")
        for (requirement, level), row in self._complete().items():
            why = f" ({'; '.join(row.reasons)})" if row.reasons else ""
            yield f"| {requirement} | {level.upper()} | {_cell(row.result + why)} | {_cell(row.sentence)} |"


def _outcome(report: pytest.TestReport) -> tuple[str | None, str]:
    """The outcome of one phase of a test and the reason for it; `None` for phases that tell nothing."""
    if report.skipped:
        if hasattr(report, "wasxfail"):
            return "known failure", str(report.wasxfail)
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        return "skipped", reason.removeprefix("Skipped: ")
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        message = str(crash.message if crash else report.longrepr)
        return "failed", message.partition("\n")[0].removeprefix("AssertionError: ")[:120]
    return ("passed" if report.when == "call" else None), ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
