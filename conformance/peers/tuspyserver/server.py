"""python server.py PORT DIR: tuspyserver, a router for FastAPI, on http://127.0.0.1:PORT/files/

Needs `pip install tuspyserver uvicorn`; faster with uvloop and httptools, which uvicorn then takes by itself.
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
from tuspyserver import create_tus_router


def main() -> None:
    port, directory = sys.argv[1:]
    application = FastAPI()
    application.include_router(create_tus_router(prefix="files", files_dir=directory))
    uvicorn.run(application, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
