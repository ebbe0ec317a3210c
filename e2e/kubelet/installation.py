# SPDX-License-Identifier: Apache-2.0
"""What a person does to install, on a node that takes its images from a registry.

The one idea: the lines are those of the README, run by a shell with kubectl and kustomize on its
PATH; only the name of the registry is another one, and the tree, since somebody's own installation
may be in build/deploy of this one. A program that ends at its start ends the command that waits for
it, with its own last words.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Final

import yaml

from e2e import operators, people, programs
from e2e.applied import trust_of
from e2e.commands import CommandError, say_as
from e2e.controlplane import build, processes
from e2e.controlplane.installing import ROOT
from e2e.images import building, wanted
from e2e.kubelet import configuration, operator_pods, requirements
from e2e.kubelet.node import Node
from fodc_webhook.inject.rendering import AUTHORITY_MAP

README: Final = ROOT / "README.md"
WRITTEN_REGISTRY: Final = "registry.example.com/fodc"
SYSTEM: Final = "fodc-system"
HTTP_PORT: Final = 17913
PATIENCE: Final = "--timeout=120s"
LINES_DEADLINE_S: Final = 480.0
"""Less than a test has, so that it is told what was waited for."""
KUBECTL_DEADLINE_S: Final = 150.0
LOOK_EVERY_S: Final = 2.0
_PROGRAMS: Final = ("fodc-operator", "fodc-webhook")
_DOCKER: Final = (
    "Docker's daemon pushes to a registry in the clear, such as that of the test, only where its "
    "own settings name it (insecure-registries); buildah is told so for one command"
)
_say = say_as("installation")


def reasons_against() -> list[str]:
    """Return why the lines of the README cannot be run here, nothing when they can."""
    reasons = requirements.reasons_against()
    if not reasons and building.find_builder().name == "docker":
        return [_DOCKER]
    return reasons


@dataclass(slots=True)
class Machine:
    """A node, and a registry that it takes images from."""

    node: Node
    registry: str
    folder: Path
    home: str = SYSTEM
    """The namespace of the operator."""
    applied: list[tuple[str, ...]] = field(default_factory=list)
    """Overlays with their components, as they were written one after the other."""

    # ---- commands -----------------------------------------------------------------------------

    def kubectl(
        self, *arguments: str, stdin: str = "", deadline_s: float = KUBECTL_DEADLINE_S
    ) -> str:
        """Run kubectl as the admin and return what it said; raises CommandError."""
        return self._run(["kubectl", *arguments], stdin, deadline_s)

    def system(self, *arguments: str) -> str:
        """Run kubectl in the operator's namespace."""
        return self.kubectl(f"--namespace={self.home}", *arguments)

    def shell(self, lines: str) -> str:
        """Run lines of the README at the root of a tree; raises CommandError."""
        said = lines.replace(WRITTEN_REGISTRY, self.registry)
        return self._run(["bash", "-euo", "pipefail", "-c", said], "", LINES_DEADLINE_S)

    def _run(self, command: list[str], stdin: str, deadline_s: float) -> str:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.tree,
            env=self._environment(),
            start_new_session=True,
        )
        try:
            told, errors, wrong = _heard(process, stdin, deadline_s, self._fault)
        finally:
            _end(process)
        if wrong or process.returncode != 0:
            said = f"{' '.join(command)}:\n{told[-2000:]}{errors[-4000:]}"
            raise CommandError(f"{said}\n{wrong}\n{self.words()}")
        return told

    @property
    def tree(self) -> Path:
        """What the lines take for the root of the tree."""
        return self.folder / "tree"

    def _fault(self) -> str:
        return operator_pods.fault_among(self.node.plane, self.home)

    def words(self) -> str:
        """Return how the pods of the installation stand and what they said last."""
        return operator_pods.words(self.node.plane, self.home)

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
        for name in deployments or _PROGRAMS:
            self.system("rollout", "status", f"deployment/{name}", PATIENCE)
        try:
            # The one before may still be on its way out.
            operators.wait_for("one leader that stays", lambda: len(self._leaders()) == 1, 60)
        except TimeoutError as error:
            raise CommandError(f"{error}\n{self.words()}") from None
        name = self.leader()["metadata"]["name"]
        self.system("wait", f"pod/{name}", "--for=condition=Ready", PATIENCE)

    def overlay(self, overlay: str, *components: str) -> Path:
        """Write the kustomization of a person for a shipped overlay; returns its folder."""
        self.applied.append((overlay, *components))
        folder = self.folder / "own" / "-".join((overlay, *components))
        return own_overlay(folder, self.registry, overlay, *components)

    def leader(self) -> dict[str, Any]:
        """Return the pod that leads."""
        (one,) = self._leaders()
        return one

    def _leaders(self) -> list[dict[str, Any]]:
        selector = "--selector=fodc.banyandb.dev/leader=true"
        items = self.read(f"--namespace={self.home}", "pods", selector)["items"]
        return [dict(pod) for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def opened(self, path: str, *, host: str = "", token: str = "") -> HTTPResponse:
        """Ask the proxy as pods reach it, with the token of a person of the cluster.

        It is known by the authority that the operator hands out, as Prometheus knows it.
        """
        url = f"https://{self.leader()['status']['podIP']}:{HTTP_PORT}{path}"
        told = token or people.admin_token(self.node.plane)
        trust = trust_of(self.read(f"--namespace={self.home}", "configmap", AUTHORITY_MAP))
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


# ---- commands that somebody waits for -----------------------------------------------------------


def _heard(
    process: subprocess.Popen[str], stdin: str, deadline_s: float, fault: Callable[[], str]
) -> tuple[str, str, str]:
    """Wait for the end of a command; return both of its outputs, and why it had to be ended."""
    ends_at = time.monotonic() + deadline_s
    wrong, pending = "", stdin or None
    while True:
        try:
            told, errors = process.communicate(pending, timeout=LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            pending = None
            late = f"not within {deadline_s:g} s" if time.monotonic() > ends_at else ""
            if wrong := fault() or late:
                _end(process)
        else:
            return told, errors, wrong


def _end(process: subprocess.Popen[str]) -> None:
    """End a command and what it has started, unless it is over."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


# ---- what the documents say ---------------------------------------------------------------------


def lines_after(heading: str, document: Path = README) -> str:
    """Return the first block of code below a heading."""
    found = re.search(
        rf"(?ms)^#+ {re.escape(heading)}\n.*?^```(?:sh)?\n(.*?)^```", document.read_text()
    )
    assert found is not None, f"{document} has no lines below {heading!r}"
    return found[1]


def typed(block: str) -> list[str]:
    """Return what a person typed in a block that shows the answers too."""
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def make_tree(folder: Path) -> None:
    """Make a tree that is this one but for what is built in it."""
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name != "build":
            (folder / path.name).symlink_to(path)


# ---- an overlay of one's own, as those lines make it ---------------------------------------------


def own_overlay(folder: Path, registry_name: str, overlay: str, *components: str) -> Path:
    """Write the kustomization of a person who has the images elsewhere; returns its folder."""
    folder.mkdir(parents=True)
    base = Path(os.path.relpath(ROOT / "manifests", folder.resolve()))
    whole = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(base / "overlays" / overlay)],
        "components": [str(base / "components" / name) for name in components],
        "images": [
            {"name": one.name, "newName": f"{registry_name}/{one.name}", "newTag": wanted.VERSION}
            for one in wanted.IMAGES
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(whole))
    return folder


def timed(what: str, began: float) -> None:
    """Tell how long a step of the installation took."""
    _say(f"{what}: {time.monotonic() - began:.0f} s")
