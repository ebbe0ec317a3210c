# SPDX-License-Identifier: Apache-2.0
"""Reasons with advice, identifiers, profile facts and capabilities."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_protocol.errors import (
    TRANSIENT,
    BadRequestError,
    CorruptProfileError,
    FodcError,
    OptionError,
    Reason,
    advice,
)
from fodc_protocol.ids import (
    CommandId,
    RequestId,
    artifact_id,
    checked_id,
    command_id,
    is_id,
    safe_name,
)
from fodc_protocol.profiles import (
    NO_KINDS,
    Profile,
    ProfileFormat,
    offered_in,
    parse_profile,
    pprof_target,
)

INDEX = Path(__file__).parents[1] / "data/pprof/index.html"


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_camel_case_and_has_one_line_of_advice(reason):
    assert re.fullmatch(r"([A-Z][a-z]+)+", reason.value)
    assert 10 < len(advice(reason)) < 160
    assert "\n" not in advice(reason)


def test_errors_carry_reason_and_advice():
    error = CorruptProfileError("cut")
    assert (str(error), error.message, error.reason) == ("cut", "cut", Reason.CORRUPT_PROFILE)
    assert error.advice == advice(Reason.CORRUPT_PROFILE)
    assert FodcError("x", reason=Reason.OFFLINE).reason is Reason.OFFLINE
    assert OptionError("x").reason is Reason.BAD_REQUEST


def test_bad_requests_are_never_worth_repeating():
    assert Reason.BAD_REQUEST not in TRANSIENT
    assert Reason.PROFILER_BUSY in TRANSIENT


# ---- ids ------------------------------------------------------------------------------------


def test_command_id_is_the_same_for_the_same_attempt_only():
    first = command_id(RequestId("req-1"), "data-0", "cpu", 1)
    assert is_id(first)
    assert first == command_id(RequestId("req-1"), "data-0", "cpu", 1)
    assert first != command_id(RequestId("req-1"), "data-0", "cpu", 2)


def test_command_id_keeps_neighboring_parts_apart():
    assert command_id(RequestId("r"), "ab", "c", 1) != command_id(RequestId("r"), "a", "bc", 1)


def test_artifact_id_differs_by_name():
    command = CommandId("cmd-1")
    assert artifact_id(command, "a") != artifact_id(command, "b")
    assert is_id(artifact_id(command, "a"))


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("data-0", "data-0"),
        ("a/b c", "a_b_c"),
        ("..", "_."),
        ("../../etc/passwd", "_._.._etc_passwd"),
        (".hidden", "_hidden"),
        ("", "_"),
        ("Grün", "Gr_n"),
    ],
)
def test_safe_name_of_odd_names(text, safe):
    assert safe_name(text) == safe


@given(st.text(max_size=300))
def test_safe_name_is_one_short_path_part(text):
    name = safe_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name)
    assert len(name) <= 120


def test_safe_name_keeps_long_names_apart():
    assert safe_name("n" * 200 + "1") != safe_name("n" * 200 + "2")


@pytest.mark.parametrize("text", ["", "-x", ".x", "a/b", "a b", "a\n", "x" * 129, "ä"])
def test_checked_id_refuses_and_names_the_field(text):
    with pytest.raises(BadRequestError, match=r"^artifact_id "):
        checked_id(text, "artifact_id")


def test_checked_id_returns_a_good_one():
    assert checked_id("art-1.a_B", "artifact_id") == "art-1.a_B"


# ---- profiles -------------------------------------------------------------------------------


def test_profile_facts_of_each_kind():
    table = [
        (kind.value, facts.path, facts.timed, facts.exclusive, facts.extension, facts.crd_type)
        for kind in Profile
        for facts in [kind.facts]
    ]
    base = "/debug/pprof/"
    assert table == [
        ("cpu", base + "profile", True, True, ".pb.gz", "CPUProfile"),
        ("heap", base + "heap", False, False, ".pb.gz", "HeapSnapshot"),
        ("allocs", base + "allocs", False, False, ".pb.gz", "AllocationProfile"),
        ("goroutine", base + "goroutine", False, False, ".pb.gz", "GoroutineDump"),
        ("block", base + "block", True, False, ".pb.gz", "BlockProfile"),
        ("mutex", base + "mutex", True, False, ".pb.gz", "MutexProfile"),
        ("threadcreate", base + "threadcreate", False, False, ".pb.gz", "ThreadCreateProfile"),
        ("trace", base + "trace", True, True, ".trace", "ExecutionTrace"),
        ("window", "", False, False, ".om.gz", "Window"),
        ("config", "", False, False, ".json", "Config"),
        ("oncpu", "", True, False, ".pb.gz", "OnCPUProfile"),
        ("offcpu", "", True, False, ".pb.gz", "OffCPUProfile"),
        ("readlatency", "", True, False, ".om.gz", "ReadLatency"),
        ("blocklatency", "", True, False, ".om.gz", "BlockLatency"),
    ]
    assert Profile.TRACE.facts.format is ProfileFormat.GO_TRACE


def test_duration_defaults_and_ceilings():
    assert Profile.CPU.facts.duration_s(None) == 30
    assert Profile.CPU.facts.duration_s(120) == 120
    assert Profile.HEAP.facts.duration_s(None) == 0
    with pytest.raises(BadRequestError, match="at most 120 s, got 121 s"):
        Profile.CPU.facts.duration_s(121)
    with pytest.raises(BadRequestError, match="not allowed for HeapSnapshot"):
        Profile.HEAP.facts.duration_s(5)
    for bad in (0, -1, float("nan")):
        with pytest.raises(BadRequestError, match="more than 0"):
            Profile.TRACE.facts.duration_s(bad)


def test_pprof_target_never_asks_go_for_a_fraction_it_cannot_read():
    assert pprof_target(Profile.CPU, 2.5) == "/debug/pprof/profile?seconds=3"
    assert pprof_target(Profile.CPU, 0.1) == "/debug/pprof/profile?seconds=1"
    assert pprof_target(Profile.TRACE, 0.5) == "/debug/pprof/trace?seconds=0.5"
    assert pprof_target(Profile.HEAP, 0) == "/debug/pprof/heap"


def test_parse_profile_accepts_people_and_resources():
    assert parse_profile("cpu") is parse_profile("CPUProfile") is parse_profile("profile")
    with pytest.raises(BadRequestError, match="one of: cpu, heap, allocs"):
        parse_profile("MemoryProfile")


def test_a_well_formed_name_that_nobody_knows_is_an_open_kind_taken_in_an_instant():
    kind = parse_profile("goroutineleak")

    assert (kind, kind.is_open, f"{kind}") == (Profile("goroutineleak"), True, "goroutineleak")
    assert {kind: 1}[Profile("goroutineleak")] == 1
    assert kind not in set(Profile)
    assert (kind.facts.timed, kind.facts.exclusive) == (False, False)
    assert pprof_target(kind, 0) == "/debug/pprof/goroutineleak"
    assert (kind.facts.crd_type, kind.facts.extension) == ("goroutineleak", ".pb.gz")
    assert [one for one in Profile if one.is_open] == []


@given(st.text(max_size=45) | st.sampled_from([*sorted(NO_KINDS), "a" * 41, "a/b", "-a", "a?", ""]))
def test_no_name_of_a_kind_leads_out_of_its_folder_or_means_something_else(text):
    try:
        kind = Profile(text)
    except ValueError:
        return
    assert text not in NO_KINDS
    assert re.fullmatch("[a-z][a-z0-9-]*", kind)
    assert safe_name(kind) == kind
    assert 1 <= len(kind) <= 40


def test_the_index_of_a_node_offers_what_is_new_in_it():
    row = "<td><a href='goroutineleak?debug=1'>goroutineleak</a></td>"

    assert offered_in(INDEX.read_text()) == ()
    assert offered_in(INDEX.read_text() + row * 2) == (Profile("goroutineleak"),)
    assert offered_in('<a href="my.pkg/conns?debug=1">') == ()
    assert len(offered_in("".join(f"<a href='k{n}?debug=1'>" for n in range(99)))) == 32


@given(st.text())
def test_whatever_stands_in_an_index_gives_kinds(text):
    assert all(kind.is_open for kind in offered_in(text))
