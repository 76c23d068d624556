"""Headers of the client's request that are sent along with a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tusd_py.core.hook_events import HttpRequest

CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Headers, in lower case, that are nobody's but the client's and the receiver's."""


def forwarded(request: HttpRequest, names: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Those of `names` that the request has, spelled as there, with their values; names are not trimmed (as tusd)."""
    headers = {name.lower(): values for name, values in request.header.items()}
    for name in names:
        if name and (values := headers.get(name.lower())):
            yield name, values
