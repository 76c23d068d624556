"""When hooks are called, and what their answers change."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from tusd_py.core.body import Body
from tusd_py.core.hook_events import (
    FILE_EVENTS,
    NO_REQUEST,
    REFUSALS,
    Access,
    Event,
    HookAnswer,
    HookCall,
    HookFailure,
    HookRefusal,
    HttpRequest,
    HttpResponse,
    current_exchange,
    without_headers,
)
from tusd_py.core.log_event import LogEvent
from tusd_py.core.threads import InThread
from tusd_py.core.uploads import Upload
from tusd_py.hooks import Backend
from tusd_py.hooks.forwarding import CREDENTIALS
from tusd_py.service.access_cache import AccessCache
from tusd_py.service.hook_changes import HookTrouble, changed, check_refusal
from tusd_py.service.metrics import Metrics
from tusd_py.store.receiver import Receiver

log = logging.getLogger("tusd_py")


@dataclass(frozen=True, slots=True)
class HookOptions:
    """Which `events` there are receivers for, and the seconds between two reports of progress.

    With `finish_when_ready`, post-finish of what is finished from now on waits until the file has gone through all
    steps; the request that it tells of is kept without `forget_headers` and those that carry credentials.
    """

    events: frozenset[Event] = frozenset()
    progress_interval: float = 1.0
    finish_when_ready: bool = False
    forget_headers: Sequence[str] = ()


class Hooks:
    """Calls every back end for each event that is enabled.

    Answers of pre-hooks are waited for: of several, any refusal counts, and changes are made one after the other.
    What has happened (`post-`) is put on disk by `deliver`, but for the progress of an upload, which is told while it
    is news.
    """

    def __init__(
        self,
        backends: Sequence[Backend],
        options: HookOptions,
        deliver: Callable[[HookCall], None],
        info_path: Callable[[str], str],
        is_place: Callable[[str], bool],
        metrics: Metrics,
        in_thread: InThread,
        in_work_thread: InThread,
    ) -> None:
        self._backends = backends
        self._events = options.events if backends else frozenset()
        self._finish_when_ready = options.finish_when_ready
        self._forget = CREDENTIALS | {name.lower() for name in options.forget_headers}
        self._interval = options.progress_interval if options.progress_interval > 0 else 1.0
        self._deliver = deliver
        self._info_path = info_path
        self._is_place = is_place
        self._metrics = metrics
        self._in_thread = in_thread
        self._in_work_thread = in_work_thread
        self._access = AccessCache()

    @property
    def is_on(self) -> bool:
        return bool(self._events)

    @property
    def wants_files(self) -> bool:
        """Whether somebody is told, or asked, when an upload is finished, or what has become of it."""
        return bool(self._events & ({Event.PRE_FINISH, Event.POST_FINISH} | FILE_EVENTS))

    async def close(self) -> None:
        for backend in self._backends:
            await backend.close()

    # --- before something happens ---

    async def before_access(self, mode: str, ids: tuple[str, ...]) -> None:
        """Raises what a pre-access hook wants the client to be told; its permission may count for a while."""
        if Event.PRE_ACCESS not in self._events or self._access.is_allowed(mode, ids, _request()):
            return
        upload = Upload(id=ids[0], size=0)
        seconds = [
            answer.cache_seconds
            for answer in await self._ask(Event.PRE_ACCESS, upload, access=Access(mode, ids), changes_answer=False)
        ]
        self._access.allow(mode, ids, _request(), min(seconds, default=0.0))

    async def before_create(self, upload: Upload) -> Upload:
        """The upload as hooks want it made: another id, other metadata, another place. Raises their refusal."""
        if Event.PRE_CREATE not in self._events:
            return upload
        for answer in await self._ask(Event.PRE_CREATE, replace(upload, id="", offset=0)):
            upload = changed(upload, answer, self._is_place)
        return upload

    async def before_finish(self, upload: Upload) -> None:
        """Raises `HookTrouble` while an upload that is whole may not count as finished."""
        if Event.PRE_FINISH in self._events:
            await self._ask(Event.PRE_FINISH, upload)

    async def before_terminate(self, upload: Upload) -> None:
        if Event.PRE_TERMINATE in self._events:
            await self._ask(Event.PRE_TERMINATE, upload)

    # --- after something has happened ---

    async def after_create(self, upload: Upload) -> None:
        await self._tell(Event.POST_CREATE, upload)

    async def after_finish(self, upload: Upload) -> None:
        """May come twice for one upload after a crash; the call's id is the same then."""
        if not self._finish_when_ready:
            await self._tell(Event.POST_FINISH, upload, f"{upload.file_id or _new_id()}-{Event.POST_FINISH}")

    async def after_ready(self, upload: Upload, request: HttpRequest) -> None:
        """The upload is a ready file, of which post-finish has not told; `request` is the one that finished it."""
        await self._tell_later(Event.POST_FINISH, upload, f"{upload.file_id}-{Event.POST_FINISH}", request)

    async def after_settling(self, event: Event, upload: Upload, call_id: str, file: Mapping[str, object]) -> None:
        await self._tell_later(event, upload, call_id, NO_REQUEST, file)

    def request_to_keep(self) -> HttpRequest | None:
        """The request that is being answered, where a hook will be told of it only later."""
        if not (self._finish_when_ready and Event.POST_FINISH in self._events):
            return None
        call = HookCall("", Event.POST_FINISH, Upload("", 0), _request())
        return without_headers(call, self._forget).request

    async def after_terminate(self, upload: Upload) -> None:
        await self._tell(Event.POST_TERMINATE, upload)

    # --- while it happens ---

    @asynccontextmanager
    async def reporting(self, upload: Upload, receiver: Receiver, body: Body) -> AsyncIterator[None]:
        """Tell how far an upload is while its body comes; a hook that says stop ends the body."""
        if Event.POST_RECEIVE not in self._events:
            yield
            return
        task = asyncio.create_task(self._report(upload, receiver, body))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _report(self, upload: Upload, receiver: Receiver, body: Body) -> None:
        """One report at a time: what happens during a slow one is told by the next."""
        reported = 0
        while True:
            await asyncio.sleep(self._interval)
            if receiver.position == reported:
                continue
            reported = receiver.position
            now = replace(upload, offset=reported)
            for backend in self._backends:
                call = self._call(Event.POST_RECEIVE, now, _new_id())
                try:
                    answer = await self.invoke(backend, call)
                except HookFailure:
                    continue
                if answer.stop_upload:
                    log.info(LogEvent("HookStopUpload", id=upload.id))
                    body.interrupt(HookRefusal(REFUSALS[Event.POST_RECEIVE], answer.response), 0)
                    return

    # --- calling ---

    async def _ask(
        self, event: Event, upload: Upload, *, access: Access | None = None, changes_answer: bool = True
    ) -> list[HookAnswer]:
        answers = []
        for backend in self._backends:
            try:
                answer = await self.invoke(backend, self._call(event, upload, _new_id(), access))
            except HookFailure as error:
                raise HookTrouble(str(error)) from error
            check_refusal(event, answer)
            if changes_answer:
                _change_answer(answer.response)
            answers.append(answer)
        return answers

    async def _tell(self, event: Event, upload: Upload, call_id: str = "") -> None:
        if event in self._events:
            await self._in_thread(self._deliver, self._call(event, upload, call_id or _new_id()))

    async def _tell_later(
        self,
        event: Event,
        upload: Upload,
        call_id: str,
        request: HttpRequest,
        file: Mapping[str, object] | None = None,
    ) -> None:
        """Of what has happened to a file beside the requests; their threads are not kept busy with it."""
        if event in self._events:
            call = replace(self._call(event, upload, call_id), request=request, file=file)
            await self._in_work_thread(self._deliver, call)

    async def invoke(self, backend: Backend, call: HookCall) -> HookAnswer:
        """Call one back end, seen by metrics and log; also for who delivers what has been put on disk."""
        self._metrics.count_hook(call.event)
        log.debug(LogEvent("HookInvocationStart", type=call.event.value, id=call.upload.id))
        try:
            answer = await backend.call(call)
        except HookFailure as error:
            self._metrics.count_hook_error(call.event)
            log.error(  # noqa: TRY400 -- the receiver's trouble, not ours
                LogEvent("HookInvocationError", type=call.event.value, id=call.upload.id, error=str(error))
            )
            raise
        log.debug(LogEvent("HookInvocationFinish", type=call.event.value, id=call.upload.id))
        return answer

    def _call(self, event: Event, upload: Upload, call_id: str, access: Access | None = None) -> HookCall:
        info_path = self._info_path(upload.id) if upload.path else ""
        return HookCall(call_id, event, upload, _request(), info_path, access)


def _request() -> HttpRequest:
    exchange = current_exchange.get()
    return exchange.request if exchange is not None else NO_REQUEST


def _change_answer(response: HttpResponse) -> None:
    exchange = current_exchange.get()
    if exchange is not None:
        exchange.changes.append(response)


def _new_id() -> str:
    return f"{time.time_ns()}-{secrets.token_hex(8)}"
