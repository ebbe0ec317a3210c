# SPDX-License-Identifier: Apache-2.0
"""StatefulSets of databases on an API server without machines: tests say how their pods run.

The one idea: pods are made by the real controller, through the real webhook; what a kubelet would
tell of them is written into their status by the test, pod by pod.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from e2e import webhooks
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import collection, new_namespace, resource
from e2e.operators import wait_for
from e2e.webhooks import Injecting

AGENT: Final = "fodc-agent"
LEASE: Final = ("--lease-duration=4s", "--lease-renew=2s", "--lease-retry=1s")
REVISION: Final = "fodc.banyandb.dev/revision"
NOT_INJECTED: Final = "fodc.banyandb.dev/not-injected"
LABELS: Final = {"app.kubernetes.io/name": "banyandb"}
TEMPLATE: Final = {
    "metadata": {"labels": LABELS},
    "spec": {
        "containers": [
            {
                "name": "data",
                "image": "apache/skywalking-banyandb:0.9",
                "args": ["data"],
                "ports": [{"name": "pprof", "containerPort": 6060}],
            }
        ]
    },
}
Teller = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""State of a container, by its name and its pod."""


def now() -> str:
    """Return the present time as a kubelet writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def running(_name: str, _pod: Mapping[str, Any]) -> dict[str, Any]:
    """Tell that a container runs."""
    return {"running": {"startedAt": now()}}


def image_missing(name: str, _pod: Mapping[str, Any]) -> dict[str, Any]:
    """Tell that the agent's image cannot be pulled, and that the rest waits for it."""
    if name == AGENT:
        message = 'Back-off pulling image "banyandb-fodc-agent:none": not found'
        return {"waiting": {"reason": "ImagePullBackOff", "message": message}}
    return {"waiting": {"reason": "PodInitializing"}}


