# SPDX-License-Identifier: Apache-2.0
"""What the injection webhook adds to the creation of a pod on a real API server.

Pods are created at fixed moments, whether the ones before are done or not, in namespaces that take
turns, so that all meet the same server in the same state: one whose pods nobody is asked about, one
with the operator's webhook, and one with a program that gives the same patch without looking.
"""

import asyncio
import base64
import json
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.figures import Figure, held_against
from e2e import https_servers, operators, webhooks
from e2e.controlplane import installing
from e2e.controlplane.cluster import ControlPlane, control_plane
from fodc_webhook.inject.attempt import attempt, book_of
from fodc_webhook.inject.patch import json_patch
from fodc_webhook.resources.fodc_injection import Defaults

RATE = 50.0
"""Pods per second of each kind in its turns."""
TURN_S = 5.0
TURNS = 6
"""Of each kind, in turn; the first of each kind is not counted."""
POLICIES = 10
GOAL_TIMES = 1.3
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
            first = number % len(kinds)
            for kind in (*kinds[first:], *kinds[:first]):
                await turn(session, kind, f"pod-{number}", counts=number > 0)


def policies(namespace: str) -> list[dict[str, object]]:
    """The first selects the pods, the others are read for nothing."""
    apps = ["banyandb", *(f"other-{number}" for number in range(1, POLICIES))]
    found = []
    for app in apps:
        spec = {"podSelector": {"matchLabels": {"app": app}}}
        body = installing.resource("FodcInjection", f"policy-{app}", spec=spec)
        body["metadata"]["namespace"] = namespace
        found.append(body)
    return found


def new_namespace(plane: ControlPlane) -> str:
    namespace = installing.new_namespace(plane)
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    operators.wait_for("account", lambda: plane.api().get(account).status == 200)
    return namespace


def tried(plane: ControlPlane, namespace: str) -> dict[str, Any]:
    """A pod as the server would make it now; nothing is kept."""
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    return dict(plane.api().create(path, pod("tried")).body)


def same_patch(plane: ControlPlane, namespace: str) -> bytes:
    """What the operator answers for a pod here, in base64."""
    asked = tried(plane, namespace)  # with the volume that the server adds
    book = book_of(
        policies(namespace),
        Defaults(image="banyandb-fodc-agent:0.1.0", proxy_address="proxy:17912"),
    )
    made = attempt(asked, book, {}, (1, 34))
    steps = json_patch(asked, made.pod)
    assert steps, made
    return base64.b64encode(json.dumps(steps).encode())


@contextmanager
def constant(plane: ControlPlane, folder: Path, namespace: str) -> Iterator[None]:
    """Run the program that answers the same to everything, for the pods of a namespace."""
    files = https_servers.write_certificates(folder / "constant")
    program = str(Path(__file__).with_name("constant_webhook.py"))
    with subprocess.Popen(
        [sys.executable, program, *(str(files.folder / f"tls.{part}") for part in ("crt", "key"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(same_patch(plane, namespace) + b"\n")
            child.stdin.flush()
            address = f"127.0.0.1:{int(child.stdout.readline())}"
            wanted = webhooks.rendered(
                "constant", address, only_namespace=namespace, ca_bundle=files.ca
            )
            for number, entry in enumerate(wanted["webhooks"]):
                entry["name"] = f"entry-{number}.constant.example"  # apart in the server's metrics
            with webhooks.applied(plane, wanted):
                yield
        finally:
            child.kill()


def figures_of(plane: ControlPlane, folder: Path) -> tuple[Kind, Kind, Kind]:
    home = installing.new_namespace(plane)
    plain, asked, least = (Kind(new_namespace(plane)) for _ in range(3))
    for body in policies(asked.namespace):
        plane.api().create(installing.collection(asked.namespace, "fodcinjections"), body)
    with (
        webhooks.injecting(
            folder, plane, home=home, namespace=asked.namespace, both=("--log-level=error",)
        ),
        constant(plane, folder, least.namespace),
    ):
        for kind in (asked, least):
            operators.wait_for(
                "a patch", lambda k=kind: "initContainers" in tried(plane, k.namespace)["spec"]
            )
        asyncio.run(measure(plane, (plain, asked, least)))
    return plain, asked, least


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


def added(one: Kind, plain: Kind) -> tuple[float, float]:
    """Return by how much p99 and median are greater, in milliseconds."""
    medians = statistics.median(one.took_ms), statistics.median(plain.took_ms)
    return p99(one.took_ms) - p99(plain.took_ms), medians[0] - medians[1]


def run(names: Sequence[str] = ()) -> dict[str, Figure]:
    with (
        tempfile.TemporaryDirectory(prefix="fodc-bench-") as folder,
        control_plane(Path(folder) / "run") as plane,
    ):
        installing.install_crds(plane)
        (Path(folder) / "operator").mkdir()
        plain, asked, least = figures_of(plane, Path(folder) / "operator")
        calls = own_measure(plane, "pods.inject.fodc.banyandb.dev")
    for kind in (asked, least):
        assert kind.injected == len(kind.took_ms), "every pod that was asked about got its agent"
    assert plain.injected == 0
    (ours_p99, ours), (least_p99, floor) = added(asked, plain), added(least, plain)
    method = (
        f"p99 of pod creation with the webhook ({p99(asked.took_ms):.1f} ms) minus without "
        f"({p99(plain.took_ms):.1f} ms), medians {statistics.median(asked.took_ms):.1f} and "
        f"{statistics.median(plain.took_ms):.1f} ms (added {ours:.1f}); a program that gives the "
        f"same patch without looking adds {least_p99:.1f} ms to the p99 and {floor:.1f} ms to the "
        f"median in the same run; {RATE:g} pods/s open loop, {TURNS} turns of {TURN_S:g} s of each "
        f"kind by turns after one of each to warm up, {len(asked.took_ms)} pods of each kind, real "
        f"API server, all on one machine; {calls}"
    )
    figure = held_against(
        ours_p99,
        "ms",
        GOAL_TIMES,
        method,
        base=least_p99,
        of="what a program with a constant patch adds",
    )
    return dict.fromkeys(names or (NAME,), figure)


if __name__ == "__main__":
    for name, told in run(sys.argv[1:]).items():
        print(name, told.told())
