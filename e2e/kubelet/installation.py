# SPDX-License-Identifier: Apache-2.0
"""What a person does to install, on a node that takes its images from a registry.

The one idea: the lines are those of the README, run by a shell with kubectl and kustomize on its
PATH; only the name of the registry is another one.
"""

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Final

import yaml

from e2e import operators, people, programs
from e2e.applied import trust_of
from e2e.commands import CommandError, say_as
from e2e.controlplane import build, processes
from e2e.controlplane.installing import ROOT
from e2e.images import wanted
from e2e.kubelet import configuration
from e2e.kubelet.node import Node
from fodc_webhook.inject.rendering import AUTHORITY_MAP

README: Final = ROOT / "README.md"
WRITTEN_REGISTRY: Final = "registry.example.com/fodc"
SYSTEM: Final = "fodc-system"
HTTP_PORT: Final = 17913
PATIENCE: Final = "--timeout=120s"
LINES_DEADLINE_S: Final = 900.0
KUBECTL_DEADLINE_S: Final = 150.0
_say = say_as("installation")


@dataclass(slots=True)
class Machine:
    """A node, and a registry that it takes images from."""

    node: Node
    registry: str
    folder: Path

    # ---- commands -----------------------------------------------------------------------------

    def kubectl(
        self, *arguments: str, stdin: str = "", deadline_s: float = KUBECTL_DEADLINE_S
    ) -> str:
        """Run kubectl as the admin and return what it said; raises CommandError."""
        return self._run(["kubectl", *arguments], stdin, deadline_s)

    def system(self, *arguments: str) -> str:
        """Run kubectl in the operator's namespace."""
        return self.kubectl(f"--namespace={SYSTEM}", *arguments)

    def shell(self, lines: str) -> str:
        """Run lines of the README at the root of the tree; raises CommandError."""
        said = lines.replace(WRITTEN_REGISTRY, self.registry)
        return self._run(["bash", "-euo", "pipefail", "-c", said], "", LINES_DEADLINE_S)

    def _run(self, command: list[str], stdin: str, deadline_s: float) -> str:
        answer = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=deadline_s,
            check=False,
            cwd=ROOT,
            env=self._environment(),
        )
        if answer.returncode != 0:
            raise CommandError(
                f"{' '.join(command)}:\n{answer.stdout[-2000:]}{answer.stderr[-4000:]}"
            )
        return answer.stdout

    def _environment(self) -> dict[str, str]:
        folders = [build.cache_directory(), build.cache_directory(build.INSTALLING_DIRECTORY)]
        path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
        return {
            **os.environ,
            "PATH": path,
            "KUBECONFIG": str(self.node.plane.kubeconfig),
            "CONTAINERS_REGISTRIES_CONF": str(self.folder / "registries.conf"),
        }

    # ---- objects ------------------------------------------------------------------------------

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects."""
        self.kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(objects))

    def read(self, *what: str) -> Any:
        """Return an object or a list."""
        return json.loads(self.kubectl("get", *what, "--output=json"))

    def wait(self, what: str, condition: str, namespace: str) -> None:
        """Wait until it is there and holds; raises CommandError."""
        for one in ("create", condition):
            self.kubectl(f"--namespace={namespace}", "wait", f"--for={one}", what, PATIENCE)

    def operator_runs(self, *deployments: str) -> None:
        """Wait until the Deployments are complete and one pod leads; tells what pods said if not.

        Without names those of operator and webhook.
        """
        try:
            for name in deployments or _PROGRAMS:
                self.system("rollout", "status", f"deployment/{name}", PATIENCE)
            # The one before may still be on its way out.
            operators.wait_for("one leader that stays", lambda: len(self._leaders()) == 1, 60)
            name = self.leader()["metadata"]["name"]
            self.system("wait", f"pod/{name}", "--for=condition=Ready", PATIENCE)
        except (CommandError, TimeoutError) as error:
            raise CommandError(f"{error}\n{self.words()}") from None

    def _names(self, selector: str) -> list[str]:
        return self.system("get", "pods", selector, "--output=name").split()

    def words(self) -> str:
        """Return how the pods of the operator stand and what they said last."""
        told = [self.system("get", "pods,pvc,events", "--output=wide")]
        for name in self._names("--selector=app.kubernetes.io/component=fodc-proxy"):
            with contextlib.suppress(CommandError):
                told.append(self.system("logs", name, "--all-containers", "--tail=20"))
            with contextlib.suppress(CommandError):
                told.append(self.system("logs", name, "--previous", "--tail=20"))
        return "\n".join(told)

    def leader(self) -> dict[str, Any]:
        """Return the pod that leads."""
        (one,) = self._leaders()
        return one

    def _leaders(self) -> list[dict[str, Any]]:
        selector = "--selector=fodc.banyandb.dev/leader=true"
        items = self.read(f"--namespace={SYSTEM}", "pods", selector)["items"]
        return [dict(pod) for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def opened(self, path: str, *, host: str = "", token: str = "") -> HTTPResponse:
        """Ask the proxy as pods reach it, with the token of a person of the cluster.

        It is known by the authority that the operator hands out, as Prometheus knows it.
        """
        url = f"https://{self.leader()['status']['podIP']}:{HTTP_PORT}{path}"
        told = token or people.admin_token(self.node.plane)
        trust = trust_of(self.read(f"--namespace={SYSTEM}", "configmap", AUTHORITY_MAP))
        return programs.opened(url, timeout_s=30, token=told, host=host, trust=trust)


@contextlib.contextmanager
def registry(folder: Path, node: Node) -> Iterator[str]:
    """Run a registry at the host's end of the link; gives host, port and a team's name."""
    found = build.binaries(build=False, names=("crane",))
    assert not isinstance(found, build.Unavailable), found
    host = configuration.registry_host(node.place)
    (folder / "registries.conf").write_text(f'[[registry]]\nlocation = "{host}"\ninsecure = true\n')
    command = [found.path("crane"), "registry", "serve", f"--address={host}"]
    child = processes.start("registry", command, folder)
    try:
        name, port = host.split(":")
        processes.wait_until(
            "registry", lambda: processes.listens(name, int(port)), deadline_s=20, children=(child,)
        )
        yield f"{host}/fodc"
    finally:
        child.end()


# ---- what the README says -----------------------------------------------------------------------


def lines_after(heading: str) -> str:
    """Return the shell lines of the first block of code below a heading of the README."""
    text = README.read_text()
    found = re.search(rf"(?ms)^#+ {re.escape(heading)}\n.*?^```sh\n(.*?)^```", text)
    assert found is not None, f"README.md has no shell lines below {heading!r}"
    return found[1]


# ---- an overlay of one's own, as those lines make it ---------------------------------------------


_PROGRAMS: Final = ("fodc-operator", "fodc-webhook")


def _with_agent(deployment: str, agent: str, *programs: str) -> dict[str, Any]:
    """Return the patch by which the programs of a Deployment put this image into pods."""
    containers = [
        {
            "name": name,
            "env": [{"name": f"{name.upper().replace('-', '_')}_AGENT_IMAGE", "value": agent}],
        }
        for name in programs
    ]
    patch = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": deployment},
        "spec": {"template": {"spec": {"containers": containers}}},
    }
    target = {"kind": "Deployment", "name": deployment}
    return {"target": target, "patch": yaml.safe_dump(patch)}


def own_overlay(folder: Path, registry_name: str, overlay: str, *components: str) -> Path:
    """Write the kustomization of a person who has the images elsewhere; returns its folder."""
    folder.mkdir(parents=True)
    base = Path(os.path.relpath(ROOT / "manifests", folder))
    agent = f"{registry_name}/{wanted.AGENT.reference}"
    patches = [_with_agent(name, agent, name) for name in _PROGRAMS]
    if overlay == "small":
        patches = [_with_agent(_PROGRAMS[0], agent, *_PROGRAMS)]
    whole = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(base / "overlays" / overlay)],
        "components": [str(base / "components" / name) for name in components],
        "images": [
            {"name": one.name, "newName": f"{registry_name}/{one.name}", "newTag": wanted.VERSION}
            for one in (wanted.OPERATOR, wanted.AGENT)
        ],
        "patches": patches,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(whole))
    return folder


def timed(what: str, began: float) -> None:
    """Tell how long a step of the installation took."""
    _say(f"{what}: {time.monotonic() - began:.0f} s")
