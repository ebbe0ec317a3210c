# SPDX-License-Identifier: Apache-2.0
"""Run a sample node for the length of a with-block.

The one idea: the block owns its process. It gets free ports, is ended by its id, waited for, and
ends by itself when the starter dies, because the starter holds its standard input.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO

START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 5.0
CONTROL_DEADLINE_S = 5.0


class NodeError(Exception):
    """The sample node did not start or refused a control; the text says what it answered."""


def _load_build() -> ModuleType:
    # By path: e2e/ is no package, and this module itself may have been loaded by path.
    spec = importlib.util.spec_from_file_location(
        "fodc_sample_node_build", Path(__file__).with_name("build.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = _load_build()


@dataclass(frozen=True, slots=True)
class RunningNode:
    """A sample node that listens on loopback."""

    role: str
    variant: str
    host: str
    metrics_port: int
    pprof_port: int
    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self.process.pid

    @property
    def base_url(self) -> str:
        """Return the base of the metrics and control addresses."""
        return f"http://{self.host}:{self.metrics_port}"

    @property
    def metrics_url(self) -> str:
        """Return the address of the metrics page."""
        return f"{self.base_url}/metrics"

    @property
    def pprof_url(self) -> str:
        """Return the address below which the profiles are, without a slash at the end."""
        return f"http://{self.host}:{self.pprof_port}/debug/pprof"

    def load(self, units: int) -> None:
        """Set the load, 0 to 1000 units of about five percent of a core."""
        self._control("/sample/load", n=units)

    def fault(self, kind: str, *, where: str = "metrics", for_s: float = 10.0) -> None:
        """Make one place, metrics or pprof, misbehave for some seconds; none ends it."""
        self._control("/sample/fault", kind=kind, where=where, **{"for": f"{for_s:g}s"})

    def grow(self, mib_per_s: int) -> None:
        """Let it hold more and more memory, until it is killed."""
        self._control("/sample/grow", mib_per_s=mib_per_s)

    def panic(self) -> None:
        """Let it panic: it writes a crash down where its environment says so, and ends."""
        self._control("/sample/panic")

    def _control(self, path: str, **query: str | int) -> None:
        url = f"{self.base_url}{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, method="POST")  # loopback, our own node
        try:
            with urllib.request.urlopen(request, timeout=CONTROL_DEADLINE_S) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise NodeError(f"{path}: {error.read().decode()}") from error

    def kill(self) -> None:
        """End the process at once, as a crash would, and wait for it."""
        self.process.kill()
        self.process.wait(STOP_DEADLINE_S)

    def stop(self) -> float:
        """Ask the process to end, wait, and return the seconds that it took."""
        began = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
        return time.monotonic() - began


@contextlib.contextmanager
def sample_node(
    *,
    role: str = "data",
    load: int = 0,
    series: int = 0,
    prefer: str | None = None,
    node_labels: str = "type=hot",
    mutex_rate: int = 0,
    block_rate: int = 0,
    metrics_port: int = 0,
    pprof_port: int = 0,
    arguments: Sequence[str] = (),
) -> Iterator[RunningNode]:
    """Start a node, yield it when it listens, end it with the block.

    Ports of 0 are chosen by the system; arguments are further flags, BanyanDB's own included.
    Raises NodeError when the node does not start.
    """
    flags = [
        role,
        f"--observability-listener-addr=127.0.0.1:{metrics_port}",
        f"--pprof-listener-addr=127.0.0.1:{pprof_port}",
        *(["--node-labels", node_labels] if node_labels else []),
        f"--load={load}",
        f"--series={series}",
        f"--mutex-rate={mutex_rate}",
        f"--block-rate={block_rate}",
        *arguments,
    ]
    variant = build.chosen_variant(prefer)
    with tempfile.TemporaryFile("w+") as errors:
        process = _start([*build.node_command(prefer), *flags], errors)
        try:
            yield _listening(process, role, variant, errors)
        finally:
            _end(process)


def _start(command: list[str], errors: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(  # our own program
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={**os.environ, "FODC_SAMPLE_NODE_STDIN": "watch"},
    )


def _listening(
    process: subprocess.Popen[str], role: str, variant: str, errors: IO[str]
) -> RunningNode:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_DEADLINE_S)
    line = process.stdout.readline() if ready else ""
    if not line:
        _end(process)
        errors.seek(0)
        raise NodeError(f"the sample node did not start: {errors.read().strip() or 'no answer'}")
    ports = json.loads(line)
    host, _, metrics_port = ports["metrics"].rpartition(":")
    pprof_port = int(ports["pprof"].rpartition(":")[2])
    return RunningNode(role, variant, host, int(metrics_port), pprof_port, process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_DEADLINE_S)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
