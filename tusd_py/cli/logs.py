"""How log events are written: tusd's text and JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from io import TextIOWrapper

from tusd_py.core.log_event import EventLogger, LogEvent

_LEVELS = {"WARNING": "WARN", "CRITICAL": "ERROR"}


class TextFormatter(logging.Formatter):
    """`YYYY/MM/DD HH:MM:SS.microseconds level=INFO event=NAME key=value …`, in local time."""

    def format(self, record: logging.LogRecord) -> str:
        line = self.format_event(record.created, _level(record), _event(record))
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    def format_event(self, created: float, level: str, event: LogEvent) -> str:
        seconds = int(created)
        microseconds = int((created - seconds) * 1_000_000)
        return f"{_local_time(seconds)}.{microseconds:06d} level={level} {event}"


class JsonFormatter(logging.Formatter):
    """One object a line; the event's name stands under `msg`."""

    def format(self, record: logging.LogRecord) -> str:
        more = {"exception": self.formatException(record.exc_info)} if record.exc_info else {}
        return self.format_event(record.created, _level(record), _event(record), **more)

    def format_event(self, created: float, level: str, event: LogEvent, **more: object) -> str:
        written_at = datetime.fromtimestamp(created, UTC).astimezone().isoformat()
        line = {"time": written_at, "level": level, "msg": event.name, **event.attributes, **more}
        return json.dumps(line, ensure_ascii=False)


class LineHandler(logging.Handler):
    """Each event at once as a line of the stream, which is flushed by its end.

    Where the disk is full, or nobody reads any more, lines are lost and the server goes on; that is said once.
    """

    def __init__(self, stream: TextIOWrapper, formatter: TextFormatter | JsonFormatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        stream.reconfigure(line_buffering=True)
        self._stream = stream
        self._format_event = formatter.format_event
        self._is_losing = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record))
        except Exception:
            self.handleError(record)

    def take_event(self, event: LogEvent) -> None:
        """An event of level INFO, without a record of it."""
        self.acquire()
        try:
            self._write(self._format_event(time.time(), "INFO", event))
        except Exception:
            self.handleError(logging.makeLogRecord({"msg": event}))
        finally:
            self.release()

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._is_losing = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._is_losing:
            self._is_losing = True
            with suppress(OSError):
                print(f"lines of the log are lost: {error.strerror}", file=sys.stderr, flush=True)


def configure_logging(*, is_json: bool, is_verbose: bool) -> None:
    """Write our events, and warnings of the server below, to standard output."""
    out = sys.stdout  # none where it is closed
    log = logging.getLogger("tusd_py")
    formatter = JsonFormatter() if is_json else TextFormatter()
    handler: logging.Handler
    if isinstance(out, TextIOWrapper):
        handler = LineHandler(out, formatter)
        if isinstance(log, EventLogger):
            log.take_event = handler.take_event
    else:
        handler = logging.StreamHandler(out)
        handler.setFormatter(formatter)
    # What no line of ours shows is not looked up for each of them (Python's logging HOWTO, Optimization).
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(logging.DEBUG if is_verbose else logging.INFO)


@lru_cache(maxsize=4)
def _local_time(seconds: int) -> str:
    return time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(seconds))


def _level(record: logging.LogRecord) -> str:
    return _LEVELS.get(record.levelname, record.levelname)


def _event(record: logging.LogRecord) -> LogEvent:
    """Lines of other libraries become events of their logger's name."""
    if isinstance(record.msg, LogEvent):
        return record.msg
    return LogEvent("ServerMessage", logger=record.name, message=record.getMessage())
