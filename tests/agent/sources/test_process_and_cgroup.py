# SPDX-License-Identifier: Apache-2.0
"""Readings of the node's process, cgroup and pressure from literal kernel files."""

import asyncio
import os
from pathlib import Path

import pytest

from fodc_agent.sources import cgroup, pressure
from fodc_agent.sources.cgroup import CgroupSource
from fodc_agent.sources.cgroup_paths import NodeCgroup
from fodc_agent.sources.limits import limit_v1
from fodc_agent.sources.node_process import NodeProcess
from fodc_agent.sources.pressure import PressureSource
from fodc_agent.sources.process import ProcessSource
from fodc_agent.sources.readings import GapReason, SourceReading
from fodc_agent.sources.self_health import SelfHealthSource


def read(source) -> SourceReading:
    return asyncio.run(source.collect(1000))


def node_of(proc) -> NodeProcess:
    return NodeProcess(proc=proc.root, own_pid=99)


def write(directory: Path, **files: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    return directory


# ---- process ----------------------------------------------------------


def test_the_process_is_read_in_seconds_and_bytes(proc, flat):
    directory = proc.process(12, "banyand")
    write(
        directory,
        io="rchar: 10\nwchar: 20\nsyscr: 1\nsyscw: 2\nread_bytes: 4096\nwrite_bytes: 8192\n",
        status="Threads:\t33\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t6\n",
        limits="Max open files            1024   4096   files\n",
        oom_score="666\n",
    )
    (directory / "fd").mkdir()
    (directory / "fd" / "0").symlink_to("/dev/null")

    reading = read(ProcessSource(node_of(proc), ticks_per_s=100, page_bytes=4096))

    assert reading.gaps == ()
    assert flat(reading) == {
        "fodc_node_process_cpu_seconds_total|mode=user": 25.0,
        "fodc_node_process_cpu_seconds_total|mode=system": 15.0,
        "fodc_node_process_resident_memory_bytes": 25600 * 4096,
        "fodc_node_process_virtual_memory_bytes": 2_000_000_000,
        "fodc_node_process_threads": 33,
        "fodc_node_process_page_faults_total|kind=minor": 5000,
        "fodc_node_process_page_faults_total|kind=major": 12,
        "fodc_node_process_start_time_seconds": 1_700_000_050,
        "fodc_node_process_open_fds": 1,
        "fodc_node_process_max_fds": 1024,
        "fodc_node_process_storage_bytes_total|direction=read": 4096,
        "fodc_node_process_io_bytes_total|direction=read": 10,
        "fodc_node_process_io_calls_total|direction=read": 1,
        "fodc_node_process_storage_bytes_total|direction=write": 8192,
        "fodc_node_process_io_bytes_total|direction=write": 20,
        "fodc_node_process_io_calls_total|direction=write": 2,
        "fodc_node_process_context_switches_total|kind=voluntary": 5,
        "fodc_node_process_context_switches_total|kind=involuntary": 6,
        "fodc_node_process_oom_score": 666,
    }


def test_files_that_cannot_be_read_are_gaps_beside_what_can(proc, flat):
    proc.process(12, "banyand")

    reading = read(ProcessSource(node_of(proc), ticks_per_s=100, page_bytes=4096))

    assert {gap.part: gap.reason for gap in reading.gaps} == {
        "open_fds": GapReason.NOT_FOUND,
        "limits": GapReason.NOT_FOUND,
        "io": GapReason.NOT_FOUND,
        "status": GapReason.NOT_FOUND,
        "oom_score": GapReason.NOT_FOUND,
    }
    assert flat(reading)["fodc_node_process_threads"] == 33
    assert flat(reading)["fodc_agent_source_gap|source=process|part=io|reason=NotFound"] == 1


def test_a_missing_process_is_one_gap_and_no_error(proc, flat):
    reading = read(ProcessSource(node_of(proc)))

    assert flat(reading) == {
        "fodc_agent_source_gap|source=process|part=process|reason=NoProcess": 1
    }


def test_a_forbidden_file_says_which_permission_helps(proc, monkeypatch):
    proc.process(12, "banyand")
    opened = Path.open

    def guarded(path, *args, **options):
        if path.name == "io":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **options)

    monkeypatch.setattr(Path, "open", guarded)

    gaps = {gap.part: gap for gap in read(ProcessSource(node_of(proc))).gaps}

    assert gaps["io"].reason is GapReason.PERMISSION_DENIED
    assert "CAP_SYS_PTRACE" in gaps["io"].message


