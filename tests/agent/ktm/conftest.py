# SPDX-License-Identifier: Apache-2.0
"""A kernel that counts, cgroups of our own, and processes that do a known amount of work.

Where this kernel or user cannot load programs, the tests that need it skip with the reason.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

from fodc_agent.abilities import kernel_lacks
from fodc_agent.kernel_groups import KERNEL_GROUPS
from fodc_agent.ktm.loading import TRACEFS
from fodc_agent.ktm.telemetry import Telemetry
from fodc_agent.self_check import kernel_facts

ON_DISK = "/var/tmp"
WORKLOAD = Path(__file__).with_name("workload.py")
HIERARCHIES = {
    "unified": ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"),
    "memory": ("/sys/fs/cgroup/memory",),
    "blkio": ("/sys/fs/cgroup/blkio",),
}


NEED_TRACEFS = {"mm", "fs"}


def need_tracefs():
    """Skip where the events of the kernel have no names."""
    if not (TRACEFS / "events").is_dir():
        pytest.skip(f"NO TRACEFS: mount -t tracefs tracefs {TRACEFS}")


def facts():
    return kernel_facts(Path("/proc"), Path("/sys"))


@pytest.fixture
def telemetry():
    """Return what loads and counts the groups that are named; it is closed at the end."""
    lacks = kernel_lacks(facts())
    if lacks:
        pytest.skip(f"THE KERNEL IS NOT ASKED: {'; '.join(lacks.values())}")
    made = []

    def load(*groups):
        if NEED_TRACEFS & set(groups or KERNEL_GROUPS):
            need_tracefs()
        made.append(Telemetry(groups or KERNEL_GROUPS))
        made[-1].load(facts())
        assert made[-1].gaps == ()
        return made[-1]

    yield load
    for one in made:
        one.close()


def file_system_of(path):
    """Return the kind of file system that a folder is on: tmpfs, ext4."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    above = {where: kind for _, where, kind, *_ in mounts if path.is_relative_to(where)}
    return above[max(above, key=len)]


@pytest.fixture
def on_disk():
    """Return what makes a file of some MiB on a disk, all of it written there.

    Not below tmp_path, which is in memory where there is room.
    """
    with tempfile.TemporaryDirectory(prefix="fodc-", dir=ON_DISK) as folder:
        yield partial(file_on_disk, Path(folder))


def file_on_disk(folder, size_mib):
    if file_system_of(folder) == "tmpfs":
        pytest.skip(f"NO DISK BELOW {ON_DISK}: its pages are never read")
    path = folder / "data"
    path.write_bytes(os.urandom(1 << 20) * size_mib)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
        except OSError:
            pytest.skip(f"NO DISK BELOW {ON_DISK}: its pages are never read")
    return path


def mount_of(hierarchy):
    for mount in map(Path, HIERARCHIES[hierarchy]):
        needed = "cgroup.controllers" if hierarchy == "unified" else "cgroup.procs"
        if (mount / needed).exists() and os.access(mount, os.W_OK):
            return mount
    pytest.skip(f"NO CGROUP IS MADE: no {hierarchy} hierarchy that may be written")


@pytest.fixture
def slow_disk(make_group):
    """Return what makes a cgroup for which the disk of a file does so many reads a second."""

    def make(file, requests_a_second):
        group, device = make_group("blkio"), file.stat().st_dev
        rule = f"{os.major(device)}:{os.minor(device)} {requests_a_second}"
        (group / "blkio.throttle.read_iops_device").write_text(rule)
        return group

    return make


@pytest.fixture
def make_group():
    """Return what makes a cgroup of a hierarchy; it is removed at the end."""
    made = []

    def make(hierarchy, name="fodc-test"):
        group = mount_of(hierarchy) / f"{name}-{os.getpid()}"
        group.mkdir()
        made.append(group)
        return group

    yield make
    for group in reversed(made):
        for below in sorted(group.glob("*/"), reverse=True):
            below.rmdir()
        group.rmdir()


class Worker:
    """A process that waits, enters its cgroups when it is told to, works once and ends."""

    def __init__(self, work, *groups, file="-"):
        command = [sys.executable, "-S", str(WORKLOAD), work, str(file), *map(str, groups)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"waits\n"

    @property
    def pid(self):
        return self.process.pid

    def begin(self):
        self.process.send_signal(signal.SIGUSR1)

    def work(self):
        self.begin()
        assert self.process.wait(30) == 0

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture
def worker():
    """Return what starts a worker; it is ended at the end."""
    made = []

    def start(work, *groups, file="-"):
        made.append(Worker(work, *groups, file=file))
        return made[-1]

    yield start
    for one in made:
        one.close()
