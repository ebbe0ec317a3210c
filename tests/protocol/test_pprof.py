# SPDX-License-Identifier: Apache-2.0
"""Looking into profiles of a real node, and into everything that is none."""

import contextlib
import gzip
import itertools
import re
import subprocess
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.errors import CorruptProfileError, ProfileTooLargeError, Reason
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
from fodc_protocol.protobuf import varint

DATA = Path(__file__).parents[1] / "data" / "pprof"


def recorded(name):
    return (DATA / f"{name}.pb.gz").read_bytes()


# ---- a writer of small profiles, to state exactly what is read ------------------------------


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
    assert inspect(gzip.compress(SMALL, mtime=0)) == summary
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


@pytest.mark.parametrize("name", UNITS)
def test_hottest_agrees_with_go_tool_pprof(name, tmp_path, go_pprof):
    command = [*go_pprof, "-top", "-nodecount=100000", "-nodefraction=0"]
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


# ---- the same answers as Go's tool ----------------------------------------------------------

CASES = DATA.parent / "pprof-cases"


@pytest.fixture
def go_top(go_pprof, tmp_path):
    """Return the table of `go tool pprof -top` in bare numbers, None when it refuses the bytes."""
    return lambda data, unit="minimum": top_of(go_pprof, tmp_path, data, unit)


def top_of(go_pprof, folder, data, unit):
    path = folder / "profile"
    path.write_bytes(data)
    options = ["-top", "-nodecount=100000", "-nodefraction=0", f"-unit={unit}"]
    done = subprocess.run(
        [*go_pprof, *options, str(path)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=folder,
    )
    if done.returncode:
        return None
    lines = done.stdout.partition("cum%\n")[2].splitlines()
    return {found[3]: (int(found[1]), int(found[2])) for found in map(TOP_LINE.fullmatch, lines)}


def our_top(data):
    try:
        inspect(data)
        return {one.name: (one.flat, one.cum) for one in hottest(data, count=100_000)}
    except CorruptProfileError:
        return None


def pruned(drop, keep="", *samples):
    """A profile whose texts 10 and 11 are drop_frames and keep_frames."""
    extra = message(6, drop.encode()) + message(6, keep.encode()) + number(7, 10) + number(8, 11)
    return small_profile(*(samples or (packed_sample([2, 1], [1, 30]),)), extra=extra)


def in_members(data, *cuts):
    places = [0, *cuts, len(data)]
    return b"".join(gzip.compress(data[a:b], mtime=0) for a, b in itertools.pairwise(places))


AS_GO = {
    "small": SMALL,
    "two members": in_members(SMALL, 77),
    "many members": in_members(SMALL, 1, 2, 40, 41),
    "an empty member last": gzip.compress(SMALL, mtime=0) + gzip.compress(b""),
    "an empty member first": gzip.compress(b"", mtime=0) + gzip.compress(SMALL),
    "zeros behind the gzip": gzip.compress(SMALL, mtime=0) + b"\0\0",
    "bytes behind the gzip": gzip.compress(SMALL, mtime=0) + b"more",
    "half a member behind the gzip": gzip.compress(SMALL, mtime=0) + gzip.compress(b"")[:9],
    "no samples": small_profile(),
    "no values": small_profile(message(2)),
    "one value": small_profile(packed_sample([1], [1])),
    "three values": small_profile(packed_sample([1], [1, 2, 3])),
    "one good and one odd sample": small_profile(packed_sample([1], [1, 2]), message(2)),
    "odd number of values in single fields": small_profile(message(2, number(1, 1), number(2, 1))),
    "an unknown location": small_profile(packed_sample([9], [1, 1])),
    "no location": small_profile(packed_sample([], [1, 1])),
    "an unknown function": SMALL + message(4, number(1, 9), message(4, number(1, 8))),
    "a line without a function": SMALL + message(4, number(1, 9), message(4, number(2, 8))),
    "a second function of an id": SMALL + message(5, number(1, 1)),
    "a second location of an id": SMALL + message(4, number(1, 1)),
    "a second mapping of an id": SMALL + message(3, number(1, 1)) * 2,
    "a mapping without an id": SMALL + message(3),
    "a text out of range": SMALL + number(7, 99),
    "a text in a label out of range": small_profile(
        message(2, number(2, 1), number(2, 1), message(3, number(1, 99)))
    ),
    "a negative text": SMALL + number(14, -1),
    "a first text that is not empty": gzip.compress(message(6, b"x") + SMALL),
    "two times": SMALL + number(9, 5),
    "two durations": SMALL + number(10, 5),
    "two profiles": SMALL + SMALL,
    "a field of number 0": SMALL + b"\0\0",
    "an unknown field": SMALL + message(100, b"x") + number(200, 1),
    "a number for a message": SMALL + number(2, 1),
    "a message for a number": SMALL + message(9, b"x"),
    "a group": SMALL + b"\x83\x01",
    "cut": SMALL[:-1],
    "inlined": small_profile(packed_sample([2, 1], [1, 30]), packed_sample([2], [1, 5])),
    "recursion": small_profile(packed_sample([1, 2, 1, 1], [1, 5])),
    "drop nothing": pruned("nobody"),
    "drop the leaf": pruned("inlined"),
    "drop the middle": pruned("work"),
    "drop the root": pruned("main"),
    "drop the root of one frame": pruned("main", "", packed_sample([1], [1, 9])),
    "drop all": pruned(".*"),
    "drop by a beginning": pruned("inl.*|x"),
    "drop a part of a name": pruned("line"),
    "drop but keep": pruned("inlined|work", "work"),
    "keep all": pruned(".*", ".*"),
    "keep without drop": pruned("", "work"),
    "drop in recursion": pruned("work", "", packed_sample([2, 1, 2, 1], [1, 9])),
    "drop with a group": pruned("(inl|x)ined"),
    "drop with a broken expression": pruned("(work"),
    "drop with what Go does not know": pruned("(?=w)work"),
    "keep with a broken expression": pruned("work", "(work"),
}


@pytest.mark.parametrize("data", AS_GO.values(), ids=AS_GO.keys())
def test_every_profile_is_read_or_refused_as_go_tool_pprof_does(data, go_top):
    """A20: sums, refusals, gzip members and dropped frames."""
    assert our_top(data) == go_top(data)


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.iterdir()))
def test_every_case_is_read_or_refused_as_go_tool_pprof_does(name, go_top):
    """A20: the files that came out wrong once."""
    data = (CASES / name).read_bytes()
    assert our_top(data) == go_top(data, "ns")


