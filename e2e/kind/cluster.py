# SPDX-License-Identifier: Apache-2.0
"""A kind cluster for the length of a with-block, or somebody's marked one, as tests use both.

The one idea: it offers what the control plane of e2e/controlplane offers, so the same tests run;
users are impersonated, since a cluster that others made has no tokens of ours.
"""

import base64
import contextlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from e2e.controlplane import marking, processes
from e2e.controlplane.api import Api
from e2e.controlplane.credentials import ADMIN
from e2e.kind import deciding

ACCOUNT: Final = "banyandb-fodc-tests"
PROBE_DEADLINE_S: Final = 20.0
CREATE_DEADLINE_S: Final = 400.0
LOAD_DEADLINE_S: Final = 240.0
KUBECTL_DEADLINE_S: Final = 240.0
WAIT_DEADLINE_S: Final = 120.0


class KindError(Exception):
    """A command failed; the text holds it and its last words."""


def run(
    command: Sequence[str], deadline_s: float, *, stdin: str = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program that must succeed; raises KindError."""
    answer = attempt(command, deadline_s, stdin=stdin, cwd=cwd)
    if answer.returncode != 0:
        raise KindError(f"{' '.join(command)}:\n{answer.stderr.strip()[-4000:]}")
    return answer


def attempt(
    command: Sequence[str], deadline_s: float, *, stdin: str = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program; one that is too slow has failed."""
    try:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=deadline_s,
            check=False,
            cwd=cwd,
            # A KUBECONFIG of the shell must not come into it.
            env={name: one for name, one in os.environ.items() if name != "KUBECONFIG"},
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer in {deadline_s:g} s")


# ---- looking ---------------------------------------------------------------------------------


def look(environ: Mapping[str, str]) -> deciding.Machine:
    """Return what there is on this machine."""
    has = {name: shutil.which(name) is not None for name in ("docker", "kind", "kubectl")}
    node_image = environ.get(deciding.NODE_IMAGE_VARIABLE) or deciding.NODE_IMAGE
    fault = _daemon_fault() if has["docker"] else ""
    answers = has["docker"] and not fault
    return deciding.Machine(
        has_docker=has["docker"],
        has_kind=has["kind"],
        has_kubectl=has["kubectl"],
        daemon_fault=fault,
        missing_images=tuple(n for n in deciding.IMAGES if answers and not has_image(n)),
        node_image=node_image,
        has_node_image=not answers or has_image(node_image),
    )


def _daemon_fault() -> str:
    answer = attempt(["docker", "version", "--format={{.Server.Version}}"], PROBE_DEADLINE_S)
    if answer.returncode == 0 and answer.stdout.strip():
        return ""
    words = answer.stderr.strip().splitlines()
    return words[-1] if words else "it does not answer"


def has_image(name: str) -> bool:
    """Say whether Docker has an image."""
    answer = attempt(["docker", "image", "inspect", "--format={{.Id}}", name], PROBE_DEADLINE_S)
    return answer.returncode == 0


# ---- the cluster -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KindCluster:
    """A cluster by its kubeconfig; everything it holds may be lost."""

    folder: Path
    kubeconfig: Path
    url: str
    token: str

    @property
    def ca_file(self) -> Path:
        """Certificate that clients trust."""
        return self.folder / "ca.crt"

    def api(self, user: str = ADMIN) -> Api:
        """The API server as this user sees it."""
        admin = Api(self.url, self.ca_file, self.token)
        return admin if user == ADMIN else admin.impersonating(user)

    def kubectl(
        self, *arguments: str, user: str = ADMIN, stdin: str = "", check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as a user; with `check` a failure raises KindError with its words."""
        acting = [] if user == ADMIN else [f"--as={user}"]
        command = ["kubectl", f"--kubeconfig={self.kubeconfig}", *acting, *arguments]
        go = run if check else attempt
        return go(command, KUBECTL_DEADLINE_S, stdin=stdin)

    def wait_until(self, what: str, holds: processes.Condition) -> None:
        """Wait until it holds; raises ControlPlaneError."""
        processes.wait_until(what, holds, deadline_s=WAIT_DEADLINE_S, children=())


@contextlib.contextmanager
def kind_cluster(folder: Path, node_image: str, archives: Sequence[Path]) -> Iterator[KindCluster]:
    """Make a cluster with our images and these archives, mark it, and remove it afterwards.

    Raises KindError when a command fails.
    """
    folder.mkdir(parents=True)
    name = deciding.cluster_name(secrets.token_hex(4))
    configuration, kubeconfig = folder / "cluster.yaml", folder / "kubeconfig"
    configuration.write_text(deciding.CONFIGURATION)
    try:
        run(deciding.create(name, node_image, configuration, kubeconfig), CREATE_DEADLINE_S)
        run(deciding.load_images(name), LOAD_DEADLINE_S)
        for archive in archives:
            run(deciding.load_archive(name, archive), LOAD_DEADLINE_S)
        _mark(kubeconfig)
        yield existing_cluster(folder, kubeconfig)
    finally:
        # What was made by half is removed too.
        run(deciding.delete(name, kubeconfig), CREATE_DEADLINE_S)


def existing_cluster(folder: Path, kubeconfig: Path) -> KindCluster:
    """Use the cluster of a kubeconfig; raises ForeignClusterError unless it is marked as ours."""
    marking.refuse_foreign_cluster(kubeconfig)
    folder.mkdir(parents=True, exist_ok=True)
    kubectl = ["kubectl", f"--kubeconfig={kubeconfig}"]
    url, authority = _address(kubectl)
    cluster = KindCluster(folder, kubeconfig, url, _admin_token(kubectl))
    cluster.ca_file.write_bytes(authority)
    return cluster


def _mark(kubeconfig: Path) -> None:
    kubectl = ["kubectl", f"--kubeconfig={kubeconfig}"]
    run([*kubectl, "apply", "--filename=-"], KUBECTL_DEADLINE_S, stdin=json.dumps(marking.MARK))


def _address(kubectl: Sequence[str]) -> tuple[str, bytes]:
    view = [*kubectl, "config", "view", "--raw", "--minify", "--flatten", "--output=json"]
    found = json.loads(run(view, KUBECTL_DEADLINE_S).stdout)["clusters"][0]["cluster"]
    return str(found["server"]), base64.b64decode(found["certificate-authority-data"])


def _admin_token(kubectl: Sequence[str]) -> str:
    """Return a token of an account that may do everything; it goes with the mark's namespace."""
    where = {"name": ACCOUNT, "namespace": marking.MARK_NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    wanted: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": where},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": ACCOUNT},
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", **where}],
        },
    ]
    documents = json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted})
    run([*kubectl, "apply", "--filename=-"], KUBECTL_DEADLINE_S, stdin=documents)
    ask = [*kubectl, f"--namespace={marking.MARK_NAMESPACE}", "create", "token", ACCOUNT]
    return run([*ask, "--duration=6h"], KUBECTL_DEADLINE_S).stdout.strip()
