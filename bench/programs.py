# SPDX-License-Identifier: Apache-2.0
"""The proxy and its load as processes of their own, and what the kernel says of them.

The one idea: proxy, simulated agents and reader share one machine at the same priority, so the
figures contain the contention that a small machine has.
"""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_BYTECODE = HERE.parent / "build" / "bytecode"


def with_bytecode() -> dict[str, str]:
    """Return the environment of a program that finds its bytecode, as one that is installed does.

    What compiles its own modules keeps a mebibyte of what that took.
    """
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(_BYTECODE)}


class Process:
    """A child that talks in JSON lines."""

    def __init__(self, *arguments: str) -> None:
        """Start it; what it logs goes nowhere, at its usual level."""
        self.child = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=with_bytecode(),
        )

    def read(self) -> dict[str, object]:
        """Return the next line."""
        return json.loads(self.child.stdout.readline())

    def ask(self, **command: object) -> dict[str, object]:
        """Say one line and return the answer."""
        self.child.stdin.write(json.dumps(command) + "\n")
        self.child.stdin.flush()
        return self.read()

    def end(self) -> None:
        """End it and wait."""
        self.child.terminate()
        self.child.wait(10)

    def memory_mib(self, field: str) -> float:
        """Return VmRSS or VmHWM."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(field))
        return int(line.split()[1]) / 1024

    def cpu_s(self) -> float:
        """Return the processor time that it has taken so far."""
        stat = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICKS_PER_S


@contextlib.contextmanager
def proxy(*more: str) -> Iterator[tuple[Process, dict[str, str]]]:
    """Run fodc-proxy with its defaults but for the count of agents; gives its addresses too."""
    listen = ("--grpc-listen-addr=127.0.0.1:0", "--http-listen-addr=127.0.0.1:0")
    usual = (*listen, "--max-agents=20000", "--print-addresses")
    process = Process("-m", "fodc_proxy", *usual, *more)
    try:
        yield process, process.read()
    finally:
        process.end()


@contextlib.contextmanager
def peers(address: str, **told: object) -> Iterator[Process]:
    """Run simulated agents; see peers.py for what they can be told."""
    process = Process(str(HERE / "peers.py"), json.dumps({"address": address, **told}))
    try:
        yield process
    finally:
        process.child.stdin.close()
        process.end()


@dataclass(frozen=True, slots=True)
class Answer:
    """One GET: seconds until the last byte, body and headers."""

    took_s: float
    body: bytes
    headers: dict[str, str]


def fetch(address: str, path: str) -> Answer:
    """Read one answer whole."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=120)
    started = time.perf_counter()
    connection.request("GET", path)
    response = connection.getresponse()
    pieces = []
    while piece := response.read(1 << 20):
        pieces.append(piece)
    took_s = time.perf_counter() - started
    headers = dict(response.getheaders())
    connection.close()
    return Answer(took_s, b"".join(pieces), headers)
