# SPDX-License-Identifier: Apache-2.0
"""The five patterns: the rules, and each produced for real in the kernel that runs.

A slow disk is one that the kernel throttles for the cgroup of the work: 80 requests a second, for
which eight threads wait 100 ms each. Reads are slow from 8 ms on, the default of users;
where none may be slow it is from 250 ms on, for a busy machine reads in 8 ms at times.
"""

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_agent.ktm.families import samples_of
from fodc_agent.ktm.histograms import SLOTS, Latency
from fodc_agent.ktm.target import Target, TargetKind
from fodc_agent.ktm.verdicts import Figures, Judge, Pattern, figures_of, pattern_of, sentence

SLOW_S = 0.008
SLOW_ON_ANY_MACHINE_S = 0.25
FAST = Figures(buckets=((0.001, 1000), (0.008192, 1000), (0.032768, 1000)))
SLOW = replace(FAST, buckets=((0.001, 900), (0.008192, 980), (0.032768, 1000)))


@pytest.mark.parametrize(
    ("figures", "pattern"),
    [
        (FAST, None),
        (replace(FAST, fills=2559, deletes=2559), None),
        (replace(FAST, fills=2560, deletes=2560), "W1"),
        (replace(FAST, fills=9999, reclaims=3, reclaimed=900), "W2"),
        (replace(FAST, given_up=5, fills=9999, deletes=9999), "W1"),
        (SLOW, "W4"),
        (replace(SLOW, fills=9999), "W4"),
        (replace(SLOW, given_up=2, fills=500, deletes=500), "W3"),
        (replace(SLOW, given_up=2, fills=500, deletes=5), "W4"),
        (replace(SLOW, given_up=2, fills=10, deletes=500), "W4"),
        (replace(SLOW, fills=500, deletes=480, reclaims=7, reclaimed=480), "W5"),
        (replace(SLOW, given_up=2, fills=900, deletes=900, reclaims=7, reclaimed=800), "W5"),
        (replace(SLOW, given_up=2, fills=900, deletes=900, reclaims=7, reclaimed=100), "W3"),
    ],
)
def test_figures_of_ten_seconds_mean(figures, pattern):
    assert pattern_of(figures, 10.0, SLOW_S) == pattern


@pytest.mark.parametrize(
    ("slow", "reads", "pattern"),
    [(9, 100, None), (10, 100, "W4"), (10, 1000, "W4"), (10, 1001, None), (10, 10, "W4")],
)
def test_few_slow_reads_are_no_harm(slow, reads, pattern):
    figures = Figures(buckets=((0.008192, reads - slow), (float("inf"), reads)))

    assert pattern_of(figures, 10.0, SLOW_S) == pattern


def test_a_sentence_holds_the_figures_that_the_verdict_rests_on():
    figures = replace(SLOW, fills=500, deletes=480, reclaims=7, reclaimed=480)

    assert sentence(Pattern.OS_PRESSURE, figures, 10.0, SLOW_S) == (
        "W5: reads are slow while memory is taken back. In 10 s 20 of 1000 reads took 8 ms or "
        "longer, 99 % of them at most 32.768 ms; 500 pages came into the page cache and 480 went, "
        "0 times the node gave pages up, 7 times memory was taken back, 480 pages"
    )


# ---- readings one after the other ---------------------------------------------------------------


class Counters:
    """Stands in for the maps of `sys` and `mm`, as sums since the load."""

    def __init__(self):
        self.slow = self.reads = self.reclaims = 0

    def latency(self, _name, which):
        slots = [0] * SLOTS
        if which == 2:
            slots[1], slots[16] = self.reads - self.slow, self.slow
        return Latency(tuple(slots), 0, sum(slots))

    def number(self, _name, which):
        return self.reclaims if which == 8 else 0

    def runs(self, _program):
        return True

    def samples(self):
        return [*samples_of("sys", self), *samples_of("mm", self)]


class Node:
    """A judged node whose readings are 10 s apart."""

    def __init__(self):
        self.counters, self.judge, self.now_s = Counters(), Judge(SLOW_S), 0.0
        self.read(0)

    def read(self, slow, after_s=10.0):
        """Read again after 100 reads, so many of them slow; return what is shown and said."""
        self.now_s += after_s
        self.counters.reads += 100
        self.counters.slow += slow
        shown, text = self.judge.seen(self.counters.samples(), self.now_s)
        return {dict(one.series.labels)["pattern"] for one in shown if one.value}, text[:3]


