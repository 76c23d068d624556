"""The steps of an append that block, run under the upload's hold; near work where they do not wait for the disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from tusd_py.core import errors, rules
from tusd_py.core.errors import UploadError
from tusd_py.core.headers import parse_checksum
from tusd_py.core.rules import Append
from tusd_py.core.threads import Steps
from tusd_py.core.uploads import Upload
from tusd_py.store.filesystem import FilesystemStore
from tusd_py.store.receiver import Receiver


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds; 0 means no limit, but for `lock_timeout`.

    `strict` is the spec's word on what may be concatenated, against tusd's.
    """

    max_size: int = 0
    expire_after: float = 0.0
    lock_timeout: float = 20.0
    min_free_space: int = 0
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Writing:
    """An append that has begun: the upload as it was, the upload with the length it has now, and the open receiver."""

    before: Upload
    upload: Upload
    append: Append
    descriptor: int
    receiver: Receiver

    def of(self, upload: Upload) -> Writing:
        """The same with another description of the upload."""
        return replace(self, upload=upload)


class Appender:
    """The beginning of an append and its end; in between the body is received."""

    def __init__(self, store: FilesystemStore, limits: Limits) -> None:
        self._store = store
        self._limits = limits

    def begin(self, upload_id: str, descriptor: int, append: Append, body_length: int | None) -> Steps[Writing]:
        """Check the request against the upload, now that nobody else changes it, and get ready to write.

        No byte of the body has been asked for yet. Raises what is wrong with the request.
        """
        before = yield from self._store.beginning(upload_id, descriptor)
        rules.check_expiry(before, self._limits.expire_after, time.time())
        plan = rules.plan_append(before, append, body_length, self._limits.max_size)
        if self._limits.min_free_space:
            self._store.check_space(body_length or 0)
        upload = before
        if plan.size is not None and plan.size != before.size:
            yield partial(self._store.declare_size, before, plan.size)
            upload = replace(before, size=plan.size)
        receiver = yield from self._store.receiving(
            upload,
            descriptor,
            plan.limit,
            hold_back=body_length is None,
            algorithm=append.checksum.algorithm if append.checksum else None,
            verified=append.is_verified,
        )
        return Writing(before, upload, append, descriptor, receiver)

    def settle(self, writing: Writing, ended_early: UploadError | None, trailer: Sequence[str] | None) -> Steps[Upload]:
        """Decide which of the written bytes count, and make them durable as the policy says.

        What has to be verified may be read again for that, which is not near work.

        Of a body that ended early everything counts, unless it was to be verified: that counts whole or not at all
        (tus checksum), and what is wrong with it is raised.
        """
        is_verified = writing.append.is_verified
        if ended_early is None:
            writing.receiver.finish()
        if is_verified:
            try:
                self._verify(writing, ended_early, trailer)
            except UploadError:
                self._store.reject(writing.upload, writing.descriptor)
                raise
        position = writing.receiver.position
        return (yield from self._store.accepting(writing.upload, writing.descriptor, position, verified=is_verified))

    def _verify(self, writing: Writing, ended_early: UploadError | None, trailer: Sequence[str] | None) -> None:
        if ended_early is not None:
            raise ended_early
        checksum = writing.append.checksum
        if checksum is not None:
            digest = writing.receiver.digest()
        else:
            if trailer is None or len(trailer) != 1:
                raise UploadError(errors.INVALID_CHECKSUM)
            checksum = parse_checksum(trailer[0])
            digest = self._store.digest_of_body(writing.receiver, writing.descriptor, checksum.algorithm)
        if digest != checksum.digest:
            raise UploadError(errors.CHECKSUM_MISMATCH, algorithm=checksum.algorithm)
