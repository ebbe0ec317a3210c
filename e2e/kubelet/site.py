# SPDX-License-Identifier: Apache-2.0
"""An operator beside a real machine, and what tests look at in its pods.

The one idea: the operator runs on the host, out of the cluster, and listens on the host's end of
the link, where pods reach it; a container is looked at through its processes, whose numbers the
host knows.
"""

import contextlib
import http.client
import json
import os
import signal
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml

from e2e import operators, programs, webhooks
from e2e.controlplane import installing
from e2e.controlplane.cluster import ControlPlane
from e2e.kubelet import databases
from e2e.kubelet.images import AGENT_IMAGE
from e2e.kubelet.node import Node

AGENT: Final = "fodc-agent"
GRPC_PORT: Final = 17912
WEBHOOK_PORT: Final = 9443
CONFIGURATION: Final = "fodc-injection"
POLICY: Final = "banyandb"
POD_SECURITY: Final = "pod-security.kubernetes.io/enforce"


@dataclass(slots=True)
class Site:
    """A namespace of a cluster with one machine and an operator."""

    node: Node
    operator: programs.Program
    namespace: str

    @property
    def plane(self) -> ControlPlane:
        """The control plane."""
        return self.node.plane

    # ---- objects ------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl in the namespace and return its output; raises ControlPlaneError."""
        where = f"--namespace={self.namespace}"
        return self.plane.kubectl(where, *arguments, stdin=stdin, check=True).stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects."""
        self.kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(objects))

    def read(self, plural: str, name: str) -> dict[str, Any]:
        """Return one of our objects, empty while there is none."""
        path = f"{installing.collection(self.namespace, plural)}/{name}"
        answer = self.plane.api().get(path)
        return dict(answer.body) if answer.status == 200 else {}

    def pod(self, name: str) -> "Pod":
        """Return a pod as it is now, an empty one while there is none."""
        answer = self.plane.api().get(f"/api/v1/namespaces/{self.namespace}/pods/{name}")
        return Pod(self.node, dict(answer.body) if answer.status == 200 else {})

    def wait_ready(self, name: str, deadline_s: float = 45) -> "Pod":
        """Wait until a pod is ready and return it; raises TimeoutError with what it says."""
        return self.wait_pod(name, "is ready", lambda pod: pod.is_ready, deadline_s)

    def wait_pod(
        self, name: str, what: str, holds: Callable[["Pod"], bool], deadline_s: float = 30
    ) -> "Pod":
        """Wait until something holds of a pod; raises TimeoutError with its status."""

        def look() -> "Pod | None":
            pod = self.pod(name)
            return pod if pod.body and holds(pod) else None

        try:
            found = operators.wait_for(f"{name} {what}", look, deadline_s)
        except TimeoutError as error:
            told = json.dumps(self.pod(name).body.get("status", {}), indent=1)
            words = f"{error}\n{told}\n{self._words(name)}\n{self.node.tail('kubelet')}"
            raise TimeoutError(words) from None
        assert found is not None
        return found

    def _words(self, name: str) -> str:
        """Return what agent and database last said."""
        answer = self.plane.kubectl(
            f"--namespace={self.namespace}", "logs", name, "--all-containers", "--tail=15"
        )
        return answer.stdout + answer.stderr

    # ---- the operator -------------------------------------------------------------------------

    def get(self, path: str, **query: str) -> bytes:
        """Ask the operator's HTTP address."""
        url = f"{self.operator.http}{path}?{urllib.parse.urlencode(query)}"
        with programs.opened(url, timeout_s=20) as answer:
            return bytes(answer.read())

    def window(self, pod: str) -> "Window":
        """Return what the flight recorder of a pod's agent holds now."""
        now = datetime.now(UTC)
        span = {
            "start_time": (now - timedelta(minutes=15)).isoformat(),
            "end_time": (now + timedelta(minutes=1)).isoformat(),
        }
        found = self.get("/metrics-windows", pod_name=pod, **span)
        return Window(tuple(json.loads(found)))

    def trial(self) -> "Pod":
        """Return what would become of a pod that is made now; it is not kept."""
        path = f"/api/v1/namespaces/{self.namespace}/pods?dryRun=All"
        return Pod(self.node, self.plane.api().create(path, databases.trial_pod("trial")).body)

    def phase(self, name: str) -> str:
        """Return the phase of a FodcNode."""
        return str(self.read("fodcnodes", name).get("status", {}).get("phase", ""))


@dataclass(frozen=True, slots=True)
class Window:
    """Series of one pod with their points."""

    series: tuple[dict[str, Any], ...]

    def of(self, name: str) -> list[tuple[float, float]]:
        """Return Unix times and values of all series of a name, by time."""
        points = [point for one in self.series if one["name"] == name for point in one["data"]]
        return sorted((_time_s(point["timestamp"]), float(point["value"])) for point in points)


