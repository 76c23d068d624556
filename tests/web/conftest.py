"""Servers whose JSON API is spoken to, for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.web.api import ApiClient, served


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    """The API of a server with small chunks and otherwise the default flags."""
    with served(tmp_path_factory.mktemp("api") / "data") as api:
        yield api


@pytest.fixture(scope="module")
def neighbour(api: ApiClient) -> Iterator[ApiClient]:
    """The same API as another process serves it."""
    with served(api.server.upload_dir) as neighbour:
        yield neighbour
