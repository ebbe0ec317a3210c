# SPDX-License-Identifier: Apache-2.0
"""Texts of /proc, as kernels write them."""

import pytest

from fodc_agent.sources import procfs


def test_stat_is_parsed_when_the_command_holds_blanks_and_parentheses():
    text = (
        "42 (tmux: (a) b) S 1 42 42 0 -1 4194304 103 7 3 1 11 22 0 0 20 0 5 0 262463 3133440 416 "
        "18446744073709551615 0 0 0\n"
    )

    assert procfs.parse_stat(text) == procfs.Stat(
        command="tmux: (a) b",
        state="S",
        minor_faults=103,
        major_faults=3,
        user_ticks=11,
        system_ticks=22,
        threads=5,
        start_ticks=262463,
        virtual_bytes=3133440,
        resident_pages=416,
    )


@pytest.mark.parametrize("text", ["", "42 (x) S 1", "no parentheses"])
def test_a_stat_of_another_form_is_an_error(text):
    with pytest.raises((ValueError, IndexError)):
        procfs.parse_stat(text)


def test_pairs_are_parsed_with_and_without_colon_and_unit():
    text = "rchar: 7277\nThreads:\t33\nVmRSS:\t  1024 kB\nanon 5\nName:\tx\n\n"

    assert procfs.parse_pairs(text) == {"rchar": 7277, "Threads": 33, "VmRSS": 1024, "anon": 5}


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("Limit  Soft Limit\nMax open files            1048576   1048576   files\n", 1048576),
        ("Max open files            unlimited   unlimited   files\n", None),
    ],
)
def test_the_limit_of_open_files_is_the_soft_one(text, limit):
    assert procfs.parse_open_files_limit(text) == limit


def test_listeners_are_told_from_connections_and_other_ports():
    text = (
        "  sl  local_address rem_address   st\n"
        "   0: 0100007F:0849 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 111 1\n"
        "   1: 0100007F:0849 0100007F:C350 01 00000000:00000000 00:00000000 00000000 0 0 222 1\n"
        "   2: 00000000:17AC 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 333 1\n"
        "   3: 00000000000000000000000000000000:0849 0:0 0A 0:0 00:0 0 0 0 444 1\n"
    )

    assert procfs.parse_listeners(text, 2121) == {111, 444}


@pytest.mark.parametrize(
    ("text", "parts"),
    [("", []), ("a\0", ["a"]), ("a\0b c\0\0", ["a", "b c", ""]), ("a\0b", ["a", "b"])],
)
def test_nul_separated_parts_keep_empty_arguments(text, parts):
    assert procfs.split_nul(text) == parts


def test_environ_keeps_equal_signs_of_values():
    assert procfs.parse_environ("A=1\0B=x=y\0broken\0=z\0") == {"A": "1", "B": "x=y"}


def test_cgroups_of_both_versions_are_parsed():
    text = "4:memory:/process_api/x\n1:cpu,cpuacct:/y\n9:name=systemd:/\n0::/kubepods/pod1/c1\n"

    paths = procfs.parse_cgroup(text)

    assert paths.unified == "/kubepods/pod1/c1"
    assert paths.controllers["memory"] == "/process_api/x"
    assert paths.controllers["cpu"] == paths.controllers["cpuacct"] == "/y"


def test_a_path_of_a_cgroup_may_hold_a_colon():
    assert procfs.parse_cgroup("0::/a:b\n").unified == "/a:b"
