# SPDX-License-Identifier: Apache-2.0
"""How long calls took in a stretch of time: the arithmetic, and captures of work that is known."""

import asyncio
import gzip

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from fodc_agent.captures.outcomes import Failed, Order
from fodc_agent.captures.pprof import Taken
from fodc_agent.ktm.histograms import SLOTS, Latency
from fodc_agent.ktm.latencies import Stretch
from fodc_agent.ktm.profiling import KernelProfiler
from fodc_agent.ktm.target import Target, TargetKind
from fodc_agent.sources.node_process import NodeProcess
from fodc_protocol.profiles import Profile
from tests.agent.ktm.test_profiles_in_this_kernel import Part

NONE = (Latency(), Latency(), Latency())


def latency(slot, count, errors=0):
    slots = tuple(count if place == slot else 0 for place in range(SLOTS))
    return Latency(slots, count * 1_000_000, count, count * 100, errors)


def families_of(text):
    """Return the samples by name and labels, as a reader of OpenMetrics takes them."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_what_was_counted_before_does_not_belong_to_it():
    before = (latency(3, 100), Latency(), latency(0, 7, errors=2))
    after = (latency(3, 105), Latency(), latency(0, 7, errors=3))

    stretch = Stretch("sys", before, after)
    found = families_of(stretch.text(1_000, 3_500))

    assert stretch.calls == 6
    assert found["ktm_sys_read_latency_seconds_count",] == 5
    assert found["ktm_sys_read_latency_seconds_sum",] == 0.005
    assert found["ktm_sys_read_latency_seconds_bucket", "4e-06"] == 0
    assert found["ktm_sys_read_latency_seconds_bucket", "8e-06"] == 5
    assert found["ktm_sys_read_bytes_total",] == 500
    assert found["ktm_sys_pread_latency_seconds_count",] == 0
    assert found["ktm_sys_pread_errors_total",] == 1


def test_the_text_says_when_it_began_and_ended():
    text = Stretch("blk", NONE, (latency(1, 2), Latency(), Latency())).text(1_000, 3_500)

    assert b'ktm_blk_io_latency_seconds_count{operation="read"} 2 3.500\n' in text
    assert b'ktm_blk_io_latency_seconds_created{operation="read"} 1 3.500\n' in text
    assert text.endswith(b"# EOF\n")
    assert set(families_of(text)) > {("ktm_blk_io_errors_total", "write")}


# ---- in this kernel -----------------------------------------------------------------------------


def captured(kernel, kind, work):
    """Return what a capture says of work that is done while it runs."""
    node = NodeProcess(pid=2**22 - 1)

    async def pause(_duration_s):
        await asyncio.to_thread(work)

    part = Part()
    order = Order("c-1", kind, duration_s=1.0, timeout_s=30.0)
    taken = asyncio.run(KernelProfiler(kernel, node, pause=pause).take(order, part))
    return taken, families_of(gzip.decompress(part.data)) if part.data else {}


@pytest.mark.parametrize("groups", [("cpu",), ("cpu", "sys")], ids=["on demand", "always"])
def test_a_capture_of_reads_holds_the_work_that_was_done_meanwhile(
    telemetry, make_group, worker, groups
):
    group = make_group("unified")
    kernel = telemetry(*groups)
    kernel.aim(Target(TargetKind.UNIFIED, group.stat().st_ino))
    worker("reads", group).work()  # belongs to no capture

    taken, found = captured(kernel, Profile.READ_LATENCY, worker("reads", group).work)

    assert isinstance(taken, Taken)
    assert taken.samples == 40 + 10 + 1000 + 25
    assert found["ktm_sys_read_latency_seconds_count",] == 40
    assert found["ktm_sys_read_other_latency_seconds_count",] == 10
    assert found["ktm_sys_pread_latency_seconds_count",] == 1000
    assert found["ktm_sys_pread_errors_total",] == 25
    assert found["ktm_sys_pread_bytes_total",] == 100_000
    # 10 bytes, 48 ms apart, each waited for.
    assert 0.3 < found["ktm_sys_read_other_latency_seconds_sum",] < 2


def test_a_capture_of_the_disk_holds_the_requests_that_were_made_meanwhile(
    telemetry, make_group, worker, on_disk
):
    group, file = make_group("unified"), on_disk(1)
    kernel = telemetry("cpu")
    kernel.aim(Target(TargetKind.UNIFIED, group.stat().st_ino))

    taken, found = captured(kernel, Profile.BLOCK_LATENCY, worker("direct", group, file=file).work)

    assert isinstance(taken, Taken)
    # A virtual machine may complete some requests where no program runs.
    assert 58 <= found["ktm_blk_io_latency_seconds_count", "read"] <= 64
    assert found["ktm_blk_io_errors_total", "read"] == 0


def test_nothing_is_counted_of_the_disk_before_and_after_a_capture(
    telemetry, make_group, worker, on_disk
):
    group, file = make_group("unified"), on_disk(1)
    kernel = telemetry("cpu")
    kernel.aim(Target(TargetKind.UNIFIED, group.stat().st_ino))
    worker("direct", group, file=file).work()

    taken, _ = captured(kernel, Profile.BLOCK_LATENCY, lambda: None)

    assert isinstance(taken, Failed)
    assert taken.reason == "EmptyProfile"
    assert not any(one.series.name.startswith("ktm_blk") for one in kernel.samples())
