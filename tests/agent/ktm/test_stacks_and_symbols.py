# SPDX-License-Identifier: Apache-2.0
"""Stacks, profiles and names without a kernel: literals, damaged files, and Go's own table."""

import contextlib
import os
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fodc_agent.ktm.stacks import (
    FRAMES,
    RUNNING,
    VALUE,
    WAITING,
    Names,
    Stack,
    frames_of,
    parse_stack,
    profile_of,
)
from fodc_agent.ktm.symbols import Mapped, NoSymbolsError, names_in, parse_maps
from fodc_protocol import pprof

KERNEL = {1: "bpf_prog", 2: "__schedule", 3: "schedule_timeout", 4: "do_wait", 5: "do_syscall_64"}
PROGRAM = {100: "main.waits", 101: "main.main"}
NAMES = Names(KERNEL, PROGRAM)


# ---- stacks -------------------------------------------------------------------------------------


def test_a_stack_is_read_as_the_programs_keep_it():
    frames = [7, 8, *[0] * (FRAMES - 2), 9, *[0] * (FRAMES - 1)]

    stack = parse_stack(VALUE.pack(3, 5_000, 2, 900, 2, 1, *frames))

    assert stack == Stack((7, 8), (9,), 3, 5_000, 2, 900)


def test_more_frames_than_there_are_is_no_more_than_there_are():
    stack = parse_stack(VALUE.pack(1, 1, 0, 0, 4_000_000, 4_000_000, *[1] * 2 * FRAMES))

    assert (len(stack.kernel), len(stack.program)) == (FRAMES, FRAMES)


def test_who_is_still_away_has_waited_until_the_end():
    stack = Stack((), (100,), count=1, sum_ns=50, waiting=2, left_at_ns=1_000 + 1_400)

    assert stack.ended(2_000) == Stack((), (100,), count=3, sum_ns=50 + 1_000 + 600)


def test_nobody_who_is_away_adds_nothing():
    stack = Stack((), (100,), 1, 50)

    assert stack.ended(2_000) == stack


def test_how_the_scheduler_is_entered_is_no_part_of_what_waits():
    stack = Stack((1, 2, 3, 4, 5), (100, 101), 1, 1)

    told = [name for _, name in frames_of(stack, NAMES, is_waiting=True)]

    assert told == ["do_wait", "do_syscall_64", "main.waits", "main.main"]


def test_what_runs_in_the_scheduler_runs_there():
    told = [name for _, name in frames_of(Stack((2, 5), (), 1, 1), NAMES, is_waiting=False)]

    assert told == ["__schedule", "do_syscall_64"]


def test_an_address_of_the_kernel_is_never_told():
    stack = Stack((5, 0xFFFFFFFF81000000), (0x4000,), 1, 1)

    assert list(frames_of(stack, NAMES, is_waiting=True)) == [
        (0, "do_syscall_64"),
        (0, "[kernel]"),
        (0x4000, ""),
    ]


def test_a_profile_is_what_pprof_reads():
    stacks = [Stack((4,), (100, 101), 3, 7_000_000), Stack((4,), (101,), 1, 1_000_000)]

    data = profile_of(stacks, NAMES, WAITING, began_ns=17, duration_ns=2_000_000_000)

    summary = pprof.inspect(zlib.compress(data, wbits=31))
    assert [(one.kind, one.unit) for one in summary.value_types] == [
        ("contentions", "count"),
        ("delay", "nanoseconds"),
    ]
    assert (summary.samples, summary.time_ns, summary.duration_ns) == (2, 17, 2_000_000_000)
    found = {
        one.name: (one.flat, one.cum)
        for one in pprof.hottest(zlib.compress(data, wbits=31), value_index="delay", count=9)
    }
    assert found == {
        "do_wait": (8_000_000, 8_000_000),
        "main.waits": (0, 7_000_000),
        "main.main": (0, 8_000_000),
    }


def test_a_profile_of_what_runs_has_the_columns_of_gos():
    data = profile_of([Stack((), (100,), 2, 20)], NAMES, RUNNING, 0, 1)

    summary = pprof.inspect(zlib.compress(data, wbits=31))
    assert [one.kind for one in summary.value_types] == ["samples", "cpu"]


# ---- names --------------------------------------------------------------------------------------


def test_only_executable_files_are_mapped():
    text = (
        "00400000-00500000 r-xp 00001000 fe:00 12 /opt/banyandb server\n"
        "00500000-00600000 rw-p 00001000 fe:00 12 /opt/banyandb server\n"
        "7f00000000-7f00001000 r-xp 00000000 00:00 0 [vdso]\n"
        "7f10000000-7f10001000 r-xp 00002000 fe:00 9 /lib/gone.so (deleted)\n"
        "nonsense\n"
    )

    assert parse_maps(text) == [
        Mapped(0x400000, 0x500000, 0x1000, "/opt/banyandb server"),
        Mapped(0x7F10000000, 0x7F10001000, 0x2000, "/lib/gone.so"),
    ]


def of(data):
    return lambda at, size: data[at : at + size]


@pytest.mark.parametrize(
    "data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(80), b"\x7fELF\x02\x01" + bytes(20)]
)
def test_what_is_no_program_has_no_names(data):
    with pytest.raises(NoSymbolsError):
        names_in(of(data), [0x1000])


def test_a_library_has_the_names_of_its_symbols():
    """Every interpreter has `PyList_New`, in itself or in its library."""
    found = set()
    for path in {one.path for one in parse_maps(Path("/proc/self/maps").read_text())}:
        data = Path(path).read_bytes()
        with contextlib.suppress(NoSymbolsError):
            found |= set(names_in(of(data), range(0, len(data), 32)).values())

    assert "PyList_New" in found


@pytest.fixture(scope="module")
def go_program(tmp_path_factory):
    if shutil.which("go") is None:
        pytest.skip("NO GO HERE: no table of Go is read")
    program = tmp_path_factory.mktemp("go") / "waiter"
    source = Path(__file__).parent / "waiter" / "main.go"
    subprocess.run(
        ["go", "build", "-ldflags=-s -w", "-o", str(program), str(source)],
        check=True,
        env={**os.environ, "CGO_ENABLED": "0"},
    )
    return program.read_bytes()


def test_a_stripped_program_of_go_has_the_names_of_its_own_table(go_program):
    found = names_in(of(go_program), range(0, len(go_program), 64))

    names = set(found.values())
    assert {"main.waitsForTheLock", "main.burns", "runtime.main"} <= names


@settings(max_examples=50)
@given(
    cut=st.integers(0, 1 << 22),
    changes=st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=8),
)
def test_a_damaged_program_is_refused_or_names_something(go_program, cut, changes):
    damaged = bytearray(go_program[:cut])
    for place, value in changes:
        damaged[place : place + 1] = bytes((value,))
    try:
        names = names_in(of(bytes(damaged)), range(0, 0x200000, 0x10000))
    except NoSymbolsError:
        return

    assert all(isinstance(name, str) for name in names.values())
