"""The lines that say at start what is served, in tusd's words and order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from tusd_py.cli.combinations import hook_events
from tusd_py.core.urls import shown_url

_HOOKS = {
    "hooks_dir": "Using '{}' for hooks",
    "hooks_http": "Using '{}' as the endpoint for hooks",
    "hooks_grpc": "Using '{}' as the endpoint for gRPC hooks",
    "hooks_python": "Using '{}' for hooks in this process",
}


def storage_and_hooks(flags: Mapping[str, Any], extensions: str) -> Iterator[str]:
    """`extensions` is what stands in `Tus-Extension`."""
    yield f"Using '{os.path.abspath(flags['upload_dir'])}' as directory storage."
    if flags["redis_url"]:
        yield f"Using {shown_url(flags['redis_url'])} to coordinate with other hosts."
    yield f"Using {flags['max_size'] / 1024 / 1024:.2f}MB as maximum size."
    hooks = {name: line for name, line in _HOOKS.items() if flags[name]}
    for name, line in hooks.items():
        yield line.format(_shown(name, flags[name]))
    if hooks:
        yield f"Enabled hook events: {', '.join(hook_events(flags))}"
    yield f"Supported tus extensions: {extensions}"


def paths(flags: Mapping[str, Any]) -> Iterator[str]:
    yield f"Using {flags['base_path']} as the base path."
    if flags["expose_metrics"]:
        yield f"Using {flags['metrics_path']} as the metrics path."


def _shown(name: str, value: str) -> str:
    """What a reader of the terminal may know of where hooks are: a whole path, and no password that is in a URL."""
    if name == "hooks_dir":
        return os.path.abspath(value)
    if name == "hooks_http":
        url = urlsplit(value)
        return url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()
    return value
