"""The URLs of uploads: how the outside names this server, and which upload a URL stands for."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from tusd_py.core import errors
from tusd_py.core.errors import UploadError

_FORWARDED_HOST = re.compile(r'host="?([^;"]+)')
_FORWARDED_PROTO = re.compile(r"proto=(https?)")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def origin_of(scope: Scope, headers: Headers, *, from_proxy: bool) -> str:
    """`scheme://host` as the client knows it; of a proxy's headers `Forwarded` wins over `X-Forwarded-*` (as tusd)."""
    scheme = scope.get("scheme", "http")
    host = headers.get("host") or _server_address(scope)
    if from_proxy:
        if headers.get("x-forwarded-proto") in ("http", "https"):
            scheme = headers["x-forwarded-proto"]
        host = headers.get("x-forwarded-host") or host
        forwarded = headers.get("forwarded", "")
        if match := _FORWARDED_PROTO.search(forwarded):
            scheme = match[1]
        if match := _FORWARDED_HOST.search(forwarded):
            host = match[1]
        host = host.removesuffix(_DEFAULT_PORTS[scheme])
    return f"{scheme}://{host}"


def upload_id_of(reference: str, base_url: str) -> str:
    """The id of an upload that `Upload-Concat` refers to by an absolute or relative URL of this server.

    Raises 400 for any other URL (tus concatenation leaves it open which are taken). A `base_url` without a host is that
    of a server that does not know by which name its clients call it: any is taken.
    """
    base, url = urlsplit(base_url), _split(reference)
    if url.netloc and base.netloc and url.netloc.lower() != base.netloc.lower():
        raise UploadError(errors.INVALID_CONCAT)
    path = url.path if url.netloc or reference.startswith("/") else base.path + url.path
    if not path.startswith(base.path):
        raise UploadError(errors.INVALID_CONCAT)
    return unquote(path.removeprefix(base.path)).strip("/")


def upload_id_as_tusd(reference: str, base_path: str) -> str:
    """What follows the first occurrence of the base path, whatever host it is said to be on. Raises 404."""
    _, found, rest = reference.partition(base_path)
    if not found:
        raise UploadError(errors.UPLOAD_NOT_FOUND)
    return rest.strip("/")


def _split(reference: str) -> SplitResult:
    try:
        return urlsplit(reference)
    except ValueError:
        raise UploadError(errors.INVALID_CONCAT) from None


def _server_address(scope: Scope) -> str:
    host, port = scope.get("server") or ("localhost", None)
    return f"{host}:{port}" if port else str(host)
