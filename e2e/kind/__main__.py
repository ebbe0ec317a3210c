# SPDX-License-Identifier: Apache-2.0
"""Get what the suite on kind needs: our two images, built, and the image of the node, pulled.

python -m e2e.kind        what is there and of today's sources stays as it is
"""

import os
import sys

from e2e.images import building, wanted
from e2e.kind import cluster, deciding

DEADLINE_S = 1200.0


def main() -> int:
    """Return 0 when the suite can run, 1 when something is missing still."""
    machine = cluster.look(os.environ)
    try:
        if machine.has_docker and not machine.daemon_fault:
            _prepare(machine)
    except (cluster.KindError, building.ImagesError) as error:
        print(error, file=sys.stderr)
        return 1
    reason = deciding.reason_to_skip(cluster.look(os.environ))
    print(f"cannot run: {reason}" if reason else "ready: python -m pytest e2e/kind")
    return 1 if reason else 0


def _prepare(machine: deciding.Machine) -> None:
    """Give Docker what it lacks; what it has by the names of ours may be of other sources."""
    commands = [wanted.docker_load(archive) for archive in building.built().values()]
    if not machine.has_node_image:
        commands.append(deciding.pull(machine.node_image))
    for command in commands:
        print(" ".join(command), flush=True)
        cluster.run(command, DEADLINE_S)


if __name__ == "__main__":
    sys.exit(main())
