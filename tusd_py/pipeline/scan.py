"""The virus scan: a file goes on only when a scanner that is known to look has called it clean."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Literal

from tusd_py.core.log_event import LogEvent
from tusd_py.core.records import FileRecord, Status, settled
from tusd_py.pipeline import TryLater
from tusd_py.pipeline.clamd import Clamd, Unreachable
from tusd_py.pipeline.probes import PROBES, open_eicar
from tusd_py.pipeline.verdicts import Finding, NoVerdict, Verdict

log = logging.getLogger("tusd_py")

PROOF_LIFETIME = 600.0
"""Seconds. A restart with another clamd.conf between two files would not be noticed otherwise."""


class UnsafeScanner(Exception):
    """The scanner calls clean what it has not looked into; the text names the lines of clamd.conf to set."""


class Scan:
    """The step. Nothing is asked of a scanner that is not proven, so that its every `OK` means that it has looked.

    The proof is that it finds EICAR and calls none of `PROBES` clean; with `trust_limits` the first is enough. It is
    made before first use, and again when the scanner was away or silent, when its version (the program's or the
    signatures') has changed, and after `PROOF_LIFETIME`. What cannot be scanned is quarantined, or goes on and is shown
    as such (`unscannable="pass"`). A scanner that is away is tried again after `retry_delay` seconds, once for all
    files together.
    """

    name = "scan"

    def __init__(
        self,
        clamd: Clamd,
        *,
        trust_limits: bool = False,
        unscannable: Literal["quarantine", "pass"] = "quarantine",
        retry_delay: float = 5.0,
    ) -> None:
        self._clamd = clamd
        self._trust_limits = trust_limits
        self._passes_unscannable = unscannable == "pass"
        self._retry_delay = retry_delay
        self._proving = asyncio.Lock()
        self._proven_version = ""
        self._proven_at = 0.0
        self._trouble: Exception | None = None
        self._next_try = 0.0

    @property
    def trouble(self) -> str:
        """Why files have to wait for the scanner, as far as is known; empty if they do not."""
        return str(self._trouble or "")

    async def run(self, record: FileRecord) -> FileRecord:
        version = self._proven_version or await self._proven()
        try:
            verdict = await self._clamd.scan(record.path)
        except FileNotFoundError:
            return settled(record, Status.GONE)
        except Unreachable as error:
            raise self._wait(error) from error
        except NoVerdict as error:
            self._proven_version = ""
            raise TryLater(str(error)) from error
        except OSError as error:
            raise TryLater(f"the file cannot be read: {error}") from error
        if verdict.finding is Finding.CLEAN and await self._proven() != version:
            raise TryLater("the scanner has changed while it scanned", delay=0)
        return self._judged(record, verdict)

    def _judged(self, record: FileRecord, verdict: Verdict) -> FileRecord:
        match verdict.finding:
            case Finding.CLEAN:
                return replace(record, scan_result="clean")
            case Finding.INFECTED:
                return settled(record, Status.QUARANTINED, verdict.detail)
            case Finding.UNSCANNABLE:
                result = f"unscannable: {verdict.detail}"
                if self._passes_unscannable:
                    return replace(record, scan_result=result)
                return settled(record, Status.QUARANTINED, result)

    async def prove(self) -> str:
        """The version of the scanner, which is proven when this returns. Raises `UnsafeScanner`, `TryLater`.

        While there is trouble, `retry_delay` apart; in between what was found last is raised again.
        """
        async with self._proving:
            if self._trouble is not None and time.monotonic() < self._next_try:
                raise self._again(self._trouble)
            try:
                version = await self._clamd.version()
                if version != self._proven_version or time.monotonic() - self._proven_at > PROOF_LIFETIME:
                    await self._try_out(version)
            except (Unreachable, NoVerdict, UnsafeScanner) as error:
                raise self._wait(error) from error
            self._trouble = None
            return version

    async def _proven(self) -> str:
        try:
            return await self.prove()
        except UnsafeScanner as error:
            raise TryLater(str(error), delay=self._retry_delay) from error

    async def _try_out(self, version: str) -> None:
        where = f"clamd at {self._clamd.address}"
        if (await self._clamd.scan_probe(open_eicar)).finding is not Finding.INFECTED:
            raise UnsafeScanner(f"{where} does not find the EICAR test file; give it its signatures (freshclam)")
        missed = [
            probe
            for probe in PROBES
            if (self._clamd.takes_descriptors or not probe.needs_descriptor)
            and (await self._clamd.scan_probe(probe.make)).finding is Finding.CLEAN
        ]
        names = ", ".join(probe.name for probe in missed)
        remedies = ", ".join(dict.fromkeys(probe.remedy for probe in missed))
        fault = f"{where} calls clean what it has not looked into ({names}); set in clamd.conf: {remedies}"
        if not self._trust_limits and any(probe.is_required for probe in missed):
            raise UnsafeScanner(f"{fault} (or trust it as it is: -scan-trust-limits)")
        is_news = version != self._proven_version
        self._proven_version, self._proven_at = version, time.monotonic()
        if is_news:
            log.info(LogEvent("ScannerProven", version=version))
            if missed:
                log.warning(LogEvent("ScannerLimits", warning=fault))

    def _wait(self, error: Exception) -> Exception:
        """Note that files have to wait, and the exception to raise for it."""
        if str(error) != self.trouble:
            log.warning(LogEvent("ScannerTrouble", error=str(error)))
        self._trouble = error
        self._proven_version = ""
        self._next_try = time.monotonic() + self._retry_delay
        return self._again(error)

    def _again(self, error: Exception) -> Exception:
        if isinstance(error, UnsafeScanner):
            return UnsafeScanner(str(error))
        return TryLater(str(error), delay=max(0.0, self._next_try - time.monotonic()))
