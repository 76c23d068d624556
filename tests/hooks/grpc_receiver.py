"""A receiver of hooks by gRPC, generated from the interface by its compiler."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from grpc_tools import protoc

from tests.server.certificates import Files

Hook = Callable[[Any, grpc.ServicerContext], Any]


@cache
def generated() -> tuple[Any, Any, bytes]:
    """The modules that a compiler makes of the interface, messages and service, and the description of the file."""
    source = Path(str(resources.files("tusd_py.hooks"))) / "proto"
    with TemporaryDirectory() as folder:
        out = [f"--python_out={folder}", f"--grpc_python_out={folder}", f"--descriptor_set_out={folder}/set"]
        assert protoc.main(["protoc", f"-I{source}", *out, "hook.proto"]) == 0
        sys.path.insert(0, folder)
        try:
            modules = importlib.import_module("hook_pb2"), importlib.import_module("hook_pb2_grpc")
        finally:
            sys.path.remove(folder)
        return *modules, Path(folder, "set").read_bytes()


@contextmanager
def grpc_receiver(hook: Hook, *, port: int = 0, tls: Files | None = None) -> Iterator[str]:
    """A server with one method, on a free port; with `tls` clients have to show that certificate, too."""
    _, services, _ = generated()

    class Handler(services.HookHandlerServicer):  # type: ignore[name-defined,misc]
        def InvokeHook(self, request: Any, context: grpc.ServicerContext) -> Any:
            return hook(request, context)

    server = grpc.server(ThreadPoolExecutor(4))
    services.add_HookHandlerServicer_to_server(Handler(), server)
    if tls is None:
        port = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        certificate, key = tls.certificate.read_bytes(), tls.key.read_bytes()
        credentials = grpc.ssl_server_credentials([(key, certificate)], certificate, require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}" if tls is None else f"localhost:{port}"
    finally:
        server.stop(None).wait()
