# SPDX-License-Identifier: Apache-2.0
"""A control plane for a person: `python -m e2e.controlplane`; `make cluster` has ours in it too.

The one idea: it stays up until Ctrl-C and takes everything with it; progress goes to standard
error, what to type next to standard output.
"""

import contextlib
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from e2e.commands import heed_signals
from e2e.controlplane import build, installing
from e2e.controlplane.cluster import ControlPlane, control_plane
from e2e.controlplane.processes import ControlPlaneError


class Steps:
    """Progress on standard error with the time since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Print one step."""
        sys.stderr.write(f"[{time.monotonic() - self._began:5.1f} s] {text}\n")
        sys.stderr.flush()


@contextlib.contextmanager
def person_cluster(folder: Path, steps: Steps) -> Iterator[ControlPlane]:
    """Run a control plane with fake nodes and our kinds."""
    steps.say("control plane: etcd, API server, controllers, scheduler, fake nodes …")
    with control_plane(folder, scheduler=True, kwok=True) as plane:
        steps.say("custom resource definitions …")
        installing.install_crds(plane)
        yield plane


def told(plane: ControlPlane) -> str:
    """Return what a person types next."""
    kubectl = shlex.quote(plane.binaries.path("kubectl"))
    return (
        f"\nexport KUBECONFIG={shlex.quote(str(plane.kubeconfig))}\n"
        f"alias kubectl={kubectl}\n\n"
        "  kubectl explain diagnosticrequest.spec\n"
        "  kubectl get fodcnodes,diagnosticrequests\n\n"
        "Ctrl-C ends the cluster and removes its files.\n"
    )


def main() -> int:
    """Run until SIGINT or SIGTERM; 1 when it cannot start."""
    os.environ[build.PERMISSION_VARIABLE] = "1"
    steps = Steps()
    heed_signals()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="fodc-cluster-") as folder,
            person_cluster(Path(folder) / "run", steps) as plane,
        ):
            steps.say("ready")
            print(told(plane), flush=True)
            signal.pause()
    except ControlPlaneError as error:
        steps.say(str(error))
        return 1
    except KeyboardInterrupt:
        steps.say("ended, nothing is left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
