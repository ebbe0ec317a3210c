# SPDX-License-Identifier: Apache-2.0
"""What an agent can do where it stands: literals as measured in pods of each flavor."""

import asyncio
import dataclasses

import pytest

from fodc_agent.abilities import (
    Facts,
    Standing,
    abilities,
    parse_standing,
    remote_abilities,
    shown,
)
from fodc_agent.self_check import read_facts
from fodc_agent.sources.node_process import NodeProcess
from fodc_agent.sources.readings import Gap, GapReason
from fodc_protocol.capabilities import CapabilityState

BPF_AND_PERFMON = 0xC000000000
BASIC = Facts(
    standing=Standing(1000, 1000, 0, 0, no_new_privs=True, seccomp=2),
    perf_event_paranoid=2,
    btf=True,
    cgroup="v2",
    pressure=True,
    node_gap=("FlavorBasic", "flavor Process shares it"),
)
PROC = dataclasses.replace(
    BASIC, shares_processes=True, node_pid=7, node_root=True, node_gap=("", "")
)
EBPF = dataclasses.replace(
    PROC,
    standing=Standing(0, 0, BPF_AND_PERFMON, BPF_AND_PERFMON, no_new_privs=True, seccomp=2),
    tracefs="readable",
    node_root=False,
)


def told(facts, flavor=""):
    return {one.kind: (str(one.state), one.reason) for one in abilities(facts, flavor)}


def message(facts, kind="kernel", flavor=""):
    return next(one.message for one in abilities(facts, flavor) if one.kind == kind)


@pytest.mark.parametrize(
    ("facts", "flavor", "matrix"),
    [
        (
            BASIC,
            "basic",
            {
                "process": ("Unsupported", "FlavorBasic"),
                "cgroup": ("Unsupported", "FlavorBasic"),
                "pressure": ("Supported", ""),
                "kernel": ("Unsupported", "FlavorBasic"),
            },
        ),
        (
            PROC,
            "proc",
            {
                "process": ("Supported", ""),
                "cgroup": ("Supported", ""),
                "pressure": ("Supported", ""),
                "kernel": ("Unsupported", "NoCapability"),
            },
        ),
        (
            EBPF,
            "ebpf",
            {
                "process": ("Supported", ""),
                "cgroup": ("Unknown", "NotRead"),
                "pressure": ("Supported", ""),
                "kernel": ("Disabled", "NotEnabled"),
            },
        ),
    ],
)
def test_each_flavor_has_its_matrix(facts, flavor, matrix):
    assert told(facts, flavor) == matrix


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"btf": False}, "NoBTF"),
        ({"release": (5, 15)}, "KernelTooOld"),
        ({"lockdown": "confidentiality"}, "Lockdown"),
        ({"tracefs": "absent", "btf": False}, "NoBTF"),
        ({"standing": Standing(0, 0, 1 << 39)}, "NoCapability"),
        ({"standing": Standing(0, 0, 1 << 38)}, "NoCapability"),
    ],
)
def test_what_kernel_telemetry_lacks_is_its_reason(changes, reason):
    assert told(dataclasses.replace(EBPF, **changes), "ebpf")["kernel"] == ("Unsupported", reason)


def test_a_kernel_without_tracefs_still_counts_what_needs_none_of_it():
    bare = dataclasses.replace(EBPF, tracefs="denied", lockdown="integrity", release=(5, 17))
    assert told(bare, "ebpf")["kernel"] == ("Disabled", "NotEnabled")


def test_sys_admin_does_for_both_on_old_kernels():
    old = dataclasses.replace(EBPF, standing=Standing(0, 0, 1 << 21))
    assert told(old, "ebpf")["kernel"] == ("Disabled", "NotEnabled")


def test_a_machine_that_lets_everybody_watch_needs_only_bpf():
    open_ = dataclasses.replace(EBPF, standing=Standing(0, 0, 1 << 39), perf_event_paranoid=-1)
    assert told(open_, "ebpf")["kernel"] == ("Disabled", "NotEnabled")


