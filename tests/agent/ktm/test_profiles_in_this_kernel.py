# SPDX-License-Identifier: Apache-2.0
"""Profiles out of the kernel that runs, of a Go program that computes and waits for a lock."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fodc_agent.captures.outcomes import Failed, Order
from fodc_agent.captures.pprof import Taken
from fodc_agent.ktm import bpf
from fodc_agent.ktm.profiling import KernelProfiler, Session
from fodc_agent.ktm.target import Target, TargetKind
from fodc_agent.sources.node_process import NodeProcess
from fodc_protocol import pprof
from fodc_protocol.profiles import Profile


class Part:
    """Stands in for the file of a capture."""

    def __init__(self):
        self.data = b""

    async def begin_again(self):
        self.data = b""

    async def append(self, data):
        self.data += data


@pytest.fixture(scope="session")
def waiter(tmp_path_factory):
    """Return what builds the program, stripped or not."""
    if shutil.which("go") is None:
        pytest.skip("NO GO HERE: no program is profiled")

    def build(*flags):
        program = tmp_path_factory.mktemp("waiter") / "waiter"
        source = Path(__file__).parent / "waiter" / "main.go"
        environment = {**os.environ, "GOFLAGS": "", "CGO_ENABLED": "0"}
        command = ["go", "build", *flags, "-o", str(program), str(source)]
        subprocess.run(command, check=True, env=environment)
        return program

    return build


@pytest.fixture
def launched():
    """Return what runs a program until the test is over; gives its id once it works."""
    made = []

    def launch(*command):
        made.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        assert made[-1].stdout.readline() == b"works\n"
        return made[-1].pid

    yield launch
    for one in made:
        one.kill()
        one.wait(10)
        one.stdout.close()


@pytest.fixture
def running(launched, tmp_path):
    return lambda program, calls=0: launched(str(program), str(tmp_path / "lock"), str(calls))


def taken(kernel, pid, kind, duration_s=1.0):
    """Return the profile of a process and what is said of it."""
    node = NodeProcess(pid=pid)
    asyncio.run(node.find())
    kernel.aim(Target(TargetKind.PROCESS, tgid=pid))
    order = Order("c-1", kind, duration_s=duration_s, timeout_s=30.0)
    part = Part()
    return asyncio.run(KernelProfiler(kernel, node).take(order, part)), part.data


def top(data, value):
    """Return (ms, name) of every function with all that it calls, the heaviest first."""
    functions = pprof.hottest(data, value_index=value, count=10_000)
    return sorted(((one.cum / 1e6, one.name) for one in functions), reverse=True)


def first_of_ours(data, value):
    return next((ms, name) for ms, name in top(data, value) if name.startswith("main."))


@pytest.mark.parametrize("flags", [(), ("-ldflags=-s -w",)], ids=["whole", "stripped"])
def test_where_it_waits_is_the_function_that_waits_for_the_lock(telemetry, waiter, running, flags):
    kernel, pid = telemetry("cpu"), running(waiter(*flags))

    outcome, data = taken(kernel, pid, Profile.OFFCPU)

    assert isinstance(outcome, Taken)
    assert outcome.warnings == ()
    waited_ms, first = first_of_ours(data, "delay")
    assert first == "main.waitsForTheLock"
    # Nearly the whole second on a machine that is not busy; what began before is not seen.
    assert 300 < waited_ms <= pprof.inspect(data).duration_ns / 1e6 + 100


@pytest.mark.parametrize("calls", [2, 30], ids=["near the top of its stack", "far below it"])
def test_who_called_what_waits_is_told_to_the_last_caller(telemetry, waiter, running, calls):
    """What lies far below is walked by the kernel, what lies near is followed in a copy."""
    kernel, pid = telemetry("cpu"), running(waiter(), calls)

    _, data = taken(kernel, pid, Profile.OFFCPU)

    told = pprof.folded(data, value_index="delay")
    callers = {stack.split(";main.waitsForTheLock;")[0] for stack in told if "waitsFor" in stack}
    deeper = ";".join(["main.deeper"] * (calls + 1))
    assert callers == {f"runtime.goexit;main.main.func1;{deeper}"}


def test_what_the_kernel_waits_in_has_its_name(telemetry, waiter, running):
    kernel, pid = telemetry("cpu"), running(waiter())

    _, data = taken(kernel, pid, Profile.OFFCPU)

    names = {name for _, name in top(data, "delay")}
    assert names & {"__do_sys_flock", "flock_lock_inode_wait", "__arm64_sys_flock"}
    assert not {"schedule", "__schedule"} & names


TWO_WAITS = """
import ctypes, select
call = ctypes.CDLL(None, use_errno=True).syscall
poll, room, nap = select.epoll(), ctypes.create_string_buffer(64), (ctypes.c_long * 2)(0, 0)
print("works", flush=True)
while True:
    nap[1] = 2_000_000  # ppoll writes what is left of it
    call({0}, {1})
    call({2}, {3})
