# SPDX-License-Identifier: Apache-2.0
"""How long it takes from the kill of a node until its incident can be read from the proxy."""

import json
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from bench.capture import wait_online
from bench.figures import Figure
from e2e import programs
from e2e.node import running

ROUNDS = 3
DEADLINE_S = 60.0


def incidents(http: str) -> list[dict[str, object]]:
    with urllib.request.urlopen(f"{http}/incidents", timeout=5) as answer:
        return list(json.load(answer)["incidents"])


def wait_ready(agent: str) -> None:
    """An agent is ready when it has seen its node."""
    while True:
        try:
            with urllib.request.urlopen(f"http://{agent}/readyz", timeout=5) as answer:
                if json.load(answer)["ready"]:
                    return
        except OSError:
            pass
        time.sleep(0.05)


def visible_s(folder: Path, number: int) -> float:
    """Kill a node by SIGKILL, as a kernel without memory does."""
    folder.mkdir()
    with (
        running.sample_node(load=2) as node,
        programs.running(programs.start_proxy(folder)) as proxy,
        programs.running(
            programs.start_agent(
                folder,
                f"--node-pid={node.pid}",
                pod_name=f"pod-{number}",
                proxy=proxy.grpc,
                metrics_port=node.metrics_port,
                pprof_port=node.pprof_port,
            )
        ) as agent,
    ):
        wait_online(proxy.http)
        wait_ready(agent.addresses["http"])
        node.process.kill()
        began = time.monotonic()
        while not incidents(proxy.http):
            if time.monotonic() - began > DEADLINE_S:
                raise RuntimeError(f"no incident within {DEADLINE_S:g} s")
            time.sleep(0.01)
        return time.monotonic() - began


def run(_names: Sequence[str] = ()) -> dict[str, Figure]:
    """Measure; the worst of the rounds counts."""
    with tempfile.TemporaryDirectory() as name:
        measured = [visible_s(Path(name) / str(one), one) for one in range(ROUNDS)]
    method = (
        f"a node with an agent and a proxy, killed by SIGKILL until GET /incidents has it, stored; "
        f"the worst of {ROUNDS}"
    )
    return {"incident_visible_s": Figure(round(max(measured), 3), "s", 10, method)}


if __name__ == "__main__":
    print(run()["incident_visible_s"].told())
