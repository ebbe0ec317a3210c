# SPDX-License-Identifier: Apache-2.0
"""The operator on a real API server: fail-over, status writes of a large fleet, news to readers.

Needs the programs of a control plane, as the tests in e2e do, and builds them when that is allowed
(FODC_BUILD). All of it runs on one machine, so the figures contain its contention.
"""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.figures import Figure
from e2e import operators, programs
from e2e.controlplane import installing, processes
from e2e.controlplane.cluster import ControlPlane, control_plane
from e2e.simulated import simulated_agents

KILLS = 3
TRANSITIONS = 10
FLEET = 1000
PERIOD_S = 10
WATCHED_S = 60


@contextlib.contextmanager
def leading(folder: Path, plane: ControlPlane, namespace: str) -> Iterator[programs.Program]:
    started = operators.start_operator(folder, plane, namespace, "--log-level=error")
    with programs.running(started) as one:
        operators.wait_leads(one)
        yield one


def failover_s(folder: Path, plane: ControlPlane) -> list[float]:
    """Seconds from kill -9 of the leader to a ready standby, with the default lease."""
    namespace = installing.new_namespace(plane)
    (port,) = processes.free_ports(1)

    def start(number: int) -> programs.Program:
        name = f"operator-{number}"
        return operators.start_operator(folder, plane, namespace, name=name, grpc_port=port)

    measured = []
    with contextlib.ExitStack() as stack:
        leader = stack.enter_context(programs.running(start(0)))
        operators.wait_leads(leader)
        for number in range(1, KILLS + 1):
            standby = stack.enter_context(programs.running(start(number)))
            time.sleep(1 + 0.7 * number)  # at different moments between two renewals
            began = time.monotonic()
            leader.kill()
            operators.wait_leads(standby)
            measured.append(time.monotonic() - began)
            leader = standby
    return measured


def visible_s(folder: Path, plane: ControlPlane) -> list[float]:
    """Seconds from the end of an agent to its node being Offline for a reader."""
    namespace = installing.new_namespace(plane)
    measured = []
    with leading(folder, plane, namespace) as operator:
        for number in range(TRANSITIONS):
            name = f"pod-{number}-0"
            with simulated_agents(operator.grpc, namespace, 1, f"pod-{number}") as agents:
                wait_phase(plane, namespace, name, "Online")
                began = time.monotonic()
                agents.kill()
                wait_phase(plane, namespace, name, "Offline")
                measured.append(time.monotonic() - began)
    return measured


def wait_phase(plane: ControlPlane, namespace: str, name: str, phase: str) -> None:
    path = f"{installing.collection(namespace, 'fodcnodes')}/{name}"
    api = plane.api()

    def reads() -> bool:
        answer = api.get(path)
        status = answer.body.get("status", {}) if answer.status == 200 else {}
        return status.get("phase") == phase

    operators.wait_for(f"{name} {phase}", reads, 30)


def writes_per_s(folder: Path, plane: ControlPlane) -> tuple[float, float]:
    """Writes per second of a fleet that only beats, and the seconds until all were mirrored."""
    namespace = installing.new_namespace(plane)
    with leading(folder, plane, namespace) as operator:
        began = time.monotonic()
        with simulated_agents(operator.grpc, namespace, FLEET) as agents:
            agents.tell(do="beats", seconds=WATCHED_S + 150, period_s=PERIOD_S)
            operators.wait_for(
                "everybody is mirrored",
                lambda: slowly(plane, namespace) == FLEET,
                140,
            )
            mirrored_s = time.monotonic() - began
            before = operators.metric(operator, "fodc_operator_mirror_calls_total")
            began = time.monotonic()
            time.sleep(WATCHED_S)
            calls = operators.metric(operator, "fodc_operator_mirror_calls_total") - before
            return calls / (time.monotonic() - began), mirrored_s


def slowly(plane: ControlPlane, namespace: str) -> int:
    """Count the nodes that read Online, every two seconds: a long list is no light thing."""
    time.sleep(2)
    return list(operators.phases(plane, namespace).values()).count("Online")


def measured_failover(folder: Path, plane: ControlPlane) -> Figure:
    found = failover_s(folder, plane)
    return figure(
        max(found),
        "s",
        12,
        f"slowest of {KILLS}: kill -9 of the leading operator to /readyz of its standby, default "
        f"lease of 15 s, real API server (all: {shown(found)})",
    )


def measured_visible(folder: Path, plane: ControlPlane) -> Figure:
    found = visible_s(folder, plane)
    return figure(
        max(found),
        "s",
        2,
        f"slowest of {TRANSITIONS}: an agent's process is killed, until its FodcNode reads Offline "
        f"from a real API server (all: {shown(found)})",
    )


def measured_writes(folder: Path, plane: ControlPlane) -> Figure:
    rate, mirrored_s = writes_per_s(folder, plane)
    return figure(
        rate,
        "writes/s",
        18,
        f"{FLEET} simulated agents that beat every {PERIOD_S} s, over {WATCHED_S} s from when all "
        f"were mirrored (which took {mirrored_s:.0f} s); calls that change a FodcNode, by the "
        "operator's own count",
    )


def shown(values: Sequence[float]) -> str:
    return ", ".join(f"{one:.2f}" for one in values)


def figure(value: float, unit: str, goal: float, method: str) -> Figure:
    return Figure(round(value, 3), unit, goal, method)


MEASURED: dict[str, Callable[[Path, ControlPlane], Figure]] = {
    "leader_failover_s": measured_failover,
    "status_writes_per_s_1000_agents": measured_writes,
    "transition_visible_s": measured_visible,
}


def run(names: Sequence[str] = ()) -> dict[str, Figure]:
    with (
        tempfile.TemporaryDirectory(prefix="fodc-bench-") as folder,
        control_plane(Path(folder) / "run") as plane,
    ):
        installing.install_crds(plane)
        return {
            name: MEASURED[name](Path(folder) / name, plane) for name in names or sorted(MEASURED)
        }


if __name__ == "__main__":
    for name, told in run(sys.argv[1:]).items():
        print(name, told.told())