@dataclass
class Databases:
    """The pods of one namespace and the policy about them."""

    plane: ControlPlane
    namespace: str
    teller: Teller = running
    """How containers run that nobody has told of yet."""
    _told: set[str] = field(default_factory=set)

    @contextmanager
    def operator(self, folder: Path, home: str = "") -> Iterator[Injecting]:
        """Run an operator that injects into their namespace; it lives in `home`, else anywhere."""
        with webhooks.injecting(
            folder,
            self.plane,
            home=home or new_namespace(self.plane),
            namespace=self.namespace,
            arguments=(*LEASE, f"--namespace={self.namespace}"),
        ) as found:
            yield found

    # ---- objects ------------------------------------------------------------------------------

    def path(self, plural: str, group: str = "/api/v1") -> str:
        """Return the path of a collection of the namespace."""
        return f"{group}/namespaces/{self.namespace}/{plural}"

    def create_stateful_set(self, replicas: int, name: str = "data") -> None:
        """Make a StatefulSet whose pods are all made at once."""
        spec = {
            "replicas": replicas,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": LABELS},
            "template": TEMPLATE,
        }
        body = {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": name},
            "spec": spec,
        }
        answer = self.plane.api().create(self.path("statefulsets", "/apis/apps/v1"), body)
        assert answer.status == 201, answer.body
        names = {f"{name}-{number}" for number in range(replicas)}
        wait_for("the pods", lambda: names <= self.pods().keys())

    def scale(self, replicas: int, name: str = "data") -> None:
        """Change how many pods the StatefulSet has."""
        path = f"{self.path('statefulsets', '/apis/apps/v1')}/{name}"
        answer = self.plane.api().merge(path, {"spec": {"replicas": replicas}})
        assert answer.status == 200, answer.body

    def create_policy(self, name: str = "banyandb", **spec: Any) -> None:
        """Make a FodcInjection that selects them."""
        whole = {"podSelector": {"matchLabels": LABELS}, **spec}
        body = resource("FodcInjection", name, spec=whole)
        answer = self.plane.api().create(collection(self.namespace, "fodcinjections"), body)
        assert answer.status == 201, answer.body

    def change_policy(self, name: str = "banyandb", **spec: Any) -> None:
        """Merge into the spec of the policy."""
        path = f"{collection(self.namespace, 'fodcinjections')}/{name}"
        answer = self.plane.api().merge(path, {"spec": spec})
        assert answer.status == 200, answer.body

    def create_budget(self, **spec: Any) -> None:
        """Make a PodDisruptionBudget of all their pods and wait until it is in force."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "data"},
            "spec": {"selector": {"matchLabels": LABELS}, **spec},
        }
        path = self.path("poddisruptionbudgets", "/apis/policy/v1")
        answer = self.plane.api().create(path, body)
        assert answer.status == 201, answer.body
        wait_for(
            "the budget",
            lambda: self.plane.api().get(f"{path}/data").body.get("status", {}).get("expectedPods"),
        )

    def delete_budget(self) -> None:
        """Remove the PodDisruptionBudget."""
        path = self.path("poddisruptionbudgets", "/apis/policy/v1")
        assert self.plane.api().delete(f"{path}/data").status == 200

    def delete_pod(self, name: str) -> str:
        """Delete a pod and wait for the one that takes its place; return the UID of that."""
        before = self.pods()[name]["metadata"]["uid"]
        self.plane.api().delete(f"{self.path('pods')}/{name}?gracePeriodSeconds=0")
        return wait_for("another pod", lambda: self.successor(name, before))

    # ---- reading ------------------------------------------------------------------------------

    def pods(self) -> dict[str, dict[str, Any]]:
        """Return the pods by name."""
        items = self.plane.api().get(self.path("pods")).body["items"]
        return {one["metadata"]["name"]: one for one in items}

    def successor(self, name: str, uid: str) -> str:
        """Return the UID of the pod of this name when it is another one, else nothing."""
        found = self.pods().get(name, {"metadata": {}})["metadata"].get("uid", "")
        return "" if found == uid else str(found)

    def with_agent(self) -> set[str]:
        """Return the names of the pods that have an agent."""
        return {name for name, one in self.pods().items() if has_agent(one)}

    def given(self) -> str:
        """Return the revision of the agent that a pod would get now, or why it would get none.

        The webhook hears of policies and their statuses a moment after they are written.
        """
        pod = {**TEMPLATE, "metadata": {"name": "trial", "labels": LABELS}}
        answer = self.plane.api().create(f"{self.path('pods')}?dryRun=All", pod)
        told = answer.body.get("metadata", {}).get("annotations", {})
        return str(told.get(REVISION) or told.get(NOT_INJECTED, ""))

    def status(self, name: str = "banyandb") -> dict[str, Any]:
        """Return the status of the policy, empty before it is written."""
        path = f"{collection(self.namespace, 'fodcinjections')}/{name}"
        return dict(self.plane.api().get(path).body.get("status", {}))

    def condition(self, kind: str, name: str = "banyandb") -> tuple[str, str]:
        """Return status and reason of a condition, empty before it is written."""
        for one in self.status(name).get("conditions", ()):
            if one["type"] == kind:
                return one["status"], one["reason"]
        return "", ""

    def message(self, kind: str, name: str = "banyandb") -> str:
        """Return the message of a condition."""
        found = self.status(name).get("conditions", ())
        return next((str(one["message"]) for one in found if one["type"] == kind), "")

    def counts(self, name: str = "banyandb") -> tuple[int, ...]:
        """Return matched, injected, upToDate, missing and failed; empty before it is written."""
        found = self.status(name)
        names = ("matched", "injected", "upToDate", "missing", "failed")
        return tuple(found[one] for one in names) if "matched" in found else ()

    def wait_counts(self, *wanted: int) -> None:
        """Wait until matched, injected, upToDate, missing and failed are these."""

        def look() -> bool:
            self.tell()
            return self.counts() == wanted

        try:
            wait_for(f"counts {wanted}", look, 20)
        except TimeoutError:
            raise AssertionError(f"{self.counts()} is not {wanted}") from None

    def events(self) -> dict[str, str]:
        """Return the notes of the Events of the namespace by their reason."""
        path = self.path("events", "/apis/events.k8s.io/v1")
        return {one["reason"]: one["note"] for one in self.plane.api().get(path).body["items"]}

    # ---- the kubelet's part -------------------------------------------------------------------

    def tell(self) -> bool:
        """Tell of each pod that nobody has told of yet how it runs; for the loops of waits."""
        for one in self.pods().values():
            if one["metadata"]["uid"] not in self._told:
                self.tell_of(one, self.teller)
        return True

    def tell_of(self, pod: Mapping[str, Any], teller: Teller) -> None:
        """Tell how a pod runs."""
        states = {
            place: [_container(one, pod, teller) for one in pod["spec"].get(spec, ())]
            for place, spec in (
                ("initContainerStatuses", "initContainers"),
                ("containerStatuses", "containers"),
            )
        }
        ready = all(one["ready"] for found in states.values() for one in found)
        condition = {
            "type": "Ready",
            "status": "True" if ready else "False",
            "lastTransitionTime": now(),
        }
        status = {
            "phase": "Running" if ready else "Pending",
            "podIP": "10.0.0.7",
            "podIPs": [{"ip": "10.0.0.7"}],
            "conditions": [condition],
            **{place: found for place, found in states.items() if found},
        }
        name = pod["metadata"]["name"]
        answer = self.plane.api().merge(f"{self.path('pods')}/{name}/status", {"status": status})
        # It may be gone by now.
        assert answer.status in {200, 404}, answer.body
        self._told.add(pod["metadata"]["uid"])


def has_agent(pod: Mapping[str, Any]) -> bool:
    """Say whether a pod has an agent."""
    both = (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
    return any(one["name"] == AGENT for one in both)


def _container(one: Mapping[str, Any], pod: Mapping[str, Any], teller: Teller) -> dict[str, Any]:
    state = teller(one["name"], pod)
    return {
        "name": one["name"],
        "image": one["image"],
        "imageID": "",
        "restartCount": 0,
        "ready": "running" in state,
        "started": "running" in state,
        "state": state,
    }
