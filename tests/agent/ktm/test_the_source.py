# SPDX-License-Identifier: Apache-2.0
"""The source `kernel` as the agent has it: what it says of a node, and of a machine that cannot.

Degrade matrix of `ebpf-feasibility.md` §10; rows that need another kernel are given as its files.
"""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from e2e.programs import running, start_agent
from fodc_agent.abilities import kernel_lacks
from fodc_agent.ktm.source import KernelSource
from fodc_agent.ktm.telemetry import Telemetry
from fodc_agent.self_check import kernel_facts
from fodc_agent.sources.cgroup_paths import NodeCgroup
from fodc_agent.sources.node_process import NodeProcess
from tests.agent.ktm.conftest import facts

NO_NODE = 2**22 - 1
ALL = 0x1FFFFFFFFFF


def reading(source):
    return asyncio.run(source.collect(0))


def told(found):
    return {sample.series.name: sample.value for sample in found.samples}


def keep_all(effective, kept):
    """Stand in for giving capabilities up: the other tests of this process need them."""


def source_of(proc=Path("/proc"), system=Path("/sys"), give_up=keep_all):
    node = NodeProcess(pid=NO_NODE, proc=proc)
    return KernelSource(NodeCgroup(node), Telemetry(["sys"]), system=system, give_up=give_up)


@pytest.fixture
def machine(tmp_path):
    """Return what makes the files of a machine: its capabilities, release, lockdown and BTF."""

    def make(*, effective=ALL, release="6.1.0-13-amd64", lockdown="", btf=True):
        proc, system = tmp_path / "proc", tmp_path / "sys"
        (proc / "self").mkdir(parents=True)
        (proc / "self" / "status").write_text(
            f"Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapEff:\t{effective:016x}\n"
            f"CapBnd:\t{ALL:016x}\nNoNewPrivs:\t1\nSeccomp:\t2\n"
        )
        (proc / "sys" / "kernel").mkdir(parents=True)
        (proc / "sys" / "kernel" / "osrelease").write_text(release + "\n")
        (system / "kernel" / "btf").mkdir(parents=True)
        (system / "kernel" / "security").mkdir()
        if lockdown:
            (system / "kernel" / "security" / "lockdown").write_text(lockdown + "\n")
        if btf:
            (system / "kernel" / "btf" / "vmlinux").write_bytes(b"")
        return {"proc": proc, "system": system}

    return make


@pytest.mark.parametrize(
    ("different", "reason", "words"),
    [
        ({"effective": 0}, "NoCapability", "CAP_BPF and CAP_PERFMON missing"),
        ({"effective": 1 << 39}, "NoCapability", "CAP_PERFMON missing"),
        ({"effective": 1 << 38}, "NoCapability", "CAP_BPF missing"),
        ({"release": "5.15.0-8-amd64"}, "KernelTooOld", "or 5.11 where libbpf.so.1 is"),
        ({"lockdown": "none integrity [confidentiality]"}, "Lockdown", "confidentiality"),
        ({"btf": False}, "NoBTF", "/sys/kernel/btf/vmlinux"),
    ],
)
def test_what_a_machine_lacks_is_named_before_anything_is_loaded(machine, different, reason, words):
    found = reading(source_of(**machine(**different)))

    assert [gap.reason for gap in found.gaps] == [reason]
    assert words in found.gaps[0].message
    assert told(found)["ktm_status"] == 0
    assert told(found)["ktm_degraded"] == 0
    assert not any(name.startswith("ktm_sys") for name in told(found))


@pytest.mark.parametrize(("release", "reasons"), [("5.10.0", ["KernelTooOld"]), ("5.15.0", [])])
def test_with_libbpf_older_kernels_will_do(machine, tmp_path, release, reasons):
    told_of = machine(release=release)
    library = tmp_path / "usr" / "lib" / "x86_64-linux-gnu" / "libbpf.so.1"
    library.parent.mkdir(parents=True)
    library.touch()

    lacks = kernel_lacks(kernel_facts(**told_of))

    assert list(lacks) == reasons
    assert "or 5.11" not in str(lacks)


def test_a_node_that_is_not_there_counts_nobody_and_says_so(telemetry):
    telemetry("sys").close()
    source = source_of()

    found = reading(source)

    assert [gap.reason for gap in found.gaps] == ["NoProcess"]
    assert told(found)["ktm_status"] == 1
    assert told(found)["ktm_sys_pread_latency_seconds_count"] == 0


PRIVILEGES = textwrap.dedent("""
    import asyncio, os, sys
    from pathlib import Path
    sys.path[:0] = sys.argv[1].split(":")
    from fodc_agent.ktm.telemetry import give_up_capabilities
    from tests.agent.ktm.test_the_source import reading, source_of, told
    source = source_of(give_up=give_up_capabilities)
    first, second = reading(source), reading(source)
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    print(hex(effective), [gap.reason.value for gap in second.gaps], told(second)["ktm_status"])
""")


