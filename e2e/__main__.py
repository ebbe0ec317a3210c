# SPDX-License-Identifier: Apache-2.0
"""Run the end-to-end suite: `make e2e`.

The one idea: what takes minutes is built first, with progress; then the files go to all cores, each
worker with a control plane of its own and the real kubelet's files one after the other in one
worker; at last the test that looks back on what all of them asked of their API servers.

    python -m e2e                        everything
    python -m e2e e2e/test_login.py -x   some, as pytest is told
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Final

from e2e.commands import end_with
from e2e.controlplane import auditing, build

PYTEST: Final = (sys.executable, "-m", "pytest", "-q")
ON_ALL_CORES: Final = ("-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder")
SLOWEST: Final = "--durations=25"
LAST: Final = "e2e/test_rights_are_used.py"
BUILDS: Final = (
    (sys.executable, "-m", "e2e.controlplane.build", "all"),
    (sys.executable, "-m", "e2e.images"),
)


def main(arguments: Sequence[str]) -> int:
    """Return 0 when every test that ran passed."""
    environment = {**os.environ, build.PERMISSION_VARIABLE: "1"}
    # What cannot be built here is a reason to skip, and a build that fails fails the tests that
    # want it: pytest tells both.
    for command in BUILDS:
        run(command, environment)
    with tempfile.TemporaryDirectory(prefix="fodc-audit-") as folder:
        environment[auditing.FOLDER_VARIABLE] = folder
        if arguments:
            return run([*PYTEST, *ON_ALL_CORES, *arguments], environment)
        wide = run([*PYTEST, *ON_ALL_CORES, SLOWEST, "e2e", f"--ignore={LAST}"], environment)
        last = run([*PYTEST, LAST], environment)
    return wide or last


def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command in front; Ctrl-C reaches it as well, and its own end is waited for."""
    with subprocess.Popen(command, env=environment) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            return process.wait()


if __name__ == "__main__":
    end_with(lambda: main(sys.argv[1:]))
