"""Keywords of `create_app` that make no sense are refused, each with a sentence of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.hooks.in_process import Unmade
from tusd_py import create_app


@pytest.mark.parametrize(
    ("keywords", "reason"),
    [
        ({"pipeline_concurrency": 0}, "pipeline_concurrency"),
        ({"pipeline_concurrency": -3}, "pipeline_concurrency"),
        ({"thumbnails": "abc"}, "thumbnails"),
        ({"thumbnails": "0"}, "thumbnails"),
        ({"thumbnails": "128,99999"}, "thumbnails"),
        ({"clamd": "nonsense"}, "unix:/path"),
        ({"clamd": "unix:/x", "scan_max_size": 0}, "scan_max_size"),
        ({"signed_url_ttl": -5.0}, "signed_url_ttl"),
        ({"signed_url_max_ttl": 0.0}, "signed_url_max_ttl"),
        ({"public_url": "nonsense"}, "public_url"),
        ({"public_url": "http://[bad"}, "public_url"),
        ({"webhook_url": "ftp://x"}, "webhook"),
        ({"webhook_url": "http://[bad"}, "webhook"),
        ({"allowed_types": ["image/png", "///"]}, "allowed_types"),
        ({"allowed_types": ["png"]}, "allowed_types"),
        ({"hooks_http": "http://[bad"}, "hook endpoint"),
        ({"hooks_python": "tests.nowhere:hook"}, "cannot be imported: ModuleNotFoundError"),
        ({"hooks_python": Unmade}, "cannot be made: RuntimeError: unmade"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, keywords: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        create_app(tmp_path, **keywords)
