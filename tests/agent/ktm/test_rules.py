# SPDX-License-Identifier: Apache-2.0
"""Decided without a kernel: blobs, histograms, whose events are meant, what refusals mean."""

import errno
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_agent.kernel_groups import GROUPS, KERNEL_DEFAULTS, KERNEL_GROUPS
from fodc_agent.ktm.histograms import BOUNDS, SLOTS, VALUE, histogram_samples, latency_of
from fodc_agent.ktm.loading import LoadError
from fodc_agent.ktm.skeleton import context_of, descriptors_of, parse_skeleton
from fodc_agent.ktm.target import Group, Target, TargetKind, choose
from fodc_agent.ktm.telemetry import BLOBS, possible_cpus, refusal
from fodc_agent.sources.readings import GapReason

BLOB = b'{"maps": ["a", "b"], "programs": ["p"], "data": 3, "instructions": 8}\nxyz12345678'


# ---- blobs --------------------------------------------------------------------------------------


def test_a_blob_is_its_names_its_data_and_its_instructions():
    skeleton = parse_skeleton(BLOB)

    assert (skeleton.maps, skeleton.programs) == (("a", "b"), ("p",))
    assert (skeleton.data, skeleton.instructions) == (b"xyz", b"12345678")


@pytest.mark.parametrize("blob", [b"", b"{}\n", BLOB[:-1], BLOB + b"x", b"[1]\n", b"\xff\n"])
def test_a_blob_that_is_not_whole_is_refused(blob):
    with pytest.raises(ValueError, match="blob"):
        parse_skeleton(blob)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_of_blobs_fail_otherwise(blob):
    try:
        parse_skeleton(blob)
    except ValueError:
        return


def test_descriptors_are_read_from_where_the_loader_writes_them():
    skeleton = parse_skeleton(BLOB)
    context = context_of(skeleton)
    assert struct.unpack_from("=I", context) == (len(context),)

    struct.pack_into("=i", context, 24, 11)
    struct.pack_into("=i", context, 40, 12)
    struct.pack_into("=i", context, 56, 13)

    found = descriptors_of(skeleton, context)
    assert found.maps == {"a": 11, "b": 12}
    assert found.programs == {"p": 13}


def test_a_log_is_asked_for_only_where_there_is_room_for_one():
    assert struct.unpack_from("=IIIIQ", context_of(parse_skeleton(BLOB)))[2:] == (0, 0, 0)
    told = context_of(parse_skeleton(BLOB), log_address=0x7000, log_bytes=4096)
    assert struct.unpack_from("=IIIIQ", told)[2:] == (1, 4096, 0x7000)


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
@pytest.mark.parametrize("group", KERNEL_GROUPS)
def test_every_group_is_built_for_every_architecture(architecture, group):
    skeleton = parse_skeleton((BLOBS / architecture / f"{group}.blob").read_bytes())

    assert "target" in skeleton.maps
    assert skeleton.programs


def test_nothing_lies_beside_the_blobs_that_belongs_to_no_group():
    assert {path.stem for path in Path(BLOBS).glob("*/*")} == set(KERNEL_GROUPS)


def test_what_taxes_a_machine_is_not_counted_unless_it_is_asked_for():
    always = {name for name in KERNEL_DEFAULTS if not GROUPS[name].is_on_demand}

    assert always <= {"sys", "mm"}


# ---- histograms ---------------------------------------------------------------------------------


def test_the_bounds_are_powers_of_two_of_a_microsecond_as_the_existing_agent_writes_them():
    assert BOUNDS[:4] == ("1e-06", "2e-06", "4e-06", "8e-06")
    assert BOUNDS[6:8] == ("6.4e-05", "0.000128")
    assert BOUNDS[-2:] == ("2147.483648", "+Inf")
    assert len(BOUNDS) == SLOTS


def test_the_copies_of_all_cpus_are_one_histogram():
    one = VALUE.pack(1, *(0,) * 32, 500, 1, 10, 2)
    two = VALUE.pack(0, 3, *(0,) * 31, 4500, 3, 20, 0)

    latency = latency_of(one + two)

    assert latency.slots[:3] == (1, 3, 0)
    assert (latency.sum_ns, latency.count, latency.bytes, latency.errors) == (5000, 4, 30, 2)


