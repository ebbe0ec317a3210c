# SPDX-License-Identifier: Apache-2.0
"""Each row of the degrade matrix (`ebpf-feasibility.md` §10), by a process that is placed there.

A row is a way to start a process, which then loads `sys` and `mm` and tells what is missing. It is
all real: capabilities are dropped, mounts hidden in a namespace of its own, a call is filtered. The
rows of one capability alone, and of other kernels, are in `test_the_source.py`.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import ctypes, json, struct, sys
sys.path[:0] = sys.argv[1].split(":")
from pathlib import Path
from fodc_agent.ktm.source import KernelSource
from fodc_agent.ktm.telemetry import Telemetry
from fodc_agent.sources.cgroup_paths import NodeCgroup
from fodc_agent.sources.node_process import NodeProcess
import asyncio

def filtered():
    "Have bpf(2) refused with EPERM, as a runtime's default filter does."
    from fodc_agent.ktm.bpf import _NUMBERS
    import platform
    number = _NUMBERS[platform.machine()][0]
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
    rules = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in code))
    program = struct.pack("@HP", len(code), ctypes.addressof(rules))
    libc = ctypes.CDLL(None)
    calls = (38, 1, 0, 0, 0), (22, 2, ctypes.create_string_buffer(program), 0, 0)
    if any(libc.prctl(*call) for call in calls):
        sys.exit("the filter could not be set")

if sys.argv[2] == "filtered":
    filtered()
node = NodeProcess(pid=2**22 - 1)
source = KernelSource(NodeCgroup(node), Telemetry(["sys", "mm"]), give_up=lambda *_: None)
found = asyncio.run(source.collect(0))
names = {sample.series.name: sample.value for sample in found.samples}
print(json.dumps({
    "gaps": [[gap.part, gap.reason] for gap in found.gaps],
    "status": names["ktm_status"],
    "reads": "ktm_sys_pread_errors_total" in names,
    "pages": "ktm_cache_fills_total" in names,
    "reclaim": "ktm_memory_memcg_reclaim_begin_total" in names,
}))
"""
NO_NODE = ["process", "NoProcess"]
ALL = {"gaps": [NO_NODE], "status": 1, "reads": True, "pages": True, "reclaim": True}
NOTHING = {"status": 0, "reads": False, "pages": False, "reclaim": False}
WITHOUT_TRACEFS = ALL | {"gaps": [["mm", "NoTracefs"]] * 3 + [NO_NODE], "pages": False}


def placed(*prefix, where=""):
    """Return what a process tells that is started by way of `prefix`."""
    if os.getuid() or shutil.which(prefix[0] if prefix else "true") is None:
        pytest.skip(f"THIS ROW IS NOT TRIED: UID 0 and {' '.join(prefix[:1])} are needed")
    paths = ":".join([str(Path(__file__).parents[3]), *filter(None, sys.path)])
    done = subprocess.run(
        [*prefix, sys.executable, "-c", CHILD, paths, where],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def nobody(*names):
    """Return how to become UID 65534 with some capabilities."""
    kept = ",".join(["-all", *(f"+{name}" for name in names)])
    return (
        *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
        *(f"--bounding-set={kept}", f"--inh-caps={kept}", f"--ambient-caps={kept}"),
    )


def hidden(command):
    """Return how to run where a mount is hidden."""
    return ("unshare", "--mount", "sh", "-c", f'{command} || exit 9; exec "$0" "$@"')


@pytest.fixture
def permitted(telemetry):
    """Skip where this kernel loads nothing, or where less is counted than a row says."""
    telemetry("sys", "mm").close()


@pytest.mark.usefixtures("permitted")
def test_root_with_all_capabilities_counts_all():
    assert placed() == ALL


def test_nobody_without_capabilities_counts_nothing():
    assert placed(*nobody()) == NOTHING | {"gaps": [["kernel", "NoCapability"]]}


@pytest.mark.usefixtures("permitted")
def test_nobody_with_the_two_capabilities_lacks_what_tracefs_would_tell():
    assert placed(*nobody("bpf", "perfmon")) == WITHOUT_TRACEFS


@pytest.mark.usefixtures("permitted")
def test_nobody_who_may_read_everything_besides_counts_all():
    assert placed(*nobody("bpf", "perfmon", "dac_read_search")) == ALL


@pytest.mark.usefixtures("permitted")
def test_a_filter_of_calls_that_refuses_bpf_is_said_as_what_the_kernel_said():
    refused = [[part, "PermissionDenied"] for part in ("sys", "mm")]

    assert placed(where="filtered") == NOTHING | {"gaps": refused}


@pytest.mark.usefixtures("permitted")
@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("mount -t tmpfs none /sys/kernel/tracing", WITHOUT_TRACEFS),
        ("mount -t tmpfs none /sys/fs/bpf", ALL),
        ("mount --bind /dev/null /sys/kernel/btf/vmlinux", ALL),
        ("for one in /usr/lib*/*/libbpf.so*; do mount --bind /dev/null $one; done", ALL),
        ("mount -t tmpfs none /sys/kernel/btf", NOTHING | {"gaps": [["kernel", "NoBTF"]]}),
    ],
    ids=["tracefs", "bpffs", "types that are empty", "libbpf", "types"],
)
def test_a_machine_without(command, told):
    assert placed(*hidden(command)) == told