@pytest.mark.parametrize("name", ["mm_2_4.pb", "mm_4_2.pb"])
def test_a_sample_whose_values_do_not_fit_the_types_is_corrupt(name):
    """A20: such a profile was stored as Succeeded."""
    with pytest.raises(CorruptProfileError, match=r"a sample with [24] values for [42] types"):
        inspect((CASES / name).read_bytes())


def test_a_profile_in_two_gzip_members_is_one_profile():
    """A20: it was refused although pprof reads it."""
    assert inspect((CASES / "two_members_one_proto.pb.gz").read_bytes()).nonzero_samples > 0


def test_dropped_frames_count_for_who_called_them():
    """A20: drop_frames was ignored by the table of hottest functions."""
    data = (CASES / "droproot.pb.gz").read_bytes()
    flat = {one.name: one.flat for one in hottest(data)}
    assert flat["main.mid"] == 60_000_000
    assert "main.leaf" not in flat
    assert not any("main.leaf" in stack for stack in folded(data))


@pytest.mark.parametrize(
    "expression",
    ["(a+)+", "(a|a)*", "a?" * 30 + "a" * 30, ".*.*.*x", "(a|a)" * 9, "(?:a*){2,}", "[[:alpha:]]"],
)
def test_an_expression_that_could_run_for_long_is_not_run(expression):
    """Go's engine has no such expressions; who sends one is told to use Go's tool."""
    with pytest.raises(CorruptProfileError, match="is no expression that is run here"):
        hottest(pruned(expression))


def test_expressions_of_c_libraries_are_run():
    drop = "calloc|(__)?posix_memalign|operator delete.*|tcmalloc::.*|slab.*free[0-9]+"
    assert hottest(pruned(drop))[0].name == "inlined"


