"""Hooks in the process of the server."""

import asyncio
import contextvars
import threading
from http import HTTPStatus
from typing import Any

import pytest

from tests.hooks import in_process
from tests.hooks.calls import call_about
from tests.running import DEADLINE
from tusd_py.core.hook_events import Event, HookAnswer, HookFailure, HttpResponse
from tusd_py.core.hook_json import call_document
from tusd_py.hooks.python import PythonBackend, load

HERE = "tests.hooks.in_process"


def ask(target: object, event: Event = Event.PRE_CREATE, **options: Any) -> HookAnswer:
    async def run() -> HookAnswer:
        backend = PythonBackend(target, **options)
        try:
            return await backend.call(call_about(event=event))
        finally:
            await backend.close()

    return asyncio.run(run())


def returning(answer: object) -> Any:
    return lambda _document: answer


def test_a_function_is_called_with_the_event_in_a_thread() -> None:
    seen: list[Any] = []

    def hook(document: dict[str, Any]) -> None:
        seen.append((document, threading.current_thread()))

    assert ask(hook) == HookAnswer()
    ((document, thread),) = seen
    assert document == call_document(call_about(event=Event.PRE_CREATE))
    assert thread is not threading.main_thread()


def test_a_coroutine_function_is_called_on_the_loop() -> None:
    async def hook(document: dict[str, Any]) -> dict[str, Any]:
        assert threading.current_thread() is threading.main_thread()
        await asyncio.sleep(0)
        return {"RejectUpload": document["Type"] == "pre-create"}

    assert ask(hook).reject_upload


def test_an_object_may_be_called_or_have_methods() -> None:
    class Callable:
        async def __call__(self, document: dict[str, Any]) -> dict[str, Any]:
            assert threading.current_thread() is threading.main_thread()
            return {"ChangeFileInfo": {"ID": document["Type"]}}

    class Methods:
        def post_receive(self, _document: dict[str, Any]) -> dict[str, Any]:
            return {"StopUpload": True}

    for target in (Callable(), Callable):
        assert ask(target).change_id == "pre-create"
    for methods in (Methods(), Methods):
        assert ask(methods, Event.POST_RECEIVE).stop_upload
        assert ask(methods, Event.PRE_CREATE) == HookAnswer()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, HookAnswer()),
        ({}, HookAnswer()),
        ({"rejectUpload": True}, HookAnswer(reject_upload=True)),
        ({"HTTPResponse": {"StatusCode": HTTPStatus.FORBIDDEN}}, HookAnswer(response=HttpResponse(403))),
        (HookAnswer(change_id="x"), HookAnswer(change_id="x")),
    ],
)
def test_an_answer_is_nothing_a_document_or_a_value(answer: object, expected: HookAnswer) -> None:
    assert ask(returning(answer)) == expected


@pytest.mark.parametrize("answer", [5, "{}", [], {"RejectUpload": 1}, {"HTTPResponse": object()}, {"X": {1, 2}}])
def test_another_answer_is_a_failure_but_the_event_was_received(answer: object) -> None:
    with pytest.raises(HookFailure) as caught:
        ask(returning(answer))
    assert caught.value.was_received


def test_an_exception_is_a_failure_that_tells_clients_no_more_than_its_name() -> None:
    def hook(_document: object) -> None:
        raise KeyError("postgres://user:password@host")

    with pytest.raises(HookFailure, match=r"^hook raised KeyError$") as caught:
        ask(hook)
    assert not caught.value.was_received


def test_a_failure_says_what_it_wants() -> None:
    async def hook(_document: object) -> None:
        raise HookFailure("come back tomorrow")

    with pytest.raises(HookFailure, match=r"^come back tomorrow$"):
        ask(hook)


def test_nobody_waits_longer_than_the_limit() -> None:
    async def endless(_document: object) -> None:
        await asyncio.sleep(60)

    is_over = threading.Event()
    hooks: list[Any] = [endless, lambda _document: is_over.wait(DEADLINE)]
    for hook in hooks:
        with pytest.raises(HookFailure, match=r"^hook did not return within 100ms$"):
            ask(hook, timeout=0.1)
        assert not is_over.is_set()
    is_over.set()


def test_a_time_out_of_its_own_is_an_exception_like_others() -> None:
    async def hook(_document: object) -> None:
        raise TimeoutError

    with pytest.raises(HookFailure, match=r"^hook raised TimeoutError$"):
        ask(hook, timeout=5)


def test_a_thread_sees_the_context_of_the_request() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("here")
    assert ask(lambda _document: {"ChangeFileInfo": {"ID": variable.get()}}).change_id == "here"


# --- names ---


def test_a_hook_is_found_by_its_name() -> None:
    in_process.seen.clear()
    ask(f"{HERE}:plain")
    assert ask(f"{HERE}:receiver").reject_upload
    assert ask(f"{HERE}:Receiver").reject_upload
    assert ask(f"{HERE}:receiver.pre_create").reject_upload
    assert len(in_process.seen) == 4


@pytest.mark.parametrize(
    "target", ["", "module", ":object", "module:", f"{HERE}:absent", "no.such.module:x", f"{HERE}:seen.x"]
)
def test_a_name_of_nothing_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match=r"is not of the form|cannot be imported|has no"):
        load(target)


@pytest.mark.parametrize("target", [f"{HERE}:not_a_hook", 5, object()])
def test_what_cannot_be_called_is_refused(target: object) -> None:
    with pytest.raises(ValueError, match="can neither be called nor has a method"):
        PythonBackend(target)