def run_as(*prefix):
    """Run the source in a process of its own, by way of `prefix`."""
    paths = ":".join([str(Path(__file__).parents[3]), *filter(None, sys.path)])
    command = [*prefix, sys.executable, "-c", PRIVILEGES, paths]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def capabilities(names):
    if shutil.which("setpriv") is None or os.getuid():
        pytest.skip("NO OTHER CAPABILITIES ARE TRIED: setpriv and UID 0 are needed")
    kept = ",".join(["-all", *(f"+{name}" for name in names)])
    return ["setpriv", f"--bounding-set={kept}", f"--inh-caps={kept}"]


def test_capabilities_that_only_loading_needs_are_given_up_and_counting_goes_on(telemetry):
    telemetry("sys").close()

    effective, _, rest = run_as().partition(" ")

    assert int(effective, 16) & (1 << 38 | 1 << 39) == 0
    assert rest == "['NoProcess'] 1.0"


def test_the_two_capabilities_of_flavor_ebpf_suffice(telemetry):
    telemetry("sys").close()

    assert run_as(*capabilities(["bpf", "perfmon"])) == "0x0 ['NoProcess'] 1.0"


@pytest.mark.parametrize("names", [[], ["bpf"], ["perfmon"]])
def test_less_than_the_two_is_said_and_not_tried(names):
    assert run_as(*capabilities(names)).endswith("['NoCapability'] 0.0")


def test_the_administrators_capability_alone_suffices(telemetry):
    telemetry("sys").close()

    assert run_as(*capabilities(["sys_admin"])).endswith("['NoProcess'] 1.0")


# ---- the program --------------------------------------------------------------------------------


@contextlib.contextmanager
def agent_of(folder, pid, *arguments):
    program = start_agent(
        folder,
        f"--node-pid={pid}",
        "--ktm-interval=200ms",
        "--log-format=json",
        *arguments,
        pod_name="node-0",
        proxy="",
        metrics_port=1,
        pprof_port=1,
    )
    with running(program):
        yield program


def page_with(program, line):
    """Return the agent's page once it has this line."""
    for _ in range(200):
        with urllib.request.urlopen(f"{program.http}/metrics", timeout=5) as answer:
            page = answer.read().decode()
        if line in page:
            return page
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.process.wait(0.1)
    raise AssertionError(f"never on the page: {line}\n{page[-2000:]}\n{program.tail()}")


def test_an_agent_that_was_asked_counts_the_reads_of_its_node(
    telemetry, make_group, worker, tmp_path
):
    """T-EXP-07: on the agent's own page."""
    telemetry("sys").close()
    group = make_group("unified")
    node = worker("reads", group)
    (group / "cgroup.procs").write_text(str(node.pid))
    with agent_of(tmp_path, node.pid, "--ktm-enabled", "--ktm-groups=sys") as program:
        page_with(program, 'ktm_status{node_role="ROLE_DATA",pod_name="node-0"} 2')

        node.work()

        page = page_with(program, 'ktm_sys_pread_latency_seconds_count{node_role="ROLE_DATA"')
        assert "# TYPE ktm_sys_pread_latency_seconds histogram" in page
        assert "# TYPE ktm_sys_read_bytes_total counter" in page
        page_with(program, 'ktm_sys_pread_bytes_total{node_role="ROLE_DATA",pod_name="node-0"} 1')


def checks_of(program):
    """Return the messages of /readyz by check; an agent without a node's page is not ready."""
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"{program.http}/readyz", timeout=5)
    with raised.value as answer:
        return {one["name"]: one for one in json.loads(answer.read())["checks"]}


def test_what_is_not_counted_is_said_by_readyz_and_takes_nothing_out_of_service(
    telemetry, tmp_path, monkeypatch
):
    telemetry("sys").close()
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(tmp_path))  # where there are no headers
    asked = ("--ktm-enabled", "--ktm-backend=bcc", "--ktm-groups=sys,blk")
    with agent_of(tmp_path, os.getpid(), *asked) as program:
        page_with(program, 'ktm_status{node_role="ROLE_DATA",pod_name="node-0"} ')

        found = checks_of(program)["kernel"]

    assert found["ok"] is True
    assert "NoHeaders: --ktm-backend bcc: " in found["message"]


def test_an_agent_that_was_not_asked_has_nothing_of_it_in_memory(tmp_path):
    with agent_of(tmp_path, os.getpid()) as program:
        page_with(program, "fodc_agent_")
        assert "kernel" not in checks_of(program)
        mapped = Path(f"/proc/{program.pid}/maps").read_text()
        with urllib.request.urlopen(f"{program.http}/metrics", timeout=5) as answer:
            assert b"ktm_" not in answer.read()

    assert "_ctypes" not in mapped


def test_facts_of_this_machine_are_read():
    assert facts().release is not None
