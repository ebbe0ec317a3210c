# SPDX-License-Identifier: Apache-2.0
"""A cluster of one real machine for a person: `python -m e2e.kubelet`.

The one idea: it stays up until Ctrl-C and takes everything with it.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path

from e2e.commands import heed_signals
from e2e.controlplane import build, installing
from e2e.controlplane.__main__ import Steps, told
from e2e.controlplane.processes import ControlPlaneError
from e2e.images.building import ImagesError
from e2e.kubelet import images, requirements
from e2e.kubelet.node import node
from e2e.node.build import BuildError


def main() -> int:
    """Run until SIGINT or SIGTERM; 1 when it cannot start."""
    os.environ[build.PERMISSION_VARIABLE] = "1"
    steps = Steps()
    heed_signals()
    reasons = requirements.reasons_against()
    if reasons:
        steps.say(f"a kubelet cannot run here: {'; '.join(reasons)}")
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="fodc-kubelet-") as folder:
            steps.say("images …")
            archives = images.write_images(Path(folder) / "images")
            steps.say("control plane and kubelet …")
            with node(Path(folder) / "node", archives) as one:
                installing.install_crds(one.plane)
                steps.say(f"ready: the node is at {one.place.node_ip}")
                print(told(one.plane), flush=True)
                signal.pause()
    except (BuildError, ControlPlaneError, ImagesError) as error:
        steps.say(str(error))
        return 1
    except KeyboardInterrupt:
        steps.say("ended, nothing is left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
