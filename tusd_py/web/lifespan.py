"""The beginning and end of an application, for servers and for outer applications."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from tusd_py.service.background import BackgroundWork


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[Mapping[str, object]]:
    """Start and end the background work of an application made by `create_app`; for the lifespan of an outer one."""
    work: BackgroundWork = app.state.tusd_py
    await work.start()
    try:
        yield {}
    finally:
        await work.close()
