# SPDX-License-Identifier: Apache-2.0
"""The operator on a real API server: fail-over, status writes of a large fleet, news to readers.

Needs the programs of a control plane, as the tests in e2e do, and builds them when that is allowed
(FODC_BUILD). All of it runs on one machine, so the figures contain its contention.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from bench.figures import MALLOC, Figure
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


@dataclass(frozen=True, slots=True)
class AtRest:
    """An operator with a fleet that only beats."""

    writes_per_s: float
    cpu_percent: float
    rss_mib: float
    mirrored_s: float
    """Until every agent had its FodcNode."""


def at_rest(folder: Path, plane: ControlPlane) -> AtRest:
    """Watch an operator whose fleet only beats, once everybody is mirrored."""
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
            began, cpu_s = time.monotonic(), processor_s(operator.pid)
            time.sleep(WATCHED_S)
            took_s, cpu_s = time.monotonic() - began, processor_s(operator.pid) - cpu_s
            rss_mib = operator.resident_mib()
            calls = operators.metric(operator, "fodc_operator_mirror_calls_total") - before
            return AtRest(calls / took_s, 100 * cpu_s / took_s, rss_mib, mirrored_s)


def processor_s(pid: int) -> float:
    """Return the processor time of a process, of its own and of the kernel for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
        f"lease of 10 s, real API server (all: {shown(found)})",
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


def measured_at_rest(folder: Path, plane: ControlPlane) -> dict[str, Figure]:
    found = at_rest(folder, plane)
    watched = (
        f"{FLEET} simulated agents that beat every {PERIOD_S} s, over {WATCHED_S} s from when all "
        f"were mirrored (which took {found.mirrored_s:.0f} s)"
    )
    writes = f"{watched}; calls that change a FodcNode, by the operator's own count"
    return {
        "status_writes_per_s_1000_agents": figure(found.writes_per_s, "writes/s", 18, writes),
        "operator_cpu_percent": figure(
            found.cpu_percent, "% of a core", 5, f"{watched}; processor time of the operator"
        ),
        "operator_rss_mib": figure(
            found.rss_mib, "MiB", 120, f"{watched}; resident memory of the operator at its end"
        ),
    }


def shown(values: Sequence[float]) -> str:
    return ", ".join(f"{one:.2f}" for one in values)


def figure(value: float, unit: str, goal: float, method: str) -> Figure:
    return Figure(round(value, 3), unit, goal, method)


def one_of(
    name: str, measured: Callable[[Path, ControlPlane], Figure]
) -> Callable[[Path, ControlPlane], dict[str, Figure]]:
    return lambda folder, plane: {name: measured(folder, plane)}


MEASURED: dict[str, Callable[[Path, ControlPlane], dict[str, Figure]]] = {
    "leader_failover_s": one_of("leader_failover_s", measured_failover),
    "operator_cpu_percent": measured_at_rest,
    "operator_rss_mib": measured_at_rest,
    "status_writes_per_s_1000_agents": measured_at_rest,
    "transition_visible_s": one_of("transition_visible_s", measured_visible),
}


def run(names: Sequence[str] = ()) -> dict[str, Figure]:
    with (
        patch.dict(os.environ, MALLOC),
        tempfile.TemporaryDirectory(prefix="fodc-bench-") as folder,
        control_plane(Path(folder) / "run") as plane,
    ):
        installing.install_crds(plane)
        found: dict[str, Figure] = {}
        for name in names or sorted(MEASURED):
            if name not in found:  # several come of one run
                own = Path(folder) / name
                own.mkdir()
                found |= MEASURED[name](own, plane)
        return found


if __name__ == "__main__":
    for name, told in run(sys.argv[1:]).items():
        print(name, told.told())
