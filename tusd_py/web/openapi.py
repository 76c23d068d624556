"""The OpenAPI 3.1 description of the JSON API."""

from __future__ import annotations

from typing import Any

from tusd_py.version import __version__


def openapi_document(server: str) -> dict[str, Any]:
    """The description, for the API at this URL."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "tusd_py", "version": __version__},
        "servers": [{"url": server}],
        "paths": {},
    }
