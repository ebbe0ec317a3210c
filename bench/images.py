# SPDX-License-Identifier: Apache-2.0
"""What the image of the agent weighs, and how long the programs take until they are of use.

The one idea: a start is counted from the exec of the program until its own page says that it is
ready, so imports, listening and the first look at the node are in it.
"""

import statistics
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.figures import Figure
from e2e import operators, programs
from e2e.controlplane import build, installing
from e2e.controlplane.cluster import control_plane
from e2e.controlplane.cluster import programs as programs_of_plane
from e2e.images import building
from e2e.images.contents import contents_of
from e2e.images.wanted import AGENT
from e2e.node import running

STARTS = 5
GOAL_MIB = 40.0
GOAL_AGENT_S = 2.0
GOAL_OPERATOR_S = 5.0


def agent_image_mib() -> Figure:
    """Weigh the layers above the base."""
    contents = contents_of(building.built()[AGENT])
    _base, *ours = contents.layer_bytes
    method = "all layers of the built image but the first, which is the base, without compression"
    return Figure(round(sum(ours) / 2**20, 1), "MiB", GOAL_MIB, method)


def started_s(
    begin: Callable[[], programs.Program], asked: Callable[[programs.Program], str]
) -> float:
    """Return the median of the seconds from an exec until the page of a start says ready."""
    measured = []
    for _ in range(STARTS):
        began = time.monotonic()
        with programs.running(begin()) as one:
            while not is_ready(asked(one)):
                time.sleep(0.01)
            measured.append(time.monotonic() - began)
    return statistics.median(measured)


def is_ready(url: str) -> bool:
    """Ask a page of readiness."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except urllib.error.URLError:
        return False


def agent_start_s(folder: Path) -> Figure:
    """Start an agent beside a node whose proxy runs."""
    with (
        programs.running(
            programs.start_proxy(folder, "--insecure-http", "--insecure-agents")
        ) as proxy,
        running.sample_node() as node,
    ):
        value = started_s(
            lambda: programs.start_agent(
                folder,
                "--poll-metrics-interval=1s",
                pod_name="pod-0",
                proxy=proxy.grpc,
                metrics_port=node.metrics_port,
                pprof_port=node.pprof_port,
            ),
            lambda one: f"{one.http}/readyz",
        )
    method = f"exec of the agent until /readyz is 200, registered and scraped: median of {STARTS}"
    return Figure(round(value, 2), "s", GOAL_AGENT_S, method)


def operator_start_s(folder: Path) -> Figure:
    """Start an operator on a real API server until it is ready, leading and serving."""
    found = build.binaries(build=build.building_is_permitted(), names=programs_of_plane())
    if isinstance(found, build.Unavailable):
        raise SystemExit(f"operator_start_s: {found.reason}")
    with control_plane(folder / "plane") as plane:
        installing.install_crds(plane)

        def begin() -> programs.Program:
            return operators.start_operator(folder, plane, installing.new_namespace(plane))

        value = started_s(begin, lambda one: f"{one.http}/readyz")
    method = f"exec of the operator until /readyz is 200 and it leads: median of {STARTS}"
    return Figure(round(value, 2), "s", GOAL_OPERATOR_S, method)


def run(wanted: Sequence[str]) -> dict[str, Figure]:
    """Return `agent_image_mib`, `agent_start_s` and `operator_start_s`."""
    with tempfile.TemporaryDirectory() as scratch:
        ways: dict[str, Callable[[], Figure]] = {
            "agent_image_mib": agent_image_mib,
            "agent_start_s": lambda: agent_start_s(Path(scratch) / "agent"),
            "operator_start_s": lambda: operator_start_s(Path(scratch) / "operator"),
        }
        return {name: ways[name]() for name in wanted}
