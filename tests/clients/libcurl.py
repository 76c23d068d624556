"""libcurl by its C interface, for what the command line of curl has no option for: trailers."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

_UPLOAD, _URL, _READDATA, _HTTPHEADER, _CUSTOMREQUEST = 46, 10002, 10009, 10023, 10036
_TRAILERFUNCTION = 20283
_RESPONSE_CODE = 0x200002

_TrailerFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)


def send_file_with_trailer(url: str, headers: Sequence[str], file: Path, trailer: str) -> int:
    """PATCH the file in chunked coding with a trailer behind it; the status of the answer."""
    curl, libc = ctypes.CDLL("libcurl.so.4"), ctypes.CDLL(None)
    for function in (curl.curl_easy_init, curl.curl_slist_append, libc.fopen):
        function.restype = ctypes.c_void_p
    curl.curl_slist_append.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    libc.fopen.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    libc.fclose.argtypes = [ctypes.c_void_p]

    def add_trailer(lines: ctypes._Pointer[ctypes.c_void_p], _data: int | None) -> int:
        lines[0] = curl.curl_slist_append(lines[0], trailer.encode())
        return 0

    trailer_function = _TrailerFunction(add_trailer)
    lines = None
    for header in (*headers, "Transfer-Encoding: chunked"):
        lines = curl.curl_slist_append(lines, header.encode())
    handle = ctypes.c_void_p(curl.curl_easy_init())
    stream = libc.fopen(bytes(file), b"rb")
    try:
        options = {
            _URL: ctypes.c_char_p(url.encode()),
            _CUSTOMREQUEST: ctypes.c_char_p(b"PATCH"),
            _UPLOAD: ctypes.c_long(1),
            _READDATA: ctypes.c_void_p(stream),
            _HTTPHEADER: ctypes.c_void_p(lines),
            _TRAILERFUNCTION: trailer_function,
        }
        for number, value in options.items():
            assert curl.curl_easy_setopt(handle, ctypes.c_int(number), value) == 0, number
        assert curl.curl_easy_perform(handle) == 0
        status = ctypes.c_long()
        assert curl.curl_easy_getinfo(handle, ctypes.c_int(_RESPONSE_CODE), ctypes.byref(status)) == 0
        return status.value
    finally:
        libc.fclose(stream)
        curl.curl_easy_cleanup(handle)
        curl.curl_slist_free_all(ctypes.c_void_p(lines))
