# SPDX-License-Identifier: Apache-2.0
"""The group `sys` in the kernel that runs: every number is that of the work that was done.

Literals: 1,000 pread of 100 bytes in four threads, 25 that fail, 40 read(2) of a file of 50 bytes,
10 of a pipe that waits 48 ms for each byte.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fodc_agent.ktm.target import Target, TargetKind


def counted(telemetry):
    return {
        sample.series.name: int(sample.value)
        for sample in telemetry.samples()
        if not sample.series.labels and not sample.series.name.endswith("_sum")
    }


NOTHING = {
    "ktm_sys_read_latency_seconds_count": 0,
    "ktm_sys_read_errors_total": 0,
    "ktm_sys_read_bytes_total": 0,
    "ktm_sys_read_other_latency_seconds_count": 0,
    "ktm_sys_read_other_errors_total": 0,
    "ktm_sys_read_other_bytes_total": 0,
    "ktm_sys_pread_latency_seconds_count": 0,
    "ktm_sys_pread_errors_total": 0,
    "ktm_sys_pread_bytes_total": 0,
    "ktm_fadvise_calls_total": 0,
    "ktm_fadvise_dontneed_total": 0,
}
READS = NOTHING | {
    "ktm_sys_read_latency_seconds_count": 40,
    "ktm_sys_read_bytes_total": 2000,
    "ktm_sys_read_other_latency_seconds_count": 10,
    "ktm_sys_read_other_bytes_total": 10,
    "ktm_sys_pread_latency_seconds_count": 1000,
    "ktm_sys_pread_errors_total": 25,
    "ktm_sys_pread_bytes_total": 100_000,
}


def unified(group):
    return Target(TargetKind.UNIFIED, group.stat().st_ino)


def test_reads_of_the_container_are_counted_exactly(telemetry, make_group, worker):
    group = make_group("unified")
    kernel = telemetry("sys")
    kernel.aim(unified(group))

    worker("reads", group).work()

    assert counted(kernel) == READS


def test_a_cgroup_of_version_1_is_counted_exactly(telemetry, make_group, worker):
    group = make_group("memory")
    kernel = telemetry("sys")
    kernel.aim(Target(TargetKind.MEMORY, group.stat().st_ino))

    worker("reads", group).work()

    assert counted(kernel) == READS


def test_a_cgroup_inside_of_the_container_belongs_to_it(telemetry, make_group, worker):
    group = make_group("unified")
    below = group / "inside"
    below.mkdir()
    kernel = telemetry("sys")
    kernel.aim(Target(TargetKind.UNIFIED_BELOW, group.stat().st_ino, level=1))

    worker("reads", below).work()

    assert counted(kernel) == READS


def test_a_cgroup_that_is_meant_alone_leaves_out_what_is_inside(telemetry, make_group, worker):
    group = make_group("unified")
    below = group / "inside"
    below.mkdir()
    kernel = telemetry("sys")
    kernel.aim(unified(group))

    worker("reads", below).work()

    assert counted(kernel) == NOTHING


@pytest.mark.parametrize("namespace", [0, "own"])
def test_a_process_without_a_cgroup_of_its_own_is_counted_exactly(telemetry, worker, namespace):
    if namespace:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    busy = worker("reads")
    kernel = telemetry("sys")
    kernel.aim(Target(TargetKind.PROCESS, tgid=busy.pid, pid_namespace=namespace))

    busy.work()

    assert counted(kernel) == READS


def test_nobody_is_counted_before_somebody_is_aimed_at(telemetry, make_group, worker):
    kernel = telemetry("sys")

    worker("reads", make_group("unified")).work()

    assert counted(kernel) == NOTHING


def test_another_container_counts_nothing(telemetry, make_group, worker):
    mine, other = make_group("unified"), make_group("unified", "fodc-test-other")
    kernel = telemetry("sys")
    kernel.aim(unified(mine))

    worker("reads", other).work()
    worker("advises", other).work()

    assert counted(kernel) == NOTHING


def test_a_restarted_container_is_counted_on(telemetry, make_group, worker):
    first, second = make_group("unified"), make_group("unified", "fodc-next")
    kernel = telemetry("sys")
    kernel.aim(unified(first))
    worker("reads", first).work()

    kernel.aim(unified(second))
    worker("reads", second).work()

    assert counted(kernel) == {name: 2 * value for name, value in READS.items()}


def test_what_waits_48_ms_is_in_the_bucket_up_to_66_ms(telemetry, make_group, worker):
    group = make_group("unified")
    kernel = telemetry("sys")
    kernel.aim(unified(group))

    worker("reads", group).work()

    buckets = {
        dict(sample.series.labels)["le"]: sample.value
        for sample in kernel.samples()
        if sample.series.name == "ktm_sys_read_other_latency_seconds_bucket"
    }
    # A busy machine wakes a reader late, for whom the next byte has come already.
    assert buckets["0.032768"] <= 4
    assert buckets["0.065536"] - buckets["0.032768"] >= 2
    assert buckets["+Inf"] == 10


def test_advice_is_counted_and_giving_pages_up_apart(telemetry, make_group, worker):
    group = make_group("unified")
    kernel = telemetry("sys")
    kernel.aim(unified(group))

    worker("advises", group).work()

    assert counted(kernel) == NOTHING | {
        "ktm_fadvise_calls_total": 15,
        "ktm_fadvise_dontneed_total": 5,
    }


def test_the_counts_are_those_of_strace(telemetry, make_group, worker, tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("NO STRACE HERE: the counts are compared with literals only")
    group = make_group("unified")
    kernel = telemetry("sys")
    kernel.aim(unified(group))
    busy, summary = worker("reads", group), tmp_path / "summary"
    strace = ["strace", "-f", "-c", "-o", str(summary), "-p", str(busy.pid)]
    with subprocess.Popen(strace, stderr=subprocess.PIPE, text=True) as tracer:
        assert "attached" in tracer.stderr.readline()
        busy.work()
        assert tracer.wait(10) == 0

    calls = {
        words[-1]: (int(words[3]), int(words[4]) if len(words) == 6 else 0)
        for words in map(str.split, summary.read_text().splitlines())
        if len(words) in (5, 6) and re.fullmatch(r"[\d.]+", words[0])
    }
    found = counted(kernel)
    assert calls["pread64"] == (
        found["ktm_sys_pread_latency_seconds_count"] + found["ktm_sys_pread_errors_total"],
        found["ktm_sys_pread_errors_total"],
    )
    assert calls["read"] == (
        found["ktm_sys_read_latency_seconds_count"]
        + found["ktm_sys_read_other_latency_seconds_count"],
        0,
    )
