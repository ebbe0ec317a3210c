# SPDX-License-Identifier: Apache-2.0
"""What an agent says of profiles that are taken in the kernel, before anybody asks for one."""

import asyncio

import pytest

from fodc_agent.captures.outcomes import Failed, Order
from fodc_agent.kernel_groups import groups_to_load
from fodc_agent.node_captures import NoKernel, kernel_taker
from fodc_agent.node_state import ProfilerFacts, kernel_profile_capabilities, profile_capabilities
from fodc_protocol.profiles import Profile


@pytest.mark.parametrize(
    ("lacks", "gaps", "state", "reason"),
    [
        (("NotEnabled", "it was not asked for"), None, "Disabled", "NotEnabled"),
        (None, None, "Unknown", "NotRead"),
        (None, [], "Supported", ""),
        (None, [("fs", "NoTracefs", "no tracefs")], "Supported", ""),
        (None, [("cpu", "Refused", "said no")], "Unsupported", "Refused"),
        (None, [("kernel", "NoBTF", "no types")], "Unsupported", "NoBTF"),
        (None, [("process", "NoProcess", "nobody")], "Unsupported", "NoProcess"),
    ],
)
def test_each_state_has_its_reason(lacks, gaps, state, reason):
    told = kernel_profile_capabilities(lacks, gaps)

    assert [(one.kind, one.state, one.reason) for one in told][:2] == [
        ("oncpu", state, reason),
        ("offcpu", state, reason),
    ]


def test_a_group_that_is_missing_costs_the_captures_that_are_taken_with_it():
    told = kernel_profile_capabilities(None, [("blk", "NoTracepoint", "no requests")])

    assert [(one.kind, one.state, one.reason) for one in told] == [
        ("oncpu", "Supported", ""),
        ("offcpu", "Supported", ""),
        ("readlatency", "Supported", ""),
        ("blocklatency", "Unsupported", "NoTracepoint"),
    ]


def test_only_the_groups_of_captures_are_loaded_besides_those_that_were_named():
    def named(*names):
        return [(one.name, one.is_on_demand) for one in groups_to_load(names)]

    assert named("sys", "mm") == [("sys", False), ("mm", False)]
    assert named("mm", "cpu") == [("mm", False), ("cpu", True), ("blk", True), ("sys", True)]
    assert named("sys", "cpu", "blk") == [("sys", False), ("cpu", True), ("blk", False)]


def test_a_pprof_port_says_nothing_of_them():
    told = profile_capabilities(ProfilerFacts(asked=True), "")

    assert not {"oncpu", "offcpu", "readlatency", "blocklatency"} & {one.kind for one in told}


def test_an_agent_that_does_not_look_into_the_kernel_says_what_turns_it_on():
    taker = kernel_taker(None, None)
    assert isinstance(taker, NoKernel)

    outcome = asyncio.run(taker.take(Order("c-1", Profile.OFFCPU, 1.0, 2.0), None))

    assert isinstance(outcome, Failed)
    assert outcome.reason == "Unsupported"
    assert "--ktm-enabled or flavor EBPF" in outcome.message
