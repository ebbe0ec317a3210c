# SPDX-License-Identifier: Apache-2.0
"""Tests run against a cluster that says it is for them, and against no other.

The one idea: a KUBECONFIG in somebody's shell may point anywhere, so a ConfigMap in kube-system
must say that the cluster may be filled, broken and emptied.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Final

MARK_NAMESPACE: Final = "kube-system"
MARK_NAME: Final = "banyandb-fodc-tests"
MARK: Final = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": MARK_NAME, "namespace": MARK_NAMESPACE},
    "data": {"purpose": "tests of banyandb-fodc may change and delete everything here"},
}
_DEADLINE_S: Final = 20


class ForeignClusterError(Exception):
    """The cluster is not marked as one for tests; the text says how to mark it."""


def refuse_foreign_cluster(kubeconfig: Path, kubectl: str | None = None) -> None:
    """Raise ForeignClusterError unless the cluster of `kubeconfig` carries our mark."""
    program = kubectl or shutil.which("kubectl")
    if program is None:
        raise ForeignClusterError("there is no kubectl to look for the mark of a test cluster")
    command = [program, f"--kubeconfig={kubeconfig}", "--request-timeout=10s"]
    answer = subprocess.run(  # read only
        [*command, "--namespace", MARK_NAMESPACE, "get", "configmap", MARK_NAME, "--output=name"],
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        check=False,
    )
    if answer.returncode != 0:
        raise ForeignClusterError(
            f"the cluster of {kubeconfig} is not marked for tests "
            f"({answer.stderr.strip() or 'no answer'}). If everything in it may be lost: kubectl "
            f"--namespace {MARK_NAMESPACE} create configmap {MARK_NAME}"
        )
