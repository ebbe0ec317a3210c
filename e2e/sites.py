# SPDX-License-Identifier: Apache-2.0
"""One namespace with an operator, two nodes and their agents, and what people do with kubectl.

The one idea: tests say what is asked and what is to come of it; how programs are started, killed
and brought back stands here once.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from e2e import operators, programs
from e2e.controlplane import installing
from e2e.controlplane.cluster import ControlPlane
from e2e.node import running

LEASE = ("--lease-duration=4s", "--lease-renew=2s", "--lease-retry=1s")
ENDED = {"Succeeded", "PartiallySucceeded", "Failed", "Cancelled", "Rejected"}


class Site:
    """One namespace: an operator that can die and come back, two nodes with their agents."""

    def __init__(
        self,
        folder: Path,
        plane: ControlPlane,
        kubeconfig: Path | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.plane = plane
        self.kubeconfig = kubeconfig
        self.arguments = (*LEASE, *arguments)
        self.namespace = installing.new_namespace(plane)
        self.stack = contextlib.ExitStack()
        self.lives = 0
        self.operator = self.start_operator()
        self.node = self.stack.enter_context(running.sample_node(load=2))
        self.agents = {pod: self.start_agent(pod) for pod in ("pod-0", "pod-1")}
        operators.wait_for("both nodes are Online", self.all_online)

    def start_operator(self, port: int = 0) -> programs.Program:
        """Start one and wait until it leads."""
        self.lives += 1
        started = operators.start_operator(
            self.folder,
            self.plane,
            self.namespace,
            *self.arguments,
            name=f"operator-{self.lives}",
            grpc_port=port,
            kubeconfig=self.kubeconfig,
        )
        operator = self.stack.enter_context(programs.running(started))
        operators.wait_leads(operator)
        return operator

    def start_agent(self, pod: str, namespace: str = "") -> programs.Program:
        """Start the agent of a pod, in the site's namespace unless another is given."""
        folder = self.folder / "agents" / namespace if namespace else self.folder / "agents"
        started = programs.start_agent(
            folder,
            "--poll-metrics-interval=1s",
            "--reconnect-interval=200ms",
            f"--pod-namespace={namespace or self.namespace}",
            pod_name=pod,
            proxy=self.operator.grpc,
            metrics_port=self.node.metrics_port,
            pprof_port=self.node.pprof_port,
        )
        return self.stack.enter_context(programs.running(started))

    def kill_operator(self, *, lose_data: bool = False) -> None:
        """End it as a crash would and start it again at its old address."""
        port = int(self.operator.grpc.rsplit(":", 1)[1])
        self.operator.kill()
        if lose_data:
            shutil.rmtree(self.folder / "data")
        self.operator = self.start_operator(port)

    def revive_operator(self) -> None:
        """Start it again if it has ended, as a kubelet would; a lost lease ends it."""
        if self.operator.process.poll() is not None:
            self.operator = self.start_operator(int(self.operator.grpc.rsplit(":", 1)[1]))

    def all_online(self) -> bool:
        """Whether both nodes are mirrored as Online."""
        return operators.phases(self.plane, self.namespace) == {
            "pod-0": "Online",
            "pod-1": "Online",
        }

    # ---- what people do -----------------------------------------------------------------------

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        """Run kubectl in the namespace and return its output."""
        told = self.plane.kubectl(
            f"--namespace={self.namespace}", *arguments, stdin=stdin, check=check
        )
        return told.stdout

    def apply(self, name: str, **spec: Any) -> None:
        """Apply a DiagnosticRequest; by default a heap snapshot of pod-0."""
        body = {"target": {"names": ["pod-0"]}, "captures": [{"type": "HeapSnapshot"}]} | spec
        request = installing.resource("DiagnosticRequest", name, spec=body)
        self.kubectl("apply", "--filename=-", stdin=yaml.safe_dump(request))

    def wait(self, name: str, condition: str) -> None:
        """Let kubectl wait for a condition."""
        self.kubectl(
            "wait", f"--for=condition={condition}", "--timeout=40s", f"diagnosticrequest/{name}"
        )

    def read(self, name: str) -> dict[str, Any]:
        """Return the object."""
        found = json.loads(self.kubectl("get", "diagnosticrequest", name, "--output=json"))
        return dict(found)

    def names(self) -> list[str]:
        """Return the names of all requests."""
        told = self.kubectl("get", "diagnosticrequests", "--output=name")
        return [line.rpartition("/")[2] for line in told.split()]

    def status(self, name: str) -> dict[str, Any]:
        """Return its status, empty when it has none."""
        return dict(self.read(name).get("status", {}))

    def phase(self, name: str) -> str:
        """Return its phase, empty when it has none."""
        return str(self.status(name).get("phase", ""))

    def until(self, name: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The status as soon as something holds of it."""

        def look() -> dict[str, Any] | None:
            status = self.status(name)
            return status if holds(status) else None

        try:
            found = operators.wait_for(f"{name} as expected", look, 40)
        except TimeoutError:
            raise AssertionError(f"{self.status(name)}\n{self.operator.tail(40)}") from None
        assert found is not None
        return found

    def ended(self, name: str) -> dict[str, Any]:
        """Return the status once the request has ended."""
        return self.until(name, lambda status: status.get("phase") in ENDED)

    def ask(self, path: str) -> Any:
        """Ask the operator's HTTP address."""
        with programs.opened(f"{self.operator.http}{path}") as answer:
            body = answer.read()
        return json.loads(body) if answer.headers["Content-Type"].startswith("appl") else body

    def download(self, result: dict[str, Any]) -> bytes:
        """Return the artifact of a result."""
        url = f"{self.operator.http}{result['downloadPath']}"
        with programs.opened(url) as answer:
            return bytes(answer.read())

    def events(self, name: str) -> list[str]:
        """Return the reasons of an object's Events."""
        selector = f"--field-selector=involvedObject.name={name}"
        found = json.loads(self.kubectl("get", "events", selector, "--output=json"))
        return [one["reason"] for one in found["items"]]


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}