def test_buckets_grow_and_end_in_the_count():
    latency = latency_of(VALUE.pack(1, 2, *(0,) * 30, 4, 9_000_000_000, 7, 0, 0))

    told = [
        (sample.series.name, *dict(sample.series.labels).values(), sample.value)
        for sample in histogram_samples("x", "text", latency)
    ]

    assert told[:3] == [
        ("x_bucket", "1e-06", 1),
        ("x_bucket", "2e-06", 3),
        ("x_bucket", "4e-06", 3),
    ]
    assert told[-3:] == [("x_bucket", "+Inf", 7), ("x_sum", 9.0), ("x_count", 7)]


@pytest.mark.parametrize(("text", "count"), [("0\n", 1), ("0-1\n", 2), ("0-3,8-11\n", 12)])
def test_a_value_has_a_copy_for_every_cpu_that_may_come(text, count):
    assert possible_cpus(text) == count


# ---- whose events are meant ---------------------------------------------------------------------

UNIFIED = Group(501, 3, is_shared=False)
MEMORY = Group(77, 2, is_shared=False)


@pytest.mark.parametrize(
    ("unified", "memory", "target"),
    [
        (UNIFIED, None, Target(TargetKind.UNIFIED_BELOW, 501, level=3)),
        (UNIFIED, MEMORY, Target(TargetKind.UNIFIED_BELOW, 501, level=3)),
        # In a namespace the depth is not to be seen.
        (Group(501, None, is_shared=False), None, Target(TargetKind.UNIFIED, 501)),
        # Both hierarchies: the container has its own in version 1 only.
        (Group(1, 0, is_shared=False), MEMORY, Target(TargetKind.MEMORY, 77)),
        (None, MEMORY, Target(TargetKind.MEMORY, 77)),
        # The root and a group that the agent is in hold others too.
        (Group(1, 0, is_shared=True), None, Target(TargetKind.PROCESS, tgid=7, pid_namespace=9)),
        (Group(5, 2, is_shared=True), None, Target(TargetKind.PROCESS, tgid=7, pid_namespace=9)),
        (None, None, Target(TargetKind.PROCESS, tgid=7, pid_namespace=9)),
    ],
)
def test_the_target_holds_the_container_and_nobody_else(unified, memory, target):
    assert choose(unified, memory, None, 7, 9) == target


@pytest.mark.parametrize(
    ("charged", "io_cgroup_id"),
    [(MEMORY, 77), (Group(1, 0, is_shared=False), 0), (Group(5, 2, is_shared=True), 0), (None, 0)],
)
def test_block_io_is_looked_up_where_it_is_charged_to_the_container_alone(charged, io_cgroup_id):
    assert choose(UNIFIED, None, charged, 7, 9).io_cgroup_id == io_cgroup_id
    assert choose(None, MEMORY, charged, 7, 9).io_cgroup_id == io_cgroup_id


def test_only_a_group_is_all_of_the_container():
    assert Target(TargetKind.UNIFIED, 5).is_whole
    assert not Target(TargetKind.PROCESS, tgid=5).is_whole
    assert not Target().is_whole


def test_a_target_is_written_as_the_programs_read_it():
    target = Target(TargetKind.PROCESS, 3, level=2, tgid=7, pid_namespace=9, io_cgroup_id=5)

    assert target.packed() == struct.pack("=IIQQII", 4, 2, 3, 5, 7, 9)


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "file", "reason"),
    [
        (errno.EPERM, None, GapReason.PERMISSION_DENIED),
        (errno.EACCES, None, GapReason.PERMISSION_DENIED),
        (errno.ENOENT, None, GapReason.NO_TRACEPOINT),
        (errno.ESRCH, None, GapReason.NO_TRACEPOINT),
        (errno.EINVAL, None, GapReason.REFUSED),
        (errno.ENOENT, "events/x/id", GapReason.NO_TRACEFS),
        (errno.EACCES, "events/x/id", GapReason.NO_TRACEFS),
    ],
)
def test_a_refusal_has_a_name(code, file, reason):
    assert refusal(LoadError("mm", "attaching", OSError(code, "text", file))) is reason
