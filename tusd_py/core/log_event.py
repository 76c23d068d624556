"""Log events with tusd's names and attributes, independent of how they are written down."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from contextvars import ContextVar

# Looked up now: later there may be no descriptor left to load it with.
_escape = codecs.getencoder("unicode_escape")

Attribute = str | int | float | bool | None


class RequestAttributes:
    """What every event of a request carries first: method, path, request id. As text it is written out once."""

    __slots__ = ("_text", "pairs")

    def __init__(self, **pairs: Attribute) -> None:
        self.pairs = pairs
        self._text: str | None = None

    def __str__(self) -> str:
        if self._text is None:
            self._text = _written_pairs(self.pairs)
        return self._text


_NO_REQUEST = RequestAttributes()

request_attributes: ContextVar[RequestAttributes] = ContextVar("request_attributes", default=_NO_REQUEST)
"""Set once per request."""


class LogEvent:
    """A named event; as text it is a line of `event=NAME key=value …`, the way tusd writes it.

    It is made for every request several times, and written down only if somebody wants it.
    """

    __slots__ = ("_of_request", "_own", "name")

    def __init__(self, name: str, **attributes: Attribute) -> None:
        self.name = name
        self._of_request = request_attributes.get()
        self._own = attributes

    @property
    def attributes(self) -> dict[str, Attribute]:
        return self._of_request.pairs | self._own

    def __str__(self) -> str:
        if self._own.keys().isdisjoint(self._of_request.pairs):
            return f"event={self.name}{self._of_request}{_written_pairs(self._own)}"
        return f"event={self.name}{_written_pairs(self.attributes)}"


def _written_pairs(pairs: Mapping[str, Attribute]) -> str:
    return "".join([f" {name}={_written(value)}" for name, value in pairs.items()])


def _written(value: Attribute) -> str:
    text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
    if text and text.isprintable() and " " not in text and "=" not in text and '"' not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else _escape(c)[0].decode() for c in escaped) + '"'
