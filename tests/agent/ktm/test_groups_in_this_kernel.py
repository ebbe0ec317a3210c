# SPDX-License-Identifier: Apache-2.0
"""Page cache, reclaim, run queue, disk and fsync in the kernel that runs, by work that is known."""

import pytest

from fodc_agent.kernel_groups import KERNEL_GROUPS
from fodc_agent.ktm.loading import TRACEFS
from fodc_agent.ktm.target import Target, TargetKind
from fodc_agent.ktm.telemetry import Telemetry
from tests.agent.ktm.conftest import facts

PAGES_OF_8_MIB = 2048


def counted(telemetry, *, without=("_sum",)):
    """Return the counters by name, with the values of their labels behind it."""
    return {
        ":".join((sample.series.name, *dict(sample.series.labels).values())): sample.value
        for sample in telemetry.samples()
        if "le" not in dict(sample.series.labels) and not sample.series.name.endswith(without)
    }


def unified(group):
    return Target(TargetKind.UNIFIED, group.stat().st_ino)


# ---- mm ---------------------------------------------------------------------------------------


def test_the_page_cache_is_counted_in_pages(telemetry, make_group, worker, on_disk):
    group, file = make_group("unified"), on_disk(8)
    kernel = telemetry("mm")
    kernel.aim(unified(group))

    worker("cold", group, file=file).work()

    found = counted(kernel)
    assert found["ktm_cache_deletes_total"] == PAGES_OF_8_MIB
    # The second pass finds all of them; a page of the directory may come besides.
    assert PAGES_OF_8_MIB <= found["ktm_cache_fills_total"] <= PAGES_OF_8_MIB + 4
    assert found["ktm_memory_memcg_reclaim_begin_total"] == 0


def test_pages_of_another_container_are_not_ours(telemetry, make_group, worker, on_disk):
    mine, other = make_group("unified"), make_group("unified", "fodc-test-other")
    file = on_disk(8)
    kernel = telemetry("mm")
    kernel.aim(unified(mine))

    worker("cold", other, file=file).work()

    assert set(counted(kernel).values()) == {0}


def test_a_container_at_its_limit_reclaims_where_direct_reclaim_says_nothing(
    telemetry, make_group, worker, on_disk
):
    group, file = make_group("memory"), on_disk(64)
    (group / "memory.limit_in_bytes").write_text(str(20 << 20))
    kernel = telemetry("mm")
    kernel.aim(Target(TargetKind.MEMORY, group.stat().st_ino))

    worker("cold", group, file=file).work()

    found = counted(kernel)
    assert found["ktm_memory_memcg_reclaim_begin_total"] > 0
    assert found["ktm_memory_memcg_reclaim_pages_total"] > 1000
    assert found["ktm_memory_lru_shrink_events_total"] > 0
    assert found["ktm_memory_direct_reclaim_begin_total"] == 0


# ---- sched ------------------------------------------------------------------------------------


def test_the_wait_for_a_processor_is_that_of_the_scheduler(telemetry, worker):
    kernel = telemetry("sched")
    busy = worker("shares")
    kernel.aim(Target(TargetKind.PROCESS, tgid=busy.pid))

    busy.work()

    waited_s = int(busy.process.stdout.read()) / 1e9
    found = counted(kernel, without=())
    assert found["ktm_sched_run_queue_latency_seconds_count"] > 10
    assert found["ktm_sched_run_queue_latency_seconds_sum"] == pytest.approx(
        waited_s, rel=0.15, abs=0.05
    )


# ---- blk --------------------------------------------------------------------------------------


def test_reads_of_the_disk_are_counted_and_nobody_elses(telemetry, make_group, worker, on_disk):
    mine, other, file = make_group("unified"), make_group("unified", "fodc-test-other"), on_disk(1)
    kernel = telemetry("blk")
    kernel.aim(unified(mine))

    worker("direct", other, file=file).work()
    assert counted(kernel)["ktm_blk_io_latency_seconds_count:read"] == 0
    worker("direct", mine, file=file).work()

    found = counted(kernel)
    # A virtual machine may complete some requests where no program runs.
    assert 58 <= found["ktm_blk_io_latency_seconds_count:read"] <= 64
    assert (
        found["ktm_blk_io_bytes_total:read"]
        == 4096 * (found["ktm_blk_io_latency_seconds_count:read"])
    )
    assert found["ktm_blk_io_errors_total:read"] == 0


def test_reads_are_known_by_the_group_to_which_the_disk_charges_them(
    telemetry, make_group, worker, on_disk
):
    group, file = make_group("blkio"), on_disk(1)
    kernel = telemetry("blk")
    kernel.aim(Target(TargetKind.PROCESS, tgid=1, io_cgroup_id=group.stat().st_ino))

    worker("direct", group, file=file).work()

    assert 58 <= counted(kernel)["ktm_blk_io_latency_seconds_count:read"] <= 64


# ---- fs ---------------------------------------------------------------------------------------


def test_every_sync_is_counted_and_failures_apart(telemetry, make_group, worker, on_disk):
    mine, other, file = make_group("unified"), make_group("unified", "fodc-test-other"), on_disk(1)
    kernel = telemetry("fs")
    kernel.aim(unified(mine))

    worker("syncs", other, file=file).work()
    worker("syncs", mine, file=file).work()

    assert counted(kernel) == {
        "ktm_fs_sync_latency_seconds_count:fsync": 5,
        "ktm_fs_sync_errors_total:fsync": 1,
        "ktm_fs_sync_latency_seconds_count:fdatasync": 3,
        "ktm_fs_sync_errors_total:fdatasync": 0,
    }


# ---- without tracefs --------------------------------------------------------------------------


def test_without_tracefs_only_what_needs_it_is_missing_and_has_its_reason(telemetry, tmp_path):
    telemetry("sys").close()
    kernel = Telemetry(KERNEL_GROUPS, tracefs=tmp_path / "nothing")
    try:
        kernel.load(facts())

        found = counted(kernel)
    finally:
        kernel.close()
    assert {(gap.part, gap.reason) for gap in kernel.gaps} == {
        ("mm", "NoTracefs"),
        ("fs", "NoTracefs"),
    }
    assert "ktm_cache_fills_total" not in found
    assert found["ktm_memory_direct_reclaim_begin_total"] == 0
    assert found["ktm_sys_pread_errors_total"] == 0
    assert not any(name.startswith("ktm_fs") for name in found)


def test_a_kernel_that_has_not_the_newest_tracepoint_lacks_nothing(telemetry, tmp_path):
    telemetry("mm").close()
    for number, name in enumerate(("add_to", "delete_from")):
        event = tmp_path / "events" / "filemap" / f"mm_filemap_{name}_page_cache"
        event.mkdir(parents=True)
        (event / "id").write_text(known_id("filemap", event.name) + "\n" * (number + 1))
    kernel = Telemetry(["mm"], tracefs=tmp_path)
    try:
        kernel.load(facts())

        found = counted(kernel)
    finally:
        kernel.close()
    assert kernel.gaps == ()
    assert "ktm_cache_lookups_total" not in found
    assert found["ktm_cache_fills_total"] == 0


def known_id(system, name):
    return (TRACEFS / "events" / system / name / "id").read_text().strip()