def _time_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as the API server has it."""

    node: Node
    body: dict[str, Any]

    @property
    def ip(self) -> str:
        """Its address."""
        return str(self.body["status"]["podIP"])

    def annotation(self, key: str) -> str:
        """Return an annotation, empty when it is absent."""
        return str(self.body["metadata"].get("annotations", {}).get(key, ""))

    @property
    def is_ready(self) -> bool:
        """Whether it is ready and not going away."""
        conditions = self.body.get("status", {}).get("conditions", [])
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
        return ready and "deletionTimestamp" not in self.body["metadata"]

    def status(self, container: str) -> dict[str, Any]:
        """Return the status of a container, of whichever kind; empty while there is none."""
        status = self.body.get("status", {})
        kinds = ("initContainerStatuses", "containerStatuses")
        every = [one for kind in kinds for one in status.get(kind, [])]
        return next((one for one in every if one["name"] == container), {})

    def is_running(self, container: str) -> bool:
        """Whether a container runs."""
        return "running" in self.status(container).get("state", {})

    def process(self, container: str) -> int:
        """Return the first process of a container as the host numbers it."""
        return self.node.container_pids(self.status(container)["containerID"])[0]


def start_ticks(pid: int) -> int:
    """Return when a process began, in clock ticks since the boot."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19])


def eat(pod: Pod) -> None:
    """Load the sample node with more than its memory holds."""
    order(pod, "load", n=1000)


def grow(pod: Pod, mib_per_s: int) -> None:
    """Let the sample node hold more and more memory, until it is killed."""
    order(pod, "grow", mib_per_s=mib_per_s)


def panic(pod: Pod) -> None:
    """Let the sample node panic: it writes the crash down and ends."""
    order(pod, "panic")


def misbehave(pod: Pod, kind: str, where: str, for_s: int) -> None:
    """Have the sample node answer wrongly at one of its ports, for a while."""
    order(pod, "fault", kind=kind, where=where, **{"for": f"{for_s}s"})


def order(pod: Pod, what: str, **query: str | int) -> None:
    """Tell the sample node to do something; it may end before it answers."""
    told = urllib.parse.urlencode(query)
    url = f"http://{pod.ip}:{databases.METRICS_PORT}/sample/{what}?{told}"
    with (
        contextlib.suppress(ConnectionError, http.client.HTTPException, TimeoutError),
        urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=5),
    ):
        pass


def kill(pid: int) -> None:
    """End a process at once."""
    os.kill(pid, signal.SIGKILL)


# ---- an operator that injects ------------------------------------------------------------------


@contextlib.contextmanager
def running_operator(folder: Path, node: Node) -> Iterator[programs.Program]:
    """Run an operator where pods and the API server reach it; it injects this machine's agent."""
    host = node.place.host_ip
    home = installing.new_namespace(node.plane)
    agents = (f"--agent-image={AGENT_IMAGE}", f"--agent-proxy-addr={host}:{GRPC_PORT}")
    started = operators.start_operator(
        folder,
        node.plane,
        home,
        f"--grpc-listen-addr={host}:{GRPC_PORT}",
        f"--webhook-config-name={CONFIGURATION}",
        f"--webhook-extra-sans={host}",
        *agents,
        keeps_certificate=True,
    )
    asked = operators.start_webhook(
        folder, node.plane, home, *agents, address=f"{host}:{WEBHOOK_PORT}"
    )
    with programs.running(started) as operator, programs.running(asked) as webhook:
        address = webhook.addresses["webhook"]
        webhooks.apply(node.plane, webhooks.rendered(CONFIGURATION, address))
        operators.wait_leads(operator)
        operators.wait_for(
            "the API server trusts the webhook",
            lambda: all(webhooks.ca_bundles(node.plane, CONFIGURATION)),
        )
        yield operator


def new_site(node: Node, operator: programs.Program, level: str, **policy: Any) -> Site:
    """Make a namespace of this Pod Security level where every database gets an agent."""
    labels = {POD_SECURITY: level, webhooks.OPT_IN: "enabled"}
    one = Site(node, operator, installing.new_namespace(node.plane, **labels))
    selector = {"matchLabels": {"app.kubernetes.io/name": "banyandb"}}
    one.apply(
        installing.resource(
            "FodcInjection", POLICY, spec={"podSelector": selector, "cluster": "e2e", **policy}
        )
    )
    operators.wait_for(f"injection into {one.namespace}", lambda: _is_injected(one))
    return one


def _is_injected(one: Site) -> bool:
    """Ask for a pod that is not made: webhook, policy and its cache must all be there."""
    containers = one.trial().body.get("spec", {}).get("initContainers", [])
    names = [each["name"] for each in containers]
    return AGENT in names
