"""A process that delivers: `python -m tests.hooks.delivering <directory> <endpoint> [<upload>…]`.

Adds events of the uploads first, and prints a line when it begins.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.hooks.calls import call_about
from tusd_py.core.hook_events import Event
from tusd_py.hooks.delivery import Delivery
from tusd_py.hooks.http import HttpBackend
from tusd_py.service.threads import Threads


async def main(directory: str, endpoint: str, *uploads: str) -> None:
    delivery = Delivery(
        Path(directory),
        [HttpBackend(endpoint, retry=1, timeout=30)],
        Threads("hook-files", 4),
        first_pause=0.1,
        rescan_interval=0.2,
        head_start=1.0,
    )
    for upload in uploads:
        for event in (Event.POST_CREATE, Event.POST_FINISH):
            delivery.add(call_about(upload, event, call_id=f"{upload}-{event.value}"))
    print("delivering", flush=True)
    await delivery.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
