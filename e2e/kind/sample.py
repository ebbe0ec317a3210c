# SPDX-License-Identifier: Apache-2.0
"""The sample node as a database on kind: its image, and what is applied around it."""

import contextlib
import re
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from e2e.controlplane.installing import resource
from e2e.kind.cluster import KindCluster, KindError
from e2e.kubelet import archives, databases
from e2e.kubelet.images import DATABASE_IMAGE
from e2e.node import build as node_build

NAME: Final = "db"
OPT_IN: Final = {"fodc.banyandb.dev/inject": "enabled"}
_FORWARDING: Final = re.compile(r"Forwarding from (127\.0\.0\.1:\d+) ->")
_FORWARD_DEADLINE_S: Final = 20.0


def reason_to_skip() -> str:
    """Return why there is no image of the sample node, empty when there is one."""
    return "" if node_build.go_version() else "no Go compiler, which the sample node needs"


def write_image(folder: Path) -> Path:
    """Write the image of the sample node and return its archive; raises BuildError."""
    path = folder / "banyandb.tar"
    program = archives.Entry("/banyand", node_build.built_node().read_bytes(), 0o755)
    settings = archives.Settings(entrypoint=("/banyand",))
    archives.write_image(path, DATABASE_IMAGE, [archives.layer([program])], settings)
    return path


def database(name: str = NAME) -> dict[str, Any]:
    """Return a StatefulSet of one data node, as the chart makes it and without an agent."""
    return databases.stateful_set(name)


def injection(**spec: Any) -> dict[str, Any]:
    """Return the policy for the data nodes of every such StatefulSet."""
    selector = {"matchLabels": {"app.kubernetes.io/name": "banyandb"}}
    return resource("FodcInjection", NAME, spec={"podSelector": selector, **spec})


def cpu_profile(node: str) -> dict[str, Any]:
    """Return the request for two seconds of CPU of a node."""
    captures = [{"type": "CPUProfile", "durationSeconds": 2}]
    return resource(
        "DiagnosticRequest", "cpu", spec={"target": {"names": [node]}, "captures": captures}
    )


@contextlib.contextmanager
def forwarded(cluster: KindCluster, namespace: str, target: str, port: int) -> Iterator[str]:
    """Own a forwarded port and give its address; what comes so needs no door in a NetworkPolicy."""
    process = subprocess.Popen(
        [
            *("kubectl", f"--kubeconfig={cluster.kubeconfig}", f"--namespace={namespace}"),
            *("port-forward", "--address=127.0.0.1", target, f":{port}"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], _FORWARD_DEADLINE_S)
        line = process.stdout.readline() if ready else ""
        found = _FORWARDING.match(line)
        if found is None:
            raise KindError(f"kubectl port-forward {target}: {line.strip() or 'said nothing'}")
        yield found[1]
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def timed(work: Any) -> tuple[Any, float]:
    """Return what a call returned and the seconds that it took."""
    began = time.monotonic()
    return work(), time.monotonic() - began
