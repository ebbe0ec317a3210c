# SPDX-License-Identifier: Apache-2.0
"""Run operators beside a real API server, out of the cluster with a kubeconfig.

The one idea: several operators may have the same gRPC address, because only the one that leads
listens there: it stands for the Service that selects the leader's pod.
"""

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from e2e import programs
from e2e.controlplane import processes
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import collection

T = TypeVar("T")
POLL_S = 0.02
LEADS_DEADLINE_S = 30.0


def start_operator(
    folder: Path,
    plane: ControlPlane,
    namespace: str,
    *arguments: str,
    name: str = "operator",
    grpc_port: int = 0,
    kubeconfig: Path | None = None,
    keeps_certificate: bool = False,
) -> programs.Program:
    """Start an operator whose lease and nodes without a namespace are in this namespace."""
    port = grpc_port or processes.free_ports(1)[0]
    fixed = [
        f"--kubeconfig={kubeconfig or plane.kubeconfig}",
        f"--pod-namespace={namespace}",
        f"--grpc-listen-addr=127.0.0.1:{port}",
        "--http-listen-addr=127.0.0.1:0",
        f"--data-dir={folder / 'data'}",
        f"--http-tokens-file={programs.tokens_file(folder)}",
        *(() if keeps_certificate else ("--webhook-config-name=",)),
    ]
    return programs.start(name, "fodc_operator", [*fixed, *arguments], folder)


def start_webhook(
    folder: Path,
    plane: ControlPlane,
    namespace: str,
    *arguments: str,
    name: str = "webhook",
    kubeconfig: Path | None = None,
    address: str = "127.0.0.1:0",
    drain: str = "1s",
) -> programs.Program:
    """Start a webhook whose certificate is in this namespace."""
    fixed = [
        f"--kubeconfig={kubeconfig or plane.kubeconfig}",
        f"--pod-namespace={namespace}",
        f"--listen-addr={address}",
        "--http-listen-addr=127.0.0.1:0",
        f"--drain={drain}",
    ]
    return programs.start(name, "fodc_webhook", [*fixed, *arguments], folder)


def ready(operator: programs.Program) -> dict[str, Any]:
    """Return the answer of /readyz, whatever its status; empty when nobody listens."""
    try:
        with urllib.request.urlopen(f"{operator.http}/readyz", timeout=2) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            return dict(json.load(error))
    except OSError:
        return {}


def leads(operator: programs.Program) -> bool:
    """Say whether this operator leads and serves."""
    answer = ready(operator)
    leader = [one["message"] for one in answer.get("checks", []) if one["name"] == "leader"]
    return bool(answer.get("ready")) and leader == ["leads"]


def wait_for(
    what: str,
    look: Callable[[], T],
    deadline_s: float = 15.0,
    check: Callable[[], None] = lambda: None,
) -> T:
    """Look until it is something; raises TimeoutError with what it was last.

    `check` raises as soon as it cannot come any more.
    """
    ends_at = time.monotonic() + deadline_s
    while True:
        found = look()
        if found:
            return found
        check()
        if time.monotonic() > ends_at:
            raise TimeoutError(f"{what}: not within {deadline_s:g} s, last {found!r}")
        time.sleep(POLL_S)


@contextlib.contextmanager
def leading_operator(
    folder: Path, plane: ControlPlane, namespace: str
) -> Iterator[programs.Program]:
    """Run an operator that leads, with its lease in a namespace of the test's own."""
    with programs.running(start_operator(folder, plane, namespace)) as one:
        wait_leads(one)
        yield one


def wait_leads(operator: programs.Program, deadline_s: float = LEADS_DEADLINE_S) -> None:
    """Wait until this operator leads; raises TimeoutError, ProgramError when it has ended."""
    wait_for(f"{operator.name} leads", lambda: leads(operator), deadline_s, operator.check)


def samples(operator: programs.Program, start: str) -> list[tuple[str, float]]:
    """Return name with labels, and value, of the samples on /metrics that begin so."""
    with programs.opened(f"{operator.http}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    told = [line.rsplit(" ", 1) for line in lines if line.startswith(start)]
    return [(series, float(value)) for series, value in told]


def metric(operator: programs.Program, start: str) -> float:
    """Return the sum of the samples on /metrics whose line begins so."""
    return sum(value for _, value in samples(operator, start))


def nodes(plane: ControlPlane, namespace: str) -> dict[str, Any]:
    """Return the FodcNodes of a namespace by name; none while the server only just starts."""
    try:
        answer = plane.api().get(collection(namespace, "fodcnodes"))
    except OSError:
        return {}
    items = answer.body["items"] if answer.status == 200 else []
    return {one["metadata"]["name"]: one for one in items}


def phases(plane: ControlPlane, namespace: str) -> dict[str, str]:
    """Return the phases of the FodcNodes of a namespace by name."""
    found = nodes(plane, namespace).items()
    return {name: one.get("status", {}).get("phase", "") for name, one in found}
