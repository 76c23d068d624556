from __future__ import annotations

import pytest

from tests.running import Server, ServerStarter
from tests.server.certificates import files_in


@pytest.fixture(scope="module")
def secure(start_shared: ServerStarter, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server over TLS."""
    files = files_in(tmp_path_factory.mktemp("tls"))
    files.hold("first.example")
    return start_shared(*files.flags)
