# SPDX-License-Identifier: Apache-2.0
"""Looking into profiles of a real node, and into everything that is none."""

import contextlib
import gzip
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.errors import CorruptProfileError, Reason
from fodc_protocol.pprof import (
    HotFunction,
    ProfileSummary,
    TraceSummary,
    ValueType,
    folded,
    hottest,
    inspect,
    inspect_trace,
)

DATA = Path(__file__).parents[1] / "data" / "pprof"


def recorded(name):
    return (DATA / f"{name}.pb.gz").read_bytes()


# ---- a writer of small profiles, to state exactly what is read ------------------------------


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field, value):
    return varint(field << 3) + varint(value)


def message(field, *parts):
    body = b"".join(parts)
    return varint(field << 3 | 2) + varint(len(body)) + body


def small_profile(*samples, default=0, extra=b""):
    """Two columns (n/count, t/ms); functions main=1, work=2, inlined=3 at locations 1 and 2."""
    texts = ["", "n", "count", "t", "ms", "main", "work", "inlined", "a.go", "b.go"]
    return b"".join(
        [
            message(1, number(1, 1), number(2, 2)),
            message(1, number(1, 3), number(2, 4)),
            *samples,
            message(4, number(1, 1), message(4, number(1, 1))),
            message(4, number(1, 2), message(4, number(1, 3)), message(4, number(1, 2))),
            message(4, number(1, 3), number(3, 0xABC)),
            message(5, number(1, 1), number(2, 5), number(4, 8)),
            message(5, number(1, 2), number(2, 6), number(4, 9)),
            message(5, number(1, 3), number(2, 7), number(4, 9)),
            *[message(6, text.encode()) for text in texts],
            number(9, 1000),
            number(10, 5000),
            number(12, -1),
            number(14, default),
            extra,
        ]
    )


def packed_sample(locations, values):
    return message(
        2, message(1, *map(varint, locations)), message(2, *[varint(value) for value in values])
    )


SMALL = small_profile(
    packed_sample([2, 1], [1, 30]),
    packed_sample([1], [2, -10]),
    message(2, number(1, 1), number(2, 0), number(2, 0)),
)


def test_small_profile_is_counted_plain_and_gzipped():
    summary = ProfileSummary(
        samples=3,
        nonzero_samples=2,
        value_types=(ValueType("n", "count"), ValueType("t", "ms")),
        duration_ns=5000,
        period=-1,
        time_ns=1000,
    )
    assert inspect(SMALL) == summary
    assert inspect(gzip.compress(SMALL)) == summary
    assert not summary.empty


def test_hottest_counts_flat_at_the_innermost_inlined_function():
    assert hottest(SMALL) == [
        HotFunction("inlined", "b.go", 30, 30, 75.0, 75.0),
        HotFunction("main", "a.go", -10, 20, -25.0, 50.0),
        HotFunction("work", "b.go", 0, 30, 0.0, 75.0),
    ]


def test_hottest_takes_column_by_kind_number_and_default():
    assert [one.flat for one in hottest(SMALL, value_index="n")] == [2, 1, 0]
    assert hottest(SMALL, value_index=0) == hottest(SMALL, value_index="n")
    by_default = small_profile(packed_sample([1], [7, 9]), default=1)
    assert hottest(by_default)[0].flat == 7
    with pytest.raises(ValueError, match="this profile has n, t"):
        hottest(SMALL, value_index="inuse_space")
    with pytest.raises(ValueError, match="value_index 2"):
        hottest(SMALL, value_index=2)


def test_recursion_counts_once_in_cum():
    assert hottest(small_profile(packed_sample([1, 1, 1], [1, 5])))[0].cum == 5


def test_location_without_function_shows_its_address():
    assert folded(small_profile(packed_sample([3, 1], [1, 5]))) == {"main;0xabc": 5}


def test_folded_runs_from_root_to_leaf():
    assert folded(SMALL) == {"main;work;inlined": 30, "main": -10}


@pytest.mark.parametrize(
    "sample",
    [packed_sample([9], [1, 1]), packed_sample([1], [1])],
    ids=["unknown location", "too few values"],
)
def test_inconsistent_sample_is_a_typed_error(sample):
    with pytest.raises(CorruptProfileError):
        hottest(small_profile(sample))


# ---- a real node's profiles -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "samples", "nonzero", "kinds", "duration_ns"),
    [
        ("heap", 827, 826, "alloc_objects alloc_space inuse_objects inuse_space", 0),
        ("goroutine", 73, 73, "goroutine", 0),
        ("threadcreate", 2, 2, "threadcreate", 0),
        ("profile-5s", 247, 247, "samples cpu", 5000896258),
        ("block", 0, 0, "contentions delay", 0),
        ("mutex", 0, 0, "contentions delay", 0),
    ],
)
def test_recorded_profiles_are_counted(name, samples, nonzero, kinds, duration_ns):
    summary = inspect(recorded(name))
    assert (summary.samples, summary.nonzero_samples) == (samples, nonzero)
    assert " ".join(kind.kind for kind in summary.value_types) == kinds
    assert summary.duration_ns == duration_ns
    assert summary.empty == (samples == 0)


def test_recorded_cpu_profile_names_its_hottest_function():
    first = hottest(recorded("profile-5s"), count=1)[0]
    assert first.name == "github.com/klauspost/compress/s2.s2Decode"
    assert (first.flat, first.cum) == (440_000_000, 450_000_000)
    assert round(first.flat_percent, 2) == 14.43


