# SPDX-License-Identifier: Apache-2.0
"""No text of any kernel makes a source raise, and what sources give fits the recorder."""

import asyncio
import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_agent.recorder.recorder import Recorder
from fodc_agent.sources import cgroup, pressure, procfs
from fodc_agent.sources.cgroup import CgroupSource
from fodc_agent.sources.cgroup_paths import NodeCgroup
from fodc_agent.sources.node_process import NodeProcess
from fodc_agent.sources.pressure import PressureSource
from fodc_agent.sources.process import ProcessSource
from fodc_agent.sources.readings import GapReason, Sheet, gap_of
from fodc_agent.sources.self_health import SelfHealthSource
from fodc_protocol.metrics.page import render_page

PARSERS = [
    procfs.parse_stat,
    procfs.parse_pairs,
    procfs.parse_boot_time_s,
    procfs.parse_open_files_limit,
    procfs.parse_environ,
    procfs.parse_cgroup,
    pressure.parse_pressure,
    cgroup.parse_limit,
    cgroup.parse_cpu_max,
    cgroup.parse_io_stat,
    cgroup.parse_blkio,
]
WORDS = st.sampled_from(
    ["some", "avg10=1", "total=2", "max", "0", "100000", "8:0", "Read", "rbytes=1", "(", ")", ":",
     "Max open files", "btime", "-1", "²", "\n", "\0", "x" * 50, "9" * 5000]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=40).map(" ".join))


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@given(text=TEXTS)
def test_any_text_is_a_value_or_a_gap(tmp_path_factory, parse, text):
    path = tmp_path_factory.mktemp("kernel") / "file"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    sheet = Sheet("any")

    sheet.read("part", path, parse)

    assert all(gap.reason is GapReason.UNREADABLE for gap in sheet.gaps)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EACCES, GapReason.PERMISSION_DENIED),
        (errno.EPERM, GapReason.PERMISSION_DENIED),
        (errno.ENOENT, GapReason.NOT_FOUND),
        (errno.ESRCH, GapReason.NOT_FOUND),
        (errno.EOPNOTSUPP, GapReason.UNSUPPORTED),
        (errno.EIO, GapReason.UNREADABLE),
    ],
)
def test_errors_of_the_kernel_have_names(tmp_path, number, reason):
    """A kernel with psi=0 has the files and answers EOPNOTSUPP when they are read."""
    gap = gap_of("part", tmp_path / "x", OSError(number, "text"))

    assert gap.reason is reason
    assert str(tmp_path / "x") in gap.message


def test_what_all_sources_give_becomes_one_legal_page(sample_nodes):
    """T-EXP-05: HELP and TYPE once per family, types kept, and the parser takes every line."""

    async def collected(pid):
        node = NodeProcess(pid=pid)
        group = NodeCgroup(node)
        sources = [
            ProcessSource(node),
            CgroupSource(group),
            PressureSource(group),
            SelfHealthSource(version="0.1.0", uptime_s=lambda: 1.0),
        ]
        return [(source.name, await source.collect(1000)) for source in sources]

    with sample_nodes.sample_node() as node:
        readings = asyncio.run(collected(node.pid))
    recorder = Recorder(budget_bytes=1 << 20, interval_s=10)
    for name, reading in readings:
        recorder.record_samples(name, reading.samples, 1000)
    page = render_page(recorder.latest().blocks)
    again = Recorder(budget_bytes=1 << 20, interval_s=10).record_page("again", page, 1000)

    types = [line.split()[2] for line in page.decode().splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    assert b"# TYPE fodc_node_process_cpu_seconds_total counter\n" in page
    assert again.skipped == {}
    assert again.series == sum(len(reading.samples) for _, reading in readings)
