"""`python -m conformance.bench.limits PORT DIR`: receive uploads by blocking system calls, a thread a connection."""

from __future__ import annotations

import argparse
import ssl
from pathlib import Path

from .receiving import receive, splice
from .serving import Handler, serve
from .sessions import Sessions
from .uploads import Uploads


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m conformance.bench.limits", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--splice", action="store_true", help="from the socket through a pipe into the file, uncopied")
    parser.add_argument("--flush", action="store_true", help="flush an upload to the disk before its last answer")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    arguments = parser.parse_args()

    context = None
    if arguments.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(arguments.certificate, arguments.key)
    # Spliced bytes are never seen, so they have no digest.
    take, can_hash = (splice, False) if arguments.splice else (receive, True)
    uploads = Uploads(arguments.directory, take, can_hash=can_hash, is_flushed=arguments.flush)
    sessions = Sessions(arguments.directory)
    handlers: dict[str, Handler] = {"/files": uploads.answer, "/api": sessions.answer}
    serve(arguments.port, handlers, context)


if __name__ == "__main__":
    main()
