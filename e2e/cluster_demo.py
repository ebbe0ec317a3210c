# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes cluster for a person: control plane, operator, three agents on sample nodes.

Where a container runtime is, a real kubelet runs the built images by the shipped overlay. Elsewhere
the pods are objects of the API server only, and the programs run from the source tree beside it.
Nothing is canned either way. Ctrl-C ends everything; `--once` applies the CPU example, downloads
the profile, and ends.
"""

import argparse
import contextlib
import functools
import os
import shlex
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from e2e import operators, people, programs
from e2e.commands import end_with, heed_signals, path_line
from e2e.controlplane import build, fakenodes
from e2e.controlplane.__main__ import Steps, person_cluster
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import CRDS
from e2e.controlplane.processes import ControlPlaneError
from e2e.kubelet import demo as on_kubelet
from e2e.kubelet import requirements
from e2e.node import running
from e2e.node.build import BuildError
from fodc_webhook.inject.rendering import AUTHORITY

NAMESPACE = "banyandb"
EXAMPLE = CRDS / "examples" / "one-profile" / "diagnosticrequest.yaml"
CPU_SECONDS = 5
SETS = (("banyandb-data-hot", 2), ("banyandb-liaison", 1))
NODES = (
    ("banyandb-data-hot-0", "data", "ROLE_DATA", "type=hot"),
    ("banyandb-data-hot-1", "data", "ROLE_DATA", "type=hot"),
    ("banyandb-liaison-0", "liaison", "ROLE_LIAISON", ""),
)


@dataclass(frozen=True)
class Demo:
    """What runs."""

    plane: ControlPlane
    http: str
    """URL of the proxy."""
    trust: programs.Trust | None = None
    """By what it is known, None in the clear on this machine."""
    authority: Path = Path()
    """The file of that authority."""
    check: Callable[[], None] = lambda: None
    """Raises when what must run has ended, with what it said last."""

    @functools.cached_property
    def token(self) -> str:
        """Token of a person who may do everything with the proxy."""
        return people.admin_token(self.plane)

    @property
    def way(self) -> str:
        """Line by which a person tells `fodc` where the proxy is: sealed ones are in a cluster."""
        return "alias fodc='fodc --context='" if self.trust else f"export FODC_PROXY={self.http}"

    def curl(self, path: str) -> str:
        """Return the line that asks the proxy, by the name on its certificate."""
        told = 'curl -H "Authorization: Bearer $FODC_TOKEN"'
        if self.trust is None:
            return f"{told} {self.http}{path}"
        address, _, port = self.http.removeprefix("https://").partition(":")
        known = f"--cacert {self.authority} --connect-to ::{address}:"
        return f"{told} {known} https://{self.trust.name}:{port}{path}"


@contextlib.contextmanager
def demo(folder: Path, steps: Steps) -> Iterator[Demo]:
    """Start what can be started here, and end it with the block."""
    reasons = requirements.reasons_against()
    if reasons:
        steps.say(f"without containers, since there is {'; '.join(reasons)}")
        with from_source(folder, steps) as made:
            yield made
        return
    with on_kubelet.installed(folder, NAMESPACE, steps) as (plane, url, trust, check):
        (folder / AUTHORITY).write_text(trust.authority)
        yield Demo(plane, url, trust, folder / AUTHORITY, check)


@contextlib.contextmanager
def from_source(folder: Path, steps: Steps) -> Iterator[Demo]:
    """Start programs of the source tree and end them with the block, the last started first."""
    with contextlib.ExitStack() as stack:
        plane = stack.enter_context(person_cluster(folder / "run", steps))
        steps.say("the pods of a BanyanDB cluster …")
        make_pods(plane)
        steps.say("operator …")
        operator = stack.enter_context(
            programs.running(operators.start_operator(folder / "operator", plane, NAMESPACE))
        )
        operators.wait_leads(operator)
        steps.say("three loaded sample nodes and their agents …")
        for pod, kind, role, labels in NODES:
            node = stack.enter_context(running.sample_node(role=kind, load=4, node_labels=labels))
            uid = plane.api().get(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}").body
            agent = start_agent(folder, operator, node, pod, role, uid["metadata"]["uid"])
            stack.enter_context(programs.running(agent))
        yield Demo(plane, operator.http, check=operator.check)


def start_agent(
    folder: Path,
    operator: programs.Program,
    node: running.RunningNode,
    pod: str,
    role: str,
    uid: str,
) -> programs.Program:
    """Start an agent that says that it runs in this pod."""
    return programs.start_agent(
        folder / "agents",
        "--poll-metrics-interval=1s",
        f"--node-pid={node.pid}",
        f"--pod-namespace={NAMESPACE}",
        f"--pod-uid={uid}",
        "--cluster=banyandb",
        pod_name=pod,
        proxy=operator.grpc,
        metrics_port=node.metrics_port,
        pprof_port=node.pprof_port,
        node_role=role,
    )


# ---- objects ----------------------------------------------------------------------------------


def make_pods(plane: ControlPlane) -> None:
    """Make a fake machine, a namespace and StatefulSets, and wait for their pods."""
    objects = [fakenodes.node("worker-0"), _named("v1", "Namespace", NAMESPACE)]
    objects += [_stateful_set(name, replicas) for name, replicas in SETS]
    plane.kubectl("apply", "-f", "-", stdin=_yaml(objects), check=True)
    pods = [f"pod/{name}" for name, *_ in NODES]
    for pod in pods:
        operators.wait_for(
            f"{pod} exists",
            lambda wanted=pod: plane.kubectl("-n", NAMESPACE, "get", wanted).returncode == 0,
            60,
        )
    plane.kubectl(
        "-n", NAMESPACE, "wait", "--for=condition=Ready", "--timeout=40s", *pods, check=True
    )


def _named(api_version: str, kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}


def _stateful_set(name: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "banyandb", "image": "banyandb:sample"}
    whole = _named("apps/v1", "StatefulSet", name)
    whole["metadata"]["namespace"] = NAMESPACE
    whole["spec"] = {
        "replicas": replicas,
        "serviceName": name,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    return whole


def _yaml(objects: list[dict[str, Any]]) -> str:
    return yaml.safe_dump_all(objects)


# ---- what a person does -----------------------------------------------------------------------


def show(plane: ControlPlane, *arguments: str, stdin: str = "") -> int:
    """Run kubectl with its output on this terminal, the command line printed before it."""
    print(f"\n$ kubectl {' '.join(arguments)}", flush=True)
    answer = plane.kubectl(f"--namespace={NAMESPACE}", *arguments, stdin=stdin)
    print(answer.stdout + answer.stderr, end="", flush=True)
    return answer.returncode


def walk(made: Demo, downloads: Path, steps: Steps) -> int:
    """Do what the README shows; return the number of steps that failed."""
    plane = made.plane
    request = yaml.safe_load(EXAMPLE.read_text())
    request["spec"]["captures"][0]["durationSeconds"] = CPU_SECONDS
    name = request["metadata"]["name"]
    steps.say(f"a CPU profile of {CPU_SECONDS} s on request")
    failed = show(plane, "get", "fodcnodes") != 0
    failed += show(plane, "apply", "-f", "-", stdin=_yaml([request])) != 0
    wait = ("wait", "--for=condition=Succeeded", "--timeout=40s", f"diagnosticrequest/{name}")
    failed += show(plane, *wait) != 0
    failed += show(plane, "get", "diagnosticrequests") != 0
    failed += show(plane, "get", "fodcnodes", "-o", "wide") != 0
    if not download(made, name, downloads):
        failed += 1
    return failed


def download(made: Demo, name: str, downloads: Path) -> bool:
    """Fetch every artifact of a request; false when there is none or one without samples."""
    path = f"/apis/fodc.banyandb.dev/v1alpha1/namespaces/{NAMESPACE}/diagnosticrequests/{name}"
    targets = made.plane.api().get(path).body.get("status", {}).get("targets", [])
    results = [one for target in targets for one in target.get("results", [])]
    downloads.mkdir(parents=True, exist_ok=True)
    sizes = []
    for one in results:
        url = f"{made.http}{one['downloadPath']}" if "downloadPath" in one else ""
        if not url:
            continue
        with programs.opened(url, token=made.token, trust=made.trust) as answer:
            content = answer.read()
        (downloads / f"{one['captureName']}.pb.gz").write_bytes(content)
        print(f"\n$ {made.curl(one['downloadPath'])}")
        print(f"{len(content)} bytes, {one.get('samples')} samples", flush=True)
        sizes.append(len(content) and one.get("samples", 0))
    return bool(sizes) and all(sizes)


def told(made: Demo) -> str:
    """Return what a person types next."""
    kubectl = shlex.quote(made.plane.binaries.path("kubectl"))
    return (
        f"\nexport KUBECONFIG={shlex.quote(str(made.plane.kubeconfig))}\n"
        f"{made.way}\n"
        f"export FODC_TOKEN={made.token}\n"
        f"{path_line()}\n"
        f"alias kubectl={kubectl}\n\n"
        f"  kubectl -n {NAMESPACE} get fodcnodes -o wide\n"
        f"  kubectl -n {NAMESPACE} apply -f {EXAMPLE.relative_to(CRDS.parent)}\n"
        f"  kubectl -n {NAMESPACE} get diagnosticrequests --watch\n"
        "  kubectl explain diagnosticrequest.spec\n"
        "  fodc nodes\n"
        "  fodc artifacts list\n"
        f"  {made.curl('/metrics')}\n\n"
        "Ctrl-C ends the cluster and removes its files.\n"
    )


def everybody_is_online(made: Demo) -> bool:
    """Say whether all three nodes are living members."""
    found = operators.phases(made.plane, NAMESPACE)
    return len(found) == len(NODES) and set(found.values()) <= {"Online", "Degraded"}


def run(*, once: bool, steps: Steps) -> int:
    """Run the demo; 0 only when the profile holds samples or nobody asked for one."""
    with (
        tempfile.TemporaryDirectory(prefix="fodc-cluster-") as folder,
        demo(Path(folder), steps) as made,
    ):
        operators.wait_for("three nodes online", lambda: everybody_is_online(made), 90, made.check)
        steps.say("ready: three nodes are mirrored")
        failed = walk(made, Path(folder) / "downloads", steps) if once else stay(made)
    steps.say("ended, nothing is left" if not failed else f"{failed} steps FAILED, see above")
    return 1 if failed else 0


def stay(made: Demo) -> int:
    """Keep everything running until Ctrl-C."""
    print(told(made), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    return 0


_FAULTS = (ControlPlaneError, programs.ProgramError, running.NodeError, BuildError, TimeoutError)


def main() -> int:
    """Run until Ctrl-C or to the end of `--once`; 1 when something failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--once", action="store_true", help="profile one node and end")
    once = parser.parse_args().once or os.environ.get("ONCE", "") not in {"", "0"}
    os.environ[build.PERMISSION_VARIABLE] = "1"
    heed_signals()
    steps = Steps()
    steps.say("looking at what this machine has …")
    try:
        return run(once=once, steps=steps)
    except _FAULTS as error:
        steps.say(str(error))
        return 1
    except KeyboardInterrupt:
        steps.say("ended, nothing is left")
        return 130


if __name__ == "__main__":
    end_with(main)
