# SPDX-License-Identifier: Apache-2.0
"""A server that speaks S3, on a loopback port, as a process of the test."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

PROGRAM = Path(sys.prefix) / "s3-server/bin/moto_server"
START_S = 20.0


class S3Server:
    """moto's server; its buckets live as long as it runs."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        """Not started yet; `host` is an address of this machine."""
        assert PROGRAM.exists(), f"{PROGRAM} is not there: run make dev"
        self.host = host
        # Bound for as long as we live: the server may have it too, and nobody else is given it.
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind((host, 0))
        self.port = int(self._kept.getsockname()[1])
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a proxy's environment says of this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [str(PROGRAM), "-H", self.host, "-p", str(self.port)]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        until_s = time.monotonic() + START_S
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/moto-api/", timeout=1).close()
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert self.process.poll() is None, "the S3 server has ended"
                assert time.monotonic() < until_s, "the S3 server does not answer"
                time.sleep(0.02)  # there is no event for another process that begins to listen
            else:
                return

    def make_bucket(self, name: str) -> None:
        """Make an empty bucket."""
        asked = urllib.request.Request(f"{self.url}/{name}", method="PUT")
        urllib.request.urlopen(asked, timeout=10).close()

    def stop(self) -> None:
        """End it; what it held is gone, and nobody else answers on its port until we leave."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._kept.close()
