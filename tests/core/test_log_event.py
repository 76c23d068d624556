import contextvars
import logging

import pytest

from tusd_py.core.log_event import Attribute, EventLogger, LogEvent, RequestAttributes, request_attributes


def test_an_event_is_a_line_of_pairs() -> None:
    event = LogEvent("UploadCreated", id="abc", size=11, url="http://host/files/abc")
    assert str(event) == "event=UploadCreated id=abc size=11 url=http://host/files/abc"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("word", "word"),
        (11, "11"),
        (1.5, "1.5"),
        (True, "true"),
        (False, "false"),
        (None, '""'),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "hi"', r'"say \"hi\""'),
        ("line\nbreak", r'"line\nbreak"'),
        ("\x1b[31m", r'"\x1b[31m"'),
        ("back \\ slash", r'"back \\ slash"'),
        ("grün", "grün"),
    ],
)
def test_a_value_is_quoted_where_it_could_be_misread(value: Attribute, written: str) -> None:
    assert str(LogEvent("X", key=value)) == f"event=X key={written}"


def test_what_is_known_of_the_request_comes_first() -> None:
    def in_a_request() -> str:
        request_attributes.set(RequestAttributes(method="PATCH", path="abc", requestId=""))
        return str(LogEvent("ChunkWriteStart", id="abc"))

    line = contextvars.copy_context().run(in_a_request)
    assert line == 'event=ChunkWriteStart method=PATCH path=abc requestId="" id=abc'
    assert str(LogEvent("ChunkWriteStart", id="abc")) == "event=ChunkWriteStart id=abc"


def test_events_go_straight_to_who_takes_them_and_everything_else_to_handlers() -> None:
    log, taken, handled = EventLogger("test"), [], []
    handler = logging.Handler()
    handler.emit = lambda record: handled.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    log.info(LogEvent("First"))
    log.take_event = lambda event: taken.append(str(event))
    log.info(LogEvent("Second"))
    log.info("%s", "text")
    log.error(LogEvent("Third"))
    quiet = EventLogger("test", logging.WARNING)
    quiet.take_event = log.take_event
    quiet.info(LogEvent("Fourth"))
    assert handled == ["event=First", "text", "event=Third"]
    assert taken == ["event=Second"]


def test_pythons_logger_of_the_package_takes_events() -> None:
    assert isinstance(logging.getLogger("tusd_py"), EventLogger)
    assert type(logging.getLogger("tusd_py.other")) is not EventLogger
