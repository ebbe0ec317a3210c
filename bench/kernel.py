# SPDX-License-Identifier: Apache-2.0
"""What kernel telemetry costs: a read of the database, one of anybody else, the agent, a profile.

Method. Costs of nanoseconds are differences of floors: the same loop runs in shuffled rounds with
and without the programs, and the fastest batch of each kind counts, because a busy machine only
ever adds. The agent's growth is that of a process which has the agent's modules and then loads and
reads twenty times. Needs root and a kernel that loads programs; elsewhere it says so and stops.
"""

import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from bench.figures import Figure
from fodc_agent.abilities import kernel_lacks
from fodc_agent.kernel_groups import KERNEL_DEFAULTS, STACKS
from fodc_agent.ktm import bpf
from fodc_agent.ktm.profiling import Session
from fodc_agent.ktm.target import NOBODY, Target, TargetKind
from fodc_agent.ktm.telemetry import Telemetry
from fodc_agent.self_check import kernel_facts
from fodc_protocol.profiles import Profile

ROUNDS = 12
BATCHES = 10
READS = 2_000
TURNS = 500
SWITCHES_PER_S = 10_000
_RAW_TRACEPOINT = 17
OURS = Target(TargetKind.PROCESS, tgid=os.getpid())
GROWTH = """
import asyncio, sys
from pathlib import Path
import fodc_agent.node_agent
def rss():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])
before = rss()
from fodc_agent.kernel_groups import KERNEL_DEFAULTS
from fodc_agent.ktm.profiling import KernelProfiler
from fodc_agent.ktm.source import KernelSource
from fodc_agent.ktm.telemetry import Telemetry
from fodc_agent.ktm.verdicts import Judge
from fodc_agent.sources.cgroup_paths import NodeCgroup
from fodc_agent.sources.node_process import NodeProcess
node = NodeCgroup(NodeProcess(pid=1))
source = KernelSource(node, Telemetry(KERNEL_DEFAULTS), judge=Judge(0.008))
for _ in range(20):
    asyncio.run(source.collect(0))
print(rss() - before)
"""


@contextmanager
def loaded(*groups: str) -> Iterator[Telemetry]:
    """Load groups for a with-block."""
    telemetry = Telemetry(groups)
    telemetry.load(kernel_facts(Path("/proc"), Path("/sys")))
    try:
        if telemetry.gaps:
            raise SystemExit("; ".join(gap.message for gap in telemetry.gaps))
        yield telemetry
    finally:
        telemetry.close()


@contextmanager
def empty_programs() -> Iterator[None]:
    """Attach a program that only returns where those of `sys` are: what no filter of ours saves."""
    returns = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)
    held = []
    for name in (b"sys_enter", b"sys_exit"):
        program = bpf.load_program(_RAW_TRACEPOINT, returns)
        held += [program, bpf.attach_raw(program, name)]
    try:
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)


# ---- reads ------------------------------------------------------------------------------------


def read_floor_ns() -> float:
    """Return the time of one pread of 16 cached bytes, in the fastest of some batches."""
    file = os.open(__file__, os.O_RDONLY)
    try:
        return min(_batch_ns(file) for _ in range(BATCHES))
    finally:
        os.close(file)


def _batch_ns(file: int) -> float:
    read = os.pread
    began = time.perf_counter_ns()
    for _ in range(READS):
        read(file, 16, 0)
    return (time.perf_counter_ns() - began) / READS


def reads_ns() -> dict[str, float]:
    """Return the floors without programs, with empty ones, of a target and of everybody else."""
    floors: dict[str, float] = {}
    kinds = {
        "none": nullcontext,
        "empty": empty_programs,
        "target": partial(aimed, OURS),
        "other": partial(aimed, NOBODY),
    }
    names = list(kinds)
    for _ in range(ROUNDS):
        random.shuffle(names)
        for name in names:
            with kinds[name]():
                found = read_floor_ns()
            floors[name] = min(floors.get(name, found), found)
    return floors


@contextmanager
def aimed(target: Target) -> Iterator[None]:
    """Count reads of a target for a with-block."""
    with loaded("sys") as telemetry:
        telemetry.aim(target)
        yield


