# SPDX-License-Identifier: Apache-2.0
"""The cluster that a newcomer sees where a container runtime is: all as they would install it.

The one idea: a real kubelet runs the built images by the shipped overlay, unchanged, and agents
come by the webhook. An operator that does not come up is told at once, with its own last words.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from e2e import operators, programs
from e2e.applied import trust_of
from e2e.controlplane.__main__ import Steps
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import CRDS, ROOT
from e2e.controlplane.processes import ControlPlaneError
from e2e.images import building
from e2e.images.building import ImagesError
from e2e.kubelet import databases, images, installation, operator_pods
from e2e.kubelet.installation import SYSTEM
from e2e.kubelet.node import Node, node
from e2e.kubelet.volumes import make_volumes
from e2e.node.build import BuildError
from fodc_webhook.inject.rendering import AUTHORITY_MAP

OVERLAY: Final = ROOT / "manifests" / "overlays" / "default"
POLICY: Final = CRDS / "examples" / "inject-chart" / "fodcinjection.yaml"
INSTANCE: Final = "banyandb"
DEADLINE_S: Final = 120.0
LOOK_EVERY_S: Final = 0.5


Made: TypeAlias = tuple[ControlPlane, str, programs.Trust, Callable[[], None]]
"""The control plane, the URL of the proxy, by what it is known, and a look that raises
ControlPlaneError when a pod of the installation does not run."""


@contextlib.contextmanager
def installed(folder: Path, namespace: str, steps: Steps) -> Iterator[Made]:
    """Run it; raises ControlPlaneError."""
    steps.say("images (built once, two to five minutes; later runs take them from the cache) …")
    try:
        archives = [*building.built().values(), *images.write_programs(folder / "images")]
    except (BuildError, ImagesError) as error:
        raise ControlPlaneError(str(error)) from None
    steps.say("control plane and kubelet …")
    with node(folder / "run", archives) as one:
        make_volumes(one.plane)
        steps.say(f"kubectl apply -k {OVERLAY.relative_to(ROOT)} …")
        one.plane.kubectl("apply", f"--kustomize={OVERLAY}", check=True)
        leader = _wait_leads(one)
        steps.say("a BanyanDB cluster whose namespace asks for agents …")
        _make_databases(one, namespace)
        told = one.plane.api().get(f"/api/v1/namespaces/{SYSTEM}/configmaps/{AUTHORITY_MAP}")
        url = f"https://{leader}:{installation.HTTP_PORT}"
        yield one.plane, url, trust_of(told.body), functools.partial(_check, one)


# ---- the operator -------------------------------------------------------------------------------


def _wait_leads(one: Node) -> str:
    """Wait until a pod of the operator leads and is ready; returns its address.

    Raises ControlPlaneError as soon as one has ended, with what it said.
    """
    ends_at = time.monotonic() + DEADLINE_S
    while True:
        _check(one)
        pods = operator_pods.pods_of(one.plane, SYSTEM)
        ready = [pod.address for pod in pods if pod.leads and pod.is_ready]
        if ready:
            return ready[0]
        if time.monotonic() > ends_at:
            told = one.plane.kubectl(f"--namespace={SYSTEM}", "get", "pods,pvc,events").stdout
            raise ControlPlaneError(f"the operator does not lead within {DEADLINE_S:g} s\n{told}")
        time.sleep(LOOK_EVERY_S)


def _check(one: Node) -> None:
    """Raise ControlPlaneError when a pod of the installation has ended, with what it said last."""
    if fault := operator_pods.fault_among(one.plane, SYSTEM):
        raise ControlPlaneError(f"the operator does not run: {fault}")


# ---- the databases ------------------------------------------------------------------------------


def _make_databases(one: Node, namespace: str) -> None:
    """Make what the chart makes, after the policy that gives each pod its agent."""
    labels = {"fodc.banyandb.dev/inject": "enabled"}
    home = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace, "labels": labels},
    }
    _apply(one, home)
    policy = yaml.safe_load(POLICY.read_text())
    policy["metadata"]["namespace"] = namespace
    _apply(one, policy)
    _wait_injects(one, namespace)
    sets = [
        databases.stateful_set(f"{INSTANCE}-data-hot", replicas=2, load=4, instance=INSTANCE),
        databases.stateful_set(f"{INSTANCE}-liaison", role="liaison", load=4, instance=INSTANCE),
    ]
    for each in sets:
        each["metadata"]["namespace"] = namespace
    _apply(one, *sets)


def _apply(one: Node, *objects: dict[str, Any]) -> None:
    text = yaml.safe_dump_all(objects)
    one.plane.kubectl("apply", "--filename=-", stdin=text, check=True)


def _wait_injects(one: Node, namespace: str) -> None:
    """Wait until a pod that is only tried would get its agent."""
    trial = databases.trial_pod(INSTANCE)
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"

    def look() -> bool:
        body = one.plane.api().create(path, trial).body
        return bool(body.get("spec", {}).get("initContainers"))

    operators.wait_for("the webhook injects", look, 60, functools.partial(_check, one))