def test_a_file_of_an_unknown_form_is_a_gap(proc):
    directory = proc.process(12, "banyand")
    write(directory, oom_score="many\n")

    gaps = {gap.part: gap.reason for gap in read(ProcessSource(node_of(proc))).gaps}

    assert gaps["oom_score"] is GapReason.UNREADABLE


# ---- cgroup version 2 ----------------------------------------------------------

MEMORY_STAT = (
    "anon 400\nfile 300\nkernel_stack 8\nsock 1\nshmem 2\nfile_mapped 30\nfile_dirty 4\n"
    "file_writeback 0\ninactive_file 100\nactive_file 200\nslab 9\nworkingset_refault_anon 0\n"
    "workingset_refault_file 55\npgfault 1000\npgmajfault 10\n"
)


CPU_PRESSURE = (
    "some avg10=12.50 avg60=0.07 avg300=0.87 total=11870066\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
)


def v2_cgroup(tmp_path, proc, path: str = "/kubepods/pod1/c1") -> tuple[NodeCgroup, Path]:
    proc.process(12, "banyand")
    proc.write("12/cgroup", f"0::{path}\n")
    root = write(tmp_path / "cgroup", cgroup__controllers="cpu io memory\n")
    directory = write(
        root / path.lstrip("/"),
        memory__current="1000\n",
        memory__max="max\n",
        memory__peak="1500\n",
        memory__stat=MEMORY_STAT,
        memory__events="low 0\nhigh 1\nmax 2\noom 3\noom_kill 1\n",
        cpu__stat=(
            "usage_usec 5000000\nuser_usec 3000000\nsystem_usec 2000000\n"
            "nr_periods 100\nnr_throttled 7\nthrottled_usec 1500000\n"
        ),
        cpu__max="200000 100000\n",
        io__stat=(
            "259:0 rbytes=100 wbytes=200 rios=3 wios=4 dbytes=0 dios=0\n"
            "259:1 rbytes=1 wbytes=2 rios=1 wios=1 dbytes=0 dios=0\n"
        ),
    )
    return NodeCgroup(node_of(proc), root=root), directory


def test_a_cgroup_of_version_2_is_read(tmp_path, proc, flat):
    known, directory = v2_cgroup(tmp_path, proc)
    write(directory.parent, memory__max="4000\n")

    reading = read(CgroupSource(known))
    values = flat(reading)

    assert reading.gaps == ()
    assert values["fodc_node_memory_current_bytes"] == 1000
    assert values["fodc_node_memory_working_set_bytes"] == 900
    assert values["fodc_node_memory_limit_bytes"] == 4000
    assert values["fodc_node_memory_limited"] == 1
    assert values["fodc_node_memory_peak_bytes"] == 1500
    assert values["fodc_node_memory_events_total|event=oom_kill"] == 1
    assert values["fodc_node_memory_stat_bytes|kind=anon"] == 400
    assert values["fodc_node_memory_activity_total|kind=refault_file"] == 55
    assert values["fodc_node_cpu_seconds_total|mode=user"] == pytest.approx(3.0)
    assert values["fodc_node_cpu_throttled_periods_total"] == 7
    assert values["fodc_node_cpu_throttled_seconds_total"] == pytest.approx(1.5)
    assert values["fodc_node_cpu_limit_cores"] == 2.0
    # A18: a mapped device and the disk beneath it are not added.
    assert values["fodc_node_io_bytes_total|direction=write|device=259:0"] == 200
    assert values["fodc_node_io_bytes_total|direction=write|device=259:1"] == 2
    assert values["fodc_node_io_operations_total|direction=read|device=259:0"] == 3


