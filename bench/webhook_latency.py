# SPDX-License-Identifier: Apache-2.0
"""What the injection webhook adds to the creation of a pod on a real API server.

Pods are created at fixed moments, whether the ones before are done or not. Every other one is of a
namespace whose pods are asked about, so both kinds meet the same server in the same state.
"""

import asyncio
import json
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from e2e import operators, webhooks
from e2e.controlplane import installing
from e2e.controlplane.cluster import ControlPlane, control_plane

RATE = 50.0
"""Pods per second of each kind in its turns."""
TURN_S = 5.0
TURNS = 6
"""Of each kind, in turn; the first of each kind is not counted."""
POLICIES = 10
GOAL_MS = 5.0
NAME = "webhook_added_p99_ms"
LABELS = {"app": "banyandb", "fodc.banyandb.dev/inject": "enabled"}


@dataclass
class Kind:
    """One namespace and how long the creation of each of its pods took."""

    namespace: str
    took_ms: list[float] = field(default_factory=list)
    injected: int = 0


def pod(name: str) -> dict[str, object]:
    container = {
        "name": "banyandb",
        "image": "apache/skywalking-banyandb:0.8.0",
        "args": ["data", "--etcd-endpoints=etcd:2379"],
        "ports": [{"name": n, "containerPort": p} for n, p in PORTS.items()],
        "env": [{"name": f"BYDB_OPTION_{number}", "value": "x" * 40} for number in range(20)],
        "resources": {"requests": {"cpu": "1", "memory": "4Gi"}},
    }
    metadata = {"name": name, "labels": LABELS}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [container]},
    }


PORTS = {"grpc": 17912, "http": 17913, "observability": 2121, "pprof": 6060}


async def create(session: aiohttp.ClientSession, kind: Kind, name: str, *, counts: bool) -> None:
    body = json.dumps(pod(name))
    began = time.perf_counter()
    path = f"/api/v1/namespaces/{kind.namespace}/pods"
    async with session.post(path, data=body) as answer:
        text = await answer.read()
    took_ms = (time.perf_counter() - began) * 1000
    assert answer.status == 201, text
    if counts:
        kind.took_ms.append(took_ms)
        kind.injected += b'"name":"fodc-agent"' in text


async def turn(session: aiohttp.ClientSession, kind: Kind, name: str, *, counts: bool) -> None:
    """Create pods at fixed moments, for the length of a turn."""
    began, tasks = time.perf_counter(), []
    for number in range(round(TURN_S * RATE)):
        await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
        coroutine = create(session, kind, f"{name}-{number}", counts=counts)
        tasks.append(asyncio.create_task(coroutine))
    await asyncio.gather(*tasks)


async def measure(plane: ControlPlane, kinds: Sequence[Kind]) -> None:
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    headers = {
        "Authorization": f"Bearer {plane.admin_token}",
        "Content-Type": "application/json",
    }
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(plane.url, connector=connector, headers=headers) as session:
        for number in range(TURNS + 1):
            for kind in kinds if number % 2 else reversed(kinds):
                await turn(session, kind, f"pod-{number}", counts=number > 0)


def figures_of(plane: ControlPlane, folder: Path) -> tuple[Kind, Kind]:
    plain, home = installing.new_namespace(plane), installing.new_namespace(plane)
    asked = installing.new_namespace(plane)
    for namespace in (plain, asked):
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        operators.wait_for("account", lambda a=account: plane.api().get(a).status == 200)
    for number in range(POLICIES):
        app = "banyandb" if number == 0 else f"other-{number}"
        spec = {"podSelector": {"matchLabels": {"app": app}}}
        body = installing.resource("FodcInjection", f"policy-{number}", spec=spec)
        plane.api().create(installing.collection(asked, "fodcinjections"), body)
    kinds = Kind(plain), Kind(asked)
    with webhooks.injecting(
        folder, plane, home=home, namespace=asked, arguments=("--log-level=error",)
    ):
        asyncio.run(measure(plane, kinds))
    return kinds


def own_measure(plane: ControlPlane, configuration: str) -> str:
    """Return what the API server measured of its calls of the webhook, for the method."""
    page = plane.kubectl("get", "--raw", "/metrics", check=True).stdout
    metric = "apiserver_admission_webhook_admission_duration_seconds"
    found = {"sum": 0.0, "count": 0.0, "within": 0.0}
    for line in page.splitlines():
        if not line.startswith(metric) or configuration not in line:
            continue
        value = float(line.rpartition(" ")[2])
        if line.startswith((f"{metric}_sum", f"{metric}_count")):
            found["sum" if "_sum{" in line else "count"] += value
        elif 'le="0.005"' in line:
            found["within"] += value
    mean_ms, share = found["sum"] / found["count"] * 1000, found["within"] / found["count"]
    return f"the API server's own measure of its calls: mean {mean_ms:.1f} ms, {share:.1%} ≤ 5 ms"


def p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98]


def run(names: Sequence[str] = ()) -> dict[str, dict[str, object]]:
    with (
        tempfile.TemporaryDirectory(prefix="fodc-bench-") as folder,
        control_plane(Path(folder) / "run") as plane,
    ):
        installing.install_crds(plane)
        plain, asked = figures_of(plane, Path(folder) / "operator")
        calls = own_measure(plane, "pods.inject.fodc.banyandb.dev")
    assert asked.injected == len(asked.took_ms), "every pod that was asked about got its agent"
    assert plain.injected == 0
    added = p99(asked.took_ms) - p99(plain.took_ms)
    median = statistics.median(asked.took_ms) - statistics.median(plain.took_ms)
    method = (
        f"p99 of pod creation with the webhook ({p99(asked.took_ms):.1f} ms) minus without "
        f"({p99(plain.took_ms):.1f} ms), medians {statistics.median(asked.took_ms):.1f} and "
        f"{statistics.median(plain.took_ms):.1f} ms (added {median:.1f}); {RATE:g} pods/s open "
        f"loop, {TURNS} turns of {TURN_S:g} s of each kind by turns after one of each to warm up, "
        f"{len(asked.took_ms)} pods of each kind, real API server, all on one machine; {calls}"
    )
    figure: dict[str, object] = {
        "value": round(added, 3),
        "unit": "ms",
        "goal": GOAL_MS,
        "method": method,
    }
    return dict.fromkeys(names or (NAME,), figure)


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1:]), indent=2))
