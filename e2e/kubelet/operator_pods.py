# SPDX-License-Identifier: Apache-2.0
"""Pods of an installation as the API server has them: who leads, why one does not run.

The one idea: a program that ends at its start is told at once, with its own last words; nobody
waits until a deadline is over.
"""

from dataclasses import dataclass
from typing import Any, Final

from e2e.controlplane.cluster import ControlPlane

_STARTS: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
_OURS: Final = "app.kubernetes.io/name"


@dataclass(frozen=True, slots=True)
class InstalledPod:
    """A pod of operator, webhook or remote agent that is not on its way out."""

    body: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body["metadata"]["name"])

    @property
    def address(self) -> str:
        """Its address, empty while it has none."""
        return str(self.body["status"].get("podIP", ""))

    @property
    def leads(self) -> bool:
        """Whether it says that it leads."""
        return self.body["metadata"]["labels"].get("fodc.banyandb.dev/leader") == "true"

    @property
    def is_ready(self) -> bool:
        """Whether it is ready."""
        conditions = self.body["status"].get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    @property
    def fault(self) -> str:
        """Why it will not run, empty while nothing speaks against it."""
        for one in self.body["status"].get("containerStatuses", []):
            ended = one["state"].get("terminated") or one.get("lastState", {}).get("terminated")
            if ended:
                return f"{self.name} ended with status {ended['exitCode']} ({ended['reason']})"
            waiting = one["state"].get("waiting", {})
            if waiting.get("reason", "") not in _STARTS:
                return f"{self.name}: {waiting['reason']}: {waiting.get('message', '')}"
        return ""


def pods_of(plane: ControlPlane, namespace: str) -> list[InstalledPod]:
    """Return our pods there, none while there is no such namespace."""
    path = f"/api/v1/namespaces/{namespace}/pods?labelSelector={_OURS}%3Dbanyandb-fodc"
    answer = plane.api().get(path)
    found = answer.body["items"] if answer.status == 200 else []
    return [InstalledPod(pod) for pod in found if "deletionTimestamp" not in pod["metadata"]]


def fault_among(plane: ControlPlane, namespace: str) -> str:
    """Return why one of our pods does not run, and what it said last; empty when all do."""
    for pod in pods_of(plane, namespace):
        if pod.fault:
            return f"{pod.fault}\n{last_words(plane, namespace, pod)}"
    return ""


def last_words(plane: ControlPlane, namespace: str, pod: InstalledPod) -> str:
    """Return the end of a pod's log: of the container before, where one has ended."""
    asked = (f"--namespace={namespace}", "logs", pod.name, "--all-containers", "--tail=20")
    answer = plane.kubectl(*asked, "--previous")
    if answer.returncode != 0:
        answer = plane.kubectl(*asked)
    return answer.stdout + answer.stderr


def words(plane: ControlPlane, namespace: str) -> str:
    """Return how an installation stands and what its pods said last."""
    told = plane.kubectl(f"--namespace={namespace}", "get", "pods,pvc,events")
    said = [last_words(plane, namespace, pod) for pod in pods_of(plane, namespace)]
    return "\n".join([told.stdout, *said])