@pytest.mark.parametrize(
    ("own", "above", "limit"),
    [("5000", "4000", 4000), ("3000", "max", 3000), ("3000", "9000", 3000)],
)
def test_the_lowest_limit_of_the_tree_is_in_force(tmp_path, proc, flat, own, above, limit):
    known, directory = v2_cgroup(tmp_path, proc)
    write(directory, memory__max=own + "\n")
    write(directory.parent, memory__max=above + "\n")

    assert flat(read(CgroupSource(known)))["fodc_node_memory_limit_bytes"] == limit


def test_no_limit_is_said_and_not_a_huge_number(tmp_path, proc, flat):
    known, _ = v2_cgroup(tmp_path, proc)

    values = flat(read(CgroupSource(known)))

    assert values["fodc_node_memory_limited"] == 0
    assert "fodc_node_memory_limit_bytes" not in values


def test_controllers_that_are_off_are_gaps(tmp_path, proc):
    known, directory = v2_cgroup(tmp_path, proc)
    (directory / "io.stat").unlink()
    (directory / "memory.current").unlink()

    gaps = {gap.part: gap.reason for gap in read(CgroupSource(known)).gaps}

    assert gaps == {"io.stat": GapReason.NOT_FOUND, "memory.current": GapReason.NOT_FOUND}


def test_a_cgroup_outside_of_the_namespace_is_found_by_name_and_pid(tmp_path, proc, flat):
    """A sidecar sees "/../<container>" for the database; a host mount still shows it."""
    known, directory = v2_cgroup(tmp_path, proc)
    proc.write("12/cgroup", "0::/../c1\n")
    write(known.root / "kubepods/pod2/c1", cgroup__procs="77\n", memory__current="1\n")
    write(directory, cgroup__procs="11\n12\n")

    assert flat(read(CgroupSource(known)))["fodc_node_memory_current_bytes"] == 1000


def test_a_cgroup_that_only_looks_alike_is_not_taken(tmp_path, proc):
    """W-26: another pod's cgroup would be worse than none."""
    known, directory = v2_cgroup(tmp_path, proc)
    proc.write("12/cgroup", "0::/../c1\n")
    write(directory, cgroup__procs="77\n")

    [gap] = read(CgroupSource(known)).gaps

    assert gap.reason is GapReason.OUTSIDE_NAMESPACE
    assert "mount the host's /sys/fs/cgroup read-only" in gap.message


def test_a_node_that_moves_to_another_cgroup_is_followed(tmp_path, proc, flat):
    """W-27."""
    known, _ = v2_cgroup(tmp_path, proc)
    source = CgroupSource(known)
    read(source)
    write(known.root / "other", memory__current="7\n", memory__stat="anon 1\n")
    proc.write("12/cgroup", "0::/other\n")

    assert flat(read(source))["fodc_node_memory_current_bytes"] == 7


# ---- cgroup version 1 ----------------------------------------------------------


def v1_cgroup(tmp_path, proc, *, own: int, hierarchical: int) -> NodeCgroup:
    proc.process(12, "banyand")
    proc.write("12/cgroup", "4:memory:/db\n3:cpuacct,cpu:/db\n7:blkio:/db\n0::/\n")
    root = tmp_path / "cgroup"
    write(
        root / "memory/db",
        memory__usage_in_bytes="1000\n",
        memory__limit_in_bytes=f"{own}\n",
        memory__max_usage_in_bytes="1200\n",
        memory__failcnt="3\n",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        memory__stat=(
            f"cache 1\nhierarchical_memory_limit {hierarchical}\n"
            "total_cache 300\ntotal_rss 500\ntotal_inactive_file 100\ntotal_pgmajfault 220\n"
        ),
    )
    write(
        root / "cpu,cpuacct/db",
        cpu__stat="nr_periods 5\nnr_throttled 1\nthrottled_time 2500000000\n",
        cpu__cfs_quota_us="150000\n",
        cpu__cfs_period_us="100000\n",
        cpuacct__stat="user 700\nsystem 300\n",
    )
    write(
        root / "blkio/db",
        blkio__throttle__io_service_bytes="8:0 Read 4096\n8:0 Write 10\n8:16 Read 4\nTotal 4110\n",
        blkio__throttle__io_serviced="Total 0\n",
    )
    return NodeCgroup(node_of(proc), root=root)


