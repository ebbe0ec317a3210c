# SPDX-License-Identifier: Apache-2.0
"""Run the real programs for the length of a with-block: proxies, agents and the command.

The one idea: the block owns its processes. They get free ports, tell their addresses on standard
output, log into a file of the block's folder, are ended by id and waited for.
"""

import contextlib
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

from e2e.controlplane import processes

START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 10.0
TOKEN = "the-token-of-these-tests"


class ProgramError(Exception):
    """A program did not start or has ended; the text holds the end of its log."""


@dataclass(slots=True)
class Program:
    """One running program of ours and the addresses that it listens on."""

    name: str
    process: subprocess.Popen[str]
    log: Path
    addresses: dict[str, str]

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self.process.pid

    @property
    def http(self) -> str:
        """Return the base URL of its HTTP server."""
        return f"http://{self.addresses['http']}"

    @property
    def grpc(self) -> str:
        """Return host and port of its gRPC server."""
        return self.addresses["grpc"]

    def kill(self) -> None:
        """End it at once, as a crash would, and wait."""
        self.process.kill()
        self.process.wait(STOP_DEADLINE_S)

    def stop(self) -> float:
        """Ask it to end with SIGTERM, wait, and return the seconds that it took."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
        return time.monotonic() - began

    def check(self) -> None:
        """Raise ProgramError when it has ended, with what it said last."""
        if self.process.poll() is not None:
            raise ProgramError(
                f"{self.name} has ended with {self.process.returncode}:\n{self.tail()}"
            )

    def resident_mib(self, key: str = "VmRSS") -> float:
        """Return a line of /proc/<pid>/status in MiB: VmRSS or VmHWM."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) / 1024
        raise ProgramError(f"{self.name} has no {key}: it has ended")

    def tail(self, lines: int = 20) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def start(name: str, module: str, arguments: Sequence[str], folder: Path) -> Program:
    """Start `python -m module` and wait until it has told its addresses.

    Raises ProgramError when it ends or stays silent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    command = [sys.executable, "-m", module, "--print-addresses", *arguments]
    with log.open("a") as errors:
        process = subprocess.Popen(  # our own program
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    program = Program(name, process, log, {})
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_DEADLINE_S)
    line = process.stdout.readline() if ready else ""
    if not line:
        end(program)
        raise ProgramError(f"{name} did not start:\n{program.tail()}")
    program.addresses = json.loads(line)
    return program


def end(program: Program) -> None:
    """Stop a program if it still runs, and close what we hold of it."""
    program.stop()
    if program.process.stdout is not None:
        program.process.stdout.close()


@contextlib.contextmanager
def running(program: Program) -> Iterator[Program]:
    """Own a started program for a with-block."""
    try:
        yield program
    finally:
        end(program)


def start_proxy(folder: Path, *arguments: str, name: str = "proxy") -> Program:
    """Start a proxy on loopback ports to which one may come back, its data below `folder`."""
    grpc, http = processes.free_ports(2)
    fixed = [
        f"--grpc-listen-addr=127.0.0.1:{grpc}",
        f"--http-listen-addr=127.0.0.1:{http}",
        f"--data-dir={folder / 'data'}",
    ]
    return start(name, "fodc_proxy", [*fixed, *arguments], folder)


def start_agent(
    folder: Path,
    *arguments: str,
    pod_name: str,
    proxy: str,
    metrics_port: int,
    pprof_port: int,
    node_role: str = "ROLE_DATA",
) -> Program:
    """Start an agent for a node on loopback, its window and captures below `folder`."""
    fixed = [
        f"--pod-name={pod_name}",
        f"--proxy-addr={proxy}",
        f"--poll-metrics-ports={metrics_port}",
        f"--pressure-profiler-pprof-port={pprof_port}",
        f"--node-role={node_role}",
        "--prometheus-listen-addr=127.0.0.1:0",
        "--diagnosis-listen-addr=127.0.0.1:0",
        f"--recorder-dir={folder / pod_name / 'window'}",
        f"--capture-dir={folder / pod_name / 'captures'}",
    ]
    return start(pod_name, "fodc_agent", [*fixed, *arguments], folder)


def tokens_file(folder: Path) -> Path:
    """Write the file by which a proxy knows these tests as its admin."""
    path = folder / "tokens"
    path.write_text(f"e2e admin {TOKEN}\n", encoding="ascii")
    path.chmod(0o600)
    return path


@dataclass(frozen=True, slots=True)
class Trust:
    """By which name and authority (PEM) a proxy with TLS is known, whatever address it has."""

    name: str
    authority: str


def opened(
    url: str,
    *,
    timeout_s: float = 10.0,
    token: str = TOKEN,
    host: str = "",
    trust: Trust | None = None,
) -> HTTPResponse:
    """Ask a proxy as its admin; close the answer, such as by a with-block."""
    named = {"Host": host} if host else {}
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}", **named})
    opener = urllib.request.build_opener(*(() if trust is None else (_Named(trust),)))
    answer: HTTPResponse = opener.open(request, timeout=timeout_s)
    return answer


class _Named(urllib.request.HTTPSHandler):
    """Asks an address and verifies a name."""

    def __init__(self, trust: Trust) -> None:
        super().__init__()
        self._trust = trust

    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        """Send it; raises SSLCertVerificationError for another name or authority."""
        return self.do_open(self._connection, request)

    def _connection(self, host: str, *, timeout: float) -> HTTPConnection:
        context = ssl.create_default_context(cadata=self._trust.authority)
        address, _, port = host.rpartition(":")
        made = HTTPConnection(host, timeout=timeout)
        plain = socket.create_connection((address, int(port)), timeout)
        made.sock = context.wrap_socket(plain, server_hostname=self._trust.name)
        return made


def fodc(proxy: Program, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the `fodc` command against a proxy and return what it printed."""
    return subprocess.run(
        [sys.executable, "-m", "fodc_client", "--proxy", proxy.http, *arguments],
        capture_output=True,
        text=True,
        check=check,
    )
