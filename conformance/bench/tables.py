"""Results as text for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .goals import GOALS, measured
from .machine import Machine
from .results import Results, by_cpu, by_speed

_LACKING = "–"


def as_text(results: Results, base: str) -> str:
    """One shape; the last columns are the base's speed and processor time in parts of the row's, round by round."""
    unit = results.shape.unit
    further = list(dict.fromkeys(name for row in results.rows if row.rounds for name in results.figures(row).further))
    head = ["", unit.speed, "±", unit.cpu, "peak MiB", *further, f"{base} ÷ it: speed", "CPU"]
    lines, notes = [head], []
    for row in results.rows:
        if not row.rounds:
            lines.append([row.contender, *([_LACKING if row.lacks else "error"] + [""] * (len(head) - 2))])
            notes.append(f"  {row.contender}: {row.lacks or row.trouble}")
            continue
        figures = results.figures(row)
        lines.append(
            [
                row.contender,
                _number(figures.speed),
                "" if figures.spread is None else f"{figures.spread:.0%}",
                _number(figures.cpu),
                f"{figures.memory:.0f}",
                *(_number(figures.further.get(name)) for name in further),
                _number(results.ratio(base, row.contender, by_speed)),
                _number(results.ratio(base, row.contender, by_cpu)),
            ]
        )
    return "\n".join([results.title, *_aligned(lines), *notes])


def goals_as_text(all_results: Sequence[Results], machine: Machine) -> str:
    lines = [["goal", "", "measured", ""], *_goals(all_results, machine)]
    return "\n".join(_aligned(lines)) if len(lines) > 1 else ""


def as_markdown(all_results: Sequence[Results], machine: Machine) -> str:
    """A table of all shapes, with a contender in each column, and one of the goals."""
    columns = list(dict.fromkeys(row.contender for results in all_results for row in results.rows))
    shapes = [["", *columns]]
    for results in all_results:
        cells = {row.contender: _cell(results, row.contender) for row in results.rows}
        unit = results.shape.unit
        shapes.append([f"{results.title}: {unit.speed}, {unit.cpu}", *(cells.get(name, "") for name in columns)])
    goals = [["shape", "goal", "measured", ""], *_goals(all_results, machine)]
    return f"{machine}\n\n{_markdown(shapes)}\n\n{_markdown(goals)}"


def _goals(all_results: Sequence[Results], machine: Machine) -> list[list[str]]:
    """Those whose shape was measured."""
    by_name: Mapping[str, Results] = {results.shape.name: results for results in all_results}
    lines = []
    for goal in GOALS:
        if goal.shape in by_name:
            value = measured(goal, by_name, machine)
            verdict = "not measured" if value is None else "met" if goal.is_met(value) else "not met"
            lines.append([by_name[goal.shape].title, str(goal), _number(value), verdict])
    return lines


def _cell(results: Results, contender: str) -> str:
    row = results.row(contender)
    if row is None:
        return _LACKING if any(each.contender == contender and each.lacks for each in results.rows) else "error"
    figures = results.figures(row)
    p99 = [f"{name.removesuffix(' ms')} {_number(ms)} ms" for name, ms in figures.further.items() if "p99" in name]
    return ", ".join([f"{_number(figures.speed)}, {_number(figures.cpu)}", *p99, f"{figures.memory:.0f} MiB"])


def _number(value: float | None) -> str:
    """Three digits, or all before the point."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([head, "|---" * len(lines[0]) + "|", *rest])