def test_a_cgroup_of_version_1_gives_the_same_metrics(tmp_path, proc, flat):
    reading = read(CgroupSource(v1_cgroup(tmp_path, proc, own=8000, hierarchical=6000)))
    values = flat(reading)

    assert reading.gaps == ()
    assert values["fodc_node_memory_current_bytes"] == 1000
    assert values["fodc_node_memory_working_set_bytes"] == 900
    assert values["fodc_node_memory_limit_bytes"] == 6000
    assert values["fodc_node_memory_events_total|event=oom_kill"] == 2
    assert values["fodc_node_memory_events_total|event=max"] == 3
    assert values["fodc_node_memory_stat_bytes|kind=anon"] == 500
    assert values["fodc_node_cpu_seconds_total|mode=user"] == pytest.approx(7.0)
    assert values["fodc_node_cpu_throttled_seconds_total"] == pytest.approx(2.5)
    assert values["fodc_node_cpu_limit_cores"] == 1.5
    assert values["fodc_node_io_bytes_total|direction=read|device=8:0"] == 4096
    assert values["fodc_node_io_bytes_total|direction=read|device=8:16"] == 4


@pytest.mark.parametrize(
    ("own", "hierarchical", "limit"),
    [
        (1 << 30, 9223372036854771712, 1 << 30),
        (9223372036854771712, 512 << 20, 512 << 20),
        (9223372036854771712, 9223372036854771712, None),
        (1 << 30, None, 1 << 30),
        (None, None, None),
    ],
)
def test_w_57_the_limit_of_version_1_is_the_lower_of_file_and_memory_stat(own, hierarchical, limit):
    """Upstream looks for a file of that name, which no kernel has, and reports nothing."""
    stat = {} if hierarchical is None else {"hierarchical_memory_limit": hierarchical}

    found = limit_v1(own, stat, Path("/group"))

    assert (found.value, found.known) == (limit, own is not None)


@pytest.mark.parametrize(
    ("files", "limit", "throttled"),
    [
        ({"pod/db": "max 100000", "pod": "150000 100000"}, 1.5, 70),
        ({"pod/db": "200000 100000", "pod": "150000 100000"}, 1.5, 70),
        ({"pod/db": "100000 100000", "pod": "150000 100000"}, 1.0, 7),
        ({"pod/db": "max 100000", "pod": "max 100000"}, None, 7),
    ],
)
def test_a17_the_lowest_cpu_limit_of_the_tree_is_in_force(
    tmp_path, proc, flat, files, limit, throttled
):
    known, directory = v2_cgroup(tmp_path, proc)
    write(directory, cpu__max=files["pod/db"] + "\n")
    write(
        directory.parent,
        cpu__max=files["pod"] + "\n",
        cpu__stat="nr_periods 900\nnr_throttled 70\nthrottled_usec 9000000\n",
    )

    values = flat(read(CgroupSource(known)))

    assert values.get("fodc_node_cpu_limit_cores") == limit
    assert values["fodc_node_cpu_throttled_periods_total"] == throttled


def test_a17_a_cpu_limit_of_version_1_may_be_set_above(tmp_path, proc, flat):
    known = v1_cgroup(tmp_path, proc, own=8000, hierarchical=6000)
    write(
        tmp_path / "cgroup/cpu,cpuacct",
        cpu__stat="nr_periods 5\nnr_throttled 4\nthrottled_time 9000000000\n",
        cpu__cfs_quota_us="50000\n",
        cpu__cfs_period_us="100000\n",
    )

    values = flat(read(CgroupSource(known)))

    assert values["fodc_node_cpu_limit_cores"] == 0.5
    assert values["fodc_node_cpu_throttled_periods_total"] == 4