# ---- switches -----------------------------------------------------------------------------------


def turn_floor_ns() -> float:
    """Return the time of a turn of ping-pong over pipes with another process."""
    there, back = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        for _ in range(TURNS * BATCHES):
            os.write(back[1], os.read(there[0], 1))
        os._exit(0)
    try:
        return min(_turns_ns(there[1], back[0]) for _ in range(BATCHES))
    finally:
        os.waitpid(child, 0)
        for end in (*there, *back):
            os.close(end)


def _turns_ns(there: int, back: int) -> float:
    began = time.perf_counter_ns()
    for _ in range(TURNS):
        os.write(there, b"x")
        os.read(back, 1)
    return (time.perf_counter_ns() - began) / TURNS


def switch_cost_ns() -> float:
    """Return what an off-CPU profile adds to a turn, in which its target waits once."""
    without = with_profile = float("inf")
    with loaded(STACKS) as telemetry:
        telemetry.aim(OURS)
        programs = telemetry.loaded(STACKS)
        assert programs is not None
        for _ in range(ROUNDS):
            without = min(without, turn_floor_ns())
            session = Session(programs, (), Profile.OFFCPU)
            session.begin()
            with_profile = min(with_profile, turn_floor_ns())
            session.end()
            session.stacks()
    return with_profile - without


# ---- the agent ----------------------------------------------------------------------------------


def growth_mib() -> float:
    done = subprocess.run(
        [sys.executable, "-c", GROWTH], check=True, capture_output=True, text=True
    )
    return int(done.stdout) / 1024


def load_ms() -> float:
    return min(_load_ms() for _ in range(5))


def _load_ms() -> float:
    began = time.perf_counter()
    with loaded(*KERNEL_DEFAULTS):
        return 1e3 * (time.perf_counter() - began)


# ---- figures ------------------------------------------------------------------------------------


def run(names: Sequence[str]) -> dict[str, Figure]:
    if lacks := kernel_lacks(kernel_facts(Path("/proc"), Path("/sys"))):
        raise SystemExit(f"kernel telemetry cannot be measured: {'; '.join(lacks.values())}")
    figures: dict[str, Figure] = {}
    if {"ktm_read_cost_ns", "ktm_untraced_read_cost_ns"} & set(names):
        figures |= read_figures(reads_ns())
    others: dict[str, Callable[[], Figure]] = {
        "ktm_agent_growth_mib": growth_figure,
        "ktm_load_ms": load_figure,
        "offcpu_overhead_percent": offcpu_figure,
    }
    return figures | {name: make() for name, make in others.items() if name in names}


def read_figures(floors: dict[str, float]) -> dict[str, Figure]:
    method = (
        f"floor of {ROUNDS} shuffled rounds of {BATCHES} batches of {READS} pread of 16 cached "
        f"bytes from Python, less the floor without programs ({floors['none']:.0f} ns)"
    )
    return {
        "ktm_read_cost_ns": Figure(
            round(floors["target"] - floors["none"]), "ns", 350, f"of the target; {method}"
        ),
        "ktm_untraced_read_cost_ns": Figure(
            round(floors["other"] - floors["none"]),
            "ns",
            60,
            f"of another process, {floors['empty'] - floors['none']:.0f} ns with two programs "
            f"that only return; {method}",
        ),
    }


def growth_figure() -> Figure:
    method = "VmRSS of a process with the agent's modules, after 20 readings of the usual groups"
    return Figure(round(growth_mib(), 2), "MiB", 3, method)


def load_figure() -> Figure:
    groups = ", ".join(KERNEL_DEFAULTS)
    return Figure(round(load_ms(), 1), "ms", 100, f"fastest of 5 loads of {groups}, attaching too")


def offcpu_figure() -> Figure:
    cost_ns = switch_cost_ns()
    method = (
        f"{cost_ns:.0f} ns that a profile adds to a wait of its target, by {SWITCHES_PER_S:,} of "
        "them a second; floor of pipe ping-pong, in percent of a core"
    )
    return Figure(round(cost_ns * SWITCHES_PER_S / 1e7, 2), "%", 1, method)
