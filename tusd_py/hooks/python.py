"""Hooks in this process: a Python object is called with the JSON that other receivers are sent."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from tusd_py.core.go_values import format_duration
from tusd_py.core.hook_events import Event, HookAnswer, HookCall, HookFailure
from tusd_py.core.hook_json import call_document, decode_answer
from tusd_py.core.log_event import LogEvent

log = logging.getLogger("tusd_py")

Answer = HookAnswer | Mapping[str, Any] | None
Hook = Callable[[dict[str, Any]], Answer | Awaitable[Answer]]

_THREADS = 16


class PythonBackend:
    """Calls `target`: `module:object`, a callable for all events, or an object with a method for each (`pre_create`).

    What it is called with is the document of the event; what it returns is None, a document of an answer, or a
    `HookAnswer`. After `timeout` seconds (0 and less: never) a coroutine is cancelled. Plain functions run in threads,
    at most 16 at a time; nothing ends them, but nobody waits for them then. The text of a `HookFailure` that is raised
    goes to the client of a pre-hook; of any other exception only the name does.

    Raises ValueError for a target that there is not.
    """

    def __init__(self, target: object, *, timeout: float = 0.0, name: str = "python") -> None:
        self.name = name
        self._timeout = timeout if timeout > 0 else None
        self._target = load(target) if isinstance(target, str) else target
        if inspect.isclass(self._target):
            self._target = _made(self._target)
        if not any(self._hook(event) for event in Event):
            raise ValueError(f"{target!r} can neither be called nor has a method for any event")
        self._room = asyncio.Semaphore(_THREADS)

    async def call(self, call: HookCall) -> HookAnswer:
        hook = self._hook(call.event)
        if hook is None:
            return HookAnswer()
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                return _read(await self._run(hook, call_document(call)))
        except HookFailure:
            raise
        except Exception as error:
            if limit.expired():
                raise HookFailure(f"hook did not return within {format_duration(self._timeout or 0.0)}") from None
            log.exception(LogEvent("HookException", type=call.event.value, id=call.upload.id))
            raise HookFailure(f"hook raised {type(error).__name__}") from error

    async def close(self) -> None:
        """Threads that still run are left alone."""

    async def _in_thread(self, work: Callable[[], Answer | Awaitable[Answer]]) -> Answer | Awaitable[Answer]:
        """Not one of a pool: the interpreter would wait at its end for a hook that does not come to its own."""
        await self._room.acquire()
        loop = asyncio.get_running_loop()
        done: Future[Answer | Awaitable[Answer]] = Future()
        done.set_running_or_notify_cancel()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)
            finally:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(self._room.release)

        threading.Thread(target=run, name="hook", daemon=True).start()
        return await asyncio.wrap_future(done)

    def _hook(self, event: Event) -> Hook | None:
        if callable(self._target):
            return self._target
        hook = getattr(self._target, event.value.replace("-", "_"), None)
        return hook if callable(hook) else None

    async def _run(self, hook: Hook, document: dict[str, Any]) -> Answer:
        if _is_async(hook):
            answer = hook(document)
        else:
            context = contextvars.copy_context()
            work = partial(context.run, hook, document)
            answer = await self._in_thread(work)
        return await answer if inspect.isawaitable(answer) else answer


def load(target: str) -> object:
    """The object that `module:object` names; the latter may have dots. Raises ValueError."""
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        raise ValueError(f"'{target}' is not of the form module:object")
    try:
        found: object = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the module does when it is run
        raise ValueError(f"'{module_name}' cannot be imported: {type(error).__name__}: {error}") from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ValueError(f"'{module_name}' has no '{path}'") from None
    return found


def _made(target: Callable[[], object]) -> object:
    try:
        return target()
    except Exception as error:
        raise ValueError(f"{target!r} cannot be made: {type(error).__name__}: {error}") from error


def _is_async(hook: Hook) -> bool:
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(getattr(hook, "__call__", None))  # noqa: B004


def _read(answer: object) -> HookAnswer:
    if answer is None:
        return HookAnswer()
    if isinstance(answer, HookAnswer):
        return answer
    if not isinstance(answer, Mapping):
        raise HookFailure(f"hook returned a {type(answer).__name__}", was_received=True)
    try:
        text = json.dumps(dict(answer))
    except (TypeError, ValueError, RecursionError) as error:
        raise HookFailure(f"hook returned what is not JSON: {error}", was_received=True) from error
    return decode_answer(text.encode())