def test_recorded_empty_profile_has_nothing_hot():
    assert hottest(recorded("mutex")) == []
    assert folded(recorded("block")) == {}


TOP_LINE = re.compile(
    r"\s*(-?\d+)\S* +\S+ +\S+ +(-?\d+)\S* +\S+  (.*?)(?: \((?:partial-)?inline\))?"
)
UNITS = {"heap": "B", "profile-5s": "ns", "goroutine": "", "threadcreate": ""}


@pytest.mark.skipif(
    shutil.which("go") is None,
    reason="NO GO TOOL HERE: hottest() is not compared with `go tool pprof -top`",
)
@pytest.mark.parametrize("name", UNITS)
def test_hottest_agrees_with_go_tool_pprof(name, tmp_path):
    command = ["go", "tool", "pprof", "-top", "-nodecount=100000", "-nodefraction=0"]
    command += [f"-unit={UNITS[name]}"] if UNITS[name] else []
    done = subprocess.run(
        [*command, str(DATA / f"{name}.pb.gz")],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
        cwd=tmp_path,
    )
    lines = done.stdout.partition("cum%\n")[2].splitlines()
    theirs = {found[3]: (int(found[1]), int(found[2])) for found in map(TOP_LINE.fullmatch, lines)}
    ours = {one.name: (one.flat, one.cum) for one in hottest(recorded(name), count=100_000)}
    assert len(theirs) > 5
    assert ours == theirs


# ---- what is no profile ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no bytes at all"),
        (b"404 page not found\n", "no profile: starts with '404 page not found"),
        (b"Method not allowed\n", "no profile: starts with 'Method not allowed"),
        (b"\x1f\x8b", "ends too early"),
        (b"\x1f\x8bgarbage in here", "damaged"),
        (gzip.compress(b""), "names no sample type"),
        (gzip.compress(SMALL)[:-9], "ends too early"),
        (gzip.compress(SMALL)[:-8] + b"12345678", "damaged"),
        (gzip.compress(SMALL) + b"more", "behind the end"),
        (SMALL[:-1], "ends in the middle"),
        (SMALL + b"\x00\x00", "number 0"),
        (SMALL + number(2, 1), "a message belongs"),
        (SMALL + message(9, b"x"), "a number belongs"),
        (SMALL + varint(2 << 3 | 2) + varint(1 << 40), "field of 1099511627776 bytes"),
        (SMALL + b"\x48" + b"\xff" * 11, "more than ten bytes"),
        (SMALL + message(2, b"\x0a\x7f"), "message that ends too early"),
        (message(1, number(1, 77)), "refers to text 77 of 0"),
    ],
)
def test_other_bytes_are_refused_with_the_reason(data, problem):
    with pytest.raises(CorruptProfileError, match=re.escape(problem)) as caught:
        inspect(data)
    assert caught.value.reason is Reason.CORRUPT_PROFILE


def test_gzip_bomb_stops_at_the_limit():
    bomb = gzip.compress(message(6, b"x" * 1000) * 5000)
    with pytest.raises(CorruptProfileError, match="unpacks to more than 100000 bytes"):
        inspect(bomb, max_bytes=100_000)
    with pytest.raises(CorruptProfileError, match="more than the 10 bytes allowed"):
        inspect(SMALL, max_bytes=10)


@given(st.integers(0, len(SMALL) - 1))
def test_truncated_plain_profile_is_a_typed_error_or_a_prefix(size):
    with contextlib.suppress(CorruptProfileError):
        assert inspect(SMALL[:size]).samples <= 3
    with contextlib.suppress(CorruptProfileError):
        assert len(hottest(SMALL[:size])) <= 3


@given(st.data())
def test_truncated_recorded_profile_is_a_typed_error_or_a_prefix(choose):
    name = choose.draw(st.sampled_from(["goroutine", "profile-5s"]))
    packed = recorded(name)
    plain = zlib.decompress(packed, wbits=31)
    with pytest.raises(CorruptProfileError):
        inspect(packed[: choose.draw(st.integers(0, len(packed) - 1))])
    whole = inspect(plain).samples
    with contextlib.suppress(CorruptProfileError):
        assert inspect(plain[: choose.draw(st.integers(0, len(plain) - 1))]).samples <= whole


@given(st.binary(max_size=200))
def test_any_bytes_are_a_profile_or_a_typed_error(data):
    for read in (inspect, hottest, folded):
        with contextlib.suppress(CorruptProfileError):
            read(data)


@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=4))
def test_any_flipped_byte_is_a_profile_or_a_typed_error(changes):
    data = bytearray(SMALL)
    for place, value in changes:
        data[place] = value
    for read in (inspect, hottest, folded):
        with contextlib.suppress(CorruptProfileError):
            read(bytes(data))


# ---- execution traces -----------------------------------------------------------------------


def test_recorded_trace_has_its_header():
    data = (DATA / "trace.head").read_bytes()
    assert inspect_trace(data) == TraceSummary("go1.26", 2032)
    assert inspect_trace(data[:16]).empty


@pytest.mark.parametrize("data", [b"", b"go 1.26 trac", b"go 1.26 trace\0\0", SMALL])
def test_what_is_no_trace_is_refused(data):
    with pytest.raises(CorruptProfileError, match="no Go execution trace"):
        inspect_trace(data)