# ---- what is no profile ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no bytes at all"),
        (b"404 page not found\n", "no profile: starts with '404 page not found"),
        (b"Method not allowed\n", "no profile: starts with 'Method not allowed"),
        (b"\x1f\x8b", "ends too early"),
        (b"\x1f\x8bgarbage in here", "damaged"),
        (gzip.compress(b"", mtime=0), "names no sample type"),
        (gzip.compress(SMALL, mtime=0)[:-9], "ends too early"),
        (gzip.compress(SMALL, mtime=0)[:-8] + b"12345678", "damaged"),
        (gzip.compress(SMALL, mtime=0) + b"more", "behind the end"),
        (SMALL[:-1], "ends in the middle"),
        (SMALL + number(2, 1), "a message belongs"),
        (SMALL + message(9, b"x"), "a number belongs"),
        (SMALL + varint(2 << 3 | 2) + varint(1 << 40), "ends in the middle of a field"),
        (SMALL + b"\x48" + b"\xff" * 11, "more than ten bytes"),
        (SMALL + message(2, b"\x0a\x7f"), "message that ends too early"),
        (message(1, number(1, 77)), "refers to text 77 of 0"),
        (SMALL + number(7, 99), "refers to text 99 of 10"),
        (SMALL + number(9, 5), "several profiles"),
        (SMALL + SMALL, "a location with a second one of id 1"),
        (SMALL + message(4, number(1, 0)), "a location with the reserved id 0"),
        (SMALL + message(4, number(1, 1)), "a location with a second one of id 1"),
        (SMALL + message(4, number(1, 9), message(4, number(1, 8))), "lacks function 8"),
        (SMALL + message(5, number(1, 1)), "a function with a second one of id 1"),
        (SMALL + message(3, number(1, 0)), "a mapping with the reserved id 0"),
        (gzip.compress(message(6, b"x") + SMALL), "first text of the profile is not empty"),
        (small_profile(packed_sample([9], [1, 1])), "lacks location 9"),
        (small_profile(packed_sample([1], [1])), "a sample with 1 values for 2 types"),
        (small_profile(packed_sample([1], [1, 2, 3])), "a sample with 3 values for 2 types"),
        (small_profile(message(2, message(3, number(1, 55)))), "a sample with 0 values"),
    ],
)
def test_other_bytes_are_refused_with_the_reason(data, problem):
    with pytest.raises(CorruptProfileError, match=re.escape(problem)) as caught:
        inspect(data)
    assert caught.value.reason is Reason.CORRUPT_PROFILE


def test_gzip_bomb_stops_at_the_limit():
    bomb = gzip.compress(SMALL + message(6, b"x" * 1000) * 5000)
    with pytest.raises(ProfileTooLargeError, match="unpacks to more than 100000 bytes"):
        inspect(bomb, max_bytes=100_000)
    with pytest.raises(ProfileTooLargeError, match="more than the 10 bytes allowed"):
        inspect(SMALL, max_bytes=10)


MANY_FIELDS = {
    "of an unknown number": number(16, 1),
    "of a known number": number(10, 1),
    "texts": message(6),
    "samples": message(2, number(2, 1), number(2, 1)),
    "numbers in samples": message(2, message(2, b"\x01" * 100_000)),
    "labels": message(2, message(3, number(1, 0)) * 50_000),
    "values": message(2, number(2, 1) * 50_000),
}


@pytest.mark.parametrize("field", MANY_FIELDS.values(), ids=MANY_FIELDS.keys())
def test_work_is_bounded_when_a_small_gzip_holds_millions_of_fields(field):
    """P23: 61 KB that unpack to 60 MiB of two-byte fields cost 51 s of processor time."""
    bomb = gzip.compress(SMALL + field * ((60 << 20) // len(field)), compresslevel=1)
    began_s = time.thread_time()
    with pytest.raises(ProfileTooLargeError):
        inspect(bomb)
    assert time.thread_time() - began_s < 15


def test_too_many_fields_are_told_apart_from_a_broken_profile():
    """P23: what is too much to look into may still be good."""
    with pytest.raises(ProfileTooLargeError, match="more than the 20 fields") as caught:
        inspect(SMALL, max_fields=20)
    assert caught.value.reason is Reason.TOO_LARGE
    assert inspect(SMALL, max_fields=200).samples == 3


def test_empty_gzip_members_cost_work_too():
    with pytest.raises(ProfileTooLargeError, match="fields that are looked into"):
        inspect(gzip.compress(b"", mtime=0) * 50_000)


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