def test_a13_a_limit_that_cannot_be_read_is_unknown_and_not_none(tmp_path, proc, flat):
    known, directory = v2_cgroup(tmp_path, proc)
    (directory / "memory.max").unlink()

    values = flat(read(CgroupSource(known)))

    assert "fodc_node_memory_limited" not in values
    assert "fodc_node_memory_limit_bytes" not in values


# ---- the node's own view: flavor Process, without the host's cgroups -----------------------


def a_sidecars_view(tmp_path, proc, path: str) -> tuple[NodeCgroup, Path]:
    """Give the agent its own cgroup only, and the node another one in its mounts."""
    directory = proc.process(12, "banyand")
    proc.write("12/cgroup", path)
    own = write(tmp_path / "own", cgroup__controllers="memory\n", cgroup__procs="40\n")
    return NodeCgroup(node_of(proc), root=own), directory / "root/sys/fs/cgroup"


def test_without_the_hosts_cgroups_the_nodes_own_view_of_version_2_is_read(tmp_path, proc, flat):
    known, view = a_sidecars_view(tmp_path, proc, "0::/../db\n")
    write(
        view,
        cgroup__controllers="memory\n",
        cgroup__procs="12\n31\n",
        memory__current="1000\n",
        memory__max="4000\n",
        memory__stat=MEMORY_STAT,
        cpu__pressure=CPU_PRESSURE,
    )

    values = flat(read(CgroupSource(known)))

    assert values["fodc_node_memory_current_bytes"] == 1000
    assert values["fodc_node_memory_limit_bytes"] == 4000
    pressure = flat(read(PressureSource(known)))
    assert pressure["fodc_node_pressure_avg10_ratio|resource=cpu|kind=some|scope=cgroup"] == 0.125


def test_without_the_hosts_cgroups_the_nodes_own_view_of_version_1_is_read(tmp_path, proc, flat):
    known, view = a_sidecars_view(tmp_path, proc, "4:memory:/k/pod1/db\n3:cpuacct,cpu:/k/pod1/db\n")
    statistics = "total_inactive_file 100\nhierarchical_memory_limit 6000\n"
    memory = {"memory__usage_in_bytes": "1000\n", "memory__limit_in_bytes": "8000\n"}
    write(view / "memory", cgroup__procs="12\n", memory__stat=statistics, **memory)
    write(view / "cpu,cpuacct", cgroup__procs="12\n", cpuacct__stat="user 700\nsystem 300\n")

    values = flat(read(CgroupSource(known)))

    assert values["fodc_node_memory_current_bytes"] == 1000
    assert values["fodc_node_memory_limit_bytes"] == 6000
    assert values["fodc_node_cpu_seconds_total|mode=user"] == pytest.approx(7.0)


def test_a_process_in_a_group_below_the_containers_root_is_found_there(tmp_path, proc, flat):
    known, view = a_sidecars_view(tmp_path, proc, "0::/../db/init.scope\n")
    write(view, cgroup__controllers="memory\n", cgroup__procs="")
    write(view / "init.scope", cgroup__procs="12\n", memory__current="77\n")

    assert flat(read(CgroupSource(known)))["fodc_node_memory_current_bytes"] == 77


def test_a_view_that_does_not_list_the_node_is_not_taken(tmp_path, proc):
    """W-26: a container that mounts something else there must not be believed."""
    known, view = a_sidecars_view(tmp_path, proc, "0::/../db\n")
    write(view, cgroup__controllers="memory\n", cgroup__procs="13\n", memory__current="1\n")

    [gap] = read(CgroupSource(known)).gaps

    assert gap.reason is GapReason.OUTSIDE_NAMESPACE
    assert "flavor Process" in gap.message


def test_a_view_of_another_user_says_what_would_open_it(tmp_path, proc, monkeypatch):
    known, view = a_sidecars_view(tmp_path, proc, "0::/../db\n")
    listed = os.listdir

    def forbidden(path):
        if path == view:
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr("fodc_agent.sources.cgroup_paths.os.listdir", forbidden)

    [gap] = read(CgroupSource(known)).gaps

    assert gap.reason is GapReason.OUTSIDE_NAMESPACE
    assert "run the agent as the node's user and group" in gap.message


