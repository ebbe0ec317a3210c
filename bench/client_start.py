# SPDX-License-Identifier: Apache-2.0
"""CPU time of `fodc --help` and `fodc version`, from the start of the interpreter to its end."""

import resource
import socket
import statistics
import subprocess
import sys
from collections.abc import Sequence

from bench.figures import Figure

RUNS = 9
GOAL_S = 0.15
METHOD = (
    f"the worse of `fodc --help` and `fodc version` (a proxy that refuses): median of {RUNS} runs, "
    "user and system CPU of the process from getrusage, bytecode cached"
)


def _cpu_s(arguments: Sequence[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "fodc_client", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(_wanted: Sequence[str]) -> dict[str, Figure]:
    """Return `client_start_s`."""
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        proxy = f"127.0.0.1:{refusing.getsockname()[1]}"
        commands = (["--help"], ["version", "--proxy", proxy])
        for command in commands:
            _cpu_s(command)
        worst = max(statistics.median(_cpu_s(command) for _ in range(RUNS)) for command in commands)
    return {"client_start_s": Figure(round(worst, 3), "CPU s", GOAL_S, METHOD)}