def test_harm_is_told_when_it_begins_and_shown_while_it_lasts():
    node = Node()

    assert node.read(0) == (set(), "")
    assert node.read(50) == ({"W4"}, "W4:")
    assert node.read(50) == ({"W4"}, "")
    assert node.read(0) == (set(), "")


def test_harm_that_comes_back_is_told_again_after_five_minutes_only():
    node = Node()
    node.read(50)
    node.read(0)

    assert node.read(50) == ({"W4"}, "")
    node.read(0, after_s=300.0)
    assert node.read(50) == ({"W4"}, "W4:")


def test_what_is_benign_is_shown_and_never_told():
    node = Node()
    node.counters.reclaims = 5

    assert node.read(0) == ({"W2"}, "")


def test_short_stretches_are_judged_together():
    node = Node()

    assert [node.read(8, after_s=2.0) for _ in range(3)] == [
        (set(), ""),
        (set(), ""),
        ({"W4"}, "W4:"),
    ]


def test_without_one_of_the_groups_there_is_no_verdict():
    counters = Counters()

    for group in ("sys", "mm"):
        samples = list(samples_of(group, counters))
        assert figures_of(samples) is None
        assert Judge(SLOW_S).seen(samples, 1.0) == ([], "")


@given(
    st.lists(st.integers(0, 10**6), min_size=2, max_size=33),
    st.tuples(*(st.integers(0, 10**6) for _ in range(5))),
)
def test_a_benign_pattern_never_has_slow_reads_and_harm_always_has(counts, rest):
    edges = [2.0**place / 1e6 for place in range(len(counts))]
    cumulated = [sum(counts[: place + 1]) for place in range(len(counts))]
    figures = Figures(tuple(zip(edges, cumulated, strict=True)), *rest)

    pattern = pattern_of(figures, 10.0, SLOW_S)

    is_slow = figures.slow(SLOW_S) >= 10 and figures.slow(SLOW_S) >= 0.01 * figures.reads
    assert (pattern is not None and pattern.is_harm) == is_slow


# ---- in this kernel -----------------------------------------------------------------------------

REQUESTS_A_SECOND = 80


@pytest.fixture
def judged(telemetry, make_group, slow_disk, worker):
    """Return what judges some work in a container of its own, with limits of disk and memory."""

    def run(work, file, *, slow_s=SLOW_S, is_disk_slow=False, memory_mib=0):
        group, more = make_group("unified"), []
        if is_disk_slow:
            more.append(slow_disk(file, REQUESTS_A_SECOND))
        if memory_mib:
            more.append(make_group("memory"))
            (more[-1] / "memory.limit_in_bytes").write_text(str(memory_mib << 20))
        kernel, judge = telemetry("sys", "mm"), Judge(slow_s)
        kernel.aim(Target(TargetKind.UNIFIED, group.stat().st_ino))
        judge.seen(list(kernel.samples()), 0.0)
        worker(work, group, *more, file=file).work()
        _, text = judge.seen(list(kernel.samples()), 5.0)
        return judge.pattern, text

    return run


def forgotten(file):
    """Take the pages of a file from the cache, as somebody else."""
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return file


def test_a_scan_of_cold_pages_is_w1_and_quiet(judged, on_disk):
    found = judged("scans", forgotten(on_disk(32)), slow_s=SLOW_ON_ANY_MACHINE_S)

    assert found == (Pattern.BENIGN_SCAN, "")


def test_memory_that_is_taken_back_without_harm_is_w2_and_quiet(judged, on_disk):
    file = forgotten(on_disk(32))

    found = judged("scans", file, slow_s=SLOW_ON_ANY_MACHINE_S, memory_mib=8)

    assert found == (Pattern.PRESSURE, "")


def test_pages_that_are_given_up_and_read_again_from_a_slow_disk_are_w3(judged, on_disk):
    pattern, text = judged("evicts", on_disk(8), is_disk_slow=True)

    assert pattern is Pattern.POLICY_EVICTION
    assert "1 times the node gave pages up" in text


def test_cold_pages_from_a_slow_disk_are_w4(judged, on_disk):
    pattern, text = judged("reads_some", forgotten(on_disk(8)), is_disk_slow=True)

    assert pattern is Pattern.IO_CONTENTION
    assert "0 times memory was taken back" in text


def test_cold_pages_from_a_slow_disk_at_the_limit_of_memory_are_w5(judged, on_disk):
    file = forgotten(on_disk(8))

    pattern, text = judged("reads_some", file, is_disk_slow=True, memory_mib=3)

    assert pattern is Pattern.OS_PRESSURE
    assert " 0 times memory was taken back" not in text