def test_a_process_that_ends_while_it_is_read_leaves_no_half_row(tmp_path, proc, monkeypatch):
    known, directory = v2_cgroup(tmp_path, proc)
    source = CgroupSource(known)
    read(source)
    read_stat = Path(directory, "io.stat")
    opened = Path.open

    def restarting(path, *args, **options):
        if path == read_stat:
            proc.process(12, "banyand", start=9000)
        return opened(path, *args, **options)

    monkeypatch.setattr(Path, "open", restarting)

    reading = read(source)

    assert [gap.reason for gap in reading.gaps] == [GapReason.RESTARTED]
    assert len(reading.samples) == 1
    assert read(source).gaps == ()


# ---- pressure ----------------------------------------------------------


def test_pressure_of_the_cgroup_is_preferred(tmp_path, proc, flat):
    known, directory = v2_cgroup(tmp_path, proc)
    for resource in ("cpu", "memory", "io"):
        (directory / f"{resource}.pressure").write_text(CPU_PRESSURE)

    values = flat(read(PressureSource(known)))

    some = "|resource=cpu|kind=some|scope=cgroup"
    assert values[f"fodc_node_pressure_seconds_total{some}"] == pytest.approx(11.870066)
    assert values[f"fodc_node_pressure_avg10_ratio{some}"] == pytest.approx(0.125)
    assert len(values) == 12


def test_pressure_of_the_host_is_taken_where_the_cgroup_has_none(tmp_path, proc, flat):
    for resource in ("cpu", "memory", "io"):
        proc.write(f"pressure/{resource}", CPU_PRESSURE)

    values = flat(read(PressureSource(NodeCgroup(node_of(proc), root=tmp_path / "none"))))

    assert values["fodc_node_pressure_seconds_total|resource=io|kind=full|scope=host"] == 0


def test_a_kernel_without_pressure_is_a_gap(tmp_path, proc):
    reading = read(PressureSource(NodeCgroup(node_of(proc), root=tmp_path / "none")))

    assert {gap.part: gap.reason for gap in reading.gaps} == {
        "cpu.pressure": GapReason.NOT_FOUND,
        "memory.pressure": GapReason.NOT_FOUND,
        "io.pressure": GapReason.NOT_FOUND,
    }


def test_an_old_kernel_without_the_full_line_of_cpu_is_read():
    text = "some avg10=1.00 avg60=0.00 avg300=0.00 total=5\n"

    assert pressure.parse_pressure(text) == [pressure.Stall("some", 1.0, 5)]


# ---- on this machine ----------------------------------------------------------


def test_a_running_node_is_read_from_the_real_kernel(sample_nodes, flat):
    with sample_nodes.sample_node(load=1) as node:
        known = NodeProcess(pid=node.pid)
        process = read(ProcessSource(known))
        control = read(CgroupSource(NodeCgroup(known)))
    values = flat(process)

    assert values["fodc_node_process_resident_memory_bytes"] > 1 << 20
    assert values["fodc_node_process_open_fds"] > 3
    # What a machine's kernel does not offer is a gap; nothing may be both absent and unexplained.
    assert control.gaps or "fodc_node_memory_current_bytes" in flat(control)


def test_a_running_node_is_found_by_its_port_on_the_real_kernel(sample_nodes):
    with sample_nodes.sample_node() as node:
        found = asyncio.run(NodeProcess(name="no-such-name", port=node.metrics_port).find())

    assert found.pid == node.pid


def test_the_agent_reads_itself(flat):
    source = SelfHealthSource(
        version="0.1.0", uptime_s=lambda: 12.5, counters=[lambda: [cgroup.LIMITED.sample(1)]]
    )

    values = flat(read(source))

    assert values["fodc_agent_build_info|version=0.1.0"] == 1
    assert values["fodc_agent_uptime_seconds"] == 12.5
    assert values["fodc_agent_resident_memory_bytes"] > 1 << 20
    assert values["fodc_agent_open_fds"] >= 3
    assert values["fodc_node_memory_limited"] == 1
    assert values["fodc_agent_cpu_seconds_total|mode=user"] <= os.times().user + 1