def test_capabilities_that_a_user_cannot_have_say_that_root_would_get_them():
    """Measured: UID 1000 with add BPF, PERFMON has CapEff 0 and the bounding set full."""
    user = dataclasses.replace(PROC, standing=Standing(1000, 1000, 0, BPF_AND_PERFMON))
    assert "UID 1000 does not get the added ones, UID 0 does" in message(user)
    assert "flavor EBPF gives" in message(user)


def test_a_kernel_without_pressure_or_cgroups_is_named():
    bare = dataclasses.replace(PROC, pressure=False, cgroup="")
    assert told(bare)["pressure"] == ("Unsupported", "NoPSI")
    assert told(bare)["cgroup"] == ("Unsupported", "NoCgroup")


def test_over_the_network_all_of_it_is_unsupported_for_one_reason():
    matrix = remote_abilities()
    assert [one.kind for one in matrix] == ["process", "cgroup", "pressure", "kernel"]
    assert {(one.state, one.reason) for one in matrix} == {(CapabilityState.UNSUPPORTED, "Remote")}


def test_the_line_for_the_log_has_facts_and_verdicts():
    assert shown(BASIC, abilities(BASIC, "basic")) == (
        "uid=1000 gid=1000 cap_eff=0 cap_bnd=0 no_new_privs=1 seccomp=2 perf_event_paranoid=2 "
        "bpf=no perf=no btf=yes tracefs=absent lockdown=none cgroup=v2 psi=yes "
        "pid_namespace=own node_pid=0 node_root=none process=Unsupported/FlavorBasic "
        "cgroup=Unsupported/FlavorBasic pressure=Supported kernel=Unsupported/FlavorBasic"
    )


STATUS = (
    "Name:\tfodc-agent\nUid:\t1000\t1001\t1000\t1000\nGid:\t100\t101\t100\t100\n"
    "CapEff:\t000000c000000000\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\n"
)


def test_the_status_of_a_process_is_read():
    assert parse_standing(STATUS) == Standing(
        1001, 101, BPF_AND_PERFMON, 0xA80425FB, no_new_privs=True, seccomp=2
    )


@pytest.mark.parametrize("text", ["", "Uid:\t1\n", "Uid:\tx\tx\nGid:\t1\t1\nCapEff:\t0\n"])
def test_a_status_of_another_form_is_an_error_and_not_a_crash(text):
    with pytest.raises((KeyError, IndexError, ValueError)):
        parse_standing(text)


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_facts_are_read_from_the_kernels_files(tmp_path):
    proc, system = tmp_path / "proc", tmp_path / "sys"
    write(proc / "self/status", STATUS)
    write(proc / "sys/kernel/perf_event_paranoid", "3\n")
    write(proc / "pressure/memory", "some avg10=0 total=0\n")
    write(system / "kernel/btf/vmlinux")
    write(system / "kernel/tracing/events/sched/sched_switch/id", "372\n")
    write(system / "fs/cgroup/memory/x")
    write(system / "fs/cgroup/unified/cgroup.controllers")
    gap = Gap("process", GapReason.NO_PROCESS, "nobody")

    facts = read_facts(NodeProcess(proc=proc, own_pid=1), gap, system=system)

    assert facts == Facts(
        standing=parse_standing(STATUS),
        perf_event_paranoid=3,
        btf=True,
        tracefs="readable",
        cgroup="v1+v2",
        pressure=True,
        node_gap=("NoProcess", "nobody"),
    )


def test_where_nothing_can_be_read_the_weaker_answer_counts(tmp_path):
    gap = Gap("process", GapReason.NO_PROCESS, "nobody")
    node = NodeProcess(proc=tmp_path, own_pid=1)

    assert read_facts(node, gap, system=tmp_path) == Facts(node_gap=("NoProcess", "nobody"))


def test_this_very_process_can_be_checked_and_read_itself():
    async def scenario():
        node = NodeProcess(pid=1)
        return read_facts(node, await node.find())

    facts = asyncio.run(scenario())
    assert facts.standing.uid >= 0
    assert facts.node_pid == 1
