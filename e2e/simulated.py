# SPDX-License-Identifier: Apache-2.0
"""Simulated agents for the length of a with-block: many in one process, cheap enough for tests."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PEERS = Path(__file__).resolve().parents[1] / "bench" / "peers.py"


@dataclass(slots=True)
class Agents:
    """A process that plays agents; it is told what to do in JSON lines."""

    process: subprocess.Popen[str]

    def ask(self, **command: object) -> dict[str, Any]:
        """Have it do something and return its answer."""
        self.tell(**command)
        return self.answer()

    def tell(self, **command: object) -> None:
        """Have it do something; `answer` waits for the end."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Return the next answer."""
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))

    def kill(self) -> None:
        """End all agents at once, as a crash would."""
        self.process.kill()
        self.process.wait(10)


@contextlib.contextmanager
def simulated_agents(
    address: str, namespace: str, count: int, prefix: str = "pod"
) -> Iterator[Agents]:
    """Connect this many agents of our contract in this namespace, named <prefix>-<number>."""
    told = {
        "address": address,
        "contract": "link",
        "agents": count,
        "series": 1,  # none would leave them without an answer to a scrape
        "prefix": prefix,
        "namespace": namespace,
    }
    process = subprocess.Popen(
        [sys.executable, str(PEERS), json.dumps(told)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    agents = Agents(process)
    try:
        registered = agents.ask(do="connect")["registered"]
        assert registered == count, f"{registered} of {count} agents registered"
        yield agents
    finally:
        agents.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