"""
CALLS = {
    "sleeps": ("nap, None", {"x86_64": 35, "aarch64": 101}),
    "polls": ("None, 0, nap, None", {"x86_64": 271, "aarch64": 73}),
    "waits for events": ("poll.fileno(), room, 1, 2, None", {"x86_64": 281, "aarch64": 22}),
}


@pytest.fixture
def alternating(launched):
    """Return what runs two calls of the kernel by turns, from one place; gives its id."""

    def start(*calls):
        told = [part for text, number in calls for part in (number[os.uname().machine], text)]
        return launched(sys.executable, "-c", TWO_WAITS.format(*told))

    return start


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ("sleeps", "polls", ("_sys_nanosleep", "_sys_ppoll")),
        ("waits for events", "polls", ("_sys_epoll_pwait", "_sys_ppoll")),
    ],
)
def test_two_waits_of_the_kernel_in_one_place_of_the_program_are_told_apart(
    telemetry, alternating, first, second, names
):
    """The kernel's stack is walked once and known again; these two differ far from their end."""
    pid = alternating(CALLS[first], CALLS[second])

    _, data = taken(telemetry("cpu"), pid, Profile.OFFCPU)

    found = {one.name: one.cum for one in pprof.hottest(data, value_index="contentions", count=99)}
    counts = [next(found[name] for name in found if name.endswith(end)) for end in names]
    assert min(counts) >= 10
    # On a busy machine the time of a few is over before they begin to wait.
    assert min(counts) > 0.8 * max(counts)


def test_a_place_is_kept_once_whatever_older_calls_left_on_the_stack(telemetry, alternating):
    """The kernel moves its stack by chance with each call, so that old words come and go."""
    kernel = telemetry("cpu")
    kernel.aim(Target(TargetKind.PROCESS, tgid=alternating(CALLS["sleeps"], CALLS["polls"])))
    session = Session(kernel.loaded("cpu"), (), Profile.OFFCPU)

    session.begin()
    time.sleep(1.0)
    kept = len(list(bpf.keys(kernel.loaded("cpu").maps["stacks"], 8, 8192)))
    session.end()

    assert kept <= len(session.stacks()) + 1


ENDING = """
import threading, time
print("works", flush=True)
while True:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    time.sleep(0.01)
"""


def test_a_thread_that_has_ended_waits_for_nothing(telemetry, launched):
    _, data = taken(telemetry("cpu"), launched(sys.executable, "-c", ENDING), Profile.OFFCPU)

    names = {name for _, name in top(data, "delay")}
    assert "do_task_dead" not in names
    assert any(name.endswith("nanosleep") for name in names)


def test_where_it_runs_is_the_function_that_computes(telemetry, waiter, running):
    kernel, pid = telemetry("cpu"), running(waiter())

    outcome, data = taken(kernel, pid, Profile.ONCPU)

    assert isinstance(outcome, Taken)
    ran_ms, first = first_of_ours(data, "cpu")
    assert first == "main.burns"
    assert ran_ms > 20


def test_a_profile_begins_anew(telemetry, waiter, running):
    kernel, pid = telemetry("cpu"), running(waiter())
    taken(kernel, pid, Profile.OFFCPU)

    _, data = taken(kernel, pid, Profile.OFFCPU, duration_s=0.3)

    lasted_ms = pprof.inspect(data).duration_ns / 1e6
    assert lasted_ms >= 300
    # One thread waits for the lock: nothing of the first profile is in the second.
    assert first_of_ours(data, "delay")[0] <= lasted_ms + 100


def test_a_process_that_is_not_meant_has_no_profile(telemetry, waiter, running):
    kernel = telemetry("cpu")
    running(waiter())

    outcome, data = taken(kernel, 2**22 - 1, Profile.OFFCPU, duration_s=0.2)

    assert isinstance(outcome, Failed)
    assert outcome.reason == "EmptyProfile"
    assert data == b""


def test_without_the_group_there_is_no_profile_and_a_reason(telemetry):
    outcome, _ = taken(telemetry("sys"), os.getpid(), Profile.ONCPU)

    assert isinstance(outcome, Failed)
    assert outcome.reason == "Unsupported"
    assert "--ktm-groups" in outcome.message
