# SPDX-License-Identifier: Apache-2.0
"""Get what the suite on kind needs: our two images, built, and the image of the node, pulled.

python -m e2e.kind        what is there already stays as it is
python -m e2e.kind -f     builds both images anew
"""

import os
import sys

from e2e.controlplane.installing import ROOT
from e2e.images import wanted as images
from e2e.kind import cluster, deciding

BUILD_DEADLINE_S = 1200.0


def main(arguments: list[str]) -> int:
    """Return 0 when the suite can run, 1 when something is missing still."""
    machine = cluster.look(os.environ)
    base = os.environ.get(images.PYTHON_IMAGE_VARIABLE) or images.PYTHON_IMAGE
    missing = deciding.IMAGES if "-f" in arguments else machine.missing_images
    commands = [images.docker_image(deciding.IMAGES[name], base) for name in missing]
    if not machine.has_node_image:
        commands.append(deciding.pull(machine.node_image))
    try:
        if machine.has_docker and not machine.daemon_fault:
            for command in commands:
                print(" ".join(command), flush=True)
                cluster.run(command, BUILD_DEADLINE_S, cwd=ROOT)
    except cluster.KindError as error:
        print(error, file=sys.stderr)
        return 1
    reason = deciding.reason_to_skip(cluster.look(os.environ))
    print(f"cannot run: {reason}" if reason else "ready: python -m pytest e2e/kind")
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
