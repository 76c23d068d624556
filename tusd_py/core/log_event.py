"""Log events with tusd's names and attributes, independent of how they are written down."""

from __future__ import annotations

import codecs
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

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


class EventLogger(logging.Logger):
    """Python's logger for this package: `logging.getLogger("tusd_py")`, whoever asks for it.

    Most of what a server logs are events of level INFO, several for each request. `take_event`, where it is set, has
    them as they are: on their way through Python's records and handlers they would cost more than all else about them.
    """

    take_event: Callable[[LogEvent], None] | None = None

    def info(self, msg: object, *args: Any, **keywords: Any) -> None:
        if self.take_event is None or not isinstance(msg, LogEvent):
            super().info(msg, *args, **keywords)
        elif self.isEnabledFor(logging.INFO):
            self.take_event(msg)


def _event_logger() -> logging.Logger:
    known = logging.getLoggerClass()
    logging.setLoggerClass(EventLogger)
    try:
        return logging.getLogger("tusd_py")
    finally:
        logging.setLoggerClass(known)


_event_logger()


def _written_pairs(pairs: Mapping[str, Attribute]) -> str:
    return "".join([f" {name}={_written(value)}" for name, value in pairs.items()])


def _written(value: Attribute) -> str:
    text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
    if text and text.isprintable() and " " not in text and "=" not in text and '"' not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else _escape(c)[0].decode() for c in escaped) + '"'
