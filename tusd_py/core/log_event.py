"""Log events with tusd's names and attributes, independent of how they are written down."""

from __future__ import annotations

import codecs
from contextvars import ContextVar

# Looked up now: later there may be no descriptor left to load it with.
_escape = codecs.getencoder("unicode_escape")

Attribute = str | int | float | bool | None

request_attributes: ContextVar[tuple[tuple[str, Attribute], ...]] = ContextVar("request_attributes", default=())
"""What every event of a request carries first (method, path, request id), set once per request."""


class LogEvent:
    """A named event; as text it is a line of `event=NAME key=value …`, the way tusd writes it."""

    def __init__(self, name: str, **attributes: Attribute) -> None:
        self.name = name
        self.attributes: dict[str, Attribute] = dict(request_attributes.get()) | attributes

    def __str__(self) -> str:
        pairs = {"event": self.name} | self.attributes
        return " ".join(f"{name}={_written(value)}" for name, value in pairs.items())


def _written(value: Attribute) -> str:
    text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
    if text and text.isprintable() and not any(character in text for character in ' ="'):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else _escape(c)[0].decode() for c in escaped) + '"'
