# SPDX-License-Identifier: Apache-2.0
"""How long a capture takes beyond the profile's own length, from request to stored artifact."""

import json
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure
from e2e import programs
from e2e.node import running

SECONDS = 1
ROUNDS = 5


def post(url: str, body: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(
        url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return dict(json.load(answer))


def finished(url: str) -> dict[str, object]:
    revision = 0
    while True:
        wait = f"{url}?wait_seconds=10&after_revision={revision}"
        with urllib.request.urlopen(wait, timeout=20) as answer:
            resource = dict(json.load(answer))
        if resource["finished_at"] is not None:
            return resource
        revision = int(str(resource["revision"]))


def wait_online(http: str) -> None:
    while True:
        with urllib.request.urlopen(f"{http}/health", timeout=5) as answer:
            if json.load(answer)["agents_online"] == 1:
                return
        time.sleep(0.05)


def overheads_s(folder: Path) -> list[float]:
    with (
        running.sample_node(load=2) as node,
        programs.running(programs.start_proxy(folder)) as proxy,
        programs.running(
            programs.start_agent(
                folder,
                pod_name="pod-0",
                proxy=proxy.grpc,
                metrics_port=node.metrics_port,
                pprof_port=node.pprof_port,
            )
        ),
    ):
        wait_online(proxy.http)
        return [one_capture_s(proxy.http) - SECONDS for _ in range(ROUNDS)]


def one_capture_s(http: str) -> float:
    began = time.monotonic()
    made = post(
        f"{http}/diagnostics/requests",
        {
            "target": {"names": ["pod-0"]},
            "captures": [{"profile": "cpu", "duration_seconds": SECONDS}],
        },
    )
    done = finished(f"{http}/diagnostics/requests/{made['id']}")
    if done["phase"] != "Succeeded":
        raise RuntimeError(f"the capture ended as {done['phase']}: {json.dumps(done)}")
    return time.monotonic() - began


def run(_names: Sequence[str] = ()) -> dict[str, Figure]:
    with tempfile.TemporaryDirectory(prefix="fodc-bench-") as folder:
        measured = overheads_s(Path(folder))
    method = (
        f"median of {ROUNDS}: POST of a {SECONDS} s CPU profile of a loaded sample node to "
        "Succeeded, less the profile's length; agent, proxy and node are real processes (all: "
        f"{', '.join(f'{one:.3f}' for one in measured)})"
    )
    return {"capture_overhead_s": Figure(round(statistics.median(measured), 3), "s", 1, method)}


if __name__ == "__main__":
    print(run()["capture_overhead_s"].told())
